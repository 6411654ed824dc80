"""`temper evaluate`: judge any checkpoint."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated, Literal

import typer

from bench.cli.options import AsJson, Data, Device, pick_device, print_json


def evaluate(
    weights: Annotated[Path, typer.Argument(help="A safetensors file.", show_default=False)],
    scenario: Annotated[str, typer.Option(help="Name or path of a scenario.", show_default=False)],
    network: Annotated[
        str | None, typer.Option(help="Architecture. Default: the scenario's student.", show_default=False)
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Its options, such as width=16.", show_default=False)
    ] = None,
    protocol: Annotated[Literal["standard"], typer.Option(help="AutoAttack standard.")] = "standard",
    engine: Annotated[Literal["reference"], typer.Option(help="The implementation of record.")] = "reference",
    data: Data = None,
    device: Device = "auto",
    outcomes: Annotated[
        Path | None, typer.Option(help="Also write the per-example outcomes here (parquet).", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Judge a checkpoint on the whole test split of a scenario."""
    from rich.console import Console
    from rich.progress import Progress

    from bench.cli.options import parse_fields
    from bench.data import load
    from bench.evaluation import evaluate as judge
    from bench.evaluation.further import further_attacks
    from bench.evaluation.summary import summarise
    from bench.execution.judge import outcome_frame
    from bench.execution.train import make_deterministic
    from bench.files import replacing
    from bench.networks import build, load_weights
    from bench.scenario import NetworkSpec, load_scenario

    loaded = load_scenario(scenario).with_data(data)
    spec = NetworkSpec(network=network, options=parse_fields(option or [])) if network else loaded.student
    make_deterministic()
    place = pick_device(device)
    module = build(spec, loaded.data.shape, loaded.data.classes)
    load_weights(module, weights)
    module = module.to(place).eval()
    test = load(loaded.data, ("test",))["test"].to(place)
    how = loaded.evaluation
    with Progress(console=Console(stderr=True)) as bars:
        bar = bars.add_task("AutoAttack", total=1.0)
        verdict = judge(
            module,
            test.inputs(),
            test.y,
            threat=loaded.threat,
            seed=how.seed,
            batch_size=how.batch_size,
            progress=lambda done: bars.update(bar, completed=done),
        )
    further = further_attacks(module, test.inputs(), test.y, loaded.threat, seed=how.seed, batch_size=how.batch_size)
    frame = outcome_frame(verdict, further)
    if outcomes:
        with replacing(outcomes) as temporary:
            frame.to_parquet(temporary, index=False)
    result = summarise(frame) | {"diagnostics": verdict.diagnostics, "examples": len(frame)}
    if json:
        print_json(result)
    else:
        print(json_module.dumps(result, indent=1))
