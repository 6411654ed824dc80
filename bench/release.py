"""A release: the leaderboards of one day, frozen in a folder that can be cited and checked.

<leaderboards>/releases/<date>/
    README.md            what this is, and how to check it
    manifest.json        every record by the hashes of its files (`bench.manifest`)
    tables/              the tables as they were
    CITATION.cff, citation.bib
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from bench.errors import TemperError
from bench.files import write_text
from bench.git import git
from bench.hashing import file_digest
from bench.manifest import Manifest, ScenarioEntry, file_hashes, record_hashes
from bench.records import RunRecord, Surroundings, read_record
from bench.verification import verify_records
from bench.words import counted

STATUSES = ("failed", "superseded", "retracted")
Records = Sequence[tuple[Path, RunRecord]]

README = """# Temper leaderboards, release {day}

{records} of {methods} on {scenarios}, as they were on {day} at commit {commit}. Nothing here changes.

- `manifest.json`: every record with the SHA-256 of its files, and the fingerprints of its scenario.
- `tables/`: the leaderboards.
- `CITATION.cff`, `citation.bib`: how to cite this. Cite the papers of the methods and attacks that you report as well.

`temper verify --manifest manifest.json` in this folder says which records have changed since, are gone or were added.
With `--signers FILE`, it also asks for the signature `manifest.json.sig` by one of these signers.
"""

CFF = """cff-version: 1.2.0
message: "If you use these records, please cite this release, and the papers of the methods and attacks you report."
title: "Temper leaderboards, release {day}"
type: dataset
authors:
  - name: "The Temper authors"
