"""One method: what it is, what it reached and at what cost, and how to run and cite it."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from bench.citation import bibtex
from bench.dashboard.blocks import Block, Chart, Code, Columns, Facts, Finding, Formula, Heading, Note, Plain, Table
from bench.dashboard.draw import draw
from bench.dashboard.figures import bars_chart, lines_chart
from bench.dashboard.findings import method_finding
from bench.dashboard.submitted import submission_blocks
from bench.dashboard.text import plain_markdown
from bench.dashboard.view import ALL_PASS, View, needs
from bench.dashboard.widgets import choose_board, choose_one
from bench.errors import TemperError
from bench.method import METHODS
from bench.ranking.collect import Entry, read_curve
from bench.ranking.rows import FIELDS
from bench.ranking.words import in_words, rows

SPENT = "budget spent, %"
COST = {
    "passes": "passes per training example",
    "teacher_share": "spent in teachers, %",
    "other_share": "spent in its other networks, %",
    "seconds": "seconds of training",
    "peak_megabytes": "peak memory, MB",
    "judging_seconds": "seconds of judging",
}


def blocks(view: View, name: str) -> list[Block]:
    """All that a board knows of a row, by its label; of a method without a row there, what its registration says."""
    if name not in view.labels:
        return [Note(f"{name} has no row on this board."), *about(name)]
    row = view.labels.index(name)
    entries = view.board.rows[row]
    method = entries[0].record.trial.method
    return [
        Finding(method_finding(view.ranked, row)),
        *_definition(method),
        Heading("Seeds"),
        Table(_seeds(entries)),
        *_best_and_last(view, row),
        *_curves(entries),
        Columns([_against_eps(view, row), _classes(view, row)]),
        Heading("Diagnostics"),
        Finding(_diagnosed(view.rows[row]["diagnosed"])),
        Table(diagnostics(entries)),
        *submission_blocks(view, row),
        Columns([_cost(view, row), [Heading("Run it again"), *_commands(entries)]]),
        *_source(method),
    ]


def about(name: str) -> list[Block]:
    """A method as it is registered; nothing for one that is not."""
    return [*_definition(name), *_source(name)]


def command(entries: Sequence[Entry]) -> str:
    """The command that runs this row again, with all seeds up to its last one."""
    trial, tuned = entries[0].record.trial, entries[0].record.tuned
    seeds = max(entry.record.trial.seed_index for entry in entries) + 1
    words = ["temper", "run", trial.scenario, "--method", trial.method, "--seeds", str(seeds)]
    for field in ("ruleset", "budget", "recipe"):
        value = getattr(trial, field)
        words += [f"--{field}", value] if value != FIELDS[field] else []
    if tuned:
        return shlex.join([*words, "--tuned"])
    fields = METHODS[trial.method].model_fields if trial.method in METHODS else {}
    for key, value in trial.hyperparameters.items():
        if key not in fields or fields[key].default != value:
            words += ["--set", f"{key}={value}"]
    return shlex.join(words)


def diagnostics(entries: Sequence[Entry]) -> pd.DataFrame:
    """Each diagnostic over the seeds of a row: the value furthest from 0, threshold, verdicts, and seed 0 in words."""
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        for name, value in (entry.record.evaluation.diagnostics if entry.record.evaluation else {}).items():
            if isinstance(value, dict) and "verdict" in value:
                found.setdefault(name, []).append(value)
    table = []
    for name, values in found.items():
        known = [float(v["value"]) for v in values if isinstance(v.get("value"), int | float)]
        limit = values[0].get("threshold")
        table.append(
            {
                "diagnostic": name.replace("_", " "),
                "worst value": f"{max(known, key=abs):.3g}" if known else "",
                "threshold": f"{limit:.3g}" if isinstance(limit, int | float) else "",
                "verdict": ", ".join(sorted({str(v["verdict"]) for v in values})),
                "first seed in words": str(values[0].get("words", "")),
            }
        )
    return pd.DataFrame(table)


def page() -> None:
    """Draw the page."""
    title = st.empty()
    view = choose_board()
    on_board = [] if view is None else view.labels
    name = choose_one("Method", "name", [*on_board, *sorted(set(METHODS) - set(on_board))], fixed=False, width=260)
    title.title(plain_markdown(name), anchor=False)
    draw(about(name) if view is None else blocks(view, name))


def _definition(name: str) -> list[Block]:
    if name not in METHODS:
        return []
    method = METHODS[name]
    info = method.info
    facts = [("family", info.family), ("version", info.version), ("reference", info.reference)]
    facts += [("learns from", ", ".join(needs(info.name))), ("passes a step", info.passes or "measured")]
    fields = [f"{field} = {spec.default}" for field, spec in method.model_fields.items()]
    facts += [("settings", ", ".join(fields) or "none")]
    facts += [("differs from its paper", info.deviations)] if info.deviations else []
    formula: list[Block] = [Formula(info.formula)] if info.formula else []
    return [Plain(inspect.getdoc(method) or ""), *formula, Facts(facts)]


def _source(name: str) -> list[Block]:
    """How to cite a method, and its code."""
    if name not in METHODS:
        return []
    method = METHODS[name]
    file = inspect.getsourcefile(method)
    try:
        entry = bibtex(method)
    except TemperError as error:  # a plug-in's references
        entry = str(error)
    cite: list[Block] = [Heading("Cite it"), Code(entry, "bibtex")] if entry else []
    code: list[Block] = [Heading("Its code"), Code(Path(file).read_text(), "python")] if file else []
    return cite + code


def _commands(entries: Sequence[Entry]) -> list[Block]:
    """The whole row, and its first trial, which is compared with what is recorded."""
    trial = entries[0].record.trial
    record = f"leaderboards/records/{trial.scenario}/{trial.method}/{trial.id}"
    return [Code(command(entries)), Code(shlex.join(["temper", "reproduce", record]))]


def _seeds(entries: Sequence[Entry]) -> pd.DataFrame:
    table = []
    for entry in entries:
        record = entry.record
        verdict, training = record.evaluation, record.training
        table.append(
            {
                "seed": record.trial.seed_index,
                "robust %": f"{100 * entry.accuracy:.1f}",
                "clean %": "" if verdict is None else f"{100 * verdict.clean:.1f}",
                "proved %": "" if verdict is None or verdict.proved is None else f"{100 * verdict.proved:.1f}",
                "chosen at": "" if training is None else f"{100 * training.best.progress:.0f} % of the budget",
                "seconds": "" if training is None else f"{training.seconds:.0f}",
                "state": "collapsed" if training and training.collapsed else record.status,
                "trial": record.trial_id,
            }
        )
    return pd.DataFrame(table)


def _curves(entries: Sequence[Entry]) -> list[Block]:
    """Accuracy on validation of each seed's candidates, and what the first trained seed measured in training."""
    trained = {e.record.trial.seed_index: (e, e.record.training) for e in entries if e.record.training}
    if not trained:
        return []
    validation = {
        f"seed {seed}": pd.Series([100 * c.robust for c in t.curve], [100 * c.progress for c in t.curve])
        for seed, (_, t) in trained.items()
    }
    chosen = ", ".join(f"{100 * t.best.progress:.0f} % (seed {seed})" for seed, (_, t) in trained.items())
    words = "Lines of accuracy on validation over the budget, one a seed."
    left = Chart(lines_chart(validation, SPENT, "PGD-10 accuracy on validation, %"), words, "validation")
    first = min(trained)
    losses = read_curve(trained[first][0].folder)
    lines = {str(name): losses[name] for name in losses}
    words = f"Lines of the losses of seed {first} over the budget."
    right = [Chart(lines_chart(lines, SPENT, f"losses of seed {first}"), words, "losses")] if lines else []
    finding = Finding(f"The evaluated checkpoint was chosen at {chosen} of the budget.")
    return [Heading("Learning curves"), finding, Columns([[left], right]) if right else left]


