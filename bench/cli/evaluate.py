"""`temper evaluate`: judge any checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bench.cli.options import AsJson, Data, Device, Leaderboards, pick_device, print_json, print_sheet


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
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Judge the first N test examples alone.", show_default=False),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Default: the scenario's.", show_default=False)
    ] = None,
    add_row: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Put it on the scenario's boards under this name, unranked.", show_default=False
        ),
    ] = None,
    source: Annotated[str, typer.Option(metavar="URL", help="For that: where it is from.", show_default=False)] = "",
    data: Data = None,
    device: Device = "auto",
    outcomes: Annotated[
        Path | None, typer.Option(help="Also write the per-example outcomes here (parquet).", show_default=False)
    ] = None,
    json: AsJson = False,
    leaderboards: Leaderboards = None,
) -> None:
    """Judge a checkpoint on the whole test split of a scenario.

    What is done is kept: after an interruption, the same command goes on. With --add-row the verdict becomes a row of
    its own on the scenario's boards, set apart from those that are ranked: docs/evaluation.md, "A row of your own".
    """
    import bench
    from bench.checkpoints import save_checkpoint
    from bench.cli.options import parse_fields
    from bench.data import Split, load
    from bench.evaluation.summary import summarise
    from bench.execution.checkpoint import Newcomer, judge_row, prepare_row
    from bench.execution.train import make_deterministic
    from bench.files import cache, replacing
    from bench.networks import build, load_weights
    from bench.records import local_leaderboards
    from bench.scenario import NetworkSpec, load_scenario

    given = load_scenario(scenario).with_data(data)
    loaded = _in_batches(given, batch_size)
    spec = NetworkSpec(network=network, options=parse_fields(option or [])) if network else loaded.student
    part = _shard(shard)
    own_seed = loaded.evaluation.seed
    changed = {
        "--protocol": protocol != "standard",
        "--engine": engine != "fast",
        "--seed": seed not in (None, own_seed),
        "--shard": part != (1, 1),
        "--limit": limit is not None,
        "--batch-size": given.protocol_fingerprint() != loaded.protocol_fingerprint(),
        "--prove": prove,
        "--minimal-norm": minimal_norm,
        "--corrupted": corrupted is not None,
    }
    _check_row(add_row, source, changed)
    make_deterministic()
    place = pick_device(device)
    module = build(spec, loaded.data.shape, loaded.data.classes)
    load_weights(module, weights)
    module = module.to(place).eval()
    whole = load(loaded.data, ("test",))["test"].to(place)
    test = Split(whole.x[:limit], whole.y[:limit])
    folder = state or cache() / "evaluations"
    row: dict[str, str] = {}
    told: Any  # the diagnostics and deviations of the verdict
    if add_row is not None:
        about = Newcomer(add_row, source, weights, spec.network, spec.options)
        known = prepare_row(about, loaded, local_leaderboards(leaderboards))
        with _bar(f"judging {add_row}") as report:
            record, frame = judge_row(known, module, test, loaded, place, report, folder=folder)
        row = {"row": str(save_checkpoint(record, frame, local_leaderboards(leaderboards)))}
        attacks, told = tuple(record.evaluation.attacks), record.evaluation
    else:
        with _bar(protocol) as report:
            verdict = bench.evaluate(
                module,
                test.inputs(),
                test.y,
                threat=loaded.threat,
                protocol=protocol,
                engine=engine,
                randomness=loaded.evaluation.randomness,
                seed=own_seed if seed is None else seed,
                batch_size=loaded.evaluation.batch_size,
                progress=report,
                folder=folder,
                shard=part,
            )
        frame = verdict.to_frame()
        if part == (1, 1):
            frame = frame.assign(**_columns(module, test, verdict, loaded, prove, minimal_norm, corrupted))
        attacks, told = verdict.attacks, verdict
    if outcomes:
        with replacing(outcomes) as temporary:
            frame.to_parquet(temporary, index=False)
    numbers = summarise(frame, attacks)
    if json:
        extra = {"protocol": protocol, "engine": engine, "deviations": list(told.deviations), "limit": limit, **row}
        print_json(numbers | extra | {"diagnostics": told.diagnostics, "examples": len(frame)})
        return
    _print(numbers, told, protocol, engine)
    if part != (1, 1):
        print(f"shard {shard}: {len(frame)} of {len(test)} examples; the same command without --shard merges")
    if limit is not None:
        print(f"first {len(test)} of {len(whole)} examples: not a result of the board, never a row")
    if row:
        print(f"unranked row {add_row!r} is in {row['row']}; temper leaderboard {scenario} shows it")


def _in_batches(scenario: Any, size: int | None) -> Any:
    """The scenario, judged in batches of another size where one is named."""
    if size is None:
        return scenario
    return scenario.model_copy(update={"evaluation": scenario.evaluation.model_copy(update={"batch_size": size})})


def _check_row(name: str | None, source: str, changed: dict[str, bool]) -> None:
    """Raise TemperError for a source of no row, and for a row that would not be judged as the others are."""
    from bench.errors import TemperError
    from bench.execution.checkpoint import check_whole

    if name is not None:
        check_whole(changed)
    elif source:
        raise TemperError("--source says where a row is from: name the row with --add-row NAME")


@contextmanager
def _bar(words: str) -> Iterator[Callable[[float], None]]:
    """A bar on standard error with the time that is left, by all that was done so far: a step can take minutes."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    left = TimeRemainingColumn(elapsed_when_finished=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), left)
    with Progress(*columns, console=Console(stderr=True), speed_estimate_period=3600) as bars:
        bar = bars.add_task(words, total=1.0)
        yield lambda done: bars.update(bar, completed=done)


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

        images = torch.from_numpy(np.load(corrupted, allow_pickle=False)).to(x)[: len(y)]
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
