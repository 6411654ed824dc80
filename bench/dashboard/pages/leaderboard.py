"""Who is best, at what cost, and whether the difference is real."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from bench.dashboard import navigation
from bench.dashboard.blocks import Block, Download, Downloads, Finding, Html
from bench.dashboard.draw import draw
from bench.dashboard.findings import checkpoints_in_words, figures_in_words, finding
from bench.dashboard.frames import COMPETING
from bench.dashboard.table import SORTS, Selection, board_html
from bench.dashboard.view import View
from bench.dashboard.widgets import choose_board, choose_many, choose_one
from bench.ranking.render import Format, render

TITLE = "Robust accuracy under AutoAttack"
NO_METHOD = "No method has a record on this board yet. What it shows is not ranked."
FORMATS: dict[str, tuple[Format, str]] = {
    "CSV": ("csv", "csv"),
    "LaTeX": ("latex", "tex"),
    "Markdown": ("markdown", "md"),
}


def blocks(view: View, selection: Selection, link: Callable[[str], str] = lambda name: "") -> list[Block]:
    """The leaderboard of a board."""
    others = checkpoints_in_words(view.ranked)
    return [
        Finding(finding(view.ranked) or NO_METHOD, f"{figures_in_words(view.ranked)} {others}".strip()),
        Html(board_html(view, selection, link)),
        Downloads([_download(view, label) for label in FORMATS]),
    ]


def page() -> None:
    """Draw the page."""
    st.title(TITLE, anchor=False)
    view = choose_board(checkpoints=True)
    if view is None:
        return
    selection = _select(view)
    draw(blocks(view, selection, lambda name: navigation.address("method", name=name)))
    opened = st.session_state["board"].get("open")
    if opened:
        navigation.go("method", name=opened)


def _select(view: View) -> Selection:
    """The choosers of what is shown of the board."""
    board = [row for row in view.rows if row["status"] in COMPETING]
    with st.container(horizontal=True, vertical_alignment="bottom", key="line-rows"):
        families = choose_many(
            "Family", "family", sorted({row["family"] for row in board}), placeholder="all", width=176
        )
        teachers = sorted({name for row in board for name in row["needs"]})
        needed = choose_many("Needs", "needs", teachers, placeholder="any teacher", width=176)
        sort = choose_one("Sort by", "sort", list(SORTS), width=176)
        picked = choose_many("Compare", "pick", view.labels, placeholder="tick rows", width=360)
        if len(picked) > 1:
            navigation.link("compare", f"Compare these {len(picked)}", pick=picked)
    return Selection(families, needed, sort, picked)


def _download(view: View, label: str) -> Download:
    form, suffix = FORMATS[label]
    return Download(label, f"{view.board.stem}.{suffix}", lambda: render(view.ranked, form))
