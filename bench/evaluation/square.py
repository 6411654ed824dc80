"""Square attack: random search with square-shaped changes, which needs no gradient (Andriushchenko et al. 2020,
arXiv:1912.00049, Algorithms 1 to 3), in the variant of the published AutoAttack."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache

import torch
from torch import Tensor

from bench.evaluation.found import Found
from bench.evaluation.layers import Window
from bench.evaluation.network import NEAR_TIE, Network
from bench.evaluation.noise import Noise
from bench.evaluation.windows import Whole, watch
from bench.threat import Threat

SHARE = 0.8  # of the image, covered by the first squares
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # queries after which that share is halved
Proposal = tuple[Tensor, Tensor, Window]  # which examples change, to what (B', C, H, W), and where


@torch.no_grad()
def square(network: Network, x: Tensor, y: Tensor, threat: Threat, noise: Noise, *, queries: int = 5000) -> Found:
    """Random search from x (B, C, H, W) in [0, 1] with labels y (B,): a change is kept where it lowers the margin.

    An example leaves once it is fooled. For Linf, only what a changed window can reach is computed again. Examples that
    a query leaves as they were, or that refused the same change already and are the same since, are not asked at all.
    None of it changes an outcome.
    """
    found = Found.nothing(x)
    search = (_Linf if threat.norm == "Linf" else _L2)(x, threat, noise, queries)
    index, asked = torch.arange(len(x), device=x.device), torch.ones_like(found.forwards)
    best, since = search.first(), torch.full_like(found.forwards, -1)
    margin = network.margin(network(best), best, y)
    view = watch(network, best) if threat.norm == "Linf" else Whole(network)
    for query in range(queries + 1):
        leaving = margin <= 0
        if bool(leaving.any()) or query == queries:
            found.record(index, best, margin, leaving, query)
            standing = ~leaving
            index, y, best, margin = index[standing], y[standing], best[standing], margin[standing]
            since = since[standing]
            search.keep(standing)
            view.keep(standing)
        if query == queries or not len(index):
            break
        changed, x_new, window = search.propose(query, best, since)
        if not len(changed):
            continue
        asked[index[changed]] += 1
        lower, improved = _compare(network, view.logits(changed, x_new, window), x_new, best, margin, changed, y)
        view.accept(improved)
        where = changed[improved]
        best[where], margin[where], since[where] = x_new[improved], lower[improved], query
    found.forwards = asked
    return found


def _compare(
    network: Network, logits: Tensor, x_new: Tensor, best: Tensor, margin: Tensor, changed: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """The margins (B',) of the changed examples and whether they are lower; near-ties by the network as it is."""
    y, before = y[changed], margin[changed]
    after = network.margin(logits, x_new, y)
    close = ((after - before).abs() < NEAR_TIE).nonzero().squeeze(1)
    if len(close):
        both = torch.cat([x_new[close], best[changed[close]]])
        after[close], before[close] = network.exact_margin(both, y[close].repeat(2)).chunk(2)
    return after, after < before


class _Linf:
    """Stripes at first, then squares of one sign per channel, all at the corners of the ball."""

    def __init__(self, x: Tensor, threat: Threat, noise: Noise, queries: int) -> None:
        self.x, self.eps, self.noise = x, threat.eps, noise
        self.low, self.high = x - threat.eps, x + threat.eps
        self.queries = queries

    def first(self) -> Tensor:
        channels, height, width = self.x.shape[1:]
        stripes = torch.sign(2 * self.noise.each(channels, 1, width) - 1)
        draws = self.noise.shared(self.queries, 2 + channels).cpu()
        sides = torch.tensor([side(query, height, width) for query in range(self.queries)])
        corners = [((extent - sides) * draws[:, k]).long().tolist() for k, extent in enumerate((height, width))]
        self.windows = [((t, t + s), (h, h + s)) for t, h, s in zip(*corners, sides.tolist(), strict=True)]
        signs = torch.sign(2 * draws[:, 2:] - 1)
        self.changes = 2.0 * self.eps * signs[:, :, None, None].to(self.x)
        self.same_before = last_same(zip(self.windows, signs.tolist(), strict=True))
        return (self.x + self.eps * stripes).clamp(0.0, 1.0)

    def propose(self, query: int, best: Tensor, since: Tensor) -> Proposal:
        window = self.windows[query]
        here = (slice(None), slice(*window[0]), slice(*window[1]))
        new_to = (since > self.same_before[query]).nonzero().squeeze(1)
        old, low, high = (images[(new_to, *here)] for images in (best, self.low, self.high))
        new = (old + self.changes[query]).clamp_(low, high).clamp_(0.0, 1.0)
        different = (new != old).flatten(1).any(1)
        changed = new_to[different]
        x_new = best[changed]
        x_new[(slice(None), *here)] = new[different]
        return changed, x_new, window

    def keep(self, standing: Tensor) -> None:
        self.x, self.low, self.high = self.x[standing], self.low[standing], self.high[standing]


class _L2:
    """A tiling of bumps at first; then a bump is added in one window with the budget that another one gives up."""

    def __init__(self, x: Tensor, threat: Threat, noise: Noise, queries: int) -> None:
        self.x, self.eps, self.noise = x, threat.eps, noise

    def first(self) -> Tensor:
        channels, height, width = self.x.shape[1:]
        delta = torch.zeros_like(self.x)
        size = max(height // 5, 1)
        margin = (height - size * 5) // 2
        for top in range(margin, margin + height // size * size, size):
            for left in range(margin, margin + width // size * size, size):
                bump = self._bump(size) * self._signs(channels)
                tile = delta[:, :, top : top + size, left : left + size]
                tile += bump[:, :, : tile.shape[2], : tile.shape[3]]  # the published code runs over the edge here
        return self._onto_sphere(delta)

    def propose(self, query: int, best: Tensor, since: Tensor) -> Proposal:
        channels, height, width = best.shape[1:]
        size = max(side(query, height, width), 3)
        size = min(size + (size % 2 == 0), height, width)
        draws = self.noise.shared(4).cpu()
        top, left, top_2, left_2 = (torch.tensor([height, width] * 2).sub(size) * draws).long().tolist()
        delta = best - self.x
        here = (..., slice(top, top + size), slice(left, left + size))
        there = (..., slice(top_2, top_2 + size), slice(left_2, left_2 + size))
        both = torch.zeros(height, width, dtype=delta.dtype, device=delta.device)
        both[here] = both[there] = 1.0
        bump = self._bump(size) * self._signs(channels) + delta[here] / (1e-12 + _length(delta[here]))
        spare = (self.eps**2 - _norm(delta) ** 2).clamp_min(0.0) / channels + _length(delta * both) ** 2
        bump = bump / (1e-12 + _length(bump)) * spare.sqrt()
        delta[there] = 0.0
        delta[here] = bump
        everything = torch.arange(len(best), device=best.device)
        return everything, self._onto_sphere(delta), ((0, height), (0, width))

    def keep(self, standing: Tensor) -> None:
        self.x = self.x[standing]
        self.noise.keep(standing)

    def _onto_sphere(self, delta: Tensor) -> Tensor:
        return (self.x + delta / (_norm(delta) + 1e-12) * self.eps).clamp(0.0, 1.0)

    def _signs(self, channels: int) -> Tensor:
        return torch.sign(2 * self.noise.each(channels, 1, 1) - 1)

    def _bump(self, size: int) -> Tensor:
        bump = two_bumps(size).to(self.x)
        return bump.t() if float(self.noise.shared(1)) > 0.5 else bump


def last_same(proposals: Iterable[tuple[Window, list[float]]]) -> list[int]:
    """For each query, the last one before it with the same window and signs; -2 if there is none."""
    last: dict[tuple[Window, tuple[float, ...]], int] = {}
    same_before = []
    for query, (window, signs) in enumerate(proposals):
        same_before.append(last.get((window, tuple(signs)), -2))
        last[window, tuple(signs)] = query
    return same_before


def side(query: int, height: int, width: int) -> int:
    """The side of the squares at a query, in pixels."""
    share = SHARE / 2 ** sum(query > moment for moment in HALVINGS)
    return min(max(round(math.sqrt(share * height * width)), 1), height, width)


@cache
def two_bumps(size: int) -> Tensor:
    """The update of the L2 attack (size, size), of length 1: a bump in the upper half, its negative in the lower."""
    bump = torch.cat([_bump(size // 2, size), -_bump(size - size // 2, size)])
    return bump / bump.square().sum().sqrt()


def _bump(rows: int, columns: int) -> Tensor:
    """Nested rectangles, each one worth 1 / n^2, of length 1."""
    bump = torch.zeros(rows, columns)
    top, left = rows // 2, columns // 2
    for n in range(max(rows, columns) // 2 + 1):
        up, side = max(top - n, 0), max(left - n, 0)
        bump[up : max(top + n + 1, 0), side : max(left + n + 1, 0)] += 1.0 / (n + 1) ** 2
    return bump / bump.square().sum().sqrt() if bump.numel() else bump


def _norm(delta: Tensor) -> Tensor:
    return delta.flatten(1).square().sum(1).sqrt().view(-1, 1, 1, 1)


def _length(delta: Tensor) -> Tensor:
    """The L2 length of each channel, (B, C, 1, 1)."""
    return delta.square().sum((-2, -1), keepdim=True).sqrt()
