"""What readers choose with: every choice is a parameter of the page's address, so that a link restores it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args

import streamlit as st

from bench.checkpoints import has_checkpoints
from bench.dashboard import data
from bench.dashboard.components import write_address
from bench.dashboard.draw import draw
from bench.dashboard.findings import damaged
from bench.dashboard.text import code_span
from bench.dashboard.view import View
from bench.ranking.rows import FIELDS
from bench.records import has_records
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


def choose_board(*, withdrawn: bool = False, checkpoints: bool = False) -> View | None:
    """The choosers of a board, and the board; None, with the reason on the page, where it cannot be shown.

    A board on which every record is `withdrawn`, or that has `checkpoints` from elsewhere and no record, is shown where
    that is asked for.
    """
    names = data.scenarios()
    with st.container(horizontal=True, vertical_alignment="bottom", key="line-board"):
        scenario = choose_one("Scenario", "scenario", names, fixed=False, width=260)
        fields = {name: _segments(name) for name in ("ruleset", "budget", "recipe")}
        fields["track"] = _track(scenario)
    if not (
        has_records(scenario) or has_checkpoints(scenario)
    ):  # nor asked for its board: that would fetch data to fingerprint them
        say_empty(scenario, fields)
        return None
    try:
        view = data.view(scenario, fields)
    except Exception as error:  # whatever is wrong with the files: a page shows words, never a traceback
        st.error(f"The board of {scenario} cannot be computed: {code_span(str(error) or repr(error))}")
        return None
    draw(damaged(view.board.problems))
    asked_for = (withdrawn and view.board.withdrawn) or (checkpoints and view.board.checkpoints)
    if view.board.rows or asked_for:
        return view
    say_empty(scenario, fields)
    return None


def choose_one(label: str, key: str, options: Sequence[str], *, fixed: bool = True, **more: Any) -> str:
    """One of `options`, the first by default; a name in the address that is none of them is said.

    Options that are not `fixed` may come in another order tomorrow: their first one is written into the address too.
    """
    chosen = next(iter(_known(key, options)), options[0])
    return st.selectbox(label, options, **_follow(key, chosen, options[0] if fixed else None), **more)


def choose_many(label: str, key: str, options: Sequence[str], **more: Any) -> list[str]:
    """Any of `options`, none by default."""
    chosen = _known(key, options)[: more.get("max_selections")]
    return st.multiselect(label, options, **_follow(key, chosen, []), **more)


def choose_number(label: str, key: str, low: float, high: float, default: float, **more: Any) -> float:
    """A number from `low` to `high`: an integer where all three are."""
    kind = type(default)
    try:
        asked = kind(st.query_params.get(key, default))
    except ValueError:
        asked = default
    chosen = min(max(asked, low), high) if asked == asked else default  # NaN is not itself
    draw = st.number_input if kind is int else st.slider
    return kind(draw(label, low, high, **_follow(key, chosen, default), **more))


def choose_whether(label: str, key: str) -> bool:
    """Yes or no, no by default."""
    return st.toggle(label, **_follow(key, st.query_params.get(key) == "True", False))


def _segments(key: str) -> str:
    options = OPTIONS[key]
    chosen = next(iter(_known(key, options)), options[0])
    follow = _follow(key, chosen, options[0])
    return str(st.segmented_control(key.title(), options, required=True, help=HELP[key], **follow))


def _track(scenario: str) -> str:
    """The track, where there is a choice."""
    try:
        known = {fields["track"] for fields in data.settings(scenario)} if has_records(scenario) else set()
    except Exception:  # the board itself says why
        known = set()
    options = [name for name in OPTIONS["track"] if name in known | {FIELDS["track"]}]
    if len(options) == 1:
        return next(iter(_known("track", options)), options[0])
    return choose_one("Track", "track", options, help=HELP["track"], width=130)


def _follow(key: str, value: Any, default: Any) -> dict[str, Any]:
    """What a chooser needs to say what the address says, and to write into it what is chosen.

    Streamlit's own binding would leave no trace for the back button. A chooser that the browser shows otherwise gets a
    new key: until it hears of that it repeats the old choice under the old key, where that changes nothing.
    """
    turns = st.session_state.setdefault("turns", Counter())
    if st.session_state.get(_turned(key, turns[key]), value) != value:
        turns[key] += 1
    name = _turned(key, turns[key])
    st.session_state[name] = value
    return {"key": name, "on_change": _chosen, "args": (name, key, default)}


def _turned(key: str, turn: int) -> str:
    return f"{key} {turn}" if turn else key


def _known(key: str, options: Sequence[str]) -> list[str]:
    """What the address says of a chooser, as far as it is among the options; the rest is said."""
    asked = st.query_params.get_all(key)
    for name in asked:
        if name not in options:
            st.warning(f"The address names {code_span(name)} as {key}, which is not there.")
    return [name for name in dict.fromkeys(asked) if name in options]


def _chosen(name: str, key: str, default: Any) -> None:
    """Write a choice into the address, where the default goes without saying."""
    value = st.session_state[name]
    write_address(key, "" if value == default else value)


def say_empty(scenario: str, fields: dict[str, str]) -> None:
    """That a board has no rows, and the command that makes them."""
    words = [f"ruleset {fields['ruleset']}", f"budget {fields['budget']}", f"recipe {fields['recipe']}"]
    st.info(f"No records yet for {scenario}, {', '.join(words)}. To train, evaluate and record every method:")
    options = [f"--{name} {fields[name]}" for name in ("ruleset", "budget")]
    options += [f"--recipe {fields['recipe']}"] if fields["recipe"] != FIELDS["recipe"] else []
    st.code(f"temper run {scenario} {' '.join(options)}", language="bash")
    if has_records(scenario):
        st.caption("There are records with other settings, or for an earlier version of the scenario.")
