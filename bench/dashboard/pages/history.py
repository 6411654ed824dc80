"""How rows changed across releases, and which records were superseded or retracted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from bench.dashboard.blocks import Block, Chart, Code, Finding, Heading, Note, Table
from bench.dashboard.draw import draw
from bench.dashboard.figures import lines_chart
from bench.dashboard.findings import damaged
from bench.dashboard.frames import methods
from bench.dashboard.text import listed
from bench.dashboard.view import View
from bench.dashboard.widgets import choose_board, choose_many
from bench.ranking.words import rows
from bench.records import leaderboards_read

NOW = "now"
MOST = 8  # rows whose lines are drawn when none is chosen


def blocks(view: View, releases: Mapping[str, pd.DataFrame], names: Sequence[str] = ()) -> list[Block]:
    """The history of a board; `releases` are its rankings as they were frozen, by date: `label` and `robust`."""
    now = methods(view.ranked)
    robust = pd.DataFrame({day: _robust(frame) for day, frame in releases.items()} | {NOW: _robust(now)})
    robust = robust.reindex(columns=[*sorted(releases), NOW]).sort_values(NOW, ascending=False)
    shown = [name for name in names if name in robust.index] or list(robust.index[:MOST])
    return [*_releases(robust, shown), *_withdrawn(view), *_again(view)]


def read_releases(stem: str, roots: Sequence[Path]) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """The ranking of a board in each release below some `leaderboards` folders, by date; and what cannot be read."""
    found, problems = {}, []
    for root in roots:
        for file in sorted((root / "releases").glob(f"*/tables/{stem}.csv")):
            try:
                frame = pd.read_csv(file, keep_default_na=False, na_values={"robust": [""]})
                frame["hyperparameters"] = [json.loads(text) for text in frame["hyperparameters"]]
                frame["tuned"] = frame["tuned"].astype(str) == "True"
                found[file.parent.parent.name] = methods(frame)[["label", "robust"]]
            except (OSError, ValueError, KeyError, TypeError) as error:
                problems.append(f"{file}: {error}")
    return found, problems


def release_finding(robust: pd.DataFrame) -> str:
    """What changed since the last release."""
    days = [day for day in robust.columns if day != NOW]
    if not days:
        return "No release yet: only the current numbers are shown."
    last = days[-1]
    new = robust.index[robust[last].isna() & robust[NOW].notna()].tolist()
    moved = (robust[NOW] - robust[last]).dropna()
    moved = moved[moved.abs() >= 0.001]
    parts = [f"{listed(new[:6])}{' and more' if len(new) > 6 else ''} added"] if new else []
    parts += [f"{name} changed by {100 * change:+.1f} points" for name, change in moved.items()]
    return f"Since {last}: {'; '.join(parts) or 'nothing changed'}."


def page() -> None:
    """Draw the page."""
    st.title("History", anchor=False)
    view = choose_board(withdrawn=True)
    if view is None:
        return
    names = choose_many("Rows", "pick", view.labels, placeholder="the most robust")
    releases, problems = read_releases(view.board.stem, leaderboards_read())
    draw([*damaged(problems), *blocks(view, releases, names)])


def _robust(frame: pd.DataFrame) -> pd.Series:
    """Robust accuracy by row."""
    return pd.Series(frame["robust"].astype(float).to_numpy(), index=frame["label"].tolist())


def _releases(robust: pd.DataFrame, shown: Sequence[str]) -> list[Block]:
    parts: list[Block] = [Heading("Releases"), Finding(release_finding(robust))]
    if len(robust.columns) < 2:
        return [*parts, Code("temper leaderboard --release DATE")]
    lines = {name: 100 * pd.Series(robust.loc[name]).dropna() for name in shown}
    figure = lines_chart(lines, "release", "robust accuracy, %")
    figure.update_xaxes(type="category")
    words = (100 * robust).map(lambda value: "" if pd.isna(value) else f"{value:.1f}")
    table = words.rename_axis("robust %").reset_index()
    return [*parts, Chart(figure, "Lines of robust accuracy across releases.", "releases"), Table(table)]


def _withdrawn(view: View) -> list[Block]:
    table = [
        {
            "method": entry.record.trial.method,
            "version": entry.record.trial.version,
            "seed": entry.record.trial.seed_index,
            "robust %": f"{100 * entry.accuracy:.1f}",
            "state": entry.record.withdrawn,
            "why": entry.record.retracted or f"replaced by {entry.record.superseded_by}",
        }
        for row in view.board.withdrawn
        for entry in row
    ]
    heading = Heading("Superseded and retracted")
    return [
        heading,
        Table(pd.DataFrame(table)) if table else Note("No record of this board was superseded or retracted."),
    ]


def _again(view: View) -> list[Block]:
    """What second runs of trials said."""
    table = [
        {"row": row["label"], "seed": seed, "verdict": words}
        for row in rows(methods(view.ranked))
        if isinstance(row["reproduced"], dict)
        for seed, words in row["reproduced"].items()
    ]
    heading = Heading("Run again")
    return [heading, Table(pd.DataFrame(table)) if table else Note("No trial of this board was reproduced here.")]
