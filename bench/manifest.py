"""The manifest of a release: its records by the hashes of their files, and whether those here are the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from bench.errors import TemperError
from bench.files import MEGABYTE, regular
from bench.hashing import file_digest
from bench.records import WEIGHTS_LIMIT, RunRecord, read_record
from bench.scenario import Model, Sha256
from bench.verification import FILES, Findings, records_folder
from bench.withdrawal import unmarked


class ScenarioEntry(Model):
    """A scenario of a release: the fingerprints under which its records were trained and judged."""

    records: int
    train_fingerprints: list[Sha256]
    protocol_fingerprints: list[Sha256]


class Manifest(Model):
    """All that a release holds. Paths of records are relative to the folder `records`, with slashes."""

    schema_version: Literal[1] = 1
    release: str  # its date
    commit: str
    versions: dict[str, list[str]]  # of the packages that trained and judged the records
    counts: dict[str, int]  # of records: all, and those that are failed, superseded, retracted
    scenarios: dict[str, ScenarioEntry]
    records: dict[str, dict[str, Sha256]]  # SHA-256 of every file; of weights that are kept elsewhere too
    tables: dict[str, Sha256]
    published: Sha256 | None = None  # SHA-256 of published.csv

    def text(self) -> str:
        """As it is written: JSON with sorted keys."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=1) + "\n"


def read_manifest(path: Path) -> Manifest:
    """A manifest from its file. Raises TemperError that names the file when it is not one."""
    try:
        return Manifest.from_json(regular(path, 100 * MEGABYTE).read_bytes())
    except OSError as error:
        raise TemperError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise TemperError(f"{path} is not a manifest of a release: {error}") from None


def file_hashes(folder: Path, names: Sequence[str] | None = None) -> dict[str, str]:
    """SHA-256 of the files of a folder (those of these names) that are there."""
    files = [folder / name for name in names] if names else sorted(folder.iterdir())
    return {file.name: file_digest(file) for file in files if file.is_file()}


def record_hashes(folder: Path, record: RunRecord) -> dict[str, str]:
    """SHA-256 of every file of a record; of weights too large to lie beside it, what the record says."""
    large = {name: weights for name, weights in record.weights.items() if weights.bytes > WEIGHTS_LIMIT}
    elsewhere = {f"{name}.safetensors": weights.sha256 for name, weights in large.items()}
    return elsewhere | file_hashes(folder, FILES)


def compare(path: Path, root: Path) -> Findings:
    """The records below `root` (a `leaderboards` folder) beside those of a release.

    A problem is a released record that is changed or gone, and a table beside the manifest that is not the released
    one. Marks that were set since (superseded, retracted) and new records are told.
    """
    manifest, records = read_manifest(path), records_folder(root)
    found = Findings()
    for name, released in sorted(manifest.records.items()):
        found += _compare(records / name, released)
    for file in sorted(records.rglob("record.json")):
        if file.parent.relative_to(records).as_posix() not in manifest.records:
            found.told.append(f"{file.parent}: is not in release {manifest.release}")
    tables = path.parent / "tables"
    here = file_hashes(tables) if tables.is_dir() else {}
    differ = sorted(name for name in {*here, *manifest.tables} if here.get(name) != manifest.tables.get(name))
    found.problems += [f"{tables / name}: is not the table of the release" for name in differ]
    return found


def _compare(folder: Path, released: dict[str, str]) -> Findings:
    if not (folder / "record.json").is_file():
        return Findings([f"{folder}: is gone"])
    try:
        record = read_record(folder)
    except TemperError as error:
        return Findings([f"{folder}: is changed: {error}"])
    here = record_hashes(folder, record)
    differ = sorted(name for name in {*here, *released} if here.get(name) != released.get(name))
    if differ == ["record.json"] and released["record.json"] in _earlier(folder):
        return Findings(told=[f"{folder}: {record.withdrawn} since"])
    return Findings([f"{folder}: is changed: {', '.join(differ)}"] if differ else [])


def _earlier(folder: Path) -> list[str]:
    """SHA-256 of `record.json` without its marks."""
    texts = unmarked((folder / "record.json").read_text())
    return [hashlib.sha256(text.encode()).hexdigest() for text in texts]
