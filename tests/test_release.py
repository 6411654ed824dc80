"""A release freezes what is there, the same bytes every time; `verify --manifest` finds what became of it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bench import release as module
from bench import withdrawal
from bench.errors import TemperError
from bench.manifest import compare, read_manifest
from bench.records import read_record
from bench.release import release
from tests.recorded import SCENARIO, Git, another, commit, copied, edit, private_git

DAY = "2026-11-25"


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    return private_git(tmp_path, monkeypatch)


def tables_script(root: Path, answer: str, code: int) -> None:
    """A `scripts/tables.py` that says this of the tables."""
    script = root.parent / "scripts" / "tables.py"
    script.parent.mkdir(exist_ok=True)
    script.write_text(f"import sys\nassert sys.argv[1:] == ['--check']\nprint({answer!r})\nsys.exit({code})\n")


@pytest.fixture
def root(tmp_path: Path, git: Git) -> Path:
    """Leaderboards with ten records and a table, committed."""
    root = tmp_path / "leaderboards"
    copied(root, "natural", "kd")
    (root / "tables").mkdir()
    (root / "tables" / "digits-linf.csv").write_text("rank,method\n")
    (root / "published.csv").write_text("method\n")
    tables_script(root, "", 0)
    commit(git)
    return root


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def record(root: Path, which: int = 0) -> Path:
    return sorted((root / "records" / SCENARIO / "kd").iterdir())[which]


def test_a_release_holds_every_record_by_its_hashes(root, git):
    place = release(DAY, root)
    assert place == root / "releases" / DAY
    manifest = json.loads((place / "manifest.json").read_text())
    files = [file for file in (root / "records").rglob("*") if file.is_file()]
    hashes = {str(f.relative_to(root / "records")): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    assert {f"{name}/{file}": sha for name, of in manifest["records"].items() for file, sha in of.items()} == hashes
    assert len(manifest["records"]) == manifest["counts"]["records"] == 10
    assert manifest["commit"] == git("rev-parse", "HEAD").strip()
    assert manifest["tables"] == {"digits-linf.csv": hashlib.sha256(b"rank,method\n").hexdigest()}
    assert manifest["published"] == hashlib.sha256(b"method\n").hexdigest()
    stored = read_record(record(root))
    assert manifest["scenarios"] == {
        SCENARIO: {
            "records": 10,
            "train_fingerprints": [stored.trial.train_fingerprint],
            "protocol_fingerprints": [stored.evaluation.protocol_fingerprint],
        }
    }
    assert manifest["versions"]["torch"] == [stored.surroundings.versions["torch"]]
    assert (place / "manifest.json").read_text() == json.dumps(manifest, sort_keys=True, indent=1) + "\n"


def test_weights_too_large_to_lie_beside_their_record_are_known_by_its_hash(root, git):
    (record(root) / "best.safetensors").unlink()
    edit(record(root), lambda content: content["weights"]["best"].update(bytes=2_000_000))
    commit(git)
    manifest = release(DAY, root) / "manifest.json"
    name = record(root).relative_to(root / "records").as_posix()
    assert read_manifest(manifest).records[name]["best.safetensors"] == read_record(record(root)).weights["best"].sha256
    assert compare(manifest, root).problems == []


def test_the_same_inputs_give_the_same_bytes_and_the_tables_are_copied(root, tmp_path):
    first, second = (contents(release(DAY, root, tmp_path / name)) for name in ("one", "two"))
    assert first == second
    assert first["tables/digits-linf.csv"] == b"rank,method\n"
    assert set(first) == {"README.md", "CITATION.cff", "citation.bib", "manifest.json", "tables/digits-linf.csv"}


def test_it_can_be_cited(root, git):
    yaml = pytest.importorskip("yaml")
    place = release(DAY, root)
    citation = yaml.safe_load((place / "CITATION.cff").read_text())
    assert citation["version"] == str(citation["date-released"]) == DAY
    assert citation["commit"] == git("rev-parse", "HEAD").strip()
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # all that the format demands
    entry = (place / "citation.bib").read_text()
    assert entry.startswith(f"@misc{{temper-{DAY},")
    assert entry.count("{") == entry.count("}")
    assert "year = {2026}" in entry
    assert "10 records of 2 methods on digits-linf" in (place / "README.md").read_text()


@pytest.mark.parametrize("day", ["2026-13-01", "20261125", "2026-W48-3", "yesterday", "", "../2026-11-25", "2026-1-1"])
def test_a_release_is_named_by_a_date(root, day):
    with pytest.raises(TemperError, match="is named by a date"):
        release(day, root)


def test_a_day_to_come_is_refused(root):
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    with pytest.raises(TemperError, match="is in the future"):
        release(str(tomorrow), root)


def test_a_release_is_not_made_twice(root):
    before = contents(release(DAY, root))
    with pytest.raises(TemperError, match="is there already"):
        release(DAY, root)
    assert contents(root / "releases" / DAY) == before


def doctored(root: Path) -> None:
    edit(record(root), lambda content: content["evaluation"].update(robust=0.9))


def trained_dirty(root: Path) -> None:
    edit(record(root), lambda content: content["surroundings"].update(dirty=True))


def judged_dirty(root: Path) -> None:
    edit(record(root), lambda content: content["evaluation"]["surroundings"].update(dirty=True))


def made_outside(root: Path) -> None:
    edit(record(root), lambda content: content["surroundings"].update(dirty=None))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (doctored, r"1 problem in 10 records.*evaluation\.robust"),
        (trained_dirty, "code that is in no commit"),
        (judged_dirty, "code that is in no commit"),
        (made_outside, "code that is in no commit"),
        (lambda root: shutil.rmtree(root / "records"), "0 records"),
        (lambda root: tables_script(root, "tables/x.md differs from what the records give", 1), "x.md differs from"),
        (lambda root: (root.parent / "scripts" / "tables.py").unlink(), "made in a checkout of Temper"),
    ],
)
def test_what_is_not_released(root, git, change, says):
    change(root)
    commit(git)
    with pytest.raises(TemperError, match=says):
        release(DAY, root)
    assert not (root / "releases").exists()


def test_what_is_not_committed_is_not_released(root):
    (root / "tables" / "new.md").write_text("")
    with pytest.raises(TemperError, match=r"tables/new\.md is in no commit"):
        release(DAY, root)
    (root / "tables" / "new.md").unlink()
    withdrawal.retract([record(root)], "a wrong seed")
    with pytest.raises(TemperError, match=r"record\.json is in no commit"):
        release(DAY, root)
    shutil.rmtree(root.parent / ".git")
    with pytest.raises(TemperError, match="no git checkout"):
        release(DAY, root)


def test_a_release_that_is_interrupted_leaves_nothing_and_can_be_made_again(root, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(module, "write_text", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(TemperError, match="No space left"):
            release(DAY, root)
    assert list((root / "releases").iterdir()) == []
    (root / "releases" / f".{DAY}").mkdir()  # as a kill leaves it
    assert len(read_manifest(release(DAY, root) / "manifest.json").records) == 10


def test_the_manifest_knows_its_records_and_names_each_that_differs(root):
    manifest = release(DAY, root) / "manifest.json"
    same = compare(manifest, root)
    assert (same.problems, same.told) == ([], [])
    changed, gone = record(root), record(root, 1)
    new = another(root, record(root, 2), version="new")
    (changed / "metrics.jsonl").write_text("{}\n")
    shutil.rmtree(gone)
    found = compare(manifest, root)
    assert sorted(found.problems) == sorted([f"{changed}: is changed: metrics.jsonl", f"{gone}: is gone"])
    assert found.told == [f"{new}: is not in release {DAY}"]


@pytest.mark.parametrize("file", ["record.json", "outcomes.parquet", "best.safetensors", "last.safetensors"])
@pytest.mark.parametrize("lose", [False, True])
def test_no_file_of_a_released_record_changes(root, file, lose):
    manifest = release(DAY, root) / "manifest.json"
    path = record(root) / file
    path.unlink() if lose else path.write_bytes(path.read_bytes() + b" ")
    (problem,) = compare(manifest, root).problems
    assert str(record(root)) in problem
    assert "is gone" in problem if lose and file == "record.json" else file in problem


def test_a_mark_that_was_set_since_is_told_and_nothing_else_may_change_with_it(root, git):
    withdrawal.retract([record(root)], "a wrong seed")
    commit(git)
    manifest = release(DAY, root) / "manifest.json"
    assert read_manifest(manifest).counts == {"records": 10, "failed": 0, "superseded": 0, "retracted": 1}
    retracted, *others = [record(root, which) for which in range(5)]
    later = [another(root, folder, version="later") for folder in others]
    withdrawal.retract(others[:1], "another wrong seed")
    withdrawal.supersede(others[1], read_record(later[0]).trial_id)
    withdrawal.retract(others[1:2], "and superseded as well")
    found = compare(manifest, root)
    assert found.problems == []
    assert sum("retracted since" in line for line in found.told) == 2
    assert sum("superseded since" in line for line in found.told) == 2
    edit(others[0], lambda content: content.update(tuned=True))
    edit(retracted, lambda content: content.pop("retracted"))
    assert len(compare(manifest, root).problems) == 2


def test_a_table_of_the_release_that_was_touched_is_named(root):
    place = release(DAY, root)
    (place / "tables" / "digits-linf.csv").write_text("rank,method\n1,mine\n")
    (place / "tables" / "more.csv").write_text("")
    problems = compare(place / "manifest.json", root).problems
    assert [re.sub(".*/tables/", "", problem) for problem in problems] == [
        "digits-linf.csv: is not the table of the release",
        "more.csv: is not the table of the release",
    ]


def test_the_command(root, temper, tmp_path):
    manifest = release(DAY, root) / "manifest.json"
    another(root, record(root, 2), version="new")
    result = temper("verify", root, "--manifest", manifest, "--json")
    assert any("is not in release" in line for line in json.loads(result.out)["told"])
    shutil.rmtree(record(root))
    result = temper("verify", root, "--manifest", manifest)
    assert result.code == 1
    assert "is gone" in result.out
    (tmp_path / "bad.json").write_text("{}")
    assert "is not a manifest of a release" in temper("verify", root, "--manifest", tmp_path / "bad.json").err
    assert temper("verify", root, "--manifest", tmp_path / "none.json").code == 2
