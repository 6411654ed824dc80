"""Pareto fronts: clean against robust accuracy, robust accuracy against compute and parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import numpy as np
import pandas as pd
import streamlit as st

from bench.dashboard import data
from bench.dashboard.blocks import Block, Chart, Finding, Heading, Note, Table
from bench.dashboard.draw import draw
from bench.dashboard.figures import front_chart
from bench.dashboard.frames import methods
from bench.dashboard.text import listed
from bench.dashboard.view import View
from bench.dashboard.widgets import choose_board, choose_many, choose_whether
from bench.ranking.statistics import front, mean_interval, moderated_variance
from bench.ranking.words import DASH
from bench.scenario import Tier
from bench.words import counted

ROBUST, CLEAN = "robust accuracy, %", "clean accuracy, %"
NEAR = 20  # points below the best, within which rows are shown
NEEDED = {
    "compute": "The compute front needs records with two rulesets or budgets",
    "parameters": "The size front needs records on two scenarios that differ only in the student",
}
PASSES, PARAMETERS = "passes per training example", "parameters of the student"


class Shown(NamedTuple):
    """What the reader wants to see: rows that are picked, and whether rows far below the best are drawn."""

    picked: Sequence[str]
    everything: bool


def blocks(view: View, neighbours: Sequence[View], picked: Sequence[str] = (), everything: bool = False) -> list[Block]:
    """The fronts of a board; of those among its `neighbours` (itself among them) that differ in ruleset and budget
    alone; and of those whose scenarios differ in the student alone.

    Charts show the rows near the best, unless `everything` is asked for; tables those picked, else the front.
    """
    shown = Shown(picked, everything)
    budgets = [each for each in neighbours if same_but_budget(view, each)]
    students = [each for each in neighbours if same_but_student(view, each)]
    return [
        Heading("Clean and robust"),
        *_section(clean_and_robust(view), CLEAN, "clean", shown),
        Heading("Robust and compute"),
        *_or_why_not(robust_and_compute, budgets, PASSES, "compute", shown),
        Heading("Robust and parameters"),
        *_or_why_not(robust_and_parameters, students, PARAMETERS, "parameters", shown),
    ]


def clean_and_robust(view: View) -> pd.DataFrame:
    """Rows by clean and robust accuracy; their error bars are 95% intervals."""
    table = methods(view.ranked)
    spread = zip(*moderated_variance([correct.mean(1) for correct in view.board.correct]), strict=True)
    intervals = [mean_interval(correct, *own) for correct, own in zip(view.board.correct, spread, strict=True)]
    low, high = (pd.Series([100 * getattr(each, end) for each in intervals], table.index) for end in ("low", "high"))
    return _points(table, 100 * table["clean"].astype(float), low, high)


def robust_and_compute(budgets: Sequence[View]) -> pd.DataFrame:
    """Rows of several rulesets and budgets by what they spent and their robust accuracy.

    Under ruleset compute all spend the budget, to a step: what a larger step leaves unspent is no saving.
    """
    parts = []
    for view in budgets:
        table, fields = methods(view.ranked), view.board.fields
        budget = float(view.board.scenario.passes(cast(Tier, fields["budget"])))
        spent = table["passes"].astype(float) if fields["ruleset"] == "epochs" else pd.Series(budget, table.index)
        setting = f" ({fields['ruleset']} {fields['budget']})"
        points = _points(table, spent, spent, spent)
        parts.append(points.assign(label=points["label"] + setting))
    return _smaller_is_better(parts)


def robust_and_parameters(students: Sequence[View]) -> pd.DataFrame:
    """Rows of scenarios that differ in the student alone, by its size."""
    from bench.networks import build, parameters

    parts = []
    for view in students:
        scenario, table = view.board.scenario, methods(view.ranked)
        size = parameters(build(scenario.student, scenario.data.shape, scenario.data.classes))
        sizes = pd.Series(float(size), index=table.index)
        points = _points(table, sizes, sizes, sizes)
        parts.append(points.assign(label=points["label"] + f" ({scenario.name})"))
    return _smaller_is_better(parts)


def same_but_budget(one: View, other: View) -> bool:
    """Whether two boards differ in ruleset and budget alone."""
    same = all(one.board.fields[key] == other.board.fields[key] for key in ("recipe", "track"))
    return same and one.board.scenario == other.board.scenario


def same_but_student(one: View, other: View) -> bool:
    """Whether two boards are of one setting, and their scenarios differ in the student alone."""
    left, right = (
        each.board.scenario.model_dump(exclude={"name", "title", "notes", "student"}) for each in (one, other)
    )
    return left == right and one.board.fields == other.board.fields


def front_finding(points: pd.DataFrame, what: str) -> str:
    """Which rows are on the front, in words; by their means, as a front is."""
    known = points.dropna(subset=["x", "y"])
    names = known.loc[known["on_front"], "label"].tolist()
    rest = len(known) - len(names)
    if not names:
        return "No row has both measures yet."
    if not rest:
        return f"All {len(names)} rows are on the front." if len(names) > 1 else f"{names[0]} is the only row."
    verb, one = ("is", names[0]) if len(names) == 1 else ("are", "one of them")
    others = "the other row" if rest == 1 else f"each of the {rest} others"
    return f"{listed(names)} {verb} on the front: for {others}, {one} is at least as good in {what}, and better in one."


def _points(table: pd.DataFrame, x: pd.Series, x_low: pd.Series, x_high: pd.Series) -> pd.DataFrame:
    robust = {f"y{end}": 100 * table[f"robust{end}"].astype(float) for end in ("", "_low", "_high")}
    points = pd.DataFrame(
        {
            "label": table["label"],
            "row": table["label"],
            "family": table["family"],
            "x": x,
            "x_low": x_low,
            "x_high": x_high,
            **robust,
        }
    )
    return points.assign(on_front=front(points[["x", "y"]]))


def _smaller_is_better(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    points = pd.concat(parts, ignore_index=True)
    return points.assign(on_front=front(points[["x", "y"]], smaller=[0]))


def _section(points: pd.DataFrame, x: str, key: str, shown: Shown) -> list[Block]:
    what = f"{x.split(',')[0]} and robust accuracy"
    listed_rows = points[points["row"].isin(shown.picked)] if shown.picked else points[points["on_front"]]
    words, near = front_finding(points, what), points["y"] >= points["y"].max() - NEAR
    seen = points if shown.everything else points[near]
    outside = len(points) - len(seen)
    far = f"{counted(outside, 'row')} more than {NEAR} points below the best: outside the chart."
    beyond = far if outside else ""
    return [
        Finding(words, beyond),
        Chart(front_chart(seen, x, ROBUST), f"Scatter of {what}, a point a row. {words}", key, picks=True),
        Table(_listed(listed_rows, x)),
    ]


def _or_why_not(
    make: Callable[[Sequence[View]], pd.DataFrame], views: Sequence[View], x: str, key: str, shown: Shown
) -> list[Block]:
    if len(views) < 2:
        return [Note(f"{NEEDED[key]}; only one exists so far.")]
    return _section(make(views), x, key, shown)


def _listed(points: pd.DataFrame, x: str) -> pd.DataFrame:
    """Points as readers see them in a table."""
    shown = points.sort_values("y", ascending=False)
    form = ",.1f" if "%" in x else ",.0f"
    ends = zip(shown["y_low"], shown["y_high"], strict=True)
    interval = ["" if np.isnan(low) else f"{low:.1f}{DASH}{high:.1f}" for low, high in ends]
    left = pd.DataFrame({"row": shown["label"], x: shown["x"].map(lambda value: format(value, form))})
    left[ROBUST], left["95% interval"] = shown["y"].map("{:.1f}".format), interval
    return left


def page() -> None:
    """Draw the page."""
    st.title("Fronts", anchor=False)
    view = choose_board()
    if view is None:
        return
    with st.container(horizontal=True, vertical_alignment="bottom", key="line-rows"):
        picked = choose_many("Rows", "pick", view.labels, placeholder="click points, or choose", width=420)
        everything = choose_whether("Show all rows", "everything")
    draw(blocks(view, data.neighbours(view), picked, everything))
