"""JSON that every reader understands alike."""

from __future__ import annotations

import pytest

from bench.learning_curve import CurveLine
from bench.strict import strict_json

LINE = '{"step": 1, "progress": 0.5, "learning_rate": 0.1, "passes": 2, "losses": {"student": 1.5}%s}'


def test_what_json_says_is_read() -> None:
    assert strict_json(b'{"a": [1, 2.5, null], "b": {"a": "x"}}') == {"a": [1, 2.5, None], "b": {"a": "x"}}


@pytest.mark.parametrize("text", ['{"a": 1, "a": 1}', '[{"b": {"a": 1, "a": 2}}]'])
def test_a_key_is_there_once(text: str) -> None:
    with pytest.raises(ValueError, match="the key 'a' is there twice"):
        strict_json(text)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "[-1e999]"])
def test_every_number_is_one(text: str) -> None:
    with pytest.raises(ValueError, match="is no number in JSON"):
        strict_json(text)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (', "metrics": {"a": NaN}', "metrics.a: "),
        (', "metrics": {"\\u001b[2J": 1.0}', "must be one line of at most 200 printable"),
        (f', "metrics": {{"{"x" * 201}": 1.0}}', "must be one line of at most 200 printable"),
        (', "extra": 1', "extra: "),
        (', "step": 2', "the key 'step' is there twice"),
        (', "metrics": {"a": "1"}', "metrics.a: "),
    ],
)
def test_a_line_of_a_learning_curve_says_nothing_else(more: str, says: str) -> None:
    assert CurveLine.from_json(LINE % "").passes == 2.0
    with pytest.raises(ValueError, match=says) as refusal:
        CurveLine.from_json(LINE % more)
    assert str(refusal.value).isprintable()
