"""Whether A beats B, in words: the verdict, what the board makes of it, and what would decide it."""

import pytest

from bench.errors import TemperError
from bench.ranking.board import ranking
from bench.ranking.explanation import explain
from bench.ranking.statistics import moderated_variance, paired_difference
from tests.ranking.made import board, entry, outcomes, rows, scenario


@pytest.fixture
def made(tmp_path):
    """Four methods: two far apart, two close to each other, and one with a single seed."""
    on = scenario(seeds=2)
    three = rows(tmp_path, on, {"pgd-at": 0.8, "trades": 0.5, "rslad": 0.48})
    return board(on, *three, [entry(tmp_path, on, "kd", 0, outcomes(0.1, 7))])


def test_a_clear_difference_is_told_with_its_winner_whatever_the_order(made):
    forth, back = explain(made, "pgd-at", "rslad"), explain(made, "rslad", "pgd-at")
    assert forth.winner == back.winner == "pgd-at"
    assert forth.difference.mean == pytest.approx(-back.difference.mean) == pytest.approx(0.32, abs=0.01)
    assert "pgd-at beats rslad by 31.7 points" in forth.text
    assert "Among all 3 pairs" in forth.text


def test_it_agrees_with_the_statistics_and_with_the_ties_of_the_board(made):
    found = explain(made, "trades", "rslad")
    robust = made.robust
    variance, df = moderated_variance([outcomes.mean(1) for outcomes in robust])
    assert found.difference == paired_difference(robust[1], robust[2], variance[1:3], df[1:3])
    letters = ranking(made).set_index("method")["tie_group"]
    assert found.winner is None and found.holm >= 0.05
    assert set(letters["trades"]) & set(letters["rslad"])
    assert "is not significant" in found.text and "tied" in found.text
    assert "80% power for this difference needs" in found.text


def test_a_row_that_is_not_ranked_is_compared_and_said_to_be_so(made):
    found = explain(made, "pgd-at", "kd")
    assert found.holm is None
    assert "1 seed." in found.text and "not ranked" in found.text
    assert found.to_dict()["holm"] is None


@pytest.mark.parametrize(("second", "says"), [("trade", "did you mean trades"), ("pgd-at", "with itself")])
def test_what_cannot_be_compared_is_refused(made, second, says):
    with pytest.raises(TemperError, match=says):
        explain(made, "pgd-at", second)