version: "{day}"
date-released: {day}
commit: {commit}
license: Apache-2.0
"""

BIBTEX = """@misc{{temper-{day},
  title = {{Temper leaderboards, release {day}}},
  author = {{{{The Temper authors}}}},
  year = {{{year}}},
  version = {{{day}}},
  note = {{{records}, commit {commit}}}
}}
"""


def release(day: str, leaderboards: Path, output: Path | None = None) -> Path:
    """Freeze the records and tables of `leaderboards`, which lies in a checkout, under the date `day` (YYYY-MM-DD).

    The folder `output`/`day` (default: `leaderboards`/releases) is returned; it appears whole or not at all, and the
    same records at the same commit give the same bytes. Raises TemperError for a date that is none or is to come, a
    release that is there, records that do not verify or were made by code in no commit, records and tables that are
    not committed, and tables that differ from what the records give.
    """
    year = _parse(day).year
    place = (output or leaderboards / "releases") / day
    if place.exists():
        raise TemperError(f"release {day} is there already ({place}), and a release never changes: take another date")
    records = _sound_records(leaderboards)
    commit = _commit(leaderboards)
    _check_tables(leaderboards)
    manifest = _manifest(day, commit, leaderboards, records)
    words = {
        "day": day,
        "year": year,
        "commit": commit,
        "records": counted(len(records), "record"),
        "methods": counted(len({record.trial.method for _, record in records}), "method"),
        "scenarios": ", ".join(manifest.scenarios),
    }
    texts = {"README.md": README, "CITATION.cff": CFF, "citation.bib": BIBTEX}
    contents = {name: text.format(**words) for name, text in texts.items()}
    _write(place, contents | {"manifest.json": manifest.text()}, leaderboards / "tables")
    return place


def _parse(day: str) -> date:
    try:
        parsed = date.fromisoformat(day)
    except ValueError:
        parsed = None
    if parsed is None or parsed.isoformat() != day:
        raise TemperError(f"a release is named by a date such as 2026-11-25, got {day!r}")
    today = datetime.now(UTC).date()
    if parsed > today:
        raise TemperError(f"{day} is in the future: today is {today} (UTC)")
    return parsed


def _sound_records(leaderboards: Path) -> Records:
    """All records, which verify and were made by committed code."""
    folders, problems = verify_records(leaderboards)
    if problems or not folders:
        raise TemperError(
            f"{counted(len(problems), 'problem')} in {counted(len(folders), 'record')}, so there is no release"
            + (f"; the first: {problems[0]}" if problems else "")
        )
    records = [(folder, read_record(folder)) for folder in folders]
    for folder, record in records:
        if any(made.dirty is not False for made in _made(record)):
            raise TemperError(f"{folder} was made by code that is in no commit: make it again from a clean checkout")
    return records


def _made(record: RunRecord) -> list[Surroundings]:
    """Where it was trained, and where it was judged."""
    judged = record.evaluation.surroundings if record.evaluation else None
    return [record.surroundings, *([judged] if judged else [])]


def _commit(leaderboards: Path) -> str:
    """The commit that holds these records and tables."""
    commit = git(leaderboards, "rev-parse", "HEAD")
    changed = git(leaderboards, "status", "--porcelain", "--", "records", "tables", "published.csv")
    if commit is None or changed is None:
        raise TemperError(f"a release names a commit, and {leaderboards} lies in no git checkout")
    if changed:
        raise TemperError(f"commit the records and tables first: {changed.splitlines()[0].strip()} is in no commit")
    return commit


def _check_tables(leaderboards: Path) -> None:
    """What `scripts/tables.py --check` of the checkout says."""
    root = leaderboards.resolve().parent
    script = root / "scripts" / "tables.py"
    if not script.is_file():
        raise TemperError(f"there is no {script}, which checks the tables: a release is made in a checkout of Temper")
    shipped = os.environ | {"TEMPER_SHIPPED": str(leaderboards.resolve())}
    check = subprocess.run([sys.executable, script, "--check"], cwd=root, env=shipped, capture_output=True, text=True)
    if check.returncode:
        said = (check.stdout or check.stderr).strip().splitlines() or ["no word"]
        raise TemperError(f"{said[-1]}: run `python scripts/tables.py` and commit what it writes")


def _manifest(day: str, commit: str, leaderboards: Path, records: Records) -> Manifest:
    base, published = leaderboards / "records", leaderboards / "published.csv"
    return Manifest(
        release=day,
        commit=commit,
        versions=_versions(records),
        counts={"records": len(records), **{status: _count(records, status) for status in STATUSES}},
        scenarios=_scenarios(records),
        records={folder.relative_to(base).as_posix(): record_hashes(folder, record) for folder, record in records},
        tables=file_hashes(leaderboards / "tables"),
        published=file_digest(published) if published.is_file() else None,
    )


def _count(records: Records, status: str) -> int:
    return sum(status in (record.status, record.withdrawn) for _, record in records)


def _versions(records: Records) -> dict[str, list[str]]:
    """Every version of every package that made one of the records."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for _, record in records:
        for made in _made(record):
            for package, version in made.versions.items():
                found[package].add(version)
    return {package: sorted(versions) for package, versions in found.items()}


def _scenarios(records: Records) -> dict[str, ScenarioEntry]:
    grouped: defaultdict[str, list[RunRecord]] = defaultdict(list)
    for _, record in records:
        grouped[record.trial.scenario].append(record)
    return {
        name: ScenarioEntry(
            records=len(group),
            train_fingerprints=sorted({record.trial.train_fingerprint for record in group}),
            protocol_fingerprints=sorted({r.evaluation.protocol_fingerprint for r in group if r.evaluation}),
        )
        for name, group in sorted(grouped.items())
    }


def _write(place: Path, contents: dict[str, str], tables: Path) -> None:
    """The folder of a release, whole or not at all."""
    staging = place.with_name(f".{place.name}")
    try:
        shutil.rmtree(staging, ignore_errors=True)
        shutil.copytree(tables, staging / "tables")
        for name, text in contents.items():
            write_text(staging / name, text)
        staging.rename(place)
    except OSError as error:
        raise TemperError(f"cannot write {place}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
