"""`temper run`: train, evaluate, record."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from bench.errors import TemperError
from bench.scenario import Recipe, Ruleset, Tier
from bench.words import counted

if TYPE_CHECKING:
    from bench.execution.trials import Runner
    from bench.ranking.sequential import Look
    from bench.records import Trial


def run(
    scenario: Annotated[str, typer.Argument(help="Name of a scenario, or path of a TOML file.", show_default=False)],
    method: Annotated[
        list[str] | None, typer.Option("--method", "-m", help="Repeat for several. Default: all.", show_default=False)
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1, help="Run the first N seeds. Default: as many as the scenario asks for.", show_default=False
        ),
    ] = None,
    ruleset: Annotated[Ruleset, typer.Option(help="Equal compute, or equal epochs.")] = "compute",
    budget: Annotated[Tier, typer.Option(help="The tier.")] = "s",
    recipe: Annotated[
        Recipe, typer.Option(help="strong: weight averaging and adversarial weight perturbation around the method.")
    ] = "plain",
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="A hyper-parameter.", show_default=False)
    ] = None,
    until_decided: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="A B", help="Add seeds to these two methods until they differ significantly.", show_default=False
        ),
    ] = None,
    max_seeds: Annotated[
        int, typer.Option(min=2, help="With --until-decided: the most seeds for each of the two.")
    ] = 10,
    tuned: Annotated[
        bool, typer.Option("--tuned", help="Use the hyper-parameters that `temper tune` found; rows say so.")
    ] = False,
    file: Files = None,
    jobs: Annotated[int, typer.Option(min=1, help="Trials at a time; each takes one thread.")] = 1,
    data: Data = None,
    device: Device = "auto",
    leaderboards: Leaderboards = None,
    checkpoint_seconds: Annotated[float, typer.Option(min=0, help="Save the training state this often.")] = 30,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Also write TensorBoard logs here.", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Train methods on a scenario, evaluate the students with AutoAttack, and record the results.

    Recorded trials are skipped, interrupted ones continue, and stored weights are evaluated again where the protocol
    has changed. With --until-decided, the two methods are compared after the scenario's (or --seeds) seeds and after
    every further one, at levels that keep the error of the whole search at 5%.
    """
    from bench.execution.search import Search, run_missing
    from bench.execution.search import until_decided as search
    from bench.execution.trials import Runner
    from bench.execution.tuning import read_tuned
    from bench.method import METHODS, make_method
    from bench.records import local_leaderboards, make_trial
    from bench.scenario import load_scenario

    use_files(file)
    loaded = load_scenario(scenario).with_data(data)
    fields, where = parse_fields(set_ or []), local_leaderboards(leaderboards)
    names = _names(method, until_decided) or list(METHODS)
    better = {name: read_tuned(where, loaded, name) for name in names} if tuned else {}
    chosen = [make_method(name, (better[name].hyperparameters if tuned else {}) | fields) for name in names]
    runner = Runner(loaded, where, pick_device(device), jobs, checkpoint_seconds, tensorboard)
    runner.check(chosen)
    optimisers = [better[name].optimiser if tuned else None for name in names]

    def trials(first: int) -> list[Trial]:
        return [
            make_trial(loaded, each, seed, ruleset=ruleset, budget=budget, recipe=recipe, optimiser=optimiser)
            for seed in range(first)
            for each, optimiser in zip(chosen, optimisers, strict=True)
        ]

    first = seeds or loaded.seeds
    if until_decided is not None:
        found = search(runner, trials, range(first, max(first, max_seeds) + 1))
    else:
        found = Search(trials=trials(first), problems=run_missing(runner, trials(first)))
    if json:
        looks = [asdict(each) | {"decided": each.decided} for each in found.looks]
        print_json({"trials": [trial.id for trial in found.trials], "problems": found.problems, "looks": looks})
    else:
        _summary(runner, found.trials)
        _show_looks(names, found.looks)
    if found.problems:
        raise typer.Exit(1)


def _names(method: list[str] | None, pair: tuple[str, str] | None) -> list[str]:
    """The methods asked for, each once. Raises TemperError where both options name some, or the pair is no pair."""
    if pair is None:
        return list(dict.fromkeys(method or []))
    if method:
        raise TemperError("--until-decided names its two methods; leave out --method")
    if pair[0] == pair[1]:
        raise TemperError(f"--until-decided needs two methods, got {pair[0]} twice")
    return list(pair)


def _show_looks(names: list[str], looks: list[Look]) -> None:
    """The looks as a table, and what came out."""
    from rich.table import Table

    if not looks:
        return
    table = Table(
        "seeds of each", "difference", "interval", "p", "level", title=f"{names[0]} minus {names[1]}, in points"
    )
    for each in looks:
        seen = each.difference
        interval = f"{100 * seen.low:+.1f} to {100 * seen.high:+.1f}"
        table.add_row(str(each.seeds), f"{100 * seen.mean:+.1f}", interval, f"{seen.p:.2g}", f"{each.level:.2g}")
    console().print(table)
    last = looks[-1]
    winner, after = names[last.difference.mean < 0], counted(last.seeds, "seed")
    print(
        f"decided after {after}: {winner} is more robust (5% over all looks, O'Brien-Fleming spending)"
        if last.decided
        else f"not decided after {after}"
    )


def _summary(runner: Runner, trials: list[Trial]) -> None:
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
