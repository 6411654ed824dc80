"""A module from a file of weights and the options of the command line."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import TemperError
from bench.registry import run_file

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.scenario import NetworkSpec, Scenario


def spec_of(
    scenario: Scenario | None, network: str | None, option: list[str] | None, normalise: str, channels: int
) -> NetworkSpec:
    """What `--network`, `--option` and `--normalise` ask for; by default the scenario's student."""
    from pydantic import ValidationError

    from bench.cli.options import parse_fields, parse_normalise
    from bench.scenario import NetworkSpec, first_problem

    if network:
        name, options = network, {}
    elif scenario:
        name, options = scenario.student.network, scenario.student.options
    else:
        raise TemperError("name the --network that the weights are for, or a --scenario")
    given = parse_fields(option or []) | (parse_normalise(normalise, channels) if normalise else {})
    try:
        return NetworkSpec(network=name, options={**options, **given})
    except ValidationError as error:
        raise TemperError(f"--network and --option: {first_problem(error)}") from None


def module_of(
    weights: Path, spec: NetworkSpec, shape: tuple[int, ...], classes: int, model: str, key: str, examples: Any
) -> tuple[nn.Module, list[str]]:
    """The module of `spec`, or with `model` one of the user's own, with these weights; and what was done."""
    if not model:
        from bench.networks.checkpoints import load_checkpoint

        loaded = load_checkpoint(weights, spec, shape, classes, key=key, examples=examples)
        return loaded.network, loaded.told
    return _own_loaded(weights, own_module(model), spec.options, shape, classes, key, examples)


def own_module(text: str) -> nn.Module:
    """What `package.module:function` (or `file.py:function`) returns. TemperError unless that is an nn.Module."""
    from torch import nn

    place, _, name = text.partition(":")
    if not place or not name:
        raise TemperError(f"--model takes package.module:function, such as models.resnet:ResNet18, got {text!r}")
    thing = _found(text, place, name)
    try:
        made = thing if isinstance(thing, nn.Module) else thing()
    except Exception as error:
        raise TemperError(f"--model {text}: {name}() fails with {type(error).__name__}: {_line(error)}") from None
    if not isinstance(made, nn.Module):
        raise TemperError(f"--model {text}: {name}() returns a {type(made).__name__}, not an nn.Module")
    return made


def _found(text: str, place: str, name: str) -> Any:
    """The attribute of a module, which is looked for in the working directory first; or of a file."""
    file = Path(place) if place.endswith(".py") else None
    sys.path[:0] = [str((file.parent if file else Path()).resolve())]
    try:
        if file:
            run_file(file)
        module = sys.modules[f"temper_file_{file.stem}"] if file else importlib.import_module(place)
    except Exception as error:
        raise TemperError(f"--model {text}: {place} does not import: {type(error).__name__}: {_line(error)}") from None
    if not hasattr(module, name):
        raise TemperError(f"--model {text}: {place} ({module.__file__}) has no {name!r}")
    return getattr(module, name)


def _own_loaded(
    weights: Path,
    module: nn.Module,
    options: dict[str, Any],
    shape: tuple[int, ...],
    classes: int,
    key: str,
    examples: tuple[Tensor, Tensor] | None,
) -> tuple[nn.Module, list[str]]:
    from bench.networks.checkpoints import load_own

    constants: dict[str, Any] = {name: value for name, value in options.items() if name in ("mean", "std")}
    return load_own(module.float(), weights, shape, classes, key=key, examples=examples, constants=constants)


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
