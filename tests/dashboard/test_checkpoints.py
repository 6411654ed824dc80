"""Checkpoints from elsewhere on the pages: in a part of their own, with what is known of them, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from bench.dashboard import data
from bench.dashboard.blocks import Downloads, Finding
from bench.dashboard.frames import GROUPS
from bench.dashboard.pages import compare, fronts, history, leaderboard, method
from bench.dashboard.site import export
from bench.dashboard.table import NOTHING_CHOSEN, SORTS, Selection, board_html
from bench.dashboard.view import View
from bench.protocol import ROBUST
from bench.ranking.rows import read_board
from bench.scenario import Scenario
from tests.checkpoints.made import put
from tests.dashboard.conftest import CHANCES
from tests.dashboard.test_app import board as shown_board
from tests.dashboard.test_app import opened, words

Fill = Callable[..., list[Path]]
HOSTILE = "<img src=x onerror=alert(1)>"
SOURCE = "https://example.org/zoo?a=1&b=2"
HEADING = next(heading for heading, statuses in GROUPS.items() if "checkpoint" in statuses)


def add(root: Path, on: Scenario, name: str, robust: int, **more: object) -> Path:
    """A checkpoint that is robust on so many of the 600 images."""
    outcome = np.where(np.arange(on.data.split.test) < robust, ROBUST, 1).astype(np.uint8)
    label = np.arange(len(outcome)) % 10
    stands = outcome == ROBUST
    frame = pd.DataFrame({"label": label, "prediction": label, "outcome": outcome, "cw": stands, "beyond": stands})
    return put(root, on, name, frame, **more)


@pytest.fixture
def view(fill: Fill, digits: Scenario, leaderboards: Path) -> View:
    """Six methods, two checkpoints, and what was retracted."""
    folders = fill()
    add(leaderboards, digits, "mine", 450, source=SOURCE)
    add(leaderboards, digits, HOSTILE, 480)
    retracted = [path for path in folders if path.parent.name == "kd"]
    for folder in retracted:
        record = folder / "record.json"
        record.write_text(record.read_text().replace('"trial_id"', '"retracted": "It was wrong.", "trial_id"'))
    return View.of(read_board(digits, leaderboards))


def parsed(html: str) -> ElementTree.Element:
    return ElementTree.fromstring(html)


def parts(html: str) -> list[tuple[str, list[str]]]:
    """The parts of the table: heading and names of rows."""
    return [
        (
            "".join(t for row in body.iter("tr") if row.get("class") == "group" for t in row.itertext()).strip(),
            [row.attrib["data-row"] for row in body.iter("tr") if "data-row" in row.attrib],
        )
        for body in parsed(html).iter("tbody")
    ]


@pytest.mark.parametrize("sort", SORTS)
def test_they_stand_in_a_part_of_their_own_whatever_the_order(view: View, sort: str) -> None:
    (_, first), (heading, own), (_, withdrawn) = parts(board_html(view, Selection(sort=sort)))
    assert first[-1] == "teacher: trades" and not {"mine", HOSTILE} & set(first)
    assert heading == HEADING and set(own) == {"mine", HOSTILE} and withdrawn == ["kd"]
    if sort == "robust":
        assert own == [HOSTILE, "mine"]


def test_a_filter_for_methods_hides_them(view: View) -> None:
    html = board_html(view, Selection(families=["teacher-free"]))
    assert [heading for heading, _ in parts(html)] == [""] and not list(parsed(html).iter("details"))


def test_a_row_leads_nowhere_and_cannot_be_compared(view: View) -> None:
    tree = parsed(board_html(view, link=lambda name: f"?{name}"))
    row = next(row for row in tree.iter("tr") if row.get("data-row") == "mine")
    assert not list(row.iter("a")) and not list(row.iter("input"))
    text = " ".join("".join(row.itertext()).split())
    assert "from example.org" in text and "warn: square gain" in text and "75.0" in text
    (bar,) = [line for line in row.iter("line") if line.get("class") == "interval"]
    low, high = (float(bar.attrib[end].rstrip("%")) for end in ("x1", "x2"))
    assert low < 75 < high and high - low < 8


def test_what_is_known_of_each_is_told_and_escaped(view: View) -> None:
    tree = parsed(board_html(view))
    first, second = tree.iter("details")
    assert HOSTILE in "".join(first.itertext()) and not list(tree.iter("img"))
    told = " ".join(" ".join(second.itertext()).split())
    (link,) = second.iter("a")
    assert link.attrib["href"] == SOURCE and "nofollow" in link.attrib["rel"]
    for words_ in ("cnn (widths [8, 8])", "a" * 64, "commit cccccccccccc, with changes", "Square alone breaks 12"):
        assert words_ in told
    assert "nobody said" in "".join(first.itertext())


def test_the_page_names_them_and_lets_them_be_taken_along(view: View) -> None:
    blocks = leaderboard.blocks(view, NOTHING_CHOSEN)
    (finding,) = [block for block in blocks if isinstance(block, Finding)]
    assert finding.text.startswith("trades is first") and finding.detail.endswith(
        f"Trained elsewhere and not ranked: {HOSTILE} 80.0 % and mine 75.0 %."
    )
    (downloads,) = [block for block in blocks if isinstance(block, Downloads)]
    assert all(b"mine" in file.make() for file in downloads.files)


def test_the_other_pages_say_what_they_said_without_them(view: View) -> None:
    without = View.of(replace(view.board, checkpoints=[]))
    assert view.labels == without.labels and set(view.labels) == CHANCES.keys() - {"kd"}
    pages: list[Callable[[View], object]] = [
        lambda each: fronts.blocks(each, [each]),
        lambda each: compare.blocks(each, each.labels[:3]),
        lambda each: method.blocks(each, "trades"),
        lambda each: history.blocks(each, {}),
    ]
    for page in pages:
        assert str(page(view)) == str(page(without))


def test_what_was_read_is_read_again_when_a_checkpoint_comes(digits: Scenario, leaderboards: Path) -> None:
    before = data.fingerprint(digits.name)
    add(leaderboards, digits, "mine", 450)
    assert data.fingerprint(digits.name) != before


def test_scenarios_with_a_checkpoint_come_first(digits: Scenario, leaderboards: Path) -> None:
    assert data.scenarios()[0] == "digits-linf"
    add(leaderboards, digits.model_copy(update={"name": "fashion-mnist-small-linf"}), "mine", 450)
    assert data.scenarios()[0] == "fashion-mnist-small-linf"


def test_a_board_without_a_record_shows_them_and_the_other_pages_stand(digits: Scenario, leaderboards: Path) -> None:
    add(leaderboards, digits, "mine", 450)
    app = opened()
    assert not app.exception and not app.error and leaderboard.NO_METHOD in words(app)
    assert parts(shown_board(app)) == [("", ["teacher: trades"]), (HEADING, ["mine"])]
    for page in ("fronts", "compare", "method", "history"):
        app = opened(page)
        assert not app.exception and not app.error and "No records yet" in words(app)


def test_the_site_has_them_too(fill: Fill, digits: Scenario, leaderboards: Path, tmp_path: Path) -> None:
    add(leaderboards, digits, "mine", 450, source=SOURCE)
    export(tmp_path / "alone", leaderboards)
    index = (tmp_path / "alone" / "index.html").read_text()
    assert leaderboard.NO_METHOD in index and HEADING in index and 'data-row="mine"' in index
    for page in ("fronts", "compare", "history"):
        assert leaderboard.NO_METHOD in (tmp_path / "alone" / f"digits-linf.{page}.html").read_text()
    fill({"trades": 0.8, "pgd-at": 0.75}, seeds=2)
    pages = export(tmp_path / "site", leaderboards)
    assert [page.name for page in pages if HEADING in page.read_text()] == ["digits-linf.html", "index.html"]
    assert b"mine" in (tmp_path / "site" / "files" / "digits-linf.csv").read_bytes()
    assert not [page for page in pages if ".method.mine" in page.name]
