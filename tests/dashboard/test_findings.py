import pytest

from bench.dashboard.findings import figures_in_words, finding, method_finding
from tests.dashboard.boards import board, with_teacher

SENTENCES = [
    ("a b b b", "m1 is first; m2, m3 and m4 are tied behind it by 5.0 to 15.0 points."),
    ("a b c d e", "m1 is first; m2 is behind it by 5.0 points; 3 more follow."),
    ("a b c", "m1 is first; m2 is behind it by 5.0 points; 1 more follows."),
    ("a a b b", "m1 and m2 are tied for first place; m3 and m4 are tied behind them by 5.0 to 15.0 points."),
    ("a ab b", "m1 and m2 are tied for first place; m3 is behind m1 by 10.0 points."),
    ("ab a b", "m1 leads, not significantly ahead of m2 and m3."),
    ("a bc b c", "m1 is first; m2 is behind it by 5.0 points, not significantly ahead of m3 and m4."),
    ("a a a", "All 3 methods are tied: m1, m2 and m3."),
    ("a", "m1 is the only ranked method."),
    ("a a a a a a a a", "All 8 methods are tied: m1, m2, m3, m4, m5, m6 and 2 more."),
]


@pytest.mark.parametrize(("ties", "sentence"), SENTENCES)
def test_the_finding_follows_the_ties(ties: str, sentence: str) -> None:
    rows = [(f"m{k}", 0.8 - 0.05 * k, tie) for k, tie in enumerate(ties.split(), 1)]
    assert finding(board(*rows)) == sentence


def test_without_methods_there_is_nothing_to_say() -> None:
    empty = board()
    assert finding(empty) == figures_in_words(empty) == ""
    assert finding(with_teacher(empty)) == figures_in_words(with_teacher(empty)) == ""


def test_provisional_rows_are_not_ranked() -> None:
    frame = board(("a", 0.7, "a"), status=["provisional"], tie_group=[None], rank=[None])
    assert finding(frame) == "No method is ranked yet; a is highest so far, at 70.0 %."
    assert figures_in_words(frame) == ""


def test_a_provisional_row_above_does_not_lead() -> None:
    frame = board(("new", 0.9, "a"), ("a", 0.7, "a"), ("b", 0.6, "b"), status=["provisional", "ranked", "ranked"])
    assert finding(frame) == "a is first; b is behind it by 10.0 points."
    assert figures_in_words(frame).startswith("Highest robust accuracy: 70.0 %")


def test_numbers_name_the_interval_and_the_teacher() -> None:
    frame = with_teacher(board(("a", 0.7, "a")), robust=0.83)
    expected = "Highest robust accuracy: 70.0 % (95% interval 69.0 to 72.0); the teacher reaches 83.0 %."
    assert figures_in_words(frame) == expected


STANDINGS = [
    (0, "a: 80.0 % robust (95% interval 79.0 to 82.0) and 98.0 % clean; rank 1 of 3; tied with b."),
    (
        1,
        "b: 75.0 % robust (95% interval 74.0 to 77.0) and 98.0 % clean; "
        "rank 2 of 3 (could be 1 to 3); tied with a and c.",
    ),
    (3, "d: 60.0 % robust (95% interval 59.0 to 62.0) and 98.0 % clean; provisional, not ranked."),
]


@pytest.mark.parametrize(("row", "sentence"), STANDINGS)
def test_where_a_row_stands(row: int, sentence: str) -> None:
    rows = [("a", 0.8, "a"), ("b", 0.75, "ab"), ("c", 0.7, "b"), ("d", 0.6, "")]
    status = ["ranked", "ranked", "ranked", "provisional"]
    frame = board(*rows, status=status, rank_low=[1, 1, 3, 4], rank_high=[1, 3, 3, 4])
    assert method_finding(frame, row) == sentence


def test_a_row_that_is_tied_with_none_says_so() -> None:
    assert method_finding(board(("a", 0.8, "a"), ("b", 0.5, "b")), 0).endswith("rank 1 of 2; no ties.")
