from collections import Counter

import numpy as np
import pandas as pd
import pytest

from bench.dashboard.figures import LABEL, bars_chart, differences_chart, front_chart, lines_chart, outcomes_chart
from bench.dashboard.palette import FAMILIES, OTHERS, OUTCOMES, looks
from bench.method import METHODS
from bench.protocol import ATTACKS

HOSTILE = "<a href='https://example.org'>x</a><script>"


def points(*names: str, on_front: bool = True, family: str = "gan-kd") -> pd.DataFrame:
    place = np.arange(len(names), dtype=float)
    ends = {f"{axis}_{end}": place + step for axis in "xy" for end, step in (("low", -1), ("high", 2))}
    return pd.DataFrame(
        {"label": names, "row": names, "family": family, "x": place, "y": place, **ends, "on_front": on_front}
    )


def test_a_front_has_error_bars_to_both_ends_and_names_its_points() -> None:
    edge, rows = front_chart(points("a", "b"), "clean", "robust").data
    assert list(rows.error_x.array) == [2, 2] and list(rows.error_x.arrayminus) == [1, 1]
    assert list(rows.error_y.array) == [2, 2] and list(rows.error_y.arrayminus) == [1, 1]
    assert list(rows.text) == list(rows.customdata) == ["a", "b"]
    assert list(edge.x) == [0, 1]


def test_what_is_not_on_the_front_has_no_name_but_can_be_picked() -> None:
    edge, rows = front_chart(points("a", on_front=False), "clean", "robust").data
    assert list(rows.text) == [""] and list(rows.customdata) == ["a"]
    assert not len(edge.x)


def test_an_unknown_end_is_not_drawn() -> None:
    frame = points("a").assign(x_low=np.nan, x_high=np.nan)
    rows = front_chart(frame, "clean", "robust").data[1]
    assert list(rows.error_x.array) == list(rows.error_x.arrayminus) == [0]


def test_a_front_has_one_trace_a_family() -> None:
    frame = pd.concat([points("a", "b", family="gan-kd"), points("c", family="mine")])
    names = [trace.name for trace in front_chart(frame, "clean", "robust").data[1:]]
    assert names == ["gan-kd", "mine"]


def test_differences_that_cannot_be_told_are_hollow() -> None:
    frame = pd.DataFrame(
        {"pair": ["a − b", "a − c"], "mean": [2.0, 0.5], "low": [1.0, -1], "high": [3.0, 2], "told": [True, False]}  # noqa: RUF001
    )
    told, untold = differences_chart(frame).data
    assert (told.marker.symbol, untold.marker.symbol) == ("circle", "circle-open")
    assert (list(told.x), list(told.error_x.array), list(untold.error_x.arrayminus)) == ([2], [1], [1.5])


def test_outcomes_are_stacked_and_told_without_colour() -> None:
    shares = pd.DataFrame([[60.0, 30, 10]], ["a"], ["robust", "apgd-ce", "misclassified"])
    figure = outcomes_chart(shares)
    assert figure.layout.barmode == "stack"
    assert [trace.x[0] for trace in figure.data] == [60, 30, 10]
    assert set(ATTACKS) | {"robust", "misclassified"} <= OUTCOMES.keys()
    patterns = [OUTCOMES[name].pattern for name in ATTACKS]
    assert len(set(patterns)) == len(patterns) and "" not in patterns


def test_lines_differ_in_dashes_and_marks_are_named() -> None:
    figure = lines_chart({name: pd.Series([1.0, 2]) for name in "ab"}, "x", "y", marks={"scenario": 0.15})
    assert len({trace.line.dash for trace in figure.data}) == 2
    assert figure.layout.annotations[0].text == "scenario" and figure.layout.shapes[0].x0 == 0.15


def test_bars_have_their_reference_over_them() -> None:
    values = pd.Series([1.0, 2], ["0", "1"], name="robust")
    bars, marks = bars_chart(values, "class", "%", values.rename("teacher") + 1).data
    assert list(bars.y) == [1, 2] and list(marks.y) == [2, 3] and marks.name == "teacher"


CHARTS = [
    lambda: front_chart(points(HOSTILE, family=HOSTILE), "x", "y"),
    lambda: outcomes_chart(pd.DataFrame([[1.0]], [HOSTILE], [HOSTILE])),
    lambda: lines_chart({HOSTILE: pd.Series([1.0])}, "x", "y"),
    lambda: bars_chart(pd.Series([1.0], [HOSTILE], name=HOSTILE), "x", "y"),
]


@pytest.mark.parametrize("chart", CHARTS)
def test_text_of_records_is_escaped_and_backgrounds_are_clear(chart) -> None:
    figure = chart()
    shown = str({**figure.to_dict(), "data": [{**trace.to_plotly_json(), "customdata": None} for trace in figure.data]})
    assert "<a " not in shown and "<script" not in shown
    assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == "rgba(0,0,0,0)"


def test_long_names_are_cut() -> None:
    figure = lines_chart({"x" * 99: pd.Series([1.0])}, "x", "y")
    assert len(figure.data[0].name) == LABEL


def test_families_have_colours_and_symbols_of_their_own() -> None:
    given = looks([*FAMILIES, "mine", "yours"])
    assert len({look.symbol for look in given.values()}) == len(given)
    assert max(Counter(look.colour for look in given.values()).values()) == 2  # more families than Okabe and Ito's
    assert given["mine"] == OTHERS[0]
    assert {METHODS[name].info.family for name in METHODS} <= FAMILIES.keys()
