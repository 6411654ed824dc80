import pandas as pd
import pytest

from bench.dashboard.tables import TEACHER_NOTE, labels, ranked_table
from bench.dashboard.text import code_span, listed, shortened
from tests.dashboard.boards import board, with_teacher


def test_accuracies_are_percent_and_the_interval_is_words() -> None:
    row = ranked_table(board(("a", 0.7, "ab"), rank_low=[1], rank_high=[3])).iloc[0]
    assert (row["Robust"], row["Clean"]) == (pytest.approx(70), pytest.approx(98))
    assert (row["95% interval"], row["Tie"], row["Rank range"]) == ("69.0–72.0", "ab", "1–3")  # noqa: RUF001


def test_the_teacher_is_the_last_row_and_has_no_rank() -> None:
    row = ranked_table(with_teacher(board(("a", 0.7, "a")))).iloc[-1]
    assert row["Notes"] == TEACHER_NOTE
    assert pd.isna(row["Rank"]) and pd.isna(row["Seeds"]) and row["95% interval"] == row["Tie"] == ""


def test_notes_say_what_collapsed() -> None:
    frame = board(("a", 0.1, "a"), collapsed=[1], status=["provisional"])
    assert ranked_table(frame)["Notes"][0] == "provisional; 1 of 3 collapsed"


def test_two_rows_of_one_name_show_their_versions() -> None:
    frame = board(("a", 0.7, "a"), ("a", 0.6, "b"), ("c", 0.5, "c"), version=["1", "2", "1"])
    assert labels(frame) == ["a · 1", "a · 2", "c"]


def test_a_column_that_holds_nothing_is_left_out() -> None:
    assert "Gap closed" not in ranked_table(board(("a", 0.7, "a")))
    assert ranked_table(board(("a", 0.7, "a"), gap_closed=[0.5]))["Gap closed"][0] == 50


def test_an_empty_board_is_an_empty_table() -> None:
    assert ranked_table(board()).empty


@pytest.mark.parametrize("text", ["a`b", "``", "x\n# y", "<b>", ":material/home:", "[x](javascript:1)"])
def test_a_code_span_holds_any_text(text: str) -> None:
    span = code_span(text)
    fence = span.split(" ")[0]
    inside = span.removeprefix(fence).removesuffix(fence)
    assert set(fence) == {"`"} and fence not in inside.replace("`" * (len(fence) + 1), "")
    assert inside.strip() == " ".join(text.split())


def test_lists_and_cuts() -> None:
    assert [listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
    assert shortened("abcdef", 4) == "abc…" and shortened("ab\ncd", 9) == "ab cd"
