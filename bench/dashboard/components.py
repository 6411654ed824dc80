"""What has a script of its own, the leaderboard's table and the drawing pad, and points of charts: what is clicked or
drawn goes into the address, which the choosers follow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import streamlit as st

from bench.dashboard.table import NOTHING_CHOSEN, asset

HEARD = "heard"  # the table's last click that was answered
HOST = """.holder {
  --accent: var(--st-primary-color);
  --ground: var(--st-background-color);
  color: var(--st-text-color);
  font-family: var(--st-font);
}
"""


def board_table(markup: str, key: str = "board") -> Any:
    """The leaderboard's table; the method that was opened last is in the result's `open`, else None."""
    return _component()(
        data={"markup": markup, "heard": st.session_state.get(HEARD, 0)},
        key=key,
        on_shown_change=lambda: _keep_shown(st.session_state[key].get("shown")),
        on_open_change=lambda: None,
    )


def drawing_pad(shape: tuple[int, ...]) -> str:
    """A pad to draw an image (1, H, W) on; its ink, a hexadecimal digit a pixel, is in the address."""
    ink = st.query_params.get("ink", "")
    drawn = _pad()(data={"rows": shape[1], "columns": shape[2], "ink": ink}, key="pad", on_ink_change=_keep_ink)
    return drawn.get("ink") or ink


def pick_point(key: str) -> None:
    """Pick the rows of the points that were clicked in the chart of that key; one that is picked already is let go."""
    clicked = [point["customdata"] for point in st.session_state[key]["selection"]["points"] if "customdata" in point]
    _toggle([name[0] if isinstance(name, list) else name for name in clicked])


def _keep_shown(shown: dict[str, Any] | None) -> None:
    """The order and the picks of the table; a picked row that it does not show stays picked."""
    if shown is None:
        return
    st.session_state[HEARD] = shown["turn"]
    write_address("sort", "" if shown["sort"] == NOTHING_CHOSEN.sort else shown["sort"])
    picked = dict.fromkeys([*st.query_params.get_all("pick"), *shown["picked"]])
    write_address("pick", [name for name in picked if name not in shown["unpicked"]])


def _toggle(names: Iterable[str | None]) -> None:
    """Pick these rows, and let go of those that are picked already."""
    picked = st.query_params.get_all("pick")
    for name in filter(None, names):
        picked = [each for each in picked if each != name] if name in picked else [*picked, name]
    write_address("pick", picked)


def _keep_ink() -> None:
    if (drawn := st.session_state["pad"].get("ink")) is not None:
        write_address("ink", drawn)


@st.cache_resource(show_spinner=False)
def _pad() -> Any:
    return st.components.v2.component("temper_pad", html=asset("pad.html"), css=asset("pad.css"), js=asset("pad.js"))


@st.cache_resource(show_spinner=False)
def _component() -> Any:
    script = asset("board.js") + asset("component.js")
    return st.components.v2.component("temper_board", css=HOST + asset("board.css"), js=script)


def write_address(key: str, value: Any) -> None:
    """Set a parameter of the address, or remove it where there is nothing to say."""
    if value in ("", []):
        st.query_params.pop(key, None)
    else:
        st.query_params[key] = value if isinstance(value, list) else str(value)
