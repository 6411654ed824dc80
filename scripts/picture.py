"""Make `docs/images/leaderboard.png`, the README's picture: the first screen of the dashboard on the shipped records.

The picture carries, as text inside the PNG, the rows of the ranking that it was made from. `--check` compares them with
today's and changes nothing (exit code 1 where they differ); it needs no browser. Making the picture needs Debian's
chromium.

    python scripts/picture.py [--check] [--into FILE]
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bench import leaderboard
from bench.ranking.words import in_words
from bench.records import shipped_leaderboards

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "leaderboard.png"
SCENARIO, ROWS = "digits-linf", 10  # the board that the dashboard opens with, and how many rows of it are compared
SIZE = {"width": 1600, "height": 1180}
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
TEXT = "Temper"  # the name of the PNG's text


def facts() -> str:
    """What the picture shows of the records: the first rows of the ranking, as readers see them."""
    with tempfile.TemporaryDirectory() as nothing:
        frame = leaderboard(SCENARIO, leaderboards=Path(nothing))
    return in_words(frame).head(ROWS).to_csv(index=False, lineterminator="\n")


def carried(picture: Path) -> str:
    """The rows that a picture was made from; empty where it does not say."""
    with Image.open(picture) as image:
        return str(image.info.get(TEXT, ""))


def make(picture: Path) -> None:
    """Open the dashboard in chromium, and keep its first screen with what it was made from."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("chromium is not installed: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        shot = Path(folder) / "shot.png"
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_context(color_scheme="light", viewport=SIZE).new_page()
        with _served(Path(folder)) as url:
            page.goto(url)
            page.locator(".board table tbody tr").first.wait_for(timeout=120_000)
            page.wait_for_timeout(1500)  # what follows the table settles
            page.screenshot(path=shot)
        browser.close()
        text = PngInfo()
        text.add_itxt(TEXT, facts())
        with Image.open(shot) as image:
            image.convert("RGB").save(picture, pnginfo=text, optimize=True)


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """`temper dashboard` on the shipped records alone, on a free port."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "TEMPER_LEADERBOARDS": str(folder / "none"),
        "TEMPER_SHIPPED": str(shipped_leaderboards()),
    }
    command = [sys.executable, "-m", "bench.cli.main", "dashboard", "--headless", "--port", str(port)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=2).close()
                break
            except OSError:
                time.sleep(0.2)
        yield f"http://localhost:{port}/"
    finally:
        os.killpg(process.pid, 15)
        process.wait(20)


def main() -> None:
    """Make the picture, or say whether it is still that of today's records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 where the picture is stale")
    parser.add_argument("--into", type=Path, default=PICTURE, help="the file to write, or to check")
    options = parser.parse_args()
    if not options.check:
        make(options.into)
    elif carried(options.into) != facts():
        sys.exit(f"{options.into.name} does not show today's records: run `python scripts/picture.py`")


if __name__ == "__main__":
    main()
