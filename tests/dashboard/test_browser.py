"""The page in Debian's chromium. Screenshots go to the folder `TEMPER_SCREENSHOTS`, by default a temporary one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from bench.scenario import Scenario
from tests.dashboard.conftest import write_records

pytestmark = pytest.mark.browser

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
WIDTHS = {"wide": (1600, 1000), "narrow": (400, 860)}
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        reason = "chromium is not installed (apt-get install chromium)"
        if os.environ.get("TEMPER_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def address(browser: Browser, digits: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where `temper dashboard` serves invented records of six methods and a damaged one."""
    folder = tmp_path_factory.mktemp("browser")
    root = folder / "leaderboards"
    write_records(root, digits)
    (write_records(root, digits, {"natural": 0.0}, seeds=1)[0] / "record.json").write_text("{")
    with _served(root, folder / "log") as url:
        yield url


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(os.environ.get("TEMPER_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _served(root: Path, log: Path) -> Iterator[str]:
    """`temper dashboard` on a free port, until it answers; ended at the end."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    temper = Path(sys.executable).with_name("temper")
    command = [str(temper), "dashboard", "--headless", "--port", str(port)]
    with log.open("w") as output:
        environment = os.environ | {"TEMPER_LEADERBOARDS": str(root), "TEMPER_SHIPPED": str(root / "none")}
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _wait_for(f"http://localhost:{port}/_stcore/health", process, log)
        yield f"http://localhost:{port}/"
    finally:
        os.killpg(process.pid, 15)
        process.wait(20)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.2)
    pytest.fail(f"no answer from {url}: {log.read_text()}")


@contextmanager
def _page(browser: Browser, *, scheme: str = "light", width: str = "wide") -> Iterator[Page]:
    """A page that may log no error and ask no other host for anything."""
    across, down = WIDTHS[width]
    context = browser.new_context(color_scheme=scheme, viewport={"width": across, "height": down})
    page = context.new_page()
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: errors.append(request.url) if "localhost" not in request.url[:30] else None)
    yield page
    context.close()
    assert errors == []


def _cells(page: Page) -> list[list[str]]:
    """The table as the screen reader gets it, rows without the header."""
    grid = page.get_by_test_id("stDataFrame").locator("table[role=grid]")
    grid.wait_for(state="attached", timeout=30_000)
    rows = grid.locator("tbody tr").all()
    return [[cell.inner_text() for cell in row.locator("td").all()] for row in rows]


def test_the_table_the_finding_and_the_damaged_record(browser: Browser, address: str) -> None:
    with _page(browser) as page:
        page.goto(address)
        text = "\n".join(" ".join(row) for row in _cells(page))
        assert all(name in text for name in ("trades", "pgd-at", "ard", "rslad", "gkd-logit", "kd"))
        expect(page.get_by_text("trades is first;")).to_be_visible()
        expect(page.get_by_test_id("stAlert")).to_contain_text("record.json")
        expect(page.locator(".js-plotly-plot .scatterlayer .trace")).to_have_count(5)


def test_a_link_restores_the_choice_and_back_undoes_it(browser: Browser, address: str) -> None:
    with _page(browser) as page:
        page.goto(f"{address}?scenario=cifar10-linf&budget=m")
        expect(page.get_by_text("temper run cifar10-linf --ruleset compute --budget m")).to_be_visible(timeout=30_000)
        page.get_by_role("radio", name="epochs").click()
        expect(page.get_by_text("temper run cifar10-linf --ruleset epochs --budget m")).to_be_visible()
        assert "ruleset=epochs" in page.url
        page.go_back()
        expect(page.get_by_text("temper run cifar10-linf --ruleset compute --budget m")).to_be_visible()


def test_the_board_can_be_downloaded(browser: Browser, address: str, tmp_path: Path) -> None:
    with _page(browser) as page:
        page.goto(address)
        for label, name, start in (
            ("CSV", "digits-linf-compute-s.csv", "rank,"),
            ("Markdown", "digits-linf-compute-s.md", "| rank"),
        ):
            with page.expect_download(timeout=30_000) as started:
                page.get_by_test_id("stDownloadButton").get_by_role("button", name=label).click()
            assert started.value.suggested_filename == name
            started.value.save_as(tmp_path / name)
            assert (tmp_path / name).read_text().startswith(start)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits(browser: Browser, address: str, pictures: Path, scheme: str, width: str) -> None:
    with _page(browser, scheme=scheme, width=width) as page:
        page.goto(address)
        _cells(page)
        page.locator(".js-plotly-plot .legend").wait_for(timeout=30_000)
        page.wait_for_timeout(1500)
        main = page.get_by_test_id("stMain")
        assert main.evaluate("e => e.scrollWidth - e.clientWidth") <= 1
        height = main.evaluate("e => e.scrollHeight")
        page.set_viewport_size({"width": WIDTHS[width][0], "height": height + 80})
        page.wait_for_timeout(1500)
        page.screenshot(path=pictures / f"leaderboard-{width}-{scheme}.png")


def test_hostile_text_stays_text(browser: Browser, digits: Scenario, tmp_path: Path) -> None:
    (folder,) = write_records(tmp_path / "leaderboards", digits, {"pgd-at": 0.75}, seeds=1, family=HOSTILE)
    record = folder / "record.json"
    record.write_text(record.read_text().replace('"pgd-at"', f'"{HOSTILE}"'))
    with _served(tmp_path / "leaderboards", tmp_path / "log") as url, _page(browser) as page:
        page.goto(f"{url}?scenario={HOSTILE}")
        _cells(page)
        expect(page.get_by_test_id("stHtml")).to_contain_text(HOSTILE)
        assert page.locator("img[src=x]").count() == 0
