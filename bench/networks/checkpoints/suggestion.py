"""Which known network a checkpoint fits, when it does not fit the one that was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bench.errors import TemperError
from bench.networks import build
from bench.networks.checkpoints.fitting import fit, layers
from bench.networks.checkpoints.states import State, unwrapped
from bench.scenario import NetworkSpec

TORCHVISION = (
    "resnet18",
    "resnet34",
    "resnet50",
    "wide_resnet50_2",
    "mobilenet_v2",
    "vgg16_bn",
    "densenet121",
    "vit_b_16",
)
LARGEST = 100_000  # classes or channels of a network that is looked for


def facts(tensors: Mapping[str, Tensor]) -> tuple[int, int]:
    """Channels of the first convolution and rows of the last linear layer; 0 where there is none."""
    weights = [tensor for name, tensor in tensors.items() if name.endswith("weight")]
    channels = next((tensor.shape[1] for tensor in weights if tensor.ndim == 4), 0)
    rows = next((tensor.shape[0] for tensor in reversed(weights) if tensor.ndim == 2), 0)
    return (channels, rows) if max(channels, rows) <= LARGEST else (0, 0)


def suggestion(found: Sequence[State], shape: tuple[int, ...], classes: int, ordered: bool) -> str:
    """In words: the known network that the checkpoint fits, or other classes or channels; empty where none is known."""
    for state in found[:3]:
        channels, rows = facts(state.tensors)
        if not rows:
            continue
        for spec in _candidates(state.tensors):
            expected = _expected(spec, (channels or shape[0], *shape[1:]), rows)
            if expected and fit(expected, [state], channels or shape[0], ":" not in spec.network, ordered):
                return _words(spec, channels or shape[0], rows, shape[0], classes)
    return ""


def _words(spec: NetworkSpec, channels: int, rows: int, wanted: int, classes: int) -> str:
    options = "".join(f" --option {name}={str(value).lower()}" for name, value in spec.options.items())
    words = [f"it fits --network {spec.network}{options}"]
    if rows != classes:
        words.append(f"for {rows} classes, not {classes}")
    if channels != wanted:
        words.append(f"for {channels} channels, not {wanted}")
    return " ".join(words)


def _expected(spec: NetworkSpec, shape: tuple[int, ...], classes: int) -> dict[str, Tensor]:
    """The tensors of a network, without their values; none where it cannot be built."""
    try:
        with torch.device("meta"):
            return dict(build(spec, shape, classes).state_dict())
    except TemperError:
        return {}


def _candidates(tensors: Mapping[str, Tensor]) -> Iterator[NetworkSpec]:
    """Known networks of about the right size, with the options that the shapes ask for."""
    weights = [layer["weight"] for layer in layers(unwrapped(tensors)).values() if "weight" in layer]
    convolutions = [weight.shape for weight in weights if weight.ndim == 4]
    linear = [weight.shape for weight in weights if weight.ndim == 2]
    if not convolutions:
        yield from _perceptron([weight.shape for weight in weights], linear)
        return
    stem, last = convolutions[0][0], linear[-1][1] if linear else 0
    yield _spec("resnet18", width=(stem, 64))
    yield _spec("preactresnet18", width=(stem, 64))
    yield _spec("preactresnet18", width=(stem, 64), norm=(False, True))
    spatial = sum(shape[-1] == 3 for shape in convolutions)
    yield from (_spec("wideresnet", depth=(depth, 0), width=(last // 64, 0)) for depth in _depths(spatial))
    yield _spec("mobilenetv2", width=(stem / 32, 1.0))
    yield from (NetworkSpec(network=f"torchvision:{name}") for name in TORCHVISION)


def _depths(spatial: int) -> list[int]:
    """Depths of a WideResNet with so many 3x3 convolutions, a stage that is not used among them or not."""
    without = (spatial - 1) * 3 // 4 + 1
    return [count + 3 for count in (spatial, without) if count % 6 == 1]


def _perceptron(weights: Sequence[torch.Size], linear: Sequence[torch.Size]) -> Iterator[NetworkSpec]:
    if linear and len(weights) == len(linear):
        yield NetworkSpec(network="mlp", options={"widths": [shape[0] for shape in linear[:-1]]})


def _spec(network: str, **options: tuple[Any, Any]) -> NetworkSpec:
    """A spec of these options (value, default), of which those at their default are left out."""
    return NetworkSpec(
        network=network, options={name: value for name, (value, usual) in options.items() if value != usual}
    )
