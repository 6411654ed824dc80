"""How to submit a method, and a check of a record or a method file before it is sent."""

from __future__ import annotations

import streamlit as st

from bench.consistency import content_problems
from bench.dashboard import data
from bench.dashboard.blocks import Block, Code, Finding, Heading, Note, Prose
from bench.dashboard.draw import draw
from bench.dashboard.text import listed
from bench.dashboard.uploads import LIMIT, landing, misplaced, read_upload
from bench.errors import TemperError
from bench.ranking.rows import FIELDS
from bench.submission.source import read_submission

STEPS = """
1. Write one file: `temper methods new my-method` makes a skeleton that already trains.
2. Submit it: the file is read, run in a sandbox, trained on all seeds of the scenario and one more that is drawn then,
   judged by AutoAttack, audited, and recorded in `leaderboards/`. `--dry-run` tries this in two minutes and records
   nothing.
3. Open a pull request with the file, its tests and the records. `docs/policy.md` has the rules.
"""
COMMANDS = """temper methods new my-method
temper submit my_method.py --scenario digits-linf --dry-run
temper submit my_method.py --scenario digits-linf
temper verify"""


def blocks() -> list[Block]:
    """How to submit."""
    return [Prose(STEPS), Code(COMMANDS)]


def record_blocks(content: bytes) -> list[Block]:
    """What a dropped `record.json` says, what is wrong with it, and where it would land."""
    record, problems = read_upload(content)
    if record is None:
        return [Note("This is not a valid record.", problems, "error")]
    trial = record.trial
    said = Finding(f"{trial.method}, seed {trial.seed_index}, on {trial.scenario}: {record.status}.")
    scenario = data.scenario(trial.scenario)
    if scenario is None:
        return [
            said,
            Note(f"No shipped scenario is called {trial.scenario}: the record has no board here.", kind="warning"),
        ]
    if reason := misplaced(record, scenario):
        return [said, Note(reason, kind="warning")]
    if problems := list(content_problems(record)):
        return [said, Note("The record contradicts itself:", problems, "error")]
    try:
        view = data.view(trial.scenario, {name: getattr(trial, name) for name in FIELDS})
    except TemperError as error:
        return [said, Note("The board cannot be computed.", [str(error)], "error")]
    return [
        said,
        Note("All checks that need only this file pass.", kind="success"),
        Finding(landing(record, view)),
        Note("Its accuracies are only attested: temper verify recomputes them from the outcomes beside the record."),
    ]


def source_blocks(content: bytes) -> list[Block]:
    """What a dropped method file registers, and what is wrong with it."""
    source = read_submission(content)
    if source.problems:
        return [Note("This file is not ready:", source.problems, "error")]
    return [
        Note(f"The file registers {listed(source.names)} and has everything that a submission needs.", kind="success"),
        Prose("It was read, not run. To train and judge it:"),
        Code("temper submit FILE --scenario digits-linf"),
    ]


def page() -> None:
    """Draw the page."""
    st.title("Submit a method", anchor=False)
    draw(blocks())
    draw([Heading("Check a file first")])
    file = st.file_uploader(
        "A record.json, or a method file",
        type=["json", "py"],
        max_upload_size=LIMIT,
        help="It is read in this session and not stored. None of its code runs.",
    )
    if file is None:
        return
    content = file.getvalue()
    if len(content) > LIMIT * 1_000_000:
        draw([Note(f"The file is larger than {LIMIT} MB.", kind="error")])
    elif file.name.endswith(".py"):
        draw(source_blocks(content))
    else:
        draw(record_blocks(content))
