"""`temper convert`: any checkpoint as a safetensors file of one of our networks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import Data, Key, Normalise

if TYPE_CHECKING:
    from torch import Tensor

    from bench.scenario import NetworkSpec, Scenario


def convert(
    file: Annotated[Path, typer.Argument(help="A checkpoint: .pt, .pth, .bin, .pth.tar, .safetensors.")],
    output: Annotated[Path, typer.Option(help="The safetensors file to write.", show_default=False)],
    scenario: Annotated[
        str | None, typer.Option(help="Its student, images and classes are the default.", show_default=False)
    ] = None,
    network: Annotated[str | None, typer.Option(help="Architecture.", show_default=False)] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Its options, such as width=16.", show_default=False)
    ] = None,
    normalise: Normalise = "",
    key: Key = "",
    shape: Annotated[str, typer.Option(metavar="C,H,W", help="Of the images. Default: as the weights say.")] = "",
    classes: Annotated[int, typer.Option(help="Default: as the weights say.", show_default=False)] = 0,
    check: Annotated[bool, typer.Option(help="Also look at the clean accuracy on the scenario's test images.")] = False,
    data: Data = None,
) -> None:
    """Write the weights of any checkpoint as `temper evaluate` and records have them.

    Nothing in the file is run. It is mapped by names, by customary layouts, or by order; what was done is printed.
    """
    from bench.cli.checkpoint import spec_of
    from bench.errors import TemperError
    from bench.networks import save_weights
    from bench.networks.checkpoints import load_checkpoint
    from bench.scenario import load_scenario

    judge = load_scenario(scenario).with_data(data) if scenario else None
    if check and judge is None:
        raise TemperError("--check looks at a scenario's test images: name the --scenario")
    sides, rows = _sizes(file, key, judge, shape, classes)
    spec = spec_of(judge, network, option, normalise, sides[0])
    loaded = load_checkpoint(file, spec, sides, rows, key=key, examples=_examples(judge) if check and judge else None)
    save_weights(output, loaded.network.state_dict())
    print(*loaded.told, sep="\n")
    print(f"wrote {output}: {_typed(loaded.spec)}")


def _sizes(file: Path, key: str, judge: Scenario | None, shape: str, classes: int) -> tuple[tuple[int, ...], int]:
    """Shape of the images and number of classes: as given, else the scenario's, else as the weights say."""
    from bench.errors import TemperError
    from bench.networks.checkpoints.opening import open_checkpoint
    from bench.networks.checkpoints.suggestion import facts

    sides = _shape(shape) if shape else judge.data.shape if judge else None
    rows = classes or (judge.data.classes if judge else 0)
    if sides is None or not rows:
        channels, last = facts(open_checkpoint(file, key).states[0].tensors)
        sides, rows = sides or (channels, 32, 32), rows or last
    if min(sides) < 1 or rows < 2:
        raise TemperError(f"{file} does not tell its images and classes: give --shape 3,32,32 and --classes 10")
    return sides, rows


def _shape(text: str) -> tuple[int, ...]:
    from bench.errors import TemperError

    try:
        sides = tuple(int(side) for side in text.replace("x", ",").split(","))
    except ValueError:
        sides = ()
    if len(sides) != 3 or min(sides) < 1:
        raise TemperError(f"--shape takes channels, height and width, such as 3,32,32, got {text!r}")
    return sides


def _examples(judge: Scenario) -> tuple[Tensor, Tensor]:
    from bench.data import load

    test = load(judge.data, ("test",))["test"]
    return test.inputs(), test.y


def _typed(spec: NetworkSpec) -> str:
    """A spec as it is typed for `temper evaluate`."""
    options = {name: value for name, value in spec.options.items() if name not in ("mean", "std")}
    words = [f"--network {spec.network}"]
    words += [f"--option {name}={str(value).lower().replace(' ', '')}" for name, value in options.items()]
    if "mean" in spec.options:
        words.append("--normalise " + ",".join(f"{n:.7g}" for n in (*spec.options["mean"], *spec.options["std"])))
    return " ".join(words)
