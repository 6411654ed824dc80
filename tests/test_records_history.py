"""Records beside those of an earlier commit: nothing vanishes, and no score changes out of sight."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import withdrawal
from bench.errors import TemperError
from bench.history import against
from bench.records import read_record, shipped_leaderboards
from bench.stamp import write_stamped
from bench.verification import verify_records
from tests.recorded import SCENARIO, Git, another, commit, copied, edit, private_git


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    return private_git(tmp_path / "work", monkeypatch)


@pytest.fixture
def root(tmp_path: Path, git: Git) -> Path:
    return tmp_path / "work" / "leaderboards"


@pytest.fixture
def records(root: Path, git: Git) -> list[Path]:
    """The five records of `natural`, by seed, committed."""
    folders = copied(root, "natural")
    commit(git)
    return folders


def set_score(folder: Path, robust: float = 0.9) -> None:
    edit(folder, lambda content: content["evaluation"].update(robust=robust))


def set_protocol(folder: Path) -> None:
    edit(folder, lambda content: content["evaluation"].update(protocol_fingerprint="0" * 64, robust=0.9))


def set_seconds(folder: Path) -> None:
    edit(folder, lambda content: content["training"].update(seconds=1.5))


def vanish(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def unstamp(folder: Path) -> None:
    strip(folder, "digest")


def strip(folder: Path, *fields: str) -> None:
    content = json.loads((folder / "record.json").read_text())
    content = {key: value for key, value in content.items() if key not in fields}
    (folder / "record.json").write_text(json.dumps(content, sort_keys=True, indent=1) + "\n")


def touch_outcomes(folder: Path) -> None:
    (folder / "outcomes.parquet").write_bytes(b"PAR1")


def touch_curve(folder: Path) -> None:
    (folder / "metrics.jsonl").write_text("{}\n")


def retrain(folder: Path) -> None:
    set_protocol(folder)
    edit(folder, lambda content: content["weights"]["best"].update(sha256="0" * 64))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (set_score, "changed: evaluation.robust"),
        (set_seconds, "changed: training.seconds"),
        (vanish, "is missing"),
        (touch_outcomes, "changed: outcomes.parquet"),
        (touch_curve, "changed: metrics.jsonl"),
        (retrain, "changed: evaluation.protocol_fingerprint"),
        (lambda folder: (folder / "record.json").write_text("{"), "is not a valid record"),
        (unstamp, "changed: record.json"),
        (lambda folder: (folder / "record.json").unlink(), "is missing"),
    ],
)
def test_a_change_out_of_sight_is_a_problem(root, records, git, change, says):
    change(records[2])
    for _ in range(2):
        found = against(root, "HEAD~1" if len(git("log", "--oneline").splitlines()) > 1 else "HEAD")
        assert len(found.problems) == 1, found
        assert says in found.problems[0]
        assert str(records[2]) in found.problems[0]
        commit(git)  # and once more when it is committed


def test_what_is_only_told(root, records):
    another(root, records[0], version="new")
    set_protocol(records[1])
    touch_outcomes(records[1])
    withdrawal.retract(records[2:3], "a wrong seed")
    set_score(records[2])
    found = against(root, "HEAD")
    assert found.problems == []
    assert [line for line in found.told if "judged again by another protocol" in line and str(records[1]) in line]
    assert [line for line in found.told if "retracted: a wrong seed (changed: evaluation.robust" in line]
    assert len(found.told) == 3  # with the commit


def test_a_record_that_is_stamped_is_told_and_nothing_else_changes_with_it(root, records, git):
    for folder in records[:2]:
        strip(folder, "digest", "files")
    commit(git)
    for folder in records[:2]:
        write_stamped(folder, json.loads((folder / "record.json").read_text()))
    assert [line for line in against(root, "HEAD").told if "stamped" in line] == [f"{f}: stamped" for f in records[:2]]
    set_seconds(records[0])
    touch_curve(records[1])
    assert len(against(root, "HEAD").problems) == 2


def test_a_superseded_row_is_told(root, records, git):
    earlier = [another(root, folder, version="earlier") for folder in records]
    commit(git)
    withdrawal.supersede(earlier[0], read_record(records[0]).trial_id)
    found = against(root, "HEAD")
    assert found.problems == []
    assert sum("superseded by" in line for line in found.told) == 5


@pytest.mark.parametrize("again", ["", "another reason"])
def test_a_mark_is_not_taken_back(root, records, git, again):
    withdrawal.retract(records[:1], "a wrong seed")
    commit(git)
    edit(records[0], lambda content: content.update(retracted=again))
    assert ["a mark stays" in problem for problem in against(root, "HEAD").problems] == [True]


def test_a_release_stays_as_it_is(root, records, git):
    for day in ("2026-01-01", "2026-01-02"):
        (root / "releases" / day).mkdir(parents=True)
        (root / "releases" / day / "manifest.json").write_text("{}")
    commit(git)
    (root / "releases" / "2026-01-01" / "manifest.json").write_text("{ }")
    (root / "releases" / "2026-01-02" / "manifest.json").unlink()
    (root / "releases" / "2026-01-01" / "new").write_text("")
    assert ["a release never changes" in problem for problem in against(root, "HEAD").problems] == [True, True]


def test_auto_is_where_the_branch_left_origin_and_else_the_commit_before(root, records, git, tmp_path):
    first = git("rev-parse", "HEAD").strip()[:12]
    assert "there is no earlier commit" in against(root, "auto").told[0]
    commit(git)
    assert first in against(root, "auto").told[0]
    git("update-ref", "refs/remotes/origin/main", "HEAD")
    assert first in against(root, "auto").told[0]  # main itself, and pushed
    second = git("rev-parse", "HEAD").strip()[:12]
    for _ in range(3):
        commit(git)
    assert second in against(root, "auto").told[0]


def test_where_git_cannot_say_it_is_told_and_a_mistake_is_named(root, records, git, tmp_path):
    with pytest.raises(TemperError, match="git knows no commit 'mian'"):
        against(root, "mian")
    with pytest.raises(TemperError, match="git knows no commit '--all'"):
        against(root, "--all")
    commit(git)
    git("clone", "-q", "--depth", "1", f"file://{tmp_path / 'work'}", str(tmp_path / "shallow"))
    shallow = against(tmp_path / "shallow" / "leaderboards", "auto")
    assert (shallow.problems, "shallow clone" in shallow.told[0]) == ([], True)
    assert "shallow clone" in against(tmp_path / "shallow" / "leaderboards", first_commit(git)).told[0]
    copied(tmp_path / "download", "natural")
    assert "no checkout" in against(tmp_path / "download", "HEAD").told[0]


def first_commit(git: Git) -> str:
    return git("rev-list", "--max-parents=0", "HEAD").strip()


def test_part_of_the_records_can_be_compared(root, records):
    set_score(records[0])
    assert len(against(records[0], "HEAD").problems) == 1
    assert len(against(records[0].parent, "HEAD").problems) == 1
    assert against(records[1], "HEAD").problems == []


def test_the_command(root, records, temper):
    assert temper("verify", root, "--against", "HEAD").code == 0
    vanish(records[4])
    result = temper("verify", root, "--against", "HEAD")
    assert result.code == 1
    assert f"{records[4]}: is missing" in result.out
    assert temper("verify", root, "--against", "nothing").code == 2


def test_a_stray_file_is_named(root, records):
    (root / "records" / "notes.txt").write_text("")
    (root / "records" / SCENARIO / "natural" / "best.safetensors").write_text("")
    (records[0] / "best.pt").write_text("")
    (records[1] / "more").mkdir()
    moved = root / "records" / "attic" / SCENARIO / "natural" / records[2].name
    moved.parent.mkdir(parents=True)
    records[2].rename(moved)
    problems = verify_records(root)[1]
    assert [problem.rpartition(": ")[2] for problem in problems if "belongs to no record" in problem] == [
        "belongs to no record"
    ] * 2
    assert any("best.pt does not belong" in problem for problem in problems)
    assert any("more does not belong" in problem for problem in problems)
    assert any("wrong place" in problem and str(moved) in problem for problem in problems)
    assert len(problems) == 5


def test_the_records_of_this_checkout_are_in_place_and_changed_in_sight_only():
    folders, problems = verify_records(shipped_leaderboards())
    assert folders
    assert problems + against(shipped_leaderboards(), "auto").problems == []
