"""The pages by name, which is their address too, and the ways between them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple
from urllib.parse import urlencode

import streamlit as st

from bench.ranking.rows import FIELDS

KEPT = ("scenario", *FIELDS)  # parameters of the address that go along from page to page


class Place(NamedTuple):
    """A page's title and icon."""

    title: str
    icon: str


PLACES = {
    "leaderboard": Place("Leaderboard", ":material/leaderboard:"),
    "fronts": Place("Fronts", ":material/scatter_plot:"),
    "compare": Place("Compare", ":material/compare_arrows:"),
    "method": Place("Method", ":material/article:"),
    "scenario": Place("Scenario and rules", ":material/gavel:"),
    "history": Place("History", ":material/history:"),
    "submit": Place("Submit", ":material/upload_file:"),
    "try_it": Place("Try it", ":material/draw:"),
    "about": Place("About", ":material/info:"),
}
FIRST = "leaderboard"


def page(name: str) -> Any:
    """The page of that name, as Streamlit knows it."""
    place = PLACES[name]
    draw = import_module(f"bench.dashboard.pages.{name}").page
    return st.Page(draw, title=place.title, icon=place.icon, url_path=name, default=name == FIRST)


def run() -> None:
    """Draw the page that the address names, below links to all of them, which carry the board along."""
    current = st.navigation([page(name) for name in PLACES], position="hidden")
    with st.container(horizontal=True, gap="small", key="line-places"):
        for name, place in PLACES.items():
            link(name, place.title)
    current.run()


def go(place: str, **parameters: Any) -> None:
    """Go to another page, with the board that is shown and these parameters."""
    st.switch_page(page(place), query_params=_with_board(parameters))


def link(place: str, label: str, **parameters: Any) -> None:
    """A link to another page, with the board that is shown and these parameters."""
    st.page_link(page(place), label=label, icon=PLACES[place].icon, query_params=_with_board(parameters))


def address(place: str, **parameters: Any) -> str:
    """The address of another page, below the dashboard's, with the board that is shown and these parameters."""
    return f"{place}?{urlencode(_with_board(parameters), doseq=True)}"


def _with_board(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {key: st.query_params[key] for key in KEPT if key in st.query_params} | dict(parameters)
