import pandas as pd
import pytest

from bench.dashboard.blocks import Chart, Facts, Finding, Plain, Table
from bench.dashboard.markup import to_html
from bench.dashboard.text import code_span, listed, shortened

HOSTILE = "<script>alert(1)</script>"


@pytest.mark.parametrize(
    "block",
    [
        Finding(HOSTILE, HOSTILE),
        Plain(HOSTILE),
        Facts([(HOSTILE, HOSTILE)]),
        Table(pd.DataFrame({HOSTILE: [HOSTILE]})),
    ],
)
def test_words_are_escaped(block) -> None:
    html = to_html(block)
    assert "<script" not in html and "&lt;script&gt;" in html


def test_columns_of_numbers_stand_right() -> None:
    html = to_html(Table(pd.DataFrame({"row": ["a", "b"], "points": ["+1.5", ""], "mixed": ["1", "x"]})))
    assert html.count('class="number"') == 3  # the heading and both cells


def test_a_chart_is_no_words() -> None:
    with pytest.raises(TypeError, match="Chart"):
        to_html(Chart(None, "", ""))  # type: ignore[arg-type]


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
