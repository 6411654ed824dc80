"""The sandbox against processes that do not want to end."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest

from bench.errors import Refused
from bench.files import PACKAGE
from bench.submission.sandbox import Limits, Sandbox, isolation_problem
from bench.submission.shown import masked, readable, search_path

pytestmark = pytest.mark.skipif(bool(isolation_problem()), reason=isolation_problem() or "-")
BOMBS = {  # as large as a machine bears where root runs them, whom the kernel does not limit
    "all fork": "import os, time\nfor _ in range(11): os.fork()\ntime.sleep(600)",
    "a chain": "import os, time\nfor _ in range(2000):\n    if os.fork(): break\ntime.sleep(600)",
    "parents end": "import os\nfor _ in range(100_000):\n    if os.fork() and os.getpid() > 3: os._exit(0)",
}


@pytest.mark.parametrize("name", BOMBS)
def test_processes_without_end_are_ended_and_none_stays(tmp_path: Path, name: str) -> None:
    mark = f"# {tmp_path}"
    started = time.monotonic()
    with pytest.raises(Refused, match="processes and threads"):
        Sandbox(limits=Limits(processes=64)).run(["-c", f"{BOMBS[name]} {mark}"])
    assert time.monotonic() - started < 60
    assert _running(mark) == []


def _running(mark: str) -> list[str]:
    """The command lines that hold a mark."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if mark in line:
            found.append(line)
    return found


def venv_beside(folder: Path) -> Path:
    """The interpreter of an environment that has its packages by a `.pth` line alone."""
    place = folder / "venv"
    venv.create(place, with_pip=False)
    (packages,) = place.glob("lib/python3*/site-packages")
    (packages / "others.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return place / "bin" / "python"


def test_packages_that_come_by_a_pth_line_are_seen(tmp_path: Path) -> None:
    """And what must not be seen of them is not: scikit-learn's data."""
    code = (
        "from pathlib import Path; from bench.submission.sandbox import Sandbox\n"
        "inside = 'import sys, torch, bench, sklearn; from pathlib import Path; '"
        ' \'print(*Path(sklearn.__file__).parent.joinpath("datasets").glob("*"), file=sys.stderr)\'\n'
        "print(Sandbox().run(['-c', inside]))"
    )
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    paths = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    run = subprocess.run([venv_beside(tmp_path), "-c", code], cwd=scratch, env=paths, capture_output=True, text=True)
    assert (run.stdout.strip(), run.stderr) == ("(0, '\\n')", "")


def test_what_a_path_may_hold_besides_packages_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages, work = tmp_path / "packages", tmp_path / "work"
    for folder in (packages / "leaderboards", packages / ".git", work / "bench"):
        folder.mkdir(parents=True)
    (work / "pyproject.toml").touch()
    archive = tmp_path / "some.zip"
    archive.touch()
    added = [packages, archive, work, tmp_path / "nowhere", Path.home(), Path("/"), Path.cwd()]
    monkeypatch.setattr(sys, "path", ["", *map(str, added), *sys.path])
    assert {packages, archive} <= set(readable()) & set(search_path())
    assert not {work, tmp_path / "nowhere", Path.home(), Path("/"), Path.cwd()} & set(readable())
    assert {packages / "leaderboards", packages / ".git"} <= set(masked())
