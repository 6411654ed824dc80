"""`temper verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import AsJson, Leaderboards, print_json


def verify(
    path: Annotated[
        Path | None, typer.Argument(help="A record, a folder of records. Default: all.", show_default=False)
    ] = None,
    json: AsJson = False,
    leaderboards: Leaderboards = None,
) -> None:
    """Check records: accuracies from outcomes, hashes, counts, places. Exit code 1 when something does not hold."""
    from bench.errors import TemperError
    from bench.records import local_leaderboards
    from bench.verification import ATTESTED, verify_folder

    root = path or local_leaderboards(leaderboards)
    if not root.exists():
        raise TemperError(f"there is nothing at {root}")
    files = [root] if root.is_file() else sorted(root.rglob("record.json"))
    problems = [problem for file in files for problem in verify_folder(file.parent)]
    if json:
        print_json({"records": len(files), "problems": problems, "attested": ATTESTED})
    else:
        for problem in problems:
            print(problem)
        print(f"{len(files)} records, {len(problems)} problems; not checked: {ATTESTED}")
    if problems or not files:
        raise typer.Exit(1)
