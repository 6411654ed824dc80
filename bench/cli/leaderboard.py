"""`temper leaderboard`."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import typer

from bench.cli.options import AsJson, Leaderboards, console
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
