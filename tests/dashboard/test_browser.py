"""The pages in Debian's chromium. Screenshots go to the folder `TEMPER_SCREENSHOTS`, by default a temporary one."""

from __future__ import annotations

import os
import re
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
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect, sync_playwright

from bench.dashboard.navigation import FIRST, PLACES
from bench.dashboard.site import export
from bench.records import shipped_leaderboards
from bench.scenario import Scenario
from bench.skeleton import write_skeleton
from tests.dashboard.conftest import write_records
from tests.dashboard.test_checkpoints import add as add_checkpoint

pytestmark = pytest.mark.browser
expect.set_options(timeout=30_000)

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
WIDTHS = {"wide": (1600, 1000), "narrow": (400, 860)}
HOSTILE = "<img src=x onerror=alert(1)>![x](http://localhost:1/x.png)"
OURS = re.compile(r"(http://localhost:\d+/|ws://localhost:\d+/|file:|data:|blob:)")


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
    with _served(root, folder / "log", shipped=root / "none") as url:
        yield url


@pytest.fixture(scope="module")
def real(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where it serves the records that ship."""
    folder = tmp_path_factory.mktemp("real")
    with _served(folder / "leaderboards", folder / "log", shipped=shipped_leaderboards()) as url:
        yield url


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(os.environ.get("TEMPER_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _served(root: Path, log: Path, shipped: Path) -> Iterator[str]:
    """`temper dashboard` on a free port, until it answers; ended at the end."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    temper = Path(sys.executable).with_name("temper")
    command = [str(temper), "dashboard", "--headless", "--port", str(port)]
    with log.open("w") as output:
        environment = os.environ | {"TEMPER_LEADERBOARDS": str(root), "TEMPER_SHIPPED": str(shipped)}
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
    page.on("console", lambda message: errors.append(message.text) if _wrong(message) else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: errors.append(request.url) if not OURS.match(request.url) else None)
    yield page
    context.close()
    assert errors == []


def _wrong(message: ConsoleMessage) -> bool:
    """Whether a message is an error; below a page's own path Streamlit first asks in vain for its own address."""
    return message.type == "error" and "/_stcore/" not in message.location["url"]


def _board(page: Page) -> Locator:
    """The leaderboard's table, once it is there."""
    board = page.locator(".board table")
    board.wait_for(timeout=60_000)
    return board


def _order(page: Page) -> list[str]:
    rows = _board(page).locator("tbody tr")
    return [str(name) for name in rows.evaluate_all("rows => rows.map(row => row.dataset.row)")]  # all at one moment


def _sorted_by(page: Page) -> Locator:
    return page.locator(".board th[aria-sort]:not([aria-sort=none])")


# --- the leaderboard --------------------------------------------------------------------------------


def test_the_table_the_finding_and_the_damaged_record(browser: Browser, address: str) -> None:
    with _page(browser) as page:
        page.goto(address)
        assert set(_order(page)) == {"trades", "pgd-at", "ard", "rslad", "gkd-logit", "kd", "teacher: trades"}
        expect(page.get_by_text("trades is first;")).to_be_visible()
        expect(page.get_by_test_id("stAlert")).to_contain_text("record.json")


def test_a_link_restores_the_choice_and_back_undoes_it(browser: Browser, address: str) -> None:
    with _page(browser) as page:
        page.goto(f"{address}?scenario=cifar10-linf&budget=m")
        expect(page.get_by_text("temper run cifar10-linf --ruleset compute --budget m")).to_be_visible(timeout=60_000)
        page.get_by_role("radio", name="epochs").click()
        expect(page.get_by_text("temper run cifar10-linf --ruleset epochs --budget m")).to_be_visible()
        assert "ruleset=epochs" in page.url
        page.go_back()
        expect(page.get_by_text("temper run cifar10-linf --ruleset compute --budget m")).to_be_visible()


def test_a_link_restores_filters_order_and_picks(browser: Browser, address: str) -> None:
    with _page(browser) as page:
        page.goto(f"{address}?family=teacher-free&family=clean-kd&sort=method&pick=kd&pick=trades")
        assert _order(page) == ["kd", "pgd-at", "trades"]
        expect(_sorted_by(page)).to_contain_text("Method")
        assert [box.is_checked() for box in page.locator(".board [data-pick]").all()] == [True, False, True]


CLICKS = """async (board, [first, second, pause]) => {
  const root = board.getRootNode();
  root.querySelector(first).click();
  await new Promise((resolve) => setTimeout(resolve, pause));
  root.querySelector(second).click();
}"""


@pytest.mark.parametrize("pause", [0, 60, 250])
def test_sorting_keeps_what_is_picked_however_soon(browser: Browser, address: str, pause: int) -> None:
    with _page(browser) as page:
        page.goto(address)
        _board(page)
        page.locator(".board").evaluate(CLICKS, ['[data-pick="kd"]', '[data-sort="method"]', pause])
        for _ in range(20):  # the answer to the tick may come late, and does not draw the order before
            order = _order(page)[:6]
            assert order == sorted(order)
            page.wait_for_timeout(100)
        assert "pick=kd" in page.url and "sort=method" in page.url
        page.reload()
        expect(page.locator(".board tr.picked")).to_have_attribute("data-row", "kd", timeout=60_000)
        expect(_sorted_by(page)).to_contain_text("Method")


@pytest.mark.parametrize("pause", [0, 60, 250])
def test_two_quick_ticks_pick_both(browser: Browser, address: str, pause: int) -> None:
    with _page(browser) as page:
        page.goto(f"{address}?pick=trades&family=clean-kd&family=adversarial-kd")  # a pick that the table does not show
        _board(page)
        page.locator(".board").evaluate(CLICKS, ['[data-pick="kd"]', '[data-pick="ard"]', pause])
        expect(page.get_by_role("link", name="Compare these 3")).to_be_visible()
        expect(page.locator(".board tr.picked")).to_have_count(2)
        assert page.url.count("pick=") == 3


def test_the_keyboard_reaches_order_and_picks(browser: Browser, address: str) -> None:
    with _page(browser) as page:
        page.goto(address)
        _board(page)
        button = page.locator('.board [data-sort="passes"]')
        button.focus()
        page.keyboard.press("Enter")
        expect(_sorted_by(page)).to_contain_text("Passes")
        page.wait_for_url("**sort=passes**")
        expect(button).to_be_focused()
        page.locator('.board [data-pick="ard"]').focus()
        page.keyboard.press("Space")
        expect(page.locator(".board tr.picked")).to_have_attribute("data-row", "ard")


def test_the_board_can_be_downloaded(browser: Browser, address: str, tmp_path: Path) -> None:
    with _page(browser) as page:
        page.goto(address)
        _board(page)
        for label, ending, start in (
            ("CSV", "csv", "rank,"),
            ("LaTeX", "tex", "\\begin{tabular}"),
            ("Markdown", "md", "| rank"),
        ):
            with page.expect_download(timeout=30_000) as started:
                page.get_by_test_id("stDownloadButton").get_by_role("button", name=label).click()
            assert started.value.suggested_filename == f"digits-linf.{ending}"
            started.value.save_as(tmp_path / ending)
            assert (tmp_path / ending).read_text().startswith(start)


# --- from page to page ------------------------------------------------------------------------------


def test_a_method_opens_from_its_row_and_back_returns(browser: Browser, real: str) -> None:
    with _page(browser) as page:
        page.goto(real)
        _board(page).get_by_role("link", name="rslad", exact=True).click()
        expect(page.get_by_role("heading", name="rslad", exact=True)).to_be_visible(timeout=60_000)
        assert "/method?" in page.url and "name=rslad" in page.url
        expect(page.locator(".katex").first).to_be_visible()
        expect(page.get_by_text("temper run digits-linf --method rslad --seeds 5")).to_be_visible()
        page.go_back()
        _board(page)


def test_the_board_goes_along_to_other_pages(browser: Browser, address: str) -> None:
    with _page(browser) as page:
        page.goto(f"{address}?budget=m&ruleset=epochs")
        expect(page.get_by_text("temper run digits-linf --ruleset epochs --budget m")).to_be_visible(timeout=60_000)
        page.get_by_role("link", name="Fronts").click()
        page.wait_for_url("**/fronts?**")
        assert "budget=m" in page.url and "ruleset=epochs" in page.url
        expect(page.get_by_text("temper run digits-linf --ruleset epochs --budget m")).to_be_visible()


def test_ticked_rows_are_compared(browser: Browser, real: str) -> None:
    with _page(browser) as page:
        page.goto(real)
        _board(page)
        for name in ("trades", "kd"):
            page.locator(f'.board [data-pick="{name}"]').check()
            page.wait_for_url(f"**pick={name}**")
        page.get_by_role("link", name="Compare these 2").click()
        expect(page.get_by_text("trades beats kd by").first).to_be_visible(timeout=60_000)
        assert "pick=trades" in page.url and "pick=kd" in page.url
        expect(page.get_by_text("images are robust only with trades")).to_be_visible()
        expect(page.get_by_text("kd predicts").first).to_be_visible(timeout=60_000)


def test_a_point_that_is_clicked_is_picked(browser: Browser, address: str) -> None:
    with _page(browser) as page:
        page.goto(f"{address}fronts")
        page.locator(".js-plotly-plot .scatterlayer .points path").first.wait_for(timeout=60_000)
        page.wait_for_timeout(1000)
        box = page.locator(".js-plotly-plot .scatterlayer .points path").first.bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)  # Plotly's own layer takes clicks
        page.wait_for_url("**pick=**")
        expect(page.locator("table.rows tbody tr")).to_have_count(1)


