"""Numbers that papers print, beside ours: facts with their sources, never a part of the ranking.

`leaderboards/published.csv` has one row a number, as its source prints it: percent, some with a standard deviation or a
remark behind. Temper adds two columns: `registered`, the method here that the source means (empty where there is none,
where the source does not say which variant it is, or where it adds weight perturbation, averaging or data of its own),
and `paper`, which sources of one paper share.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path

import pandas as pd

from bench.files import SHIPPED
from bench.ranking.board import IDENTITY
from bench.ranking.rows import TEACHER, Board
from bench.ranking.words import APART, METHOD, RANK, ROBUST, Column, described, rows
from bench.scenario import Scenario

FILE = SHIPPED / "leaderboards" / "published.csv"
SETTING = ("dataset", "threat", "student", "teacher")  # in which a published number may differ from the board
COUNTS = ["papers", "numbers", "of_this_setting"]
OURS = ["robust", "robust_low", "robust_high"]


def read_published(path: Path = FILE) -> pd.DataFrame:
    """All published numbers as they stand in the file: text, empty where the source has no number."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def percentage(text: str) -> float | None:
    """The number that a cell begins with, as a fraction: `47.63+-0.08`, `52.73 (PGD-10)`; None for an empty cell."""
    found = re.match(r"\d+(\.\d+)?", text)
    return None if found is None else float(found[0]) / 100


def differences(scenario: Scenario, row: Mapping[str, str]) -> list[str]:
    """Which of SETTING a published row does not share with a scenario.

    A teacher of the same architecture passes, though it is hardly the same network; so does none ("-").
    """
    threat, teacher = scenario.threat, scenario.teachers.get(TEACHER)
    same = {
        "dataset": _plain(row["dataset"]) == _plain(scenario.data.name),
        "threat": row["threat"] == threat.norm and abs(float(Fraction(row["eps"])) - threat.eps) < 1e-6,
        "student": _plain(row["student"]) == _plain(scenario.student.network),
        "teacher": row["teacher"] == "-" or (teacher and _plain(row["teacher"]).startswith(_plain(teacher.network))),
    }
    return [name for name in SETTING if not same[name]]


def sources(board: Board, ranked: pd.DataFrame) -> pd.DataFrame:
    """Every AutoAttack number published of a method of the board, with its source: the long form of `published`."""
    numbers = _numbers(board.scenario)
    frame = _ours(ranked).merge(numbers, left_on="method", right_on="registered").drop(columns="registered")
    frame.attrs = dict(ranked.attrs)
    shown = [RANK, METHOD, ROBUST._replace(best=False), Column("as published", "as_published")]
    shown += [Column("AA %", "published_aa", "z.2%")]
    shown += [Column(name, name) for name in ("dataset", "student", "teacher", "source", "confidence")]
    return described(frame, f"Sources of numbers published of methods on {board.scenario.name}", _caption(board), shown)


def published(board: Board, ranked: pd.DataFrame) -> pd.DataFrame:
    """Each row of the board beside the AutoAttack numbers published of its method, a line for each data set."""
    numbers = _numbers(board.scenario)
    groups = numbers.groupby(["registered", "dataset"], sort=False).agg(
        published_low=("published_aa", "min"),
        published_high=("published_aa", "max"),
        papers=("paper", "nunique"),
        numbers=("paper", "size"),
        of_this_setting=("differs_in", lambda lists: sum(not each for each in lists)),
        students=("student", lambda names: list(dict.fromkeys(names))),
        differs_in=("differs_in", _together),
    )
    frame = _ours(ranked).merge(groups.reset_index(), left_on="method", right_on="registered", how="left")
    frame = frame.drop(columns="registered").astype(dict.fromkeys(COUNTS, "Int64"))
    frame.attrs = dict(ranked.attrs)
    shown = [RANK, METHOD, ROBUST._replace(best=False), Column("published on", "dataset")]
    shown += [Column("AA lowest %", "published_low", "z.2%"), Column("AA highest %", "published_high", "z.2%")]
    shown += [Column(name.replace("_", " "), name, ".0f") for name in COUNTS]
    shown += [Column("students", "students"), Column("differs in", "differs_in")]
    return described(frame, f"Measured on {board.scenario.name}, and published", _caption(board), shown)


def _ours(ranked: pd.DataFrame) -> pd.DataFrame:
    """The rows that count."""
    return ranked.loc[~ranked["status"].isin(APART), [*IDENTITY, *OURS]]


def _numbers(scenario: Scenario) -> pd.DataFrame:
    """The published AutoAttack numbers of registered methods, and in what each differs from the scenario."""
    file = read_published()
    file = file[(file["registered"] != "") & (file["aa"] != "")]
    return pd.DataFrame(
        {
            "registered": file["registered"],
            "as_published": file["method"],
            "published_clean": file["clean"].map(percentage),
            "published_aa": file["aa"].map(percentage),
            **{name: file[name] for name in ("dataset", "threat", "eps", "student", "teacher")},
            "differs_in": [differences(scenario, row) for row in rows(file)],
            **{name: file[name] for name in ("paper", "source", "confidence")},
        }
    )


def _caption(board: Board) -> list[str]:
    """What is compared, and in what it differs."""
    numbers, ours = _numbers(board.scenario), {entry.record.trial.method for row in board.rows for entry in row}
    numbers = numbers[numbers["registered"].isin(ours)]
    read = (numbers["confidence"] == "read at the source").sum()
    apart = [each for each in numbers["differs_in"] if each]
    words = [board.setting, f"ours: {_words(board.scenario)}"]
    words += ["published: what papers print for AutoAttack, with teachers, epochs and checkpoints of their own"]
    words += [f"{read} of {len(numbers)} numbers were read at the source, the others told by readers"]
    if apart:
        words += [f"{len(apart)} of {len(numbers)} are of another setting ({', '.join(_together(apart))}) than ours"]
    return [*words, "not part of the ranking"]


def _words(scenario: Scenario) -> str:
    """The setting of a scenario, as a paper would give it."""
    threat, teacher = scenario.threat, scenario.teachers.get(TEACHER)
    words = f"{scenario.data.name or scenario.name}, {threat.norm} {threat.eps:.4g}, student {scenario.student.network}"
    return f"{words}, teacher {teacher.network}" if teacher else words


def _together(lists: Iterable[list[str]]) -> list[str]:
    """All that is named in any of some lists of SETTING."""
    named = {name for each in lists for name in each}
    return [name for name in SETTING if name in named]


def _plain(name: str) -> str:
    """A name as its letters and digits, so that CIFAR-10 is cifar10."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
