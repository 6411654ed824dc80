"""`temper tune`: hyper-parameters by search on validation, with as many trials for every method."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli.options import Data, Device, Files, Leaderboards, console, pick_device, use_files
from bench.scenario import Tier


def tune(
    method: Annotated[list[str], typer.Argument(help="Methods, by name.", show_default=False)],
    scenario: Annotated[str, typer.Option(help="Name of a scenario, or path of a TOML file.", show_default=False)],
    trials: Annotated[
        int, typer.Option(min=1, help="Training runs for each method; the first uses the defaults.")
    ] = 20,
    budget: Annotated[Tier, typer.Option(help="The tier.")] = "s",
    file: Files = None,
    jobs: Annotated[int, typer.Option(min=1, help="Training runs at a time; each takes one thread.")] = 1,
    data: Data = None,
    device: Device = "auto",
    leaderboards: Leaderboards = None,
) -> None:
    """Tune hyper-parameters, learning rate and weight decay on the validation split; the test split is not read.

    `temper run SCENARIO --method METHOD --tuned` then trains with what was found, in a row that says so.
    """
    from rich.table import Table

    from bench.execution.tuning import Tuner
    from bench.records import local_leaderboards
    from bench.scenario import load_scenario

    use_files(file)
    loaded = load_scenario(scenario).with_data(data)
    tuner = Tuner(loaded, local_leaderboards(leaderboards), trials, budget, pick_device(device), jobs)
    table = Table("method", "trials", "default %", "tuned %", "found", title=f"{loaded.name}: robust on validation")
    for name in dict.fromkeys(method):
        found = tuner.tune(name)
        settings = ", ".join(f"{k} = {v:.3g}" for k, v in (found.hyperparameters | found.optimiser).items())
        accuracies = (f"{100 * value:.1f}" for value in (found.default_robust, found.robust))
        table.add_row(name, str(found.trials), *accuracies, settings)
    console().print(table)
