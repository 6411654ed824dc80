"""Blocks drawn by Streamlit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import streamlit as st

from bench.dashboard.blocks import (
    Block,
    Chart,
    Code,
    Columns,
    Download,
    Downloads,
    Facts,
    Finding,
    Formula,
    Heading,
    Html,
    Note,
    Picture,
    Pictures,
    Plain,
    Prose,
    Table,
)
from bench.dashboard.components import board_table, pick_point
from bench.dashboard.markup import to_html
from bench.dashboard.text import code_span, plain_markdown

NOTES = {"info": st.info, "warning": st.warning, "error": st.error, "success": st.success}
PICTURE = 110  # pixels
DOWNLOAD = ":material/download:"


def draw(blocks: Iterable[Block]) -> None:
    """Draw blocks in their order."""
    for block in blocks:
        _draw(block)


def _draw(block: Block) -> None:
    match block:
        case Heading(text):
            st.subheader(text, anchor=False)
        case Finding() | Plain() | Facts() | Table():
            st.html(to_html(block))
        case Html(markup):
            board_table(markup)
        case Chart():
            _chart(block)
        case Prose(markdown):
            st.markdown(markdown)
        case Code(text, language):
            st.code(text, language=language, wrap_lines=True)
        case Formula(latex):
            st.latex(latex)
        case Note(text, points, kind):
            NOTES[kind]("\n- ".join([f"{plain_markdown(text)}\n", *map(code_span, points)]))
        case Pictures(groups):
            _pictures(groups)
        case Downloads(files):
            _downloads(files)
        case Columns(columns):
            for place, inside in zip(st.columns(len(columns), gap="large"), columns, strict=True):
                with place:
                    draw(inside)


def _chart(chart: Chart) -> None:
    key = f"chart-{chart.key}"
    clicks: dict[str, Any] = {"on_select": partial(pick_point, key), "selection_mode": "points"} if chart.picks else {}
    st.plotly_chart(chart.figure, theme="streamlit", config={"displayModeBar": False}, key=key, alt=chart.alt, **clicks)


def _pictures(groups: Sequence[Sequence[Picture]]) -> None:
    with st.container(horizontal=True, gap="large"):
        for group in groups:
            with st.container(horizontal=True, gap="small", width="content"):
                for each in group:
                    st.image(each.pixels, caption=plain_markdown(each.caption), width=PICTURE)


def _downloads(files: Sequence[Download]) -> None:
    with st.container(horizontal=True):
        for file in files:
            st.download_button(file.label, file.make, file.name, on_click="ignore", icon=DOWNLOAD, key=file.name)
