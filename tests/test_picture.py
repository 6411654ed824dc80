"""`scripts/picture.py`: it makes the README's picture, and says where that no longer shows the records."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

SCRIPT = Path(__file__).parent.parent / "scripts" / "picture.py"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True)


def test_a_picture_of_other_records_is_stale(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "old.png")
    checked = run("--check", "--into", tmp_path / "old.png")
    assert checked.returncode == 1
    assert "old.png does not show today's records: run `python scripts/picture.py`" in checked.stderr


@pytest.mark.browser
def test_it_makes_a_picture_of_today_s_records(tmp_path: Path) -> None:
    if shutil.which("chromium") is None:
        reason = "chromium is not installed (apt-get install chromium)"
        pytest.fail(reason) if os.environ.get("TEMPER_REQUIRE_BROWSER") == "1" else pytest.skip(reason)
    made = run("--into", tmp_path / "new.png")
    assert made.returncode == 0, made.stderr
    assert run("--check", "--into", tmp_path / "new.png").returncode == 0
    with Image.open(tmp_path / "new.png") as image:
        assert image.size == (1600, 1180)
        assert len(image.getcolors(2**24) or []) > 100, "something is on it"
