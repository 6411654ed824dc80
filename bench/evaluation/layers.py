"""A traced network, cut into the layers that see a window of the image and the tail that needs all of it."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from bench.evaluation.network import ELEMENTWISE, Narrow

Range = tuple[int, int]  # from, to (not included)
Window = tuple[Range, Range]  # rows, columns

POINTWISE = (*ELEMENTWISE, nn.BatchNorm2d)
POINTWISE_CALLS = (torch.relu, F.relu, "relu", torch.tanh, "tanh", torch.sigmoid, "sigmoid")
ADDITIONS = (operator.add, operator.iadd, torch.add, "add")


@dataclass(frozen=True)
class Reach:
    """The geometry of a convolution or pool along one axis."""

    kernel: int
    stride: int
    padding: int
    dilation: int

    def seeing(self, inputs: Range, extent: int) -> Range:
        """Which outputs, of `extent`, see any of these inputs."""
        span = (self.kernel - 1) * self.dilation
        start = max(-((span - self.padding - inputs[0]) // self.stride), 0)
        return start, min((inputs[1] - 1 + self.padding) // self.stride + 1, extent)

    def needing(self, outputs: Range, extent: int) -> tuple[Range, tuple[int, int]]:
        """Which inputs, of `extent`, these outputs see, and how much padding before and after them."""
        first = outputs[0] * self.stride - self.padding
        last = (outputs[1] - 1) * self.stride - self.padding + (self.kernel - 1) * self.dilation + 1
        start, stop = max(first, 0), min(last, extent)
        return (start, stop), (start - first, last - stop)


@dataclass(frozen=True)
class Layer:
    """A node whose output at a place depends on its inputs near that place only."""

    sources: tuple[fx.Node, ...]
    compute: Callable[..., Tensor]
    reach: tuple[Reach, Reach] | None = None  # None: on the very place only
    padding_value: float = 0.0
    cost: float = 0.0  # multiplications an output pixel


class Plan:
    """A traced network, cut into the layers that see windows and the tail that needs everything."""

    def __init__(self, graph: fx.GraphModule) -> None:
        self.graph = graph
        modules = dict(graph.named_modules())
        nodes = list(graph.graph.nodes)
        self.image = nodes[0]
        self.layers: dict[fx.Node, Layer] = {}
        for node in nodes[1:]:
            layer = _layer(node, modules)
            if layer and all(source is self.image or source in self.layers for source in layer.sources):
                self.layers[node] = layer
        self.spatial = [self.image, *self.layers]
        self.rest = [node for node in nodes[1:] if node not in self.layers]
        self.boundary = [n for n in self.spatial if any(user in self.rest for user in n.users)]
        pointwise = {n for n, layer in self.layers.items() if layer.reach is None and len(layer.sources) == 1}
        self.kept = [n for n in self.spatial if n in self.boundary or any(user not in pointwise for user in n.users)]

    def maps(self, x: Tensor) -> dict[fx.Node, Tensor]:
        """The output (B, H, W, C) of every layer on whole images x (B, C, H, W)."""
        maps = {self.image: x.permute(0, 2, 3, 1).contiguous()}
        for node, layer in self.layers.items():
            values = [maps[source] for source in layer.sources]
            if layer.reach is not None:
                rows, columns = (reach.padding for reach in layer.reach)
                values = [padded(values[0], (columns, columns, rows, rows), layer.padding_value)]
            maps[node] = run_layer(layer, *values)
        return maps

    def tail(self, values: dict[fx.Node, Any]) -> Tensor:
        """From the maps at the boundary to logits (B, C)."""
        modules = self.graph
        for node in self.rest:
            arguments = fx.node.map_arg(node.args, values.__getitem__)
            options = fx.node.map_arg(node.kwargs, values.__getitem__)
            if node.op == "output":
                return arguments[0]
            if node.op == "call_module":
                values[node] = modules.get_submodule(node.target)(*arguments, **options)
            elif node.op == "call_method":
                values[node] = getattr(arguments[0], node.target)(*arguments[1:], **options)
            else:
                values[node] = node.target(*arguments, **options)
        raise ValueError("a graph without output")


def _layer(node: fx.Node, modules: dict[str, nn.Module]) -> Layer | None:
    """How a node works on windows, None if it does not."""
    sources = tuple(argument for argument in node.args if isinstance(argument, fx.Node))
    if len(sources) != len(node.args) or not sources:
        return None
    if node.op in ("call_function", "call_method"):
        if len(sources) == 1 and node.target in POINTWISE_CALLS and not node.kwargs.get("inplace"):
            return Layer(sources, getattr(Tensor, node.target) if isinstance(node.target, str) else node.target)
        if len(sources) == 2 and node.target in ADDITIONS and not node.kwargs:
            return Layer(sources, torch.add)
        return None
    module = modules.get(str(node.target))
    if isinstance(module, POINTWISE):
        return Layer(sources, module)
    if isinstance(module, Narrow):
        module = module.layer
    if isinstance(module, nn.Conv2d) and module.padding_mode == "zeros" and not isinstance(module.padding, str):
        cost = module.weight[0].numel() * module.out_channels
        return Layer(sources, partial(_convolve, module), _reaches(module), cost=cost)
    if isinstance(module, nn.MaxPool2d) and not module.ceil_mode and not module.return_indices:
        pool = nn.MaxPool2d(module.kernel_size, module.stride, 0, module.dilation)
        return Layer(sources, pool, _reaches(module), float("-inf"))
    if isinstance(module, nn.AvgPool2d) and not module.ceil_mode and not any(_pair(module.padding)):
        return Layer(sources, module, _reaches(module))
    return None


def padded(values: Tensor, pads: tuple[int, ...], value: float) -> Tensor:
    return F.pad(values, (0, 0, *pads), value=value) if any(pads) else values


def run_layer(layer: Layer, *values: Tensor) -> Tensor:
    """A layer, which takes (B, C, H, W), on maps (B, H, W, C): windows of those are quick to cut out."""
    result = layer.compute(*(value.permute(0, 3, 1, 2) for value in values))
    return result.permute(0, 2, 3, 1).contiguous()


def _convolve(layer: nn.Conv2d, padded: Tensor) -> Tensor:
    return F.conv2d(padded, layer.weight, layer.bias, layer.stride, 0, layer.dilation, layer.groups)


def _reaches(module: nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) -> tuple[Reach, Reach]:
    kernels, strides, paddings = (_pair(v) for v in (module.kernel_size, module.stride, module.padding))
    dilations = _pair(getattr(module, "dilation", 1))
    rows, columns = (Reach(*each) for each in zip(kernels, strides, paddings, dilations, strict=True))
    return rows, columns


def _pair(value: Any) -> tuple[int, int]:
    return tuple(value) if isinstance(value, tuple) else (value, value)
