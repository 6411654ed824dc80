"""`temper leaderboard` and `temper verify`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from bench.cli.options import AsJson, Leaderboards, console, print_json
from bench.scenario import Recipe, Ruleset, Tier, Track

Format = Literal["table", "markdown", "csv", "latex", "json"]


def leaderboard(
    scenario: Annotated[str, typer.Argument(help="Name or path of a scenario.", show_default=False)],
    ruleset: Annotated[Ruleset, typer.Option(help="Equal compute (the ranked one), or equal epochs.")] = "compute",
    budget: Annotated[Tier, typer.Option(help="The tier.")] = "s",
    recipe: Annotated[Recipe, typer.Option(help="How training was strengthened.")] = "plain",
    track: Annotated[Track, typer.Option(help="The track.")] = "main",
    format: Annotated[Format, typer.Option(help="How to print it.")] = "table",
    json: AsJson = False,
    leaderboards: Leaderboards = None,
) -> None:
    """Print the ranked table of a scenario."""
    from bench import leaderboard as build
    from bench.ranking.render import render, to_table

    frame = build(scenario, ruleset=ruleset, budget=budget, recipe=recipe, track=track, leaderboards=leaderboards)
    for problem in frame.attrs["problems"]:
        print(f"temper: left out: {problem}", file=sys.stderr)
    if json or format != "table":
        sys.stdout.write(render(frame, "json" if json else format))  # type: ignore[arg-type]
    elif frame.empty:
        print(f"no records of {scenario} under these settings; `temper run {scenario}` makes some", file=sys.stderr)
    else:
        console().print(to_table(frame))


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
