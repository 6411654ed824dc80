"""A network on images of which only a window changes: what the window cannot reach is not computed again."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from bench.evaluation.network import ELEMENTWISE, Narrow, Network

Range = tuple[int, int]  # from, to (not included)
Window = tuple[Range, Range]  # rows, columns

OVERHEAD = 4e6  # multiplications that cutting and pasting in one layer take as long as; below, all is computed in whole
BATCH = 16  # examples are looked at in multiples of this, so that oneDNN meets few shapes

POINTWISE = (*ELEMENTWISE, nn.BatchNorm2d)
POINTWISE_CALLS = (torch.relu, F.relu, "relu", torch.tanh, "tanh", torch.sigmoid, "sigmoid")
ADDITIONS = (operator.add, operator.iadd, torch.add, "add")


class Whole:
    """Computes everything: for networks and attacks of which no part stays as it was."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def logits(self, index: Tensor, x_new: Tensor, window: Window) -> Tensor:
        """Logits (B', C) at x_new (B', ...), which differs from the images at `index` (B',) in `window` only."""
        return self.network(x_new)

    def accept(self, mask: Tensor) -> None:
        """From now on, the images at `index` are what was looked at last, where `mask` (B',) says so."""

    def keep(self, standing: Tensor) -> None:
        """Go on with the images that `standing` (B,) names only."""


class Windowed(Whole):
    """Keeps the feature maps of the current images, and computes only the parts that a window changes.

    Where that saves too little, everything is computed, and the maps of images that changed are renewed later.
    """

    def __init__(self, network: Network, plan: _Plan, x: Tensor) -> None:
        super().__init__(network)
        self.plan = plan
        maps = plan.maps(x[:1])
        self.extents = {node: (maps[node].shape[1], maps[node].shape[2]) for node in plan.spatial}
        self.images, self.kept = x.clone(), {node: maps[node].repeat(len(x), 1, 1, 1) for node in plan.kept}
        self.stale = torch.ones(len(x), dtype=torch.bool)
        self.saved = cache(self._saved)
        self.index = torch.empty(0)
        self.patches: dict[fx.Node, tuple[Window, Tensor]] = {}

    def logits(self, index: Tensor, x_new: Tensor, window: Window) -> Tensor:
        self.index, self.x_new, self.patches = index, x_new, {}
        if self.saved(window) * len(index) < OVERHEAD * len(self.plan.layers):
            return self.network(x_new)
        self._renew()
        count, more = len(index), -len(index) % BATCH
        self.index = torch.cat([index, index[:1].expand(more)])
        (top, bottom), (left, right) = window
        patch = x_new[:, :, top:bottom, left:right].permute(0, 2, 3, 1)
        self.patches[self.plan.image] = window, torch.cat([patch, patch[:1].expand(more, -1, -1, -1)])
        for node, layer in self.plan.layers.items():
            affected = self._affected(node, layer, {n: place for n, (place, _) in self.patches.items()})
            if affected is not None:
                self.patches[node] = affected, self._compute(node, layer, affected)
        whole = {n: self._assemble(n, _all(self.extents[n])).permute(0, 3, 1, 2) for n in self.plan.boundary}
        return self.plan.tail(whole)[:count]

    def accept(self, mask: Tensor) -> None:
        accepted = mask.nonzero().squeeze(1)
        if not len(accepted):
            return
        where = self.index[accepted]
        self.images[where] = self.x_new[accepted]
        if not self.patches:
            self.stale[where] = True
        for node in self.kept.keys() & self.patches.keys():
            ((top, bottom), (left, right)), patch = self.patches[node]
            self.kept[node][where, top:bottom, left:right] = patch[accepted]

    def keep(self, standing: Tensor) -> None:
        self.images, self.stale = self.images[standing], self.stale[standing]
        self.kept = {node: maps[standing] for node, maps in self.kept.items()}

    def _renew(self) -> None:
        """Compute the maps of images that changed in whole."""
        stale = self.stale.nonzero().squeeze(1)
        if len(stale):
            maps = self.plan.maps(self.images[stale])
            for node in self.kept:
                self.kept[node][stale] = maps[node]
            self.stale[:] = False

    def _saved(self, window: Window) -> float:
        """How many multiplications of an image's convolutions a window does not reach."""
        places, saved = {self.plan.image: window}, 0.0
        for node, layer in self.plan.layers.items():
            affected = self._affected(node, layer, places)
            if affected is not None:
                places[node] = affected
            changed = math.prod(stop - start for start, stop in affected) if affected else 0
            saved += layer.cost * (math.prod(self.extents[node]) - changed)
        return saved

    def _affected(self, node: fx.Node, layer: _Layer, places: dict[fx.Node, Window]) -> Window | None:
        """Where the output of a layer changes; None where nothing does."""
        windows = [places[source] for source in layer.sources if source in places]
        if not windows:
            return None
        if layer.reach is None:
            return _union(windows)
        rows, columns = (
            reach.seeing(*each) for reach, each in zip(layer.reach, zip(windows[0], self.extents[node]), strict=True)
        )
        return (rows, columns) if rows[0] < rows[1] and columns[0] < columns[1] else None

    def _compute(self, node: fx.Node, layer: _Layer, affected: Window) -> Tensor:
        """The output of a layer in a window."""
        if layer.reach is None:
            return _run(layer, *(self._assemble(source, affected) for source in layer.sources))
        (source,) = layer.sources
        needs = [
            reach.needing(*each) for reach, each in zip(layer.reach, zip(affected, self.extents[source]), strict=True)
        ]
        values = self._assemble(source, (needs[0][0], needs[1][0]))
        (rows, columns) = needs[0][1], needs[1][1]
        return _run(layer, _padded(values, (*columns, *rows), layer.padding_value))

    def _assemble(self, node: fx.Node, window: Window) -> Tensor:
        """The current values of a node in a window: its patch, and around it what is kept."""
        place, patch = self.patches.get(node, (None, torch.empty(0)))
        if place == window:
            return patch
        (top, bottom), (left, right) = window
        values = self.kept[node][:, top:bottom, left:right].index_select(0, self.index)
        if place is not None:
            rows, cut_rows = _overlap(place[0], window[0])
            columns, cut_columns = _overlap(place[1], window[1])
            values[:, rows, columns] = patch[:, cut_rows, cut_columns]
        return values


