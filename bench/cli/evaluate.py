"""`temper evaluate`: judge any checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bench.cli.options import (
    AsJson,
    Data,
    Device,
    Files,
    Key,
    Leaderboards,
    Normalise,
    pick_device,
    print_json,
    print_sheet,
    use_files,
)
from bench.errors import TemperError

if TYPE_CHECKING:
    from torch import nn

    from bench.data import Split
    from bench.evaluation import Evaluation
    from bench.scenario import Scenario


def evaluate(
    weights: Annotated[Path, typer.Argument(help="A checkpoint: .safetensors, .pt, .pth, .bin.", show_default=False)],
    scenario: Annotated[str, typer.Option(help="Name or path of a scenario.", show_default=False)],
    network: Annotated[
        str | None,
        typer.Option(
            help="Architecture, also timm:NAME and torchvision:NAME. Default: the scenario's student.",
            show_default=False,
        ),
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Its options, such as width=16.", show_default=False)
    ] = None,
    model: Annotated[
        str, typer.Option(metavar="MODULE:FUNCTION", help="An architecture of your own, which this returns.")
    ] = "",
    normalise: Normalise = "",
    key: Key = "",
    protocol: Annotated[
        Literal["standard", "screen", "beyond", "black-box"],
        typer.Option(
            help="AutoAttack; APGD alone (cheaper, not AutoAttack); AutoAttack and further attacks on its survivors; "
            "or Square and transfer from the teacher, for models without a gradient (not AutoAttack)."
        ),
    ] = "standard",
    engine: Annotated[
        Literal["fast", "reference"], typer.Option(help="Our engine, or pyautoattack with its own random numbers.")
    ] = "fast",
    seed: Annotated[int | None, typer.Option(help="Default: the scenario's.", show_default=False)] = None,
    shard: Annotated[
        str, typer.Option(metavar="i/n", help="Evaluate the i-th of n parts; run once more without it to merge.")
    ] = "1/1",
    state: Annotated[
        Path | None,
        typer.Option(help="Folder for saved progress. Default: in the user's cache.", show_default=False),
    ] = None,
    prove: Annotated[bool, typer.Option(help="Also prove which examples are robust (small networks).")] = False,
    minimal_norm: Annotated[bool, typer.Option(help="Also find the smallest perturbation of every example.")] = False,
    corrupted: Annotated[
        Path | None,
        typer.Option(help="Also the accuracy on these corrupted test images (.npy).", show_default=False),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Evaluate only the first N test examples.", show_default=False),
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
    source: Annotated[
        str, typer.Option(metavar="URL", help="With --add-row: where the checkpoint is from.", show_default=False)
    ] = "",
    file: Files = None,
    data: Data = None,
    device: Device = "auto",
    outcomes: Annotated[
        Path | None, typer.Option(help="Also write the per-example outcomes here (parquet).", show_default=False)
    ] = None,
    json: AsJson = False,
    leaderboards: Leaderboards = None,
) -> None:
    """Evaluate a checkpoint on the test split of a scenario.

    Progress is saved: after an interruption, the same command continues. With --add-row the verdict becomes an unranked
    row on the scenario's boards: docs/evaluation.md, "A row of your own".
    """
    import bench
    from bench.checkpoints import save_checkpoint
    from bench.cli.checkpoint import module_of, spec_of
    from bench.data import load
    from bench.evaluation.summary import summarise
    from bench.execution.checkpoint import Newcomer, judge_row, prepare_row, robust_teacher
    from bench.execution.train import make_deterministic
    from bench.files import EVALUATIONS, cache, replacing
    from bench.records import local_leaderboards
    from bench.scenario import load_scenario

    use_files(file)
    given = load_scenario(scenario).with_data(data)
    loaded = _in_batches(given, batch_size)
    shape, classes = loaded.data.shape, loaded.data.classes
    spec = spec_of(loaded, network, option, normalise, shape[0])
    part, own_seed = _shard(shard), loaded.evaluation.seed
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
    here, known = local_leaderboards(leaderboards), dict[str, Any]()
    if add_row is not None:
        known = prepare_row(Newcomer(add_row, source, weights, spec, model), loaded, here)
    make_deterministic()
    place = pick_device(device)
    whole = load(loaded.data, ("test",))["test"].to(place)
    test = whole.first(limit)
    module, read = module_of(weights, spec, shape, classes, model, key, (test.inputs(), test.y))
    print(*read, sep="\n", file=sys.stderr)
    module = module.to(place).eval()
    folder = state or cache() / EVALUATIONS
    told: dict[str, Any] = {"protocol": protocol, "engine": engine, "limit": limit, "checkpoint": read}
    if add_row is not None:
        with _bar(f"judging {add_row}") as report:
            record, frame = judge_row(known | {"told": read}, module, test, loaded, place, report, folder=folder)
        told["row"] = str(save_checkpoint(record, frame, here))
        attacks = tuple(record.evaluation.attacks)
        told |= {"diagnostics": record.evaluation.diagnostics, "deviations": record.evaluation.deviations}
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
                teacher=robust_teacher(loaded, place)[0],
            )
        frame, attacks = verdict.to_frame(), verdict.attacks
        told |= {"protocol": verdict.protocol, "diagnostics": verdict.diagnostics, "notes": list(verdict.notes)}
        told["deviations"] = list(verdict.deviations)
        if part == (1, 1):
            frame = frame.assign(**_columns(module, test, verdict, loaded, prove, minimal_norm, corrupted))
    if outcomes:
        with replacing(outcomes) as temporary:
            frame.to_parquet(temporary, index=False)
    numbers = summarise(frame, attacks)
    if "corrupted" in frame:
        numbers["corrupted"] = float(frame["corrupted"].mean())
    if json:
        print_json(numbers | told | {"examples": len(frame)})
        return
    _print(numbers, told)
    if part != (1, 1):
        print(f"shard {shard}: {len(frame)} of {len(test)} examples; the same command without --shard merges")
    if limit is not None:
        print(f"first {len(test)} of {len(whole)} examples: not a result of the board, never a row")
    if add_row is not None:
        print(f"unranked row {add_row!r} is in {told['row']}; temper leaderboard {scenario} shows it")


def _in_batches(scenario: Any, size: int | None) -> Any:
    """The scenario, judged in batches of another size where one is named."""
    if size is None:
        return scenario
    return scenario.model_copy(update={"evaluation": scenario.evaluation.model_copy(update={"batch_size": size})})


def _check_row(name: str | None, source: str, changed: dict[str, bool]) -> None:
    """Raise TemperError for a source of no row, and for a row that would not be judged as the others are."""
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
    module: nn.Module,
    test: Split,
    verdict: Evaluation,
    scenario: Scenario,
    prove: bool,
    minimal_norm: bool,
    corrupted: Path | None,
) -> dict[str, Any]:
    """The attacks beside the score, and the columns that were asked for, per example. What cannot be computed is said,
    and loses nothing of the verdict."""
    from bench.evaluation import columns as further
    from bench.execution.judge import beside

    found: dict[str, Any] = {name: right for name, right in beside(module, test, scenario).items() if name != "clean"}
    x, y, threat = test.inputs(), test.y, scenario.threat
    wanted: dict[str, Callable[[], Any]] = {}
    if prove:
        wanted["proved"] = lambda: _proved(module, x, y, threat, verdict)
    if minimal_norm:
        size = scenario.evaluation.batch_size
        wanted["minimal_norm"] = lambda: further.minimal_norm(module, x, y, threat, batch_size=size)
    if corrupted:
        images = _images(corrupted, x)
        wanted["corrupted"] = lambda: further.corruption_accuracy(module, images, y, bounds=threat.bounds)[1]
    for name, compute in wanted.items():
        try:
            found[name] = compute().cpu().numpy()
        except (TemperError, RuntimeError) as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    return found


def _proved(module: nn.Module, x: Any, y: Any, threat: Any, verdict: Evaluation) -> Any:
    import torch

    from bench.evaluation.bounds import proved_robust
    from bench.protocol import ROBUST

    return proved_robust(module, x, y, threat, left=torch.from_numpy(verdict.outcomes == ROBUST))


def _images(file: Path, x: Any) -> Any:
    """The first of the images in an .npy file, as many as there are inputs x. Raises TemperError for any other file."""
    import numpy as np
    import torch

    from bench.files import regular

    try:
        images = np.load(regular(file), mmap_mode="r", allow_pickle=False)
        return torch.from_numpy(np.array(images[: len(x)])).to(x)
    except (OSError, ValueError, TypeError, IndexError) as error:
        raise TemperError(f"--corrupted takes an .npy file of images {list(x.shape)}: {error}") from None


def _lowered(numbers: dict[str, Any]) -> list[str]:
    """The stronger attacks that broke examples which the protocol left robust."""
    from bench.protocol import ADAPTIVE

    left = min(numbers["attacks"].values(), default=numbers["clean"])
    stronger = {name: share for name, share in numbers["further"].items() if name.startswith(ADAPTIVE)}
    return [name.removeprefix(ADAPTIVE) for name, share in stronger.items() if share < left]


def _print(numbers: dict[str, Any], told: dict[str, Any]) -> None:
    """The numbers, and what the diagnostics say."""
    protocol, engine = told["protocol"], told["engine"]
    name = "AutoAttack" if protocol == "standard" else f"`{protocol}`, not AutoAttack"
    if lowered := _lowered(numbers):
        name += f", lowered by {' and '.join(lowered)}, which diagnostics called for"
    left = {f"after {attack}": accuracy for attack, accuracy in numbers["attacks"].items()}
    shown = {"clean": numbers["clean"]} | left | {f"robust ({name}, {engine} engine)": numbers["robust"]}
    shown |= {"worst class": numbers["worst_class"]["robust"]} | numbers["further"]
    shown |= {name: numbers[name] for name in ("corrupted",) if name in numbers}
    if numbers["proved"] is not None:
        shown["proved robust"] = numbers["proved"]
    sheet = {label: f"{100 * accuracy:.2f} %" for label, accuracy in shown.items()}
    if numbers["proved"] == 0:
        sheet["proved robust"] = "0.00 %: nothing certified at this radius"
    signs = {name: f"{sign['verdict']}: {sign['words']}" for name, sign in told["diagnostics"].items()}
    notes = {f"note {k}": note for k, note in enumerate(told.get("notes", ()), start=1)}
    deviations = {f"deviation {k}": note for k, note in enumerate(told["deviations"], start=1)}
    print_sheet(sheet | notes | deviations | signs)