def test_a_drawing_is_attacked_and_lives_in_the_address(browser: Browser, real: str) -> None:
    with _page(browser) as page:
        page.goto(f"{real}try_it?image=my+own+drawing")
        pad = page.get_by_role("application")
        expect(page.get_by_text("Draw something")).to_be_visible(timeout=60_000)
        box = pad.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 30)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 30, steps=12)
        page.mouse.up()
        expect(page.get_by_text("keep their prediction")).to_be_visible(timeout=60_000)
        page.wait_for_url("**ink=**")
        page.reload()
        expect(page.get_by_text("keep their prediction")).to_be_visible(timeout=60_000)
        page.get_by_role("button", name="Clear").click()
        expect(page.get_by_text("Draw something")).to_be_visible(timeout=60_000)


def test_what_is_dropped_is_looked_at(browser: Browser, real: str, tmp_path: Path) -> None:
    good = write_skeleton("my-method", tmp_path)
    (tmp_path / "bad.json").write_text("{}")
    with _page(browser) as page:
        page.goto(f"{real}submit")
        page.locator("input[type=file]").set_input_files(good, timeout=60_000)
        expect(page.get_by_text("The file registers my-method")).to_be_visible(timeout=30_000)
        page.locator("input[type=file]").set_input_files(tmp_path / "bad.json")
        expect(page.get_by_text("This is not a valid record.")).to_be_visible(timeout=30_000)


