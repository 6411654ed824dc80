"""The leaderboard's table: what it says, in which order, and that nothing of a record is read as markup."""

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.dashboard.table import SORTS, SPARK, Selection, board_html, in_order, sparkline
from bench.dashboard.view import View, diagnosed, needs
from bench.ranking.rows import read_board
from bench.records import EvaluationRecord
from bench.scenario import Scenario

Fill = Callable[..., list[Path]]
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def view(digits: Scenario, leaderboards: Path) -> Callable[[], View]:
    return lambda: View.of(read_board(digits, leaderboards))


def parsed(html: str) -> ElementTree.Element:
    """The markup as a tree: it is well-formed."""
    return ElementTree.fromstring(html.replace("&nbsp;", " "))


def rows(html: str) -> list[str]:
    return [row.attrib["data-row"] for row in parsed(html).iter("tr") if "data-row" in row.attrib]


def cells(html: str, row: str) -> dict[str, str]:
    """The cells of a row by their heading on narrow pages, and its number."""
    (found,) = [each for each in parsed(html).iter("tr") if each.attrib.get("data-row") == row]
    named = {cell.attrib["data-head"]: "".join(cell.itertext()).strip() for cell in found if "data-head" in cell.attrib}
    robust = next(cell for cell in found if cell.attrib["class"] == "number robust")
    return named | {"robust": "".join(robust.itertext()).strip()}


def test_a_row_says_what_the_ranking_says(fill: Fill, view: Callable[[], View]) -> None:
    fill()
    board = view()
    html, first = board_html(board), board.ranked.iloc[0]
    assert rows(html)[0] == first["method"] == "trades"
    shown = cells(html, "trades")
    assert shown["robust"] == f"{100 * first['robust']:.1f}" and shown["clean"] == f"{100 * first['clean']:.1f}"
    assert shown["tie"] == first["tie_group"] and shown["passes"] == "2,299"
    assert shown["papers, CIFAR-10"] == "46.5–49.5"  # noqa: RUF001


def test_the_interval_is_drawn_where_it_lies(fill: Fill, view: Callable[[], View]) -> None:
    fill({"trades": 0.8})
    board = view()
    (bar,) = [line for line in parsed(board_html(board)).iter("line") if line.attrib["class"] == "interval"]
    low, high = (100 * float(board.ranked[f"robust_{end}"].iloc[0]) for end in ("low", "high"))
    assert (bar.attrib["x1"], bar.attrib["x2"]) == (f"{low:.1f}%", f"{high:.1f}%")


def test_the_teacher_is_the_last_row_whatever_the_order(fill: Fill, view: Callable[[], View]) -> None:
    fill()
    board = view()
    for sort in SORTS:
        assert rows(board_html(board, Selection(sort=sort)))[-1] == "teacher: trades", sort


def test_orders() -> None:
    table = [
        {"label": "b", "robust": 0.5, "passes": None, "status": "ranked"},
        {"label": "a", "robust": 0.7, "passes": 9.0, "status": "provisional"},
        {"label": "c", "robust": 0.9, "passes": 5.0, "status": "unranked"},
    ]
    order = {
        sort: "".join(row["label"] for row in in_order(table, sort)) for sort in ("robust", "passes", "method", "?")
    }
    assert order == {"robust": "abc", "passes": "abc", "method": "abc", "?": "abc"}
    assert [row["label"] for row in in_order([{**row, "status": "ranked"} for row in table], "passes")] == [
        "c",
        "a",
        "b",
    ]


def test_filters_leave_ranks_as_they_are(fill: Fill, view: Callable[[], View]) -> None:
    fill()
    html = board_html(view(), Selection(families=["clean-kd"]))
    assert rows(html) == ["kd"]
    assert "<b>6</b>" in html
    assert set(rows(board_html(view(), Selection(needs=["none"])))) == {"trades", "pgd-at"}
    assert not rows(board_html(view(), Selection(families=["clean-kd"], needs=["none"])))


def test_picked_rows_are_ticked(fill: Fill, view: Callable[[], View]) -> None:
    fill()
    html = board_html(view(), Selection(picked=["ard"]))
    ticked = [box.attrib["data-pick"] for box in parsed(html).iter("input") if "checked" in box.attrib]
    assert ticked == ["ard"]


def test_only_registered_methods_have_links(fill: Fill, view: Callable[[], View]) -> None:
    fill()
    links = [a.attrib["href"] for a in parsed(board_html(view(), link=lambda name: f"?{name}")).iter("a")]
    assert sorted(links) == ["?ard", "?gkd-logit", "?kd", "?pgd-at", "?rslad", "?trades"]


def test_text_of_records_is_escaped(fill: Fill, view: Callable[[], View]) -> None:
    (folder,) = fill({"pgd-at": 0.75}, seeds=1, family=HOSTILE, reference=HOSTILE)
    record = folder / "record.json"
    record.write_text(record.read_text().replace('"pgd-at"', f'"{HOSTILE}"'))
    html = board_html(view(), link=lambda name: f"?{name}")
    assert rows(html)[0] == HOSTILE
    assert not list(parsed(html).iter("img")) and "<img" not in html


def test_a_sparkline_stands_about_the_mean() -> None:
    dots = sparkline([0.7, 0.8], 0.75, 0.05)
    assert dots[0][0] < dots[1][0] <= SPARK[0]
    assert dots[0][1] > SPARK[1] / 2 > dots[1][1]
    assert sparkline([0.5], 0.5, 0.0) == [(4, SPARK[1] / 2)]


def test_needs_in_words() -> None:
    assert (needs("pgd-at"), needs("b-mtard"), needs("unknown")) == (["none"], ["natural teacher", "teacher"], ["none"])


def verdict(**verdicts: str) -> EvaluationRecord:
    found = {name: {"verdict": value, "value": 0, "threshold": 0} for name, value in verdicts.items()}
    return EvaluationRecord.model_construct(diagnostics=found)


def test_diagnostics_in_words() -> None:
    assert diagnosed([verdict(transfer="pass")]) == "all pass"
    assert diagnosed([verdict(transfer="pass"), None]) == "all pass (1 of 2 seeds measured)"
    assert diagnosed([verdict(square_gain="warn"), verdict(square_gain="pass")]) == "warn: square gain (1 of 2)"
    assert diagnosed([None]) == diagnosed([verdict()]) == "not measured"
