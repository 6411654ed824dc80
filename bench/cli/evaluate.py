"""`temper evaluate`: judge any checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bench.cli.options import AsJson, Data, Device, Files, pick_device, print_json, print_sheet, use_files


def evaluate(
    weights: Annotated[Path, typer.Argument(help="A safetensors file.", show_default=False)],
    scenario: Annotated[str, typer.Option(help="Name or path of a scenario.", show_default=False)],
    network: Annotated[
        str | None, typer.Option(help="Architecture. Default: the scenario's student.", show_default=False)
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Its options, such as width=16.", show_default=False)
    ] = None,
    protocol: Annotated[
        Literal["standard", "screen", "beyond"],
        typer.Option(
            help="AutoAttack; its two APGDs alone (cheaper, not AutoAttack); or AutoAttack and more on what it left."
        ),
    ] = "standard",
    engine: Annotated[
        Literal["fast", "reference"], typer.Option(help="Ours, or pyautoattack (whose random numbers are its own).")
    ] = "fast",
    seed: Annotated[int | None, typer.Option(help="Default: the scenario's.", show_default=False)] = None,
    shard: Annotated[
        str, typer.Option(metavar="i/n", help="Judge the i-th of n parts; then run once more without, to merge.")
    ] = "1/1",
    state: Annotated[
        Path | None,
        typer.Option(help="Folder of the work that is done so far. Default: in the user's cache.", show_default=False),
    ] = None,
    prove: Annotated[bool, typer.Option(help="Also prove which examples nothing can break (small networks).")] = False,
    minimal_norm: Annotated[bool, typer.Option(help="Also find the smallest perturbation of every example.")] = False,
    corrupted: Annotated[
        Path | None,
        typer.Option(help="An .npy of the test images, corrupted: the accuracy on them too.", show_default=False),
    ] = None,
    file: Files = None,
    data: Data = None,
    device: Device = "auto",
    outcomes: Annotated[
        Path | None, typer.Option(help="Also write the per-example outcomes here (parquet).", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Judge a checkpoint on the whole test split of a scenario.

    What is done is kept: after an interruption, the same command goes on.
    """
    from rich.console import Console
    from rich.progress import Progress

    import bench
    from bench.cli.options import parse_fields
    from bench.data import load
    from bench.evaluation.summary import summarise
    from bench.execution.train import make_deterministic
    from bench.files import EVALUATIONS, cache, replacing
    from bench.networks import build, load_weights
    from bench.scenario import NetworkSpec, load_scenario

    use_files(file)
    loaded = load_scenario(scenario).with_data(data)
    spec = NetworkSpec(network=network, options=parse_fields(option or [])) if network else loaded.student
    part = _shard(shard)
    make_deterministic()
    place = pick_device(device)
    module = build(spec, loaded.data.shape, loaded.data.classes)
    load_weights(module, weights)
    module = module.to(place).eval()
    test = load(loaded.data, ("test",))["test"].to(place)
    with Progress(console=Console(stderr=True)) as bars:
        bar = bars.add_task(protocol, total=1.0)
        verdict = bench.evaluate(
            module,
            test.inputs(),
            test.y,
            threat=loaded.threat,
            protocol=protocol,
            engine=engine,
            randomness=loaded.evaluation.randomness,
            seed=loaded.evaluation.seed if seed is None else seed,
            batch_size=loaded.evaluation.batch_size,
            progress=lambda done: bars.update(bar, completed=done),
            folder=state or cache() / EVALUATIONS,
            shard=part,
        )
    frame = verdict.to_frame()
    if part == (1, 1):
        frame = frame.assign(**_columns(module, test, verdict, loaded, prove, minimal_norm, corrupted))
    if outcomes:
        with replacing(outcomes) as temporary:
            frame.to_parquet(temporary, index=False)
    numbers = summarise(frame, verdict.attacks)
    if json:
        extra = {"protocol": protocol, "engine": engine, "deviations": list(verdict.deviations)}
        print_json(numbers | extra | {"diagnostics": verdict.diagnostics, "examples": len(frame)})
        return
    _print(numbers, verdict, protocol, engine)
    if part != (1, 1):
        print(f"shard {shard}: {len(frame)} of {len(test.y)} examples; the same command without --shard merges")


def _shard(text: str) -> tuple[int, int]:
    try:
        number, total = (int(each) for each in text.split("/"))
    except ValueError:
        raise typer.BadParameter(f"a shard is i/n, such as 1/4, got {text!r}") from None
    return number, total


def _columns(
    module: Any, test: Any, verdict: Any, scenario: Any, prove: bool, minimal_norm: bool, corrupted: Path | None
) -> dict[str, Any]:
    """The attacks beside the score, and the columns that were asked for, per example."""
    import torch

    from bench.evaluation import columns as further
    from bench.evaluation.bounds import proved_robust
    from bench.execution.judge import beside
    from bench.protocol import ROBUST

    found: dict[str, Any] = {name: right for name, right in beside(module, test, scenario).items() if name != "clean"}
    x, y = test.inputs(), test.y
    if prove:
        left = torch.from_numpy(verdict.outcomes == ROBUST)
        found["proved"] = proved_robust(module, x, y, scenario.threat, left=left).cpu().numpy()
    if minimal_norm:
        norm = further.minimal_norm(module, x, y, scenario.threat, batch_size=scenario.evaluation.batch_size)
        found["minimal_norm"] = norm.cpu().numpy()
    if corrupted:
        import numpy as np

        images = torch.from_numpy(np.load(corrupted, allow_pickle=False)).to(x)
        found["corrupted"] = further.corruption_accuracy(module, images, y)[1].cpu().numpy()
    return found


def _print(numbers: dict[str, Any], verdict: Any, protocol: str, engine: str) -> None:
    """The numbers, and what the diagnostics say."""
    name = "AutoAttack" if protocol == "standard" else f"`{protocol}`, not AutoAttack"
    left = {f"after {attack}": accuracy for attack, accuracy in numbers["attacks"].items()}
    shown = {"clean": numbers["clean"]} | left | {f"robust ({name}, {engine} engine)": numbers["robust"]}
    shown |= {"worst class": numbers["worst_class"]["robust"]} | numbers["further"]
    if numbers["proved"] is not None:
        shown["proved robust"] = numbers["proved"]
    sheet = {label: f"{100 * accuracy:.2f} %" for label, accuracy in shown.items()}
    if numbers["proved"] == 0:
        sheet["proved robust"] = "0.00 %: the bound is vacuous here, it says nothing"
    signs = {name: f"{sign['verdict']}: {sign['words']}" for name, sign in verdict.diagnostics.items()}
    notes = {f"deviation {k}": note for k, note in enumerate(verdict.deviations, start=1)}
    print_sheet(sheet | notes | signs)
