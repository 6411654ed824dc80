"""`temper leaderboard`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bench.cli.options import AsJson, Files, Leaderboards, console, print_json, use_files
from bench.errors import TemperError
from bench.scenario import Recipe, Ruleset, Tier, Track

if TYPE_CHECKING:
    import pandas as pd

    from bench.ranking.rows import Board

Format = Literal["table", "markdown", "csv", "parquet", "json", "latex"]
Name = Literal["ranking", "attacks", "classes", "checkpoints", "cost", "published", "sources", "across"]


def leaderboard(
    scenarios: Annotated[
        list[str] | None, typer.Argument(metavar="[SCENARIO]...", help="Names or paths.", show_default=False)
    ] = None,
    table: Annotated[
        Name | None,
        typer.Option(help="Default: `ranking` of one scenario, `across` several.", show_default=False),
    ] = None,
    explain: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="A B", help="Say whether row A beats row B, and what it would take to decide.", show_default=False
        ),
    ] = None,
    release: Annotated[
        str | None,
        typer.Option(
            metavar="DATE", help="Freeze all leaderboards under this date; see docs/policy.md.", show_default=False
        ),
    ] = None,
    ruleset: Annotated[Ruleset, typer.Option(help="Equal compute (the ranked one), or equal epochs.")] = "compute",
    budget: Annotated[Tier, typer.Option(help="The tier.")] = "s",
    recipe: Annotated[
        Recipe, typer.Option(help="plain, or strong (weight averaging and adversarial weight perturbation).")
    ] = "plain",
    track: Annotated[Track, typer.Option(help="The track.")] = "main",
    format: Annotated[Format, typer.Option(help="Output format.")] = "table",
    file: Files = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to a file instead of the terminal.")
    ] = None,
    json: AsJson = False,
    leaderboards: Leaderboards = None,
) -> None:
    """Print a table of a scenario's records, or one across scenarios (none named: all that have records).

    Of one scenario: `ranking`, `attacks` (what each leaves), `classes`, `checkpoints` (best against last), `cost`,
    `published` (what papers print of the same methods) and its `sources`. Rows are called as the tables call them:
    `--explain rslad "trades (beta=1.0)"`.
    """
    use_files(file)
    form: Format = "json" if json else format
    fields = {"ruleset": ruleset, "budget": budget, "recipe": recipe, "track": track}
    names = scenarios or []
    if release:
        _release(release, leaderboards)
    elif explain:
        _explain(_board(names, "explanation", fields, leaderboards), explain, form)
    elif form == "parquet" and output is None:
        raise TemperError("parquet is not text: give a file with --output FILE")
    else:
        chosen = table or ("ranking" if len(names) == 1 else "across")
        frame = _frame(names, chosen, fields, leaderboards)
        for problem in frame.attrs["problems"]:
            print(f"temper: left out: {problem}", file=sys.stderr)
        about = " ".join(names)
        nothing = f"no records of {about} with these settings; make some with `temper run {about}`"
        if chosen == "across":
            nothing = "no method is ranked on any scenario with these settings"
        _put(frame, form, output, nothing)


def _frame(names: list[str], table: str, fields: Mapping[str, str], leaderboards: Path | None) -> pd.DataFrame:
    """The table of that name. Raises TemperError for a table of one scenario where not one is named."""
    from bench.ranking.across import across, with_records
    from bench.ranking.rows import read_board
    from bench.ranking.tables import build
    from bench.scenario import load_scenario

    if table != "across":
        return build(_board(names, f"table {table!r}", fields, leaderboards), table)
    chosen = names or with_records(leaderboards)
    boards = [read_board(load_scenario(name), leaderboards, **fields) for name in dict.fromkeys(chosen)]
    return across([board for board in boards if board.rows])


def _board(names: list[str], what: str, fields: Mapping[str, str], leaderboards: Path | None) -> Board:
    """The board of the one scenario that is named. Raises TemperError where not one is."""
    from bench.ranking.rows import read_board
    from bench.scenario import load_scenario

    if len(names) != 1:
        raise TemperError(f"the {what} is of one scenario, {len(names)} are named; `across` compares several")
    return read_board(load_scenario(names[0]), leaderboards, **fields)


def _explain(board: Board, pair: tuple[str, str], form: Format) -> None:
    """Two rows compared, as sentences or JSON."""
    from bench.ranking.explanation import explain

    if form not in ("table", "json"):
        raise TemperError(f"--explain prints text, or JSON with --json; it has no format {form!r}")
    explanation = explain(board, *pair)
    if form == "json":
        print_json(explanation.to_dict())
    else:
        print(explanation.text)


def _release(day: str, leaderboards: Path | None) -> None:
    """Freeze a release, and say where it is."""
    from bench.records import local_leaderboards
    from bench.release import release

    place = release(day, local_leaderboards(leaderboards))
    print(f"wrote {place}; commit it as it is: a release never changes")


def _put(frame: pd.DataFrame, form: Format, output: Path | None, nothing: str) -> None:
    """The table where it was asked for; on a terminal, what is said of an empty one."""
    from bench.files import replacing
    from bench.ranking.render import render, to_table

    if output is not None:
        with replacing(output) as temporary:
            temporary.write_bytes(render(frame, form))
        print(f"wrote {output}", file=sys.stderr)
    elif form != "table":
        sys.stdout.write(render(frame, form).decode())
    elif frame.empty:
        print(nothing, file=sys.stderr)
    else:
        console().print(to_table(frame))
