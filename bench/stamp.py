"""The stamp of a record: hashes that reveal changes since it was saved.

`digest` is the SHA-256 of everything else that `record.json` says, `files` holds those of the files beside it that have
none in `weights`. Accidents and careless edits break the stamp. A cheat can compute it again: that is detected by
what follows from the outcomes, by git (`verify --against`), by a release (`--manifest`) or by the weights
(`--reevaluate`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.files import write_text
from bench.hashing import digest, file_digest

STAMPED = ("outcomes.parquet", "metrics.jsonl")


def file_stamps(folder: Path) -> dict[str, str]:
    """SHA-256 of the files in `folder` that a record has to stamp."""
    return {name: file_digest(folder / name) for name in STAMPED if (folder / name).is_file()}


def write_stamped(folder: Path, content: dict[str, Any], name: str = "record.json") -> None:
    """Write the record into `folder`, atomically; the files that belong beside it are there already."""
    write_text(folder / name, record_text(content | {"files": file_stamps(folder)}))


def record_text(content: dict[str, Any]) -> str:
    """How the content of a record is written: with sorted keys, and with the digest of all the rest."""
    return json.dumps(content | {"digest": _digest(content)}, sort_keys=True, indent=1) + "\n"


def stamp_problems(raw: bytes, name: str = "record.json") -> Iterator[str]:
    """How the bytes of a record's file, which is JSON, differ from those that were saved."""
    content = json.loads(raw)
    if "digest" not in content:
        yield f"{name} is unstamped: `python scripts/stamp.py` stamps records from before there were stamps"
    elif content["digest"] != _digest(content):
        yield f"{name} was changed since it was saved: its content hashes to {_digest(content)}, not to its digest"
    elif raw != record_text(content).encode():
        yield f"{name} was changed since it was saved: it says the same in other bytes"


def _digest(content: dict[str, Any]) -> str:
    return digest({key: value for key, value in content.items() if key != "digest"})
