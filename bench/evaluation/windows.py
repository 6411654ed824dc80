"""A network on images of which only a window changes: what the window cannot reach is not computed again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, fx

from bench.evaluation.layers import Layer, Plan, Range, run_layer
from bench.evaluation.network import Network

BATCH = 16  # changes are looked at in multiples of this, so that oneDNN meets few shapes
WORTH = 2e8  # multiplications in whole images that are worth one look: they take longer than its many small calls
OUTSIDE = (0.0, float("-inf"))  # what layers see around a map; each has a row of its own below the rows of the map
NOWHERE = 2**40  # an index past every row
GPU_ROOM = 1024  # changes in one look on a GPU, where fewer take no less time


@dataclass
class Changes:
    """P images, each like one of a batch but for one window (C, height, width). All windows have the same size."""

    index: Tensor  # (P,), the image that each is like
    top: Tensor  # (P,)
    left: Tensor  # (P,)
    patch: Tensor  # (P, C, height, width)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: Tensor) -> Changes:
        return Changes(self.index[rows], self.top[rows], self.left[rows], self.patch[rows])

    def onto(self, images: Tensor) -> Tensor:
        """The changed images (P, C, H, W), from `images` (B, C, H, W)."""
        channels, height, width = images.shape[1:]
        if self.patch.shape[2:] == (height, width):
            return self.patch
        channel, row, column = (torch.arange(size, device=images.device) for size in self.patch.shape[1:])
        pixels = (channel[:, None, None] * height + row[:, None]) * width + column
        places = (self.top * width + self.left)[:, None] + pixels.flatten()
        changed = images[self.index].flatten(1).scatter_(1, places, self.patch.flatten(1))
        return changed.view(-1, channels, height, width)


def windows(images: Tensor, height: int, width: int) -> Tensor:
    """A view of all windows of that size, to read: (B, C, tops, lefts, height, width), of images (B, C, H, W)."""
    return images.unfold(2, height, 1).unfold(3, width, 1)


class Whole:
    """Looks at changes of images (B, ...) that it keeps, and computes everything."""

    def __init__(self, network: Network, images: Tensor) -> None:
        self.network, self.images = network, images
        self.room = GPU_ROOM if images.is_cuda else 0  # changes that are worth one look; each image has one at least

    def logits(self, changes: Changes) -> Tensor:
        """Logits (P, C) of the changed images."""
        return self.network(changes.onto(self.images))

    def accept(self, changes: Changes, rows: Tensor) -> None:
        """Make `rows` of the changes that were looked at last, at most one an image."""
        accepted = changes[rows]
        self.images[accepted.index] = accepted.onto(self.images)

    def keep(self, standing: Tensor) -> None:
        """Go on with the images that `standing` (B,) names only."""
        self.images = self.images[standing]


@dataclass(frozen=True)
class Cut:
    """What a layer sees of a map along one axis, for every position of the window."""

    take: Tensor  # (positions, seen), from the map as it was; NOWHERE is outside
    put: Tensor  # (positions, changed), where in what is seen the changed part belongs; NOWHERE is unseen
    alone: bool  # only what changed is seen


class Windowed(Whole):
    """Keeps the feature maps of the images, and computes only the parts that a window changes."""

    def __init__(self, network: Network, plan: Plan, images: Tensor) -> None:
        super().__init__(network, images)
        self.plan = plan
        maps = plan.maps(images)
        self.extents = {node: tuple(maps[node].shape[1:3]) for node in plan.spatial}
        self.kept = {node: _with_outside(maps[node]) for node in plan.kept}
        self.reached, self.cut = cache(self._reached), cache(self._cut)
        self.patches: dict[fx.Node, Tensor] = {}  # the changed part (P, h, w, C) of each map, in the last look
        cost = sum(layer.cost * math.prod(self.extents[node]) for node, layer in plan.layers.items())
        self.room = int(WORTH / max(cost, 1.0))

    def logits(self, changes: Changes) -> Tensor:
        count = len(changes)
        changes = changes[torch.arange(count + -count % BATCH).clamp_max(count - 1)]
        self.patches = {self.plan.image: changes.patch.permute(0, 2, 3, 1)}
        for node, layer in self.plan.layers.items():
            self.patches[node] = run_layer(layer, *(self._see(source, node, changes) for source in layer.sources))
        whole = {node: self._see(node, None, changes).permute(0, 3, 1, 2) for node in self.plan.boundary}
        return self.plan.tail(whole)[:count]

    def accept(self, changes: Changes, rows: Tensor) -> None:
        super().accept(changes, rows)
        accepted = changes[rows]
        for node, kept in self.kept.items():
            height, width = self.extents[node]
            down, across = (self.reached(axis, accepted.patch.shape[2 + axis])[node] for axis in (0, 1))
            where = _flat(accepted.index * height * width, down[accepted.top], across[accepted.left], width)
            kept[where] = self.patches[node][rows].flatten(0, 2)

    def keep(self, standing: Tensor) -> None:
        super().keep(standing)
        for node, kept in self.kept.items():
            maps = kept[: -len(OUTSIDE)].view(len(standing), *self.extents[node], -1)
            self.kept[node] = _with_outside(maps[standing])

    def _see(self, source: fx.Node, node: fx.Node | None, changes: Changes) -> Tensor:
        """What a layer sees (P, H', W', C) of a source, where its output changes; None sees all of it."""
        patch = self.patches[source]
        down, across = (self.cut(source, node, axis, changes.patch.shape[2 + axis]) for axis in (0, 1))
        if down.alone and across.alone:
            return patch
        kept, (height, width) = self.kept[source], self.extents[source]
        outside = OUTSIDE.index(self.plan.layers[node].padding_value) if node else 0
        take = _flat(changes.index * height * width, down.take[changes.top], across.take[changes.left], width)
        shape = (len(changes), down.take.shape[1], across.take.shape[1], kept.shape[1])
        seen = kept.new_empty(len(take) + 1, kept.shape[1])  # the last row is for what is unseen
        torch.index_select(kept, 0, take.clamp_max_(len(kept) - len(OUTSIDE) + outside), out=seen[:-1])
        first = torch.arange(len(changes)) * shape[1] * shape[2]
        put = _flat(first, down.put[changes.top], across.put[changes.left], shape[2])
        seen.index_copy_(0, put.clamp_max_(len(take)), patch.reshape(-1, kept.shape[1]))
        return seen[:-1].view(shape)

    def _reached(self, axis: int, size: int) -> dict[fx.Node, Tensor]:
        """Along one axis, which part of each map a window of that size changes: (positions, changed)."""
        ranges = {self.plan.image: [(k, k + size) for k in range(self.extents[self.plan.image][axis] - size + 1)]}
        for node, layer in self.plan.layers.items():
            extent, sources = self.extents[node][axis], zip(*(ranges[source] for source in layer.sources), strict=True)
            changed = [_affected(layer, axis, inputs, extent) for inputs in sources]
            most = max(max(stop - start for start, stop in changed), 1)
            starts = [min(start, extent - most) for start, _ in changed]
            ranges[node] = [(start, start + most) for start in starts]
        return {node: torch.tensor([range(*one) for one in places]) for node, places in ranges.items()}

    def _cut(self, source: fx.Node, node: fx.Node | None, axis: int, size: int) -> Cut:
        """Along one axis, what a layer (None: the tail) sees of a source, for a window of that size."""
        extent, reached = self.extents[source][axis], self.reached(axis, size)
        changed = reached[source].tolist()
        if node is None:
            seen = [list(range(extent)) for _ in changed]
        else:
            layer = self.plan.layers[node]
            seen = [_seen(layer, axis, (outputs[0], outputs[-1] + 1), extent) for outputs in reached[node].tolist()]
        put = [[one.index(k) if k in one else NOWHERE for k in those] for one, those in zip(seen, changed, strict=True)]
        return Cut(torch.tensor(seen), torch.tensor(put), seen == changed)


def watch(network: Network, images: Tensor) -> Whole:
    """The cheapest way to look at images (B, C, H, W) that change window by window."""
    if not isinstance(network.fast, fx.GraphModule) or images.device.type != "cpu" or not len(images):
        return Whole(network, images)
    plan = Plan(network.fast)
    return Windowed(network, plan, images) if plan.layers else Whole(network, images)


def _affected(layer: Layer, axis: int, inputs: Sequence[Range], extent: int) -> Range:
    """Which outputs, of `extent`, see any of these inputs, a range of each source."""
    start, stop = min(start for start, _ in inputs), max(stop for _, stop in inputs)
    return layer.reach[axis].seeing((start, stop), extent) if layer.reach else (start, stop)


def _seen(layer: Layer, axis: int, outputs: Range, extent: int) -> list[int]:
    """Which inputs, of `extent`, these outputs see."""
    if layer.reach is None:
        return list(range(*outputs))
    inputs, (before, after) = layer.reach[axis].needing(outputs, extent)
    return [NOWHERE] * before + list(range(*inputs)) + [NOWHERE] * after


def _with_outside(maps: Tensor) -> Tensor:
    """Maps (B, H, W, C) as rows (B * H * W, C), and below them what layers see outside."""
    return torch.cat([maps.flatten(0, 2), *(maps.new_full((1, maps.shape[3]), value) for value in OUTSIDE)])


def _flat(first: Tensor, rows: Tensor, columns: Tensor, width: int) -> Tensor:
    """Indices (P * h * w) of places in maps of that width, given by rows (P, h) and columns (P, w)."""
    return (first[:, None, None] + rows[:, :, None] * width + columns[:, None, :]).flatten()
