"""`temper retract` and `temper supersede`: records that no longer count; see docs/policy.md."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.errors import TemperError


def retract(
    record: Annotated[Path, typer.Argument(help="A record, or a folder of records.", show_default=False)],
    reason: Annotated[str, typer.Option(help="What is wrong with it, in a sentence.", show_default=False)],
) -> None:
    """Mark records as retracted. They stay visible on the leaderboard, and no longer count."""
    from bench import withdrawal

    _print(withdrawal.retract(_folders(record), reason))


def supersede(
    record: Annotated[Path, typer.Argument(help="A record of the row to supersede.", show_default=False)],
    by: Annotated[str, typer.Option(metavar="ID", help="Trial id of a record of the new row.", show_default=False)],
) -> None:
    """Mark a row as superseded by a newer one, seed by seed. The old row stays visible, and no longer counts."""
    from bench import withdrawal

    folders = _folders(record)
    if len(folders) > 1:
        raise TemperError(
            f"{record} holds {len(folders)} records: give one of them; the rest of its row is superseded with it"
        )
    _print(withdrawal.supersede(folders[0], by))


def _folders(path: Path) -> list[Path]:
    """The folders of records at a path: a record.json, its folder, or a folder of such folders."""
    files = [path] if path.is_file() else sorted(path.rglob("record.json"))
    if not files:
        raise TemperError(f"no record at {path}")
    return [file.parent for file in files]


def _print(lines: list[str]) -> None:
    for line in lines:
        print(line)
    print("run `python scripts/tables.py` to update the tables, and commit both")
