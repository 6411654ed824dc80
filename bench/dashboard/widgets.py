"""What readers choose with: every choice is a parameter of the page's address, so that a link restores it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, get_args

import streamlit as st

from bench.dashboard import data
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
HOST = """.holder {
  --accent: var(--st-primary-color);
  --ground: var(--st-background-color);
  color: var(--st-text-color);
  font-family: var(--st-font);
}
"""
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
    """The leaderboard's table; the method that was opened last is in the result's `open`, else None."""
    return _component()(
        data=markup,
        key=key,
        on_sort_change=lambda: _sort(key),
        on_pick_change=lambda: _toggle([st.session_state[key].get("pick")]),
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


def _sort(key: str) -> None:
    if name := st.session_state[key].get("sort"):
        _write("sort", name)


def _toggle(names: Iterable[str | None]) -> None:
    """Pick these rows, and let go of those that are picked already."""
    picked = st.query_params.get_all("pick")
    for name in filter(None, names):
        picked = [each for each in picked if each != name] if name in picked else [*picked, name]
    _write("pick", picked)


def _keep_ink() -> None:
    if (drawn := st.session_state["pad"].get("ink")) is not None:
        _write("ink", drawn)


@st.cache_resource(show_spinner=False)
def _pad() -> Any:
    return st.components.v2.component("temper_pad", html=asset("pad.html"), css=asset("pad.css"), js=asset("pad.js"))


@st.cache_resource(show_spinner=False)
def _component() -> Any:
    return st.components.v2.component("temper_board", css=HOST + asset("board.css"), js=asset("board.js") + COMPONENT)


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
    _follow(key, next(iter(_known(key, options)), options[0]))
    return st.selectbox(label, options, key=key, on_change=_chosen, args=(key, options[0]), **more)


def choose_many(label: str, key: str, options: Sequence[str], **more: Any) -> list[str]:
    """Any of `options`, none by default."""
    _follow(key, _known(key, options)[: more.get("max_selections")])
    return st.multiselect(label, options, key=key, on_change=_chosen, args=(key, []), **more)


def choose_number(label: str, key: str, low: float, high: float, default: float, **more: Any) -> float:
    """A number from `low` to `high`: an integer where all three are."""
    kind = type(default)
    try:
        asked = kind(st.query_params.get(key, default))
    except ValueError:
        asked = default
    _follow(key, min(max(asked, low), high) if asked == asked else default)  # NaN is not itself
    draw = st.number_input if kind is int else st.slider
    return kind(draw(label, low, high, key=key, on_change=_chosen, args=(key, default), **more))


def choose_whether(label: str, key: str) -> bool:
    """Yes or no, no by default."""
    _follow(key, st.query_params.get(key) == "True")
    return st.toggle(label, key=key, on_change=_chosen, args=(key, False))


def _segments(key: str) -> str:
    options = OPTIONS[key]
    _follow(key, next(iter(_known(key, options)), options[0]))
    st.segmented_control(
        key.title(), options, key=key, required=True, help=HELP[key], on_change=_chosen, args=(key, options[0])
    )
    return str(st.session_state[key])


def _track(scenario: str) -> str:
    """The track, where there is a choice."""
    known = {fields["track"] for fields in data.settings(scenario)} if data.has_records(scenario) else set()
    options = [name for name in OPTIONS["track"] if name in known | {FIELDS["track"]}]
    if len(options) == 1:
        return options[0]
    return choose_one("Track", "track", options, help=HELP["track"], width=130)


def _follow(key: str, value: Any) -> None:
    """Set a chooser to what the address says; Streamlit's own binding would leave no trace for the back button."""
    st.session_state[key] = value


def _known(key: str, options: Sequence[str]) -> list[str]:
    """What the address says of a chooser, as far as it is among the options; the rest is said."""
    asked = st.query_params.get_all(key)
    for name in asked:
        if name not in options:
            st.warning(f"There is no {key} {code_span(name)}.")
    return [name for name in dict.fromkeys(asked) if name in options]


def _chosen(key: str, default: Any) -> None:
    """Write a choice into the address, where the default goes without saying."""
    value = st.session_state[key]
    _write(key, "" if value == default else value)


def _write(key: str, value: Any) -> None:
    if value in ("", []):
        st.query_params.pop(key, None)
    else:
        st.query_params[key] = value if isinstance(value, list) else str(value)


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
