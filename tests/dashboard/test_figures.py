from collections import Counter

import numpy as np
import pytest

from bench.dashboard.figures import LABEL, interval_chart
from bench.dashboard.palette import FAMILIES, OTHERS, looks
from bench.method import METHODS
from tests.dashboard.boards import board, with_teacher

HOSTILE = "<a href='https://example.org'>x</a><script>"


def test_the_interval_is_drawn_to_both_ends() -> None:
    trace = interval_chart(board(("a", 0.7, "a"), ("b", 0.6, "b"))).data[0]
    np.testing.assert_allclose(trace.x, [70, 60])
    np.testing.assert_allclose(trace.error_x.array, 2, atol=1e-9)
    np.testing.assert_allclose(trace.error_x.arrayminus, 1, atol=1e-9)


def test_the_best_is_at_the_top() -> None:
    figure = interval_chart(board(("a", 0.7, "a"), ("b", 0.6, "b")))
    assert list(figure.layout.yaxis.ticktext) == ["a", "b"]
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]


def test_one_trace_a_family_and_one_for_clean_accuracy() -> None:
    frame = board(("a", 0.7, "a"), ("b", 0.6, "b"), ("c", 0.5, "c"), family=["gan-kd", "mine", "gan-kd"])
    traces = {trace.name: trace for trace in interval_chart(frame).data}
    assert list(traces) == ["gan-kd", "mine", "clean accuracy"]
    assert list(traces["gan-kd"].y) == [0, 2]
    assert traces["gan-kd"].marker.color == FAMILIES["gan-kd"].colour
    assert traces["clean accuracy"].marker.symbol.endswith("-open")


def test_the_teacher_is_a_dashed_line_and_no_row() -> None:
    figure = interval_chart(with_teacher(board(("a", 0.7, "a")), robust=0.83))
    (line,) = figure.layout.shapes
    assert (line.x0, line.x1, line.line.dash) == (pytest.approx(83), pytest.approx(83), "dash")
    assert figure.layout.annotations[0].text == "teacher 83.0"
    assert len(figure.layout.yaxis.ticktext) == 1


def test_an_unknown_interval_is_not_drawn() -> None:
    trace = interval_chart(board(("a", 0.7, "a"), robust_low=[None], robust_high=[None])).data[0]
    assert list(trace.error_x.array) == list(trace.error_x.arrayminus) == [0]


def test_text_of_records_is_escaped_and_cut() -> None:
    figure = interval_chart(board((HOSTILE, 0.7, "a"), family=[HOSTILE]))
    shown = str(figure.to_dict())
    assert "<a " not in shown and "<script" not in shown
    assert "&lt;a href" in figure.layout.yaxis.ticktext[0]
    assert "…" in figure.layout.yaxis.ticktext[0] and len(HOSTILE) > LABEL


def test_backgrounds_are_clear() -> None:
    layout = interval_chart(board(("a", 0.7, "a"))).layout
    assert layout.paper_bgcolor == layout.plot_bgcolor == "rgba(0,0,0,0)"


def test_families_have_colours_and_symbols_of_their_own() -> None:
    given = looks([*FAMILIES, "mine", "yours"])
    assert len({look.symbol for look in given.values()}) == len(given)
    assert max(Counter(look.colour for look in given.values()).values()) == 2  # more families than Okabe and Ito's
    assert given["mine"] == OTHERS[0]
    assert {METHODS[name].info.family for name in METHODS} <= FAMILIES.keys()
