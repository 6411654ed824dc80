"""What readers choose with: every choice is a parameter of the page's address, so that a link restores it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import streamlit as st

from bench.dashboard import data
from bench.dashboard.palette import ACCENT
from bench.dashboard.table import asset
from bench.dashboard.text import code_span
from bench.dashboard.view import View
from bench.ranking.rows import FIELDS
from bench.scenario import Recipe, Ruleset, Tier, Track

OPTIONS: dict[str, tuple[str, ...]] = {
    "ruleset": get_args(Ruleset),
    "budget": get_args(Tier),
    "recipe": get_args(Recipe),
    "track": get_args(Track),
}
HELP = {
    "ruleset": "compute: every trial may spend the same passes. epochs: every trial sees the data equally often.",
    "budget": "How many passes per training example a trial may spend: tiers s, m and l of the scenario.",
    "recipe": "strong: weight averaging and adversarial weight perturbation around every method.",
    "track": "data-free: the method never sees the training images. extra-data: it sees more of them.",
}
COMPONENT = """
const holder = (root) => root.querySelector(".holder") ?? root.appendChild(
  Object.assign(document.createElement("div"), { className: "holder" }));

export default function ({ parentElement, data, setTriggerValue }) {
  const place = holder(parentElement);
  if (place.markup !== data) {
    const focus = focused(parentElement);
    place.innerHTML = place.markup = data;
    if (focus) parentElement.querySelector(focus)?.focus();
  }
  wireBoard(place, (what, value) => { setTriggerValue(what, value); return true; });
}
"""


def board_table(markup: str, key: str = "board") -> Any:
    """The leaderboard's table; what was clicked last is in the result's `sort`, `pick` and `open`, else None."""
    return _component()(
        data=markup,
        key=key,
        on_sort_change=lambda: _take(key, "sort"),
        on_pick_change=lambda: _take(key, "pick"),
        on_open_change=lambda: None,
    )


def _take(key: str, what: str) -> None:
    """Hand a click on over to the chooser that holds that choice, and with it to the address."""
    clicked = st.session_state[key].get(what)
    if clicked is not None:
        st.session_state[what] = clicked


def drawing_pad(shape: tuple[int, ...]) -> str:
    """A pad to draw an image (1, H, W) on; its ink, a hexadecimal digit a pixel, is in the address."""
    ink = st.query_params.get("ink", "")
    drawn = _pad()(data={"rows": shape[1], "columns": shape[2], "ink": ink}, key="pad", on_ink_change=_keep_ink)
    return drawn.get("ink") or ink


def _keep_ink() -> None:
    drawn = st.session_state["pad"].get("ink")
    if drawn is not None:
        st.query_params["ink"] = drawn


@st.cache_resource(show_spinner=False)
def _pad() -> Any:
    return st.components.v2.component("temper_pad", html=asset("pad.html"), css=asset("pad.css"), js=asset("pad.js"))


def pick_point(key: str) -> None:
    """Pick the rows of the points that were clicked in the chart of that key; one that is picked already is let go."""
    clicked = [point["customdata"] for point in st.session_state[key]["selection"]["points"] if "customdata" in point]
    names = {name[0] if isinstance(name, list) else name for name in clicked}
    if names:
        st.session_state["pick"] = sorted(names ^ set(st.session_state.get("pick", ())))


@st.cache_resource(show_spinner=False)
def _component() -> Any:
    style = f":host, .holder {{ --accent: {ACCENT}; --ground: var(--st-background-color); color: var(--st-text-color);"
    style += " font-family: var(--st-font); }" + asset("board.css")
    return st.components.v2.component("temper_board", css=style, js=asset("board.js") + COMPONENT)


def choose_board() -> View | None:
    """The choosers of a board, and the board; None, with the reason on the page, where it cannot be shown."""
    names = data.scenarios()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        scenario = choose_one("Scenario", "scenario", names, width=260)
        fields = {name: _segments(name) for name in ("ruleset", "budget", "recipe")}
        fields["track"] = _track(scenario)
    if not data.has_records(scenario):  # nor asked for its board: that would fetch data to fingerprint them
        say_empty(scenario, fields)
        return None
    try:
        view = data.view(scenario, fields)
    except Exception as error:  # whatever is wrong with the files: a page shows words, never a traceback
        st.error(f"The board of {scenario} cannot be computed: {code_span(str(error) or repr(error))}")
        return None
    _warn(view.board.problems)
    if not view.board.rows:
        say_empty(scenario, fields)
        return None
    return view


def choose_one(label: str, key: str, options: Sequence[str], **more: Any) -> str:
    """One of `options`, the first by default; a name in the address that is none of them is said."""
    _say_unknown(key, [st.query_params.get(key)], options)
    return st.selectbox(label, options, key=key, bind="query-params", **more) or options[0]


def choose_many(label: str, key: str, options: Sequence[str], **more: Any) -> list[str]:
    """Any of `options`, none by default."""
    _say_unknown(key, st.query_params.get_all(key), options)
    if key in st.session_state:
        st.session_state[key] = [name for name in st.session_state[key] if name in options]
    return st.multiselect(label, options, key=key, bind="query-params", **more)


def _segments(key: str) -> str:
    options = OPTIONS[key]
    _say_unknown(key, [st.query_params.get(key)], options)
    chosen = st.segmented_control(
        key.title(), options, default=options[0], required=True, key=key, help=HELP[key], bind="query-params"
    )
    return chosen or options[0]


def _track(scenario: str) -> str:
    """The track, where there is a choice."""
    known = {fields["track"] for fields in data.settings(scenario)} if data.has_records(scenario) else set()
    options = [name for name in OPTIONS["track"] if name in known | {FIELDS["track"]}]
    if len(options) == 1:
        return options[0]
    return choose_one("Track", "track", options, help=HELP["track"], width=130)


def _say_unknown(key: str, asked: Sequence[str | None], options: Sequence[str]) -> None:
    for name in asked:
        if name and name not in options:
            st.warning(f"There is no {key} {code_span(name)}.")


def say_empty(scenario: str, fields: dict[str, str]) -> None:
    """That a board has no rows, and the command that makes them."""
    words = [f"ruleset {fields['ruleset']}", f"budget {fields['budget']}", f"recipe {fields['recipe']}"]
    st.info(f"No records yet for {scenario}, {', '.join(words)}. This command trains, judges and records every method:")
    options = [f"--{name} {fields[name]}" for name in ("ruleset", "budget")]
    options += [f"--recipe {fields['recipe']}"] if fields["recipe"] != FIELDS["recipe"] else []
    st.code(f"temper run {scenario} {' '.join(options)}", language="bash")
    if data.has_records(scenario):
        st.caption("The scenario has records under another setting, or of an earlier version of it.")


def _warn(problems: list[str]) -> None:
    """Name each damaged file."""
    if problems:
        one = len(problems) == 1
        head = f"{len(problems)} record{' is' if one else 's are'} damaged and left out; the rest is shown."
        st.warning("\n- ".join([head + "\n", *map(code_span, problems)]))
