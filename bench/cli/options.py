"""Options that several commands share, and how they print."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.errors import TemperError

Leaderboards = Annotated[
    Path | None,
    typer.Option(
        help="Where local records are. Default: the nearest leaderboards/ above, else a new one here.",
        envvar="TEMPER_LEADERBOARDS",
        show_default=False,
    ),
]
Data = Annotated[Path | None, typer.Option(help="Folder or file of the scenario's data.", show_default=False)]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Key = Annotated[
    str, typer.Option(metavar="NAME", help="Which state dict of the file, such as ema. Default: the likeliest.")
]
Normalise = Annotated[
    str,
    typer.Option(metavar="MEANS,STDS", help="How the network's inputs were normalised: 2 numbers, or 2 per channel."),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]


Files = Annotated[
    list[Path] | None,
    typer.Option(
        "--file",
        "-f",
        help="A Python file of methods, networks or data sources of your own; repeatable.",
        show_default=False,
    ),
]


def use_files(files: list[Path] | None) -> None:
    """Register what these files hold, here and in the processes of this run. TemperError names a broken one."""
    if not files:
        return
    from bench.method import METHODS
    from bench.registry import FILES, named_files, run_file

    list(METHODS)
    for file in files:
        try:
            run_file(file)
        except TemperError as error:
            raise TemperError(f"{file} does not load: {error}") from None
        except Exception as error:
            raise TemperError(f"{file} does not load: {type(error).__name__}: {error}") from None
        os.environ[FILES] = os.pathsep.join(map(str, dict.fromkeys([file.resolve(), *named_files()])))


def print_json(value: Any) -> None:
    """`value` as JSON with sorted keys, alone on standard output."""
    print(json.dumps(value, sort_keys=True, indent=1))


def console() -> Console:
    """Where tables are printed: standard output, wide enough for a whole table where it is no terminal."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=160)


def print_rows(rows: list[dict[str, Any]], columns: list[str], title: str) -> None:
    """A table of these columns; the first one is never cut."""
    table = Table(title=title)
    for position, column in enumerate(columns):
        table.add_column(column, no_wrap=not position, overflow="fold")
    for row in rows:
        table.add_row(*(words(row[column]) for column in columns))
    console().print(table)


def print_sheet(row: dict[str, Any]) -> None:
    """One thing in full, a line a field; fields without a value are left out."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for key, value in row.items():
        if value not in ("", None, {}, []):
            table.add_row(f"[bold]{key}[/]", escape(words(value)))
    console().print(table)


def words(value: Any) -> str:
    """A value as it stands in a table."""
    if isinstance(value, dict):
        return ", ".join(f"{key} = {words(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(value) or "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def pick_device(name: str) -> str:
    """The device to use; `auto` takes a GPU where there is one. Raises TemperError for one that is not there."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.partition(":")[0] not in ("cpu", "cuda"):
        raise TemperError(f"unknown device {name!r}; use auto, cpu or cuda")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise TemperError("no CUDA device is usable here; use --device cpu, or see `temper doctor`")
    return name


def parse_fields(pairs: list[str]) -> dict[str, Any]:
    """`field=value` pairs as a mapping; values are read as JSON where they are JSON, else as text."""
    fields: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise TemperError(f"--set takes field=value, got {pair!r}")
        try:
            fields[name] = json.loads(text)
        except ValueError:
            fields[name] = text
    return fields


def parse_normalise(text: str, channels: int) -> dict[str, list[float]]:
    """`--normalise` as the options `mean` and `std` of a network, a number per channel: two numbers for all channels,
    or all means and then all stds. TemperError for anything else, and for constants of pixels up to 255."""
    try:
        numbers = [float(number) for number in text.replace(",", " ").split()]
    except ValueError:
        numbers = []
    if len(numbers) == 2:
        numbers = [numbers[0]] * channels + [numbers[1]] * channels
    if len(numbers) != 2 * channels or not all(map(math.isfinite, numbers)):
        raise TemperError(
            f"--normalise takes a mean and a std, or {channels} means and then {channels} stds, such as "
            f"{','.join(['0.5'] * channels + ['0.25'] * channels)}; got {text!r}"
        )
    mean, std = numbers[:channels], numbers[channels:]
    if min(std) <= 0:
        raise TemperError(f"--normalise takes stds above 0, got {min(std):g} in {text!r}")
    if max(mean) > 2:
        raise TemperError(f"--normalise is for inputs in [0, 1], got a mean of {max(mean):g}: divide all by 255")
    return {"mean": mean, "std": std}
