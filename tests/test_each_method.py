"""`scripts/each_method.py`: a change that touches methods has each of them run, or fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.recorded import Git, commit, private_git

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "scripts" / "each_method.py"
PRINT = (sys.executable, "-c", "import sys; print(open(sys.argv[1]).read())")  # what is run of each: its content


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """A repository with two methods on its base, and a branch for the change."""
    git = private_git(tmp_path, monkeypatch)
    (tmp_path / "methods").mkdir()
    for name in ("first", "second"):
        (tmp_path / "methods" / f"{name}.py").write_text(f"# {name}\n" * 20)
    commit(git)
    git("branch", "base"), git("checkout", "-qb", "change")
    return git


def run(repository: Path, *command: str) -> subprocess.CompletedProcess[str]:
    asked = [sys.executable, str(SCRIPT), "base", "change", *(command or PRINT)]
    return subprocess.run(asked, cwd=repository, capture_output=True, text=True)


def added(methods: Path) -> None:
    (methods / "third.py").write_text("# new\n")


def renamed(methods: Path) -> None:
    (methods / "first.py").rename(methods / "new.py")


def modified(methods: Path) -> None:
    (methods / "first.py").write_text("# new\n" + "# first\n" * 20)


def copied(methods: Path) -> None:
    (methods / "copy.py").write_text((methods / "first.py").read_text())


def nested(methods: Path) -> None:
    (methods / "deep" / "er").mkdir(parents=True)
    (methods / "deep" / "er" / "x y\nz.py").write_text("# new\n")


@pytest.mark.parametrize("change", [added, renamed, modified, copied, nested])
def test_a_method_file_is_run_however_it_came(tmp_path, git, change):
    change(tmp_path / "methods")
    commit(git)
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert ("# new" if change in (added, modified, nested) else "# first") in done.stdout
    assert "1 of 1 passed" in done.stdout


def test_every_file_is_run_and_one_that_fails_fails_all(tmp_path, git):
    added(tmp_path / "methods"), modified(tmp_path / "methods")
    commit(git)
    done = run(tmp_path, sys.executable, "-c", "import sys; sys.exit('third' in sys.argv[1])")
    assert (done.returncode, done.stderr.count("ended with 1")) == (1, 1)
    assert "methods/third.py" in done.stderr


def deleted(methods: Path) -> None:
    (methods / "first.py").unlink()


def elsewhere(methods: Path) -> None:
    (methods / "references.bib").write_text("@misc{x,}\n")


def linked(methods: Path) -> None:
    (methods / "first.py").unlink()
    (methods / "first.py").symlink_to("second.py")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (deleted, "there is nothing to run"),
        (elsewhere, "there is nothing to run"),
        (linked, "methods/first.py is not a plain file"),
    ],
)
def test_a_change_that_leaves_nothing_to_run_fails_with_words(tmp_path, git, change, says):
    change(tmp_path / "methods")
    commit(git)
    done = run(tmp_path)
    assert done.returncode == 1
    assert says in done.stderr


def test_what_changed_on_the_base_meanwhile_is_not_run(tmp_path, git):
    added(tmp_path / "methods")
    commit(git)
    git("checkout", "-q", "base")
    modified(tmp_path / "methods")
    commit(git)
    done = run(tmp_path)
    assert done.returncode == 0
    assert "1 of 1 passed" in done.stdout


def test_a_commit_that_is_not_there_fails_with_words(tmp_path, git):
    git("branch", "-qm", "change", "other")
    done = run(tmp_path)
    assert done.returncode == 1
    assert "git diff failed" in done.stderr


def test_the_workflow_runs_it_on_every_method_of_a_pull_request():
    workflow = (ROOT / ".github" / "workflows" / "submission.yml").read_text()
    assert "scripts/each_method.py HEAD FETCH_HEAD" in workflow
    assert 'paths: ["methods/**/*.py"]' in workflow
