"""Numbers with what they count."""

from __future__ import annotations

import pytest

from bench.words import counted


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 records"), (1, "1 record"), (2, "2 records"), (1797, "1797 records")]
)
def test_one_is_singular(number: int, words: str) -> None:
    assert counted(number, "record") == words


def test_a_plural_may_be_given() -> None:
    assert [counted(number, "class", "classes") for number in (1, 2)] == ["1 class", "2 classes"]