@dataclass(frozen=True)
class _Reach:
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
class _Layer:
    """A node whose output at a place depends on its inputs near that place only."""

    sources: tuple[fx.Node, ...]
    compute: Callable[..., Tensor]
    reach: tuple[_Reach, _Reach] | None = None  # None: on the very place only
    padding_value: float = 0.0
    cost: float = 0.0  # multiplications an output pixel


class _Plan:
    """A traced network, cut into the layers that see windows and the tail that needs everything."""

    def __init__(self, graph: fx.GraphModule) -> None:
        self.graph = graph
        modules = dict(graph.named_modules())
        nodes = list(graph.graph.nodes)
        self.image = nodes[0]
        self.layers: dict[fx.Node, _Layer] = {}
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
                values = [_padded(values[0], (columns, columns, rows, rows), layer.padding_value)]
            maps[node] = _run(layer, *values)
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


def watch(network: Network, x: Tensor) -> Whole:
    """The cheapest way to look at images x (B, C, H, W) that change window by window."""
    if not isinstance(network.fast, fx.GraphModule) or x.device.type != "cpu" or not len(x):
        return Whole(network)
    plan = _Plan(network.fast)
    return Windowed(network, plan, x) if plan.layers else Whole(network)


def _layer(node: fx.Node, modules: dict[str, nn.Module]) -> _Layer | None:
    """How a node works on windows, None if it does not."""
    sources = tuple(argument for argument in node.args if isinstance(argument, fx.Node))
    if len(sources) != len(node.args) or not sources:
        return None
    if node.op in ("call_function", "call_method"):
        if len(sources) == 1 and node.target in POINTWISE_CALLS and not node.kwargs.get("inplace"):
            return _Layer(sources, getattr(Tensor, node.target) if isinstance(node.target, str) else node.target)
        if len(sources) == 2 and node.target in ADDITIONS and not node.kwargs:
            return _Layer(sources, torch.add)
        return None
    module = modules.get(str(node.target))
    if isinstance(module, POINTWISE):
        return _Layer(sources, module)
    if isinstance(module, Narrow):
        module = module.layer
    if isinstance(module, nn.Conv2d) and module.padding_mode == "zeros" and not isinstance(module.padding, str):
        cost = module.weight[0].numel() * module.out_channels
        return _Layer(sources, partial(_convolve, module), _reaches(module), cost=cost)
    if isinstance(module, nn.MaxPool2d) and not module.ceil_mode and not module.return_indices:
        pool = nn.MaxPool2d(module.kernel_size, module.stride, 0, module.dilation)
        return _Layer(sources, pool, _reaches(module), float("-inf"))
    if isinstance(module, nn.AvgPool2d) and not module.ceil_mode and not any(_pair(module.padding)):
        return _Layer(sources, module, _reaches(module))
    return None


def _padded(values: Tensor, pads: tuple[int, ...], value: float) -> Tensor:
    return F.pad(values, (0, 0, *pads), value=value) if any(pads) else values


def _run(layer: _Layer, *values: Tensor) -> Tensor:
    """A layer, which takes (B, C, H, W), on maps that are kept as (B, H, W, C): windows of those are quick to cut out."""
    result = layer.compute(*(value.permute(0, 3, 1, 2) for value in values))
    return result.permute(0, 2, 3, 1).contiguous()


def _convolve(layer: nn.Conv2d, padded: Tensor) -> Tensor:
    return F.conv2d(padded, layer.weight, layer.bias, layer.stride, 0, layer.dilation, layer.groups)


def _reaches(module: nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) -> tuple[_Reach, _Reach]:
    kernels, strides, paddings = (_pair(v) for v in (module.kernel_size, module.stride, module.padding))
    dilations = _pair(getattr(module, "dilation", 1))
    rows, columns = (_Reach(*each) for each in zip(kernels, strides, paddings, dilations, strict=True))
    return rows, columns


def _pair(value: Any) -> tuple[int, int]:
    return tuple(value) if isinstance(value, tuple) else (value, value)


def _union(windows: list[Window]) -> Window:
    rows, columns = zip(*windows, strict=True)
    return tuple((min(a for a, _ in side), max(b for _, b in side)) for side in (rows, columns))


def _overlap(patch: Range, window: Range) -> tuple[slice, slice]:
    """Where a patch lies in a window, and which part of the patch that is."""
    start, stop = max(patch[0], window[0]), max(min(patch[1], window[1]), patch[0], window[0])
    return slice(start - window[0], stop - window[0]), slice(start - patch[0], stop - patch[0])


def _all(extents: tuple[int, ...]) -> Window:
    height, width = extents
    return (0, height), (0, width)
