"""`temper evaluate`: judge any checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from bench.cli.options import AsJson, Data, Device, pick_device, print_json, print_sheet


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
    from bench.evaluation.summary import summarise
    from bench.execution.judge import outcomes_of
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
    test = load(loaded.data, ("test",))["test"].to(place)
    with Progress(console=Console(stderr=True)) as bars:
        bar = bars.add_task("AutoAttack", total=1.0)
        frame, diagnostics = outcomes_of(
            module.to(place).eval(), test, loaded, lambda done: bars.update(bar, completed=done)
        )
    if outcomes:
        with replacing(outcomes) as temporary:
            frame.to_parquet(temporary, index=False)
    numbers = summarise(frame)
    if json:
        print_json(numbers | {"diagnostics": diagnostics, "examples": len(frame)})
    else:
        left = {f"after {name}": accuracy for name, accuracy in numbers["attacks"].items()}
        shown = {"clean": numbers["clean"]} | left | {"robust (AutoAttack)": numbers["robust"]} | numbers["further"]
        print_sheet({name: f"{100 * accuracy:.2f} %" for name, accuracy in shown.items()} | diagnostics)