# --- looks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "scheme"), [("wide", "light"), ("narrow", "dark")])
@pytest.mark.parametrize("place", PLACES)
def test_it_fits(browser: Browser, real: str, pictures: Path, place: str, scheme: str, width: str) -> None:
    with _page(browser, scheme=scheme, width=width) as page:
        page.goto(f"{real}{'' if place == FIRST else place}")
        page.get_by_test_id("stMain").get_by_role("heading").first.wait_for(timeout=60_000)
        expect(page.get_by_test_id("stSkeleton")).to_have_count(0, timeout=60_000)
        expect(page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=60_000)
        page.wait_for_timeout(800)
        main = page.get_by_test_id("stMain")
        assert main.evaluate("e => e.scrollWidth - e.clientWidth") <= 1
        assert not page.get_by_test_id("stException").count()
        height = main.evaluate("e => e.scrollHeight")
        page.set_viewport_size({"width": WIDTHS[width][0], "height": min(height + 80, 8000)})
        page.wait_for_timeout(800)
        page.screenshot(path=pictures / f"{place}-{width}-{scheme}.png")


def test_hostile_text_stays_text(browser: Browser, digits: Scenario, tmp_path: Path) -> None:
    folders = write_records(tmp_path / "leaderboards", digits, {"pgd-at": 0.75}, seeds=2, family=HOSTILE)
    for folder in folders:
        record = folder / "record.json"
        record.write_text(record.read_text().replace('"pgd-at"', f'"{HOSTILE}"'))
    with (
        _served(tmp_path / "leaderboards", tmp_path / "log", tmp_path / "none") as url,
        _page(browser) as page,
    ):
        for place in ("", "fronts", "method", "history", "compare"):
            page.goto(f"{url}{place}?scenario={HOSTILE}&name={HOSTILE}")
            expect(page.get_by_test_id("stAlert").first).to_contain_text("<img", timeout=60_000)
            page.wait_for_timeout(800)
            assert page.locator("img[src=x], img[src*='localhost:1/']").count() == 0
        page.goto(url)
        assert _order(page)[0] == HOSTILE


def test_the_static_site_needs_no_server(browser: Browser, tmp_path: Path, pictures: Path) -> None:
    export(tmp_path / "site", tmp_path / "none")
    with _page(browser, scheme="dark") as page:
        page.goto((tmp_path / "site" / "index.html").as_uri())
        page.locator('.board [data-sort="method"]').click()
        names = [name for name in _order(page) if not name.startswith("teacher")]
        assert names == sorted(names)
        page.screenshot(path=pictures / "site-leaderboard.png", full_page=True)
        page.get_by_role("link", name="rslad", exact=True).click()
        expect(page.get_by_role("heading", name="rslad", exact=True)).to_be_visible()
        expect(page.locator(".js-plotly-plot .scatterlayer").first).to_be_visible()
        page.screenshot(path=pictures / "site-method.png", full_page=True)
    with _page(browser, width="narrow") as page:
        for file in ("index.html", "digits-linf.compare.html", "scenarios.html"):
            page.goto((tmp_path / "site" / file).as_uri())
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 1


@pytest.mark.parametrize("width", WIDTHS)
def test_checkpoints_stay_in_their_part_and_open(
    browser: Browser, digits: Scenario, tmp_path: Path, pictures: Path, width: str
) -> None:
    for name, robust in (("a checkpoint", 400), ("pgd-at", 500)):
        add_checkpoint(tmp_path / "lb", digits, name, robust)
    export(tmp_path / "site", tmp_path / "lb")
    with _page(browser, width=width) as page:
        page.goto((tmp_path / "site" / "index.html").as_uri())
        assert _order(page)[-3:] == ["None", "pgd-at (checkpoint)", "a checkpoint"], "below their heading"
        if width == "wide":
            page.locator('.board [data-sort="method"]').click()
            assert _order(page)[-3:] == ["None", "a checkpoint", "pgd-at (checkpoint)"]
        page.locator(".board summary").first.click()
        expect(page.get_by_text("Square alone breaks 12 of 60.").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 1
        page.locator(".board tr.checkpoint").first.scroll_into_view_if_needed()
        page.screenshot(path=pictures / f"checkpoints-{width}.png")