def _against_eps(view: View, row: int) -> list[Block]:
    entries, name = view.board.rows[row], view.labels[row]
    curves = pd.DataFrame([dict(e.record.evaluation.curve) for e in entries if e.record.evaluation])
    if curves.empty:
        return []
    own = 100 * curves.mean()
    lines = {name: own}
    if view.board.teacher and view.board.teacher.card.evaluation.curve:
        lines["teacher"] = 100 * pd.Series(dict(view.board.teacher.card.evaluation.curve))
    eps, norm = view.board.scenario.threat.eps, view.board.scenario.threat.norm
    half = next((radius for radius, left in own.items() if left < 50), None)
    words = "More than half of the test images are robust at every radius."
    if half is not None:
        words = f"Robust accuracy falls below half at {norm} {half:.3g} or below."
    if half == 0:
        words = "Fewer than half of the test images are classified correctly without an attack."
    chart = lines_chart(lines, f"eps ({norm})", "accuracy, %", marks={"scenario": eps})
    cheap = "Under a cheap attack, mean over the evaluated seeds; AutoAttack runs at one radius only."
    return [Heading("Accuracy against eps"), Finding(words, cheap), Chart(chart, words, "eps")]


def _best_and_last(view: View, row: int) -> list[Block]:
    table = view.checkpoints
    drop = table["drop"].iloc[row]
    words = (
        ""
        if pd.isna(drop)
        else f"From the chosen checkpoint to the last, PGD-20 accuracy changes by {-100 * drop:+.1f} points."
    )
    return [Heading("Best and last"), *([Finding(words)] if words else []), Table(_one(table, row))]


def _classes(view: View, row: int) -> list[Block]:
    table = view.classes
    names = [column for column in table if str(column).startswith("class_")]
    by_class = 100 * table[names].astype(float).rename(columns=lambda name: name.removeprefix("class_"))
    values, teacher = by_class.iloc[row].rename("robust"), None
    if values.isna().all():
        return []
    if view.board.teacher is not None:
        teacher = by_class.iloc[len(view.board.rows)].rename("teacher")
    words = f"Class {values.idxmin()} is the weakest, at {values.min():.1f} %; "
    words += f"class {values.idxmax()} the strongest, at {values.max():.1f} %."
    figure = bars_chart(values, "class", "robust accuracy, %", teacher)
    return [Heading("Each class"), Finding(words), Chart(figure, words, "classes")]


def _cost(view: View, row: int) -> list[Block]:
    spent = rows(view.cost)[row]
    facts = [
        (words, f"{100 * spent[name] if 'share' in name else spent[name]:,.1f}")
        for name, words in COST.items()
        if pd.notna(spent[name])
    ]
    return [Heading("Cost"), Facts(facts)]


def _diagnosed(words: str) -> str:
    return f"No sign of gradient masking: {words}." if words.startswith(ALL_PASS) else f"Diagnostics: {words}."


def _one(table: pd.DataFrame, row: int) -> pd.DataFrame:
    """A row of a described table, as readers see it."""
    words = in_words(table).iloc[[row]]
    return words.drop(columns=["rank", "method"], errors="ignore").reset_index(drop=True)
