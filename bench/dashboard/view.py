"""A board as the pages see it: its ranking, and beside each row what else readers are shown of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import pandas as pd

from bench.checkpoints import CheckpointRecord
from bench.dashboard.frames import methods
from bench.method import METHODS
from bench.ranking.board import ranking
from bench.ranking.cost import cost
from bench.ranking.explanation import Comparisons
from bench.ranking.published import published
from bench.ranking.rows import Board
from bench.ranking.tables import checkpoints, classes
from bench.ranking.words import CHECKPOINT, DASH, labels, notes, rows
from bench.records import EvaluationRecord

ALL_PASS = "all pass"
PUBLISHED_ON = "CIFAR-10"  # the data set of most published numbers


@dataclass(frozen=True, eq=False)
class View:
    """A board with its ranking: what every page is made from."""

    board: Board
    ranked: pd.DataFrame

    @classmethod
    def of(cls, board: Board) -> View:
        """The view of a board."""
        return cls(board, ranking(board))

    @cached_property
    def comparisons(self) -> Comparisons:
        """The pairs of its rows."""
        return Comparisons(self.board, self.ranked)

    @cached_property
    def checkpoints(self) -> pd.DataFrame:
        """`bench.ranking.tables.checkpoints` of the board."""
        return checkpoints(self.board, self.ranked)

    @cached_property
    def classes(self) -> pd.DataFrame:
        """`bench.ranking.tables.classes` of the board."""
        return classes(self.board, self.ranked)

    @cached_property
    def cost(self) -> pd.DataFrame:
        """`bench.ranking.cost.cost` of the board."""
        return cost(self.board, self.ranked)

    @cached_property
    def labels(self) -> list[str]:
        """What the rows that compete are called, in their order, which is that of `board.rows`."""
        return methods(self.ranked)["label"].tolist()

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of the ranking, each with its `label`, `note` and `needs`; those that compete also with the
        `accuracies` of their seeds, what was `diagnosed`, and what is `published` of the method on PUBLISHED_ON;
        checkpoints from elsewhere with what was `diagnosed`, and their `details`."""
        table = [row | {"needs": needs(row["method"])} for row in rows(self.ranked)]
        for row, label, note in zip(table, labels(self.ranked), notes(self.ranked), strict=True):
            row |= {"label": label, "note": _note(row, note)}
        papers = _papers(self)
        for row, entries in zip(table, self.board.rows, strict=False):
            row["accuracies"] = [entry.accuracy for entry in entries]
            row["diagnosed"] = diagnosed([entry.record.evaluation for entry in entries])
            row["published"] = papers.get(row["method"], "")
        others = [row for row in table if row["status"] == CHECKPOINT]
        for row, entry in zip(others, self.board.checkpoints, strict=True):
            row |= {"diagnosed": diagnosed([entry.record.evaluation]), "details": details(entry.record)}
        return table


@dataclass(frozen=True)
class Details:
    """What readers are told of a checkpoint from elsewhere: where it is from ("" where nobody said), facts by name, and
    its diagnostics, each with its verdict and words."""

    source: str
    facts: list[tuple[str, str]]
    signs: list[tuple[str, str, str]]


def details(record: CheckpointRecord) -> Details:
    """The details of a checkpoint's record."""
    verdict, made = record.evaluation, record.evaluation.surroundings
    options = ", ".join(f"{name} {value}" for name, value in record.options.items())
    facts = [("network", f"{record.network} ({options})" if options else record.network)]
    facts += [("file", f"{record.weights.bytes:,} bytes, SHA-256 {record.weights.sha256}")]
    facts += [("how it was read", " ".join(record.told))] if record.told else []
    further = [f"{name} {100 * share:.1f} %" for name, share in verdict.further.items()]
    further += [] if verdict.proved is None else [f"proved {100 * verdict.proved:.1f} %"]
    facts += [("under other attacks", ", ".join(further))] if further else []
    facts += [("differs from AutoAttack as published", "; ".join(verdict.deviations))] if verdict.deviations else []
    if made:
        state = ", with changes" if made.dirty else ""
        facts += [
            ("judged by", f"Temper at commit {made.commit[:12]}{state}" if made.commit else "Temper, no checkout")
        ]
        facts += [("with", ", ".join(f"{name} {version}" for name, version in made.versions.items()))]
        facts += [("on", f"{made.machine} ({made.device})")]
    signs = [
        (name.replace("_", " "), str(sign.get("verdict", "")), str(sign.get("words", "")))
        for name, sign in verdict.diagnostics.items()
        if isinstance(sign, dict)
    ]
    return Details(record.source, facts, signs)


def needs(method: str) -> list[str]:
    """The teachers that a method learns from, as readers call them; `none` for one that has none."""
    known = METHODS[method].needs if method in METHODS else set()
    return sorted(name.replace("_", " ") for name in known) or ["none"]


def diagnosed(verdicts: Sequence[EvaluationRecord | None]) -> str:
    """The soundness diagnostics of a row in words: `all pass`, or each that did not and in how many seeds."""
    judged = [verdict.diagnostics for verdict in verdicts if verdict and verdict.diagnostics]
    if not judged:
        return "not measured"
    some = "" if len(judged) == len(verdicts) else f" ({len(judged)} of {len(verdicts)} seeds measured)"
    trips = Counter(
        (str(found.get("verdict")), name.replace("_", " "))
        for diagnostics in judged
        for name, found in diagnostics.items()
        if isinstance(found, dict) and found.get("verdict") != "pass"
    )
    words = [f"{verdict}: {name} ({count} of {len(judged)})" for (verdict, name), count in sorted(trips.items())]
    return ("; ".join(words) or ALL_PASS) + some


def _note(row: dict[str, Any], note: str) -> str:
    if row["status"] == CHECKPOINT:  # under a heading that says the rest
        host = urlsplit(row["reference"]).hostname
        return f"from {host}" if host else f"SHA-256 {row['version']}"
    return "reference, not ranked" if row["status"] == "unranked" else note


def _papers(view: View) -> dict[str, str]:
    """What papers print for AutoAttack, by method, in percent: `48.1`, or the lowest and the highest."""
    table = published(view.board, view.ranked)
    table = table[table["dataset"] == PUBLISHED_ON]
    ends = zip(table["method"], table["published_low"], table["published_high"], strict=True)
    return {method: DASH.join(dict.fromkeys([f"{100 * low:.1f}", f"{100 * high:.1f}"])) for method, low, high in ends}
