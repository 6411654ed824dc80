"""`temper regress` and `temper reproduce`: does the code of today give the results that are stored?"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.options import (
    AsJson,
    Data,
    Device,
    Files,
    Leaderboards,
    console,
    pick_device,
    print_json,
    print_sheet,
    use_files,
)
from bench.scenario import Recipe, Ruleset, Tier, Track

if TYPE_CHECKING:
    from bench.ranking.collect import Entry
    from bench.regression import Found, What

SAMPLE = 3  # rows, where no method is named
SHOWN = 5  # changed examples of a trial; JSON has all


def regress(
    scenario: Annotated[str, typer.Argument(help="Name of a scenario, or path of a TOML file.")] = "digits-linf",
    method: Annotated[
        list[str] | None,
        typer.Option("--method", "-m", help="Repeat for several. Default: a sample.", show_default=False),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Check the first N seeds of each row.")] = 1,
    sample: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"At most N rows, from the best to the worst. Default: {SAMPLE}, or all of the named methods.",
            show_default=False,
        ),
    ] = None,
    retrain: Annotated[bool, typer.Option("--retrain", help="Only retrain (and evaluate).")] = False,
    reevaluate: Annotated[bool, typer.Option("--reevaluate", help="Only evaluate the stored weights again.")] = False,
    ruleset: Annotated[Ruleset, typer.Option(help="Equal compute, or equal epochs.")] = "compute",
    budget: Annotated[Tier, typer.Option(help="The tier.")] = "s",
    recipe: Annotated[
        Recipe, typer.Option(help="plain, or strong (weight averaging and adversarial weight perturbation).")
    ] = "plain",
    track: Annotated[Track, typer.Option(help="The track.")] = "main",
    file: Files = None,
    jobs: Annotated[int, typer.Option(min=1, help="Trials at a time; each takes one thread.")] = 1,
    data: Data = None,
    device: Device = "auto",
    leaderboards: Leaderboards = None,
    json: AsJson = False,
) -> None:
    """Evaluate recorded students again, retrain recorded trials, and compare. Exit code 1 when a check fails.

    On the same class of machine (processor and vector instructions, device, PyTorch) everything must be equal, bit for
    bit. Elsewhere 99% of the robust verdicts on the stored weights must agree, and a retrained student's accuracy must
    lie in the 95% prediction interval of the stored seeds.
    """
    from bench.ranking.rows import read_board
    from bench.records import local_leaderboards
    from bench.regression import AGAIN, check_again, chosen
    from bench.scenario import load_scenario

    use_files(file)
    fields = {"ruleset": ruleset, "budget": budget, "recipe": recipe, "track": track}
    board = read_board(load_scenario(scenario).with_data(data), leaderboards, **fields)
    entries = chosen(board, method or (), seeds, sample or (None if method else SAMPLE))
    scratch = local_leaderboards(leaderboards) / AGAIN
    found: list[Found] = []
    problems: list[str] = []
    for what in _wanted(retrain, reevaluate):
        if able := _able(entries, what):
            checks, wrong = check_again(board, able, what, scratch, pick_device(device), jobs)
            found, problems = found + checks, problems + wrong
    if json:
        print_json({"checks": [_as_json(each) for each in found], "problems": problems})
    else:
        _print(found, board.setting)
    if problems or not found or not all(each.check.holds for each in found):
        raise typer.Exit(1)


def reproduce(
    record: Annotated[str, typer.Argument(help="A record's folder or file, or a trial's id.", show_default=False)],
    scenario: Annotated[
        str | None, typer.Option(help="The file of a scenario of your own.", show_default=False)
    ] = None,
    file: Files = None,
    data: Data = None,
    device: Device = "auto",
    leaderboards: Leaderboards = None,
    json: AsJson = False,
) -> None:
    """Run a recorded trial again and compare: bit for bit, or with the 95% prediction interval.

    Exit code 1 when they differ: other bits on the same class of machine, or outside the interval elsewhere.
    """
    from bench.ranking.rows import FIELDS, read_board
    from bench.records import local_leaderboards, read_record
    from bench.regression import find
    from bench.regression import reproduce as run_again
    from bench.scenario import load_scenario

    use_files(file)
    folder = find(record, leaderboards)
    stored = read_record(folder)
    trial = stored.trial
    loaded = load_scenario(scenario or trial.scenario).with_data(data)
    board = read_board(loaded, leaderboards, **{name: getattr(trial, name) for name in FIELDS})
    check, again = run_again(stored, folder, board, local_leaderboards(leaderboards), pick_device(device))
    told = {"trial": stored.trial_id, "holds": check.holds, "words": check.words, "record": str(again)}
    if json:
        print_json(told | {"changes": check.changes})
    else:
        print_sheet({"trial": f"{trial.method} seed {trial.seed_index} ({stored.trial_id})"} | told)
        _print_changes(check.changes)
    if not check.holds:
        raise typer.Exit(1)


def _wanted(retrain: bool, reevaluate: bool) -> list[What]:
    """What is checked; both, where neither is asked for."""
    asked: dict[What, bool] = {"evaluator": reevaluate, "training": retrain}
    return [what for what, wanted in asked.items() if wanted or not any(asked.values())]


def _able(entries: list[Entry], what: What) -> list[Entry]:
    """Those that this check can be made of; of the others, standard error says why not."""
    from bench.regression import has_weights, other_method

    able = []
    for entry in entries:
        reason = other_method(entry.record.trial) if what == "training" else ""
        if what == "evaluator" and not has_weights(entry):
            reason = "its weights are not stored here"
        if reason:
            print(f"left out: {entry.folder}, {what}: {reason}", file=sys.stderr)
        else:
            able.append(entry)
    return able


def _as_json(found: Found) -> dict[str, Any]:
    trial, check = found.trial, found.check
    words = {"holds": check.holds, "words": check.words, "changes": check.changes}
    return {"trial": trial.id, "method": trial.method, "seed": trial.seed_index, "what": found.what} | words


def _print(found: list[Found], title: str) -> None:
    """A line a check, and below it the first examples that changed."""
    from rich.table import Table

    table = Table("method", "seed", "checked", "holds", "what it says", title=title)
    for each in found:
        holds = "yes" if each.check.holds else "[bold red]NO[/]"
        table.add_row(each.trial.method, str(each.trial.seed_index), each.what, holds, each.check.words)
    console().print(table)
    for each in found:
        if each.check.changes:
            print(f"{each.trial.method} seed {each.trial.seed_index}, {each.what}:")
            _print_changes(each.check.changes)


def _print_changes(changes: list[str]) -> None:
    for line in changes[:SHOWN]:
        print(f"  {line}")
    if len(changes) > SHOWN:
        print(f"  and {len(changes) - SHOWN} more, which --json lists")
