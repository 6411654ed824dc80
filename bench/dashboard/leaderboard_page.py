"""The leaderboard of a chosen scenario: a finding, the interval chart, the ranked table, downloads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import pandas as pd
import streamlit as st

from bench.dashboard import data
from bench.dashboard.figures import interval_chart
from bench.dashboard.findings import figures_in_words, finding
from bench.dashboard.tables import methods, ranked_table
from bench.dashboard.text import code_span, escaped
from bench.ranking.render import to_csv, to_markdown
from bench.scenario import Ruleset, Tier

RULESETS: tuple[str, ...] = get_args(Ruleset)
BUDGETS: tuple[str, ...] = get_args(Tier)
RULESET_HELP = "compute: every trial may spend the same passes. epochs: every trial sees the data equally often."
BUDGET_HELP = "How many passes per training example a trial may spend: tiers s, m and l of the scenario."
PERCENT = "%.1f %%"
DOWNLOAD = ":material/download:"
TALL = 40  # rows; a longer table scrolls in itself


class Choice(NamedTuple):
    """What the reader chose: the three parameters of the page's address."""

    scenario: str
    ruleset: str
    budget: str


def page() -> None:
    """Draw the page."""
    st.title("Robust accuracy under AutoAttack", anchor=False)
    choice = _choose()
    if not data.has_records(choice.scenario):  # nor asked for its board: that would fetch data to fingerprint them
        _say_empty(choice)
        return
    try:
        frame = data.board(*choice)
    except Exception as error:  # whatever is wrong with the files: a page shows words, never a traceback
        st.error(f"The board of {choice.scenario} cannot be computed: {code_span(str(error) or repr(error))}")
        return
    _warn(frame.attrs["problems"])
    if methods(frame).empty:
        _say_empty(choice)
    else:
        _show(frame)


def _choose() -> Choice:
    """The choosers; they write the address and follow it."""
    names = data.scenarios()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        _follow_address("scenario", names)
        st.selectbox(
            "Scenario", names, key="scenario", format_func=_titled, on_change=_to_address, args=("scenario",), width=440
        )
        _segments("Ruleset", "ruleset", RULESETS, help=RULESET_HELP)
        _segments("Budget", "budget", BUDGETS, help=BUDGET_HELP)
    state = st.session_state
    return Choice(state["scenario"], state["ruleset"], state["budget"])


def _segments(label: str, key: str, options: Sequence[str], **more: Any) -> None:
    _follow_address(key, options)
    st.segmented_control(label, options, key=key, on_change=_to_address, args=(key,), **more)


def _follow_address(key: str, options: Sequence[str]) -> None:
    """Set a chooser to what the address says, or to the first option; say so when the address has another."""
    asked = st.query_params.get(key, options[0])
    if asked not in options:
        st.warning(f"There is no {key} {code_span(asked)}; this is {options[0]}.")
    st.session_state[key] = asked if asked in options else options[0]


def _to_address(key: str) -> None:
    """Write a choice into the address; a segment that was clicked off stays chosen."""
    if st.session_state[key] is not None:
        st.query_params[key] = st.session_state[key]


def _titled(name: str) -> str:
    scenario = data.scenario(name)
    title = f"{name}: {scenario.title}" if scenario and scenario.title else name
    return title if data.has_records(name) else f"{title} (no records)"


def _warn(problems: list[str]) -> None:
    """Name each damaged file."""
    if problems:
        one = len(problems) == 1
        head = f"{len(problems)} record{' is' if one else 's are'} damaged and left out; the rest is shown."
        st.warning("\n- ".join([head + "\n", *map(code_span, problems)]))


def _say_empty(choice: Choice) -> None:
    about = f"{choice.scenario}, ruleset {choice.ruleset}, budget {choice.budget}"
    st.info(f"No records yet for {about}. This command trains, judges and records every method:")
    st.code(f"temper run {choice.scenario} --ruleset {choice.ruleset} --budget {choice.budget}", language="bash")
    if data.has_records(choice.scenario):
        st.caption("The scenario has records under another ruleset or budget, or of an earlier version of it.")


def _show(frame: pd.DataFrame) -> None:
    """A board with at least one method."""
    st.html(
        f'<p style="font-size:1.35rem;font-weight:600;line-height:1.35;margin:0">{escaped(finding(frame))}</p>'
        f'<p style="margin:0.25rem 0 0;opacity:0.75">{escaped(figures_in_words(frame))}</p>'
    )
    st.plotly_chart(interval_chart(frame), theme="streamlit", config={"displayModeBar": False})
    height: Literal["content"] | int = "content" if len(frame) <= TALL else 600
    st.dataframe(ranked_table(frame), hide_index=True, height=height, column_config=_columns(), placeholder="")
    st.caption(frame.attrs["caption"])
    _downloads(frame)


def _columns() -> dict[str, Any]:
    """How the columns of `ranked_table` are shown."""
    column = st.column_config
    return {
        "Rank": column.NumberColumn("#", pinned=True, width=40, help="By mean robust accuracy; see the ties."),
        "Method": column.TextColumn(pinned=True, width=130),
        "Robust": column.NumberColumn(format=PERCENT, help="Accuracy under AutoAttack on the whole test split."),
        "95% interval": column.TextColumn(help="Of robust accuracy, in percent, over seeds and images; unadjusted."),
        "Tie": column.TextColumn(help="Methods that share a letter are not significantly different (Holm, 5%)."),
        "Rank range": column.TextColumn(help="The ranks that the comparisons leave open."),
        "Clean": column.NumberColumn(format=PERCENT),
        "PGD-20": column.NumberColumn(format=PERCENT),
        "Gap closed": column.NumberColumn(format="%.0f %%", help="From PGD-AT (0) to the teacher (100)."),
        "Passes": column.NumberColumn(format="%.0f", help="Spent per training example, measured."),
        "Seeds": column.NumberColumn(width="small"),
        "Notes": column.TextColumn(width="medium"),
    }


def _downloads(frame: pd.DataFrame) -> None:
    about = frame.attrs
    name = f"{about['scenario']}-{about['ruleset']}-{about['budget']}"
    with st.container(horizontal=True):
        st.download_button("CSV", to_csv(frame), f"{name}.csv", "text/csv", on_click="ignore", icon=DOWNLOAD)
        st.download_button(
            "Markdown", to_markdown(frame), f"{name}.md", "text/markdown", on_click="ignore", icon=DOWNLOAD
        )
