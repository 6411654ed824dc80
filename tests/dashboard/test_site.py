"""The static export: links that work from a file, nothing of another host, nothing of a record read as markup."""

import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bench.dashboard.site import MARK, export
from bench.errors import TemperError

Fill = Callable[..., list[Path]]
HOSTILE = "<img src=x onerror=alert(1)>"


class Links(HTMLParser):
    """All addresses that a page names, its images without words, and its headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.nameless: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.addresses += [given[name] or "" for name in ("href", "src") if name in given]
        if tag == "img" and not given.get("alt"):
            self.nameless.append(str(given))


@pytest.fixture
def site(fill: Fill, leaderboards: Path, tmp_path: Path) -> Path:
    fill({"trades": 0.8, "pgd-at": 0.75, "kd": 0.1})
    folder = tmp_path / "site"
    export(folder, leaderboards)
    return folder


def test_every_link_leads_to_a_file_of_the_site(site: Path) -> None:
    assert_links_hold(site)


def test_every_link_of_one_row_leads_to_a_file(fill: Fill, leaderboards: Path, tmp_path: Path) -> None:
    fill({"trades": 0.8}, seeds=1)
    export(tmp_path / "site", leaderboards)
    assert_links_hold(tmp_path / "site")


def test_a_damaged_record_is_named(fill: Fill, leaderboards: Path, tmp_path: Path) -> None:
    folders = fill({"trades": 0.8})
    (folders[0] / "record.json").write_text("{")
    export(tmp_path / "site", leaderboards)
    assert str(folders[0] / "record.json") in (tmp_path / "site" / "index.html").read_text()


def assert_links_hold(site: Path) -> None:
    pages = list(site.glob("*.html"))
    assert {"index.html", "digits-linf.html", "digits-linf.method.trades.html", "digits-linf.fronts.html"} <= {
        page.name for page in pages
    }
    for page in pages:
        for address in Links(page.read_text()).addresses:
            if not address.startswith(("data:", "#")):
                assert (site / address).is_file(), f"{page.name} names {address}"


def test_nothing_is_asked_of_another_host(site: Path) -> None:
    for page in site.glob("*.html"):
        links = Links(page.read_text())
        assert not [a for a in links.addresses if re.match(r"(?:[a-z]+:)?//", a)], page.name
        assert not links.nameless and links.tags.count("h1") == 1
        assert "default-src 'none'" in page.read_text()


def test_it_says_what_the_dashboard_says(site: Path) -> None:
    index = (site / "index.html").read_text()
    assert "trades is first; pgd-at is behind it" in index and "minimum detectable difference" in index
    assert (site / "files" / "digits-linf.csv").read_text().startswith("rank,")
    assert "<math" in (site / "digits-linf.method.trades.html").read_text()
    assert "plotly.min.js" in (site / "digits-linf.fronts.html").read_text()
    assert "plotly.min.js" not in index, "a page without charts loads no charts"


def test_a_second_export_takes_the_place_of_the_first(site: Path, leaderboards: Path) -> None:
    for record in (leaderboards / "records" / "digits-linf" / "kd").glob("*/record.json"):
        record.unlink()
    export(site, leaderboards)
    assert not (site / "digits-linf.method.kd.html").exists()
    assert (site / "digits-linf.method.trades.html").exists()


def test_a_folder_with_other_things_is_left_alone(leaderboards: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(TemperError, match="holds other files"):
        export(tmp_path / "mine", leaderboards)
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_forged_list_of_pages_removes_nothing_elsewhere(site: Path, leaderboards: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years")
    (site / MARK).write_text('{"pages": ["../thesis.txt"]}')
    export(site, leaderboards)
    assert (tmp_path / "thesis.txt").exists()


def test_without_records_the_other_pages_are_there(leaderboards: Path, tmp_path: Path) -> None:
    pages = export(tmp_path / "site", leaderboards)
    assert {"about.html", "submit.html", "index.html"} <= {page.name for page in pages}


def test_text_of_records_stays_text(fill: Fill, leaderboards: Path, tmp_path: Path) -> None:
    (folder, *_) = fill({"pgd-at": 0.75}, seeds=2, family=HOSTILE, reference=HOSTILE)
    record = folder / "record.json"
    record.write_text(record.read_text().replace('"pgd-at"', f'"../{HOSTILE}"'))
    pages = export(tmp_path / "site", leaderboards)
    shown = "".join(page.read_text() for page in pages)
    assert "<img src=x" not in shown and "&lt;img src=x" in shown
    assert all(page.parent == tmp_path / "site" for page in pages)
    assert not list(tmp_path.glob("*.html"))


def test_the_command_says_where_the_site_is_and_nothing_else(fill: Fill, leaderboards: Path, tmp_path: Path) -> None:
    fill({"trades": 0.8, "pgd-at": 0.75}, seeds=1)
    command = [sys.executable, "-m", "bench.cli.main", "export-site", str(tmp_path / "site")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "pages in" in done.stdout
