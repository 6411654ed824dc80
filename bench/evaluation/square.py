"""Square attack: random search with square-shaped changes, which needs no gradient (Andriushchenko et al. 2020,
arXiv:1912.00049, Algorithms 1 to 3), in the variant of the published AutoAttack."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from bench.evaluation.found import Found
from bench.evaluation.network import NEAR_TIE, Network, near_zero
from bench.evaluation.noise import Noise
from bench.evaluation.windows import Changes, Whole, watch, windows
from bench.task import lead
from bench.threat import Threat

SHARE = 0.8  # of the image, covered by the first squares
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # queries after which that share is halved
AHEAD = 16  # changes of an image in one look at most, on average


@dataclass
class _State:
    """All that belongs to an example, so that one which is fooled can leave."""

    index: Tensor  # its place in the batch
    y: Tensor
    margin: Tensor  # of its current image
    since: Tensor  # the query that changed the image last
    at: Tensor  # the query that comes next

    def keep(self, standing: Tensor) -> None:
        for name, value in vars(self).items():
            setattr(self, name, value[standing])


@dataclass
class _Proposal:
    """Changes, ordered by image and then by query, and the query of each (P,); what was gone through ends at (B,)."""

    changes: Changes
    query: Tensor
    end: Tensor


@torch.no_grad()
def square(network: Network, x: Tensor, y: Tensor, threat: Threat, noise: Noise, *, queries: int = 5000) -> Found:
    """Random search from x (B, C, H, W) in [0, 1] with labels y (B,): a change is kept where it lowers the margin.

    An example leaves once it is fooled. For Linf, several queries of an image are looked at together, as if none
    changed it, and again from the first that did; only what a changed window can reach is computed again. Examples
    that a query leaves as they were, or that refused the same change already and are the same since, are not asked at
    all. None of it changes an outcome.
    """
    found = Found.nothing(x)
    search = (_Linf if threat.norm == "Linf" else _L2)(x, threat, noise, queries)
    asked, start = torch.ones_like(found.forwards), search.first()
    reached = network.margin(network(start), start, y)
    state = _State(torch.arange(len(x), device=x.device), y, reached, asked - 2, asked - 1)
    view = watch(network, start) if threat.norm == "Linf" else Whole(network, start)
    while True:
        fooled = state.margin <= 0
        leaving = fooled | (state.at >= queries)
        if bool(leaving.any()):
            found.record(state.index[leaving], view.images[leaving], state.margin[leaving], fooled[leaving], 0)
            found.iteration[state.index[fooled]] = state.at[fooled]
            for part in (state, search, view):
                part.keep(~leaving)
        if not len(state.index):
            break
        proposal = search.propose(view, state)
        if len(proposal.query):
            _ask(network, view, state, proposal)
            done = proposal.query < proposal.end[proposal.changes.index]
            asked.index_add_(0, state.index[proposal.changes.index], done.to(asked))
        state.at = proposal.end
    found.forwards = asked
    return found


def _ask(network: Network, view: Whole, state: _State, proposal: _Proposal) -> None:
    """Make the first change of each image that lowers its margin; the image goes on with the query after that one."""
    changes, query = proposal.changes, proposal.query
    lower, improved = _compare(network, view, changes, state)
    rows = improved.nonzero().squeeze(1)
    if not len(rows):
        return
    image = changes.index[rows]
    first = torch.ones_like(rows, dtype=torch.bool)
    first[1:] = image[1:] != image[:-1]
    rows, image = rows[first], image[first]
    view.accept(changes, rows)
    state.margin[image], state.since[image], proposal.end[image] = lower[rows], query[rows], query[rows] + 1


def _compare(network: Network, view: Whole, changes: Changes, state: _State) -> tuple[Tensor, Tensor]:
    """The margins (P,) of the changed images and whether they are lower; near-ties by the network as it is."""
    y, before = state.y[changes.index], state.margin[changes.index]
    logits = view.logits(changes)
    after = lead(logits, y)
    close = ((after - before).abs() < NEAR_TIE) | near_zero(after, logits) | after.isinf()
    close = close.nonzero().squeeze(1)
    if len(close):
        both = torch.cat([changes[close].onto(view.images), view.images[changes.index[close]]])
        after[close], before[close] = network.exact_margin(both, y[close].repeat(2)).chunk(2)
    return after, after < before


class _Linf:
    """Stripes at first, then squares of one sign per channel, all at the corners of the ball."""

    def __init__(self, x: Tensor, threat: Threat, noise: Noise, queries: int) -> None:
        self.x, self.eps, self.noise, self.queries = x, threat.eps, noise, queries
        self.ahead = 1  # queries to look at together

    def first(self) -> Tensor:
        channels, height, width = self.x.shape[1:]
        stripes = torch.sign(2 * self.noise.each(channels, 1, width) - 1)
        draws = self.noise.shared(self.queries, 2 + channels).cpu()
        self.sides = [side(query, height, width) for query in range(self.queries)]
        self.stops = {size: query + 1 for query, size in enumerate(self.sides)}  # they only shrink
        spare = torch.tensor([(height - size, width - size) for size in self.sides])
        corners, signs = (spare * draws[:, :2]).long(), torch.sign(2 * draws[:, 2:] - 1)
        kinds = zip(self.sides, map(tuple, corners.tolist()), map(tuple, signs.tolist()), strict=True)
        self.same_before = torch.tensor(last_same(kinds), device=self.x.device)
        self.top, self.left = corners.to(self.x.device).unbind(1)
        self.changes = 2.0 * self.eps * signs[:, :, None, None].to(self.x)
        return (self.x + self.eps * stripes).clamp(0.0, 1.0)

    def propose(self, view: Whole, state: _State) -> _Proposal:
        """The queries ahead of each image that may change it, among those of the size that comes next."""
        begin = int(state.at.min())
        size = self.sides[begin]
        stop = min(begin + self.ahead, self.stops[size])
        queries = torch.arange(begin, stop, device=state.at.device)
        new = (queries >= state.at[:, None]) & (state.since[:, None] > self.same_before[begin:stop])
        index, column = new.nonzero(as_tuple=True)
        query = begin + column
        where = (index, slice(None), self.top[query], self.left[query])
        old, x = windows(view.images, size, size)[where], windows(self.x, size, size)[where]
        patch = (old + self.changes[query]).clamp_(x - self.eps, x + self.eps).clamp_(0.0, 1.0)
        different = (patch != old).flatten(1).any(1).nonzero().squeeze(1)
        query = query[different]
        changes = Changes(index[different], self.top[query], self.left[query], patch[different])
        room = min(view.room, AHEAD * len(new))
        self.ahead = max(1, min(self.ahead * room // max(len(query), 1), 2 * self.ahead))
        return _Proposal(changes, query, state.at.clamp_min(stop))

    def keep(self, standing: Tensor) -> None:
        self.x = self.x[standing]


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

    def propose(self, view: Whole, state: _State) -> _Proposal:
        """One change of every image, from the same query."""
        best, query = view.images, int(state.at[0])
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
        everything, corner = torch.arange(len(best), device=best.device), torch.zeros_like(state.at)
        changes = Changes(everything, corner, corner, self._onto_sphere(delta))
        return _Proposal(changes, state.at.clone(), state.at + 1)

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


def last_same(kinds: Iterable[Hashable]) -> list[int]:
    """For each query, the last one before it of the same kind (window and signs); -2 if there is none."""
    last: dict[Hashable, int] = {}
    same_before = []
    for query, kind in enumerate(kinds):
        same_before.append(last.get(kind, -2))
        last[kind] = query
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
