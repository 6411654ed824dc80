"""A network on images of which only a window changes: what the window cannot reach is not computed again."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor, fx

from bench.evaluation.layers import Layer, Plan, Range, Window, padded, run_layer
from bench.evaluation.network import Network

OVERHEAD = 4e6  # multiplications that cutting and pasting in one layer take as long as; below, all is computed in whole
BATCH = 16  # examples are looked at in multiples of this, so that oneDNN meets few shapes


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

    def __init__(self, network: Network, plan: Plan, x: Tensor) -> None:
        super().__init__(network)
        self.plan = plan
        maps = plan.maps(x[:1])
        self.extents = {node: (maps[node].shape[1], maps[node].shape[2]) for node in plan.spatial}
        self.images, self.kept = x.clone(), {node: maps[node].repeat(len(x), 1, 1, 1) for node in plan.kept}
        self.stale = torch.ones(len(x), dtype=torch.bool)
        self.reached, self.saved = cache(self._reached), cache(self._saved)
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
        for node, affected in self.reached(window).items():
            self.patches[node] = affected, self._compute(node, self.plan.layers[node], affected)
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
        saved, reached = 0.0, self.reached(window)
        for node, layer in self.plan.layers.items():
            changed = math.prod(stop - start for start, stop in reached[node]) if node in reached else 0
            saved += layer.cost * (math.prod(self.extents[node]) - changed)
        return saved

    def _reached(self, window: Window) -> dict[fx.Node, Window]:
        """The layers that a window of the image changes, in their order, and where."""
        places = {self.plan.image: window}
        for node, layer in self.plan.layers.items():
            affected = self._affected(node, layer, places)
            if affected is not None:
                places[node] = affected
        return {node: place for node, place in places.items() if node is not self.plan.image}

    def _affected(self, node: fx.Node, layer: Layer, places: dict[fx.Node, Window]) -> Window | None:
        """Where the output of a layer changes; None where nothing does."""
        windows = [places[source] for source in layer.sources if source in places]
        if not windows:
            return None
        if layer.reach is None:
            return _union(windows)
        along = zip(layer.reach, windows[0], self.extents[node], strict=True)
        rows, columns = (reach.seeing(inputs, extent) for reach, inputs, extent in along)
        return (rows, columns) if rows[0] < rows[1] and columns[0] < columns[1] else None

    def _compute(self, node: fx.Node, layer: Layer, affected: Window) -> Tensor:
        """The output of a layer in a window."""
        if layer.reach is None:
            return run_layer(layer, *(self._assemble(source, affected) for source in layer.sources))
        (source,) = layer.sources
        along = zip(layer.reach, affected, self.extents[source], strict=True)
        (rows, above), (columns, beside) = (reach.needing(outputs, extent) for reach, outputs, extent in along)
        values = self._assemble(source, (rows, columns))
        return run_layer(layer, padded(values, (*beside, *above), layer.padding_value))

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


def watch(network: Network, x: Tensor) -> Whole:
    """The cheapest way to look at images x (B, C, H, W) that change window by window."""
    if not isinstance(network.fast, fx.GraphModule) or x.device.type != "cpu" or not len(x):
        return Whole(network)
    plan = Plan(network.fast)
    return Windowed(network, plan, x) if plan.layers else Whole(network)


def _union(windows: list[Window]) -> Window:
    rows, columns = ((min(a for a, _ in side), max(b for _, b in side)) for side in zip(*windows, strict=True))
    return rows, columns


def _overlap(patch: Range, window: Range) -> tuple[slice, slice]:
    """Where a patch lies in a window, and which part of the patch that is."""
    start, stop = max(patch[0], window[0]), max(min(patch[1], window[1]), patch[0], window[0])
    return slice(start - window[0], stop - window[0]), slice(start - patch[0], stop - patch[0])


def _all(extents: tuple[int, ...]) -> Window:
    height, width = extents
    return (0, height), (0, width)
