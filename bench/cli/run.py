"""`temper run`: train, evaluate, record."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.cli.options import (
    AsJson,
    Data,
    Device,
    Files,
    Leaderboards,
    console,
    parse_fields,
    pick_device,
    print_json,
    use_files,
)
from bench.scenario import Recipe, Ruleset, Tier


def run(
    scenario: Annotated[str, typer.Argument(help="Name of a scenario, or path of a TOML file.", show_default=False)],
    method: Annotated[
        list[str] | None, typer.Option("--method", "-m", help="Repeat for several. Default: all.", show_default=False)
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="The first N seeds. Default: the scenario's.", show_default=False)
    ] = None,
    ruleset: Annotated[Ruleset, typer.Option(help="Equal compute, or equal epochs.")] = "compute",
    budget: Annotated[Tier, typer.Option(help="The tier.")] = "s",
    recipe: Annotated[Recipe, typer.Option(help="How training is strengthened around the method.")] = "plain",
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="A hyper-parameter.", show_default=False)
    ] = None,
    tuned: Annotated[bool, typer.Option("--tuned", help="With what `temper tune` found; rows are marked.")] = False,
    file: Files = None,
    jobs: Annotated[int, typer.Option(min=1, help="Trials at a time; each takes one thread.")] = 1,
    data: Data = None,
    device: Device = "auto",
    leaderboards: Leaderboards = None,
    checkpoint_seconds: Annotated[float, typer.Option(min=0, help="Save the state of training this often.")] = 30,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Also write TensorBoard logs here.", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Train methods on a scenario, judge the students by AutoAttack, record the results.

    Skips what is recorded, judges stored weights again where the protocol has changed since, and continues what was
    interrupted.
    """
    from bench.execution.trials import Runner
    from bench.execution.tuning import read_tuned
    from bench.method import METHODS, make_method
    from bench.records import local_leaderboards, make_trial
    from bench.scenario import load_scenario

    use_files(file)
    loaded = load_scenario(scenario).with_data(data)
    fields, where = parse_fields(set_ or []), local_leaderboards(leaderboards)
    names = list(dict.fromkeys(method or METHODS))
    found = {name: read_tuned(where, loaded, name) for name in names} if tuned else {}
    chosen = [make_method(name, (found[name].hyperparameters if tuned else {}) | fields) for name in names]
    runner = Runner(loaded, where, pick_device(device), jobs, checkpoint_seconds, tensorboard)
    runner.check(chosen)
    optimisers = [found[name].optimiser if tuned else None for name in names]
    trials = [
        make_trial(loaded, each, seed, ruleset=ruleset, budget=budget, recipe=recipe, optimiser=optimiser)
        for seed in range(seeds or loaded.seeds)
        for each, optimiser in zip(chosen, optimisers, strict=True)
    ]
    missing, outdated = runner.missing(trials), runner.outdated(trials)
    if len(missing) < len(trials):
        print(f"{len(trials) - len(missing)} of {len(trials)} trials are recorded already", file=sys.stderr)
    if outdated:
        print(f"{len(outdated)} of them were judged by an earlier protocol: judging again", file=sys.stderr)
    problems = runner.run(missing + outdated) + runner.failures(trials)
    if json:
        print_json({"trials": [trial.id for trial in trials], "problems": problems})
    else:
        _summary(runner, trials)
    if problems:
        raise typer.Exit(1)


def _summary(runner: Any, trials: list[Any]) -> None:
    """One line a recorded trial."""
    from rich.table import Table

    from bench.records import read_record, trial_folder

    table = Table("method", "seed", "clean %", "robust %", "passes", "seconds", "status", title=runner.scenario.name)
    for trial in trials:
        folder = trial_folder(runner.leaderboards, trial)
        if not (folder / "record.json").is_file():
            continue
        record = read_record(folder)
        training, verdict = record.training, record.evaluation
        table.add_row(
            trial.method,
            str(trial.seed_index),
            f"{100 * verdict.clean:.1f}" if verdict else "-",
            f"{100 * verdict.robust:.1f}" if verdict else "0.0",
            f"{training.passes:.0f}" if training else "-",
            f"{training.seconds + verdict.seconds:.0f}" if training and verdict else "-",
            record.failure or ("collapsed" if training and training.collapsed else record.status),
        )
    console().print(table)
