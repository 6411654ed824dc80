"""Checkpoints that somebody has: judged like a student and shown on the scenario's boards as unranked rows.

<leaderboards>/checkpoints/<scenario>/<slug of the name>/
    checkpoint.json      this module's CheckpointRecord
    outcomes.parquet     one row a test example

They were trained elsewhere: nothing is known of their budget, so they have no rank. The weights stay where they are;
their SHA-256 says which they were.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import pandas as pd
from pydantic import AfterValidator, Field

from bench.errors import TemperError
from bench.files import MEGABYTE, discard, regular, replacing, writing
from bench.hashing import digest
from bench.records import EvaluationRecord, WeightsRecord, leaderboards_read
from bench.scenario import Line, Model, Sha256, Values
from bench.stamp import write_stamped
from bench.words import FORMULAS

FILE, FOLDER = "checkpoint.json", "checkpoints"
LONGEST_NAME, LONGEST_SOURCE = 60, 300


def checked_name(name: str) -> str:
    """The name of a row. Raises ValueError for one that no table could show as it is."""
    if not 1 <= len(name) <= LONGEST_NAME:
        raise ValueError(f"a name has 1 to {LONGEST_NAME} characters, this one {len(name)}")
    if not name.isprintable() or name != name.strip():
        raise ValueError(f"a name is printable and has no space at its ends, got {name!r}")
    if name[0] in FORMULAS:
        raise ValueError(f"spreadsheets take {name!r} for a formula: begin with another character than {name[0]}")
    return name


def checked_source(source: str) -> str:
    """Where a checkpoint is from: an address of the web, or nothing. Raises ValueError for anything else."""
    if not source:
        return source
    address = urlsplit(source)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise ValueError(f"a source is an address that begins with http:// or https://, got {source!r}")
    if len(source) > LONGEST_SOURCE or not source.isprintable() or " " in source:
        raise ValueError(f"a source has up to {LONGEST_SOURCE} printable characters and no space, got {source!r}")
    return source


def slug(name: str) -> str:
    """The name of a checkpoint's folder: its letters a to z and digits; names that lose others to that get a hash."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return plain if plain and name.isascii() else f"{plain}-{digest(name)[:8]}".strip("-")


class CheckpointRecord(Model):
    """A checkpoint that was trained elsewhere, and the verdict on it."""

    schema_version: Literal[1] = 1
    name: Annotated[str, AfterValidator(checked_name)]
    source: Annotated[str, AfterValidator(checked_source)] = ""
    scenario: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]*$")]
    train_fingerprint: Sha256  # of the scenario, which pins its data and threat; it says nothing of the training
    network: Line  # by its name in `bench.networks`, or how else it was made
    options: Values = {}
    weights: WeightsRecord  # the file that was handed in
    told: list[str] = []  # what was done to read it, in sentences
    evaluation: EvaluationRecord  # without a `last` checkpoint, and with where it was judged
    files: dict[Line, Sha256] = {}  # of the files beside it; see `bench.stamp`
    digest: Sha256 | None = None  # of all the rest

    @property
    def version(self) -> str:
        """What tells weights of one name apart: the first hex digits of their SHA-256."""
        return self.weights.sha256[:8]

    def current(self, train: str, protocol: str) -> bool:
        """Whether it was judged under these fingerprints."""
        return (self.train_fingerprint, self.evaluation.protocol_fingerprint) == (train, protocol)


def read_checkpoint(folder: Path) -> CheckpointRecord:
    """The record in a folder. Raises TemperError that names the file and the field when it is not valid."""
    file = folder / FILE
    try:
        return CheckpointRecord.from_json(regular(file, MEGABYTE).read_bytes())
    except OSError as error:
        raise TemperError(f"cannot read {file}: {error.strerror}") from None
    except ValueError as error:
        raise TemperError(f"{file} is not a valid checkpoint: {error}") from None


def checkpoint_folder(leaderboards: Path, scenario: str, name: str) -> Path:
    """Where the row of that name lies."""
    return leaderboards / FOLDER / scenario / slug(name)


def checkpoint_folders(leaderboards: Path, scenario: str) -> Iterator[Path]:
    """The folder of every checkpoint of a scenario, in a fixed order."""
    yield from (file.parent for file in sorted((leaderboards / FOLDER / scenario).glob(f"*/{FILE}")))


def has_checkpoints(scenario: str) -> bool:
    """Whether there is any checkpoint of the scenario, shipped or local."""
    return any(next(checkpoint_folders(root, scenario), None) for root in leaderboards_read())


def check_new_row(leaderboards: Path, scenario: str, name: str, source: str, sha256: str) -> None:
    """Raise TemperError unless a row of that name and source, for weights of that hash, can be put on the boards."""
    try:
        checked_name(name), checked_source(source)
    except ValueError as error:
        raise TemperError(str(error)) from None
    folder = checkpoint_folder(leaderboards, scenario, name)
    if not folder.exists():
        return
    there = read_checkpoint(folder)
    if there.name != name:
        raise TemperError(f"{folder} is the row {there.name!r}, which is too much like {name!r}: take another name")
    if there.weights.sha256 != sha256:
        raise TemperError(
            f"{name!r} is a row of other weights (SHA-256 {there.version}..., not {sha256[:8]}...): "
            f"take another name, or remove {folder}"
        )


def save_checkpoint(record: CheckpointRecord, outcomes: pd.DataFrame, leaderboards: Path) -> Path:
    """Put a checkpoint and its outcomes in their place, instead of the same weights judged earlier; the folder is
    returned. Raises TemperError for a name that other weights have, and where it cannot be written."""
    check_new_row(leaderboards, record.scenario, record.name, record.source, record.weights.sha256)
    place = checkpoint_folder(leaderboards, record.scenario, record.name)
    staging = leaderboards / ".work" / f"{FOLDER}-{record.scenario}-{place.name}"
    new, old = staging / "new", staging / "old"
    with writing(place):
        shutil.rmtree(staging, ignore_errors=True)
        with replacing(new / "outcomes.parquet") as temporary:
            outcomes.to_parquet(temporary, index=False)
        write_stamped(new, record.model_dump(mode="json"), FILE)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            place.rename(old)
        new.rename(place)
    discard(staging)
    return place
