"""The nearest point of a box on a hyperplane, by Newton's method instead of sorting."""

from __future__ import annotations

import torch
from torch import Tensor

NEWTON_STEPS = 50  # a bound: the steps are monotone and end after a few


def onto_hyperplane(t: Tensor, w: Tensor, b: Tensor, norm: str) -> Tensor:
    """The shortest move d (B, D) with w.(t + d) = b and t + d in [0, 1], for t, w (B, D) and b (B,).

    Where the box does not reach the plane, the move goes to its corner nearest to it. Lengths are in `norm`, Linf or
    L2 (Croce and Hein 2020, arXiv:1907.02044, Eqs. 4 to 6). A coordinate moves by at most its room, and by
    lambda (Linf) or lambda |w| (L2): what the move is worth grows with lambda along a concave polygon, so Newton's
    steps from 0 rise to the solution and reach it exactly once they are on its edge.
    """
    value = (w * t).sum(1) - b
    sign = torch.where(value >= 0, 1.0, -1.0).to(t)
    w, need = w * sign[:, None], value.abs()
    weight = w.abs()
    room = torch.where(w > 0, t, 1 - t)
    if norm == "L2":
        weight = torch.where(weight > 1e-8, weight, 0.0)  # as the published code does
    speed = torch.ones_like(weight) if norm == "Linf" else weight
    room = torch.where(weight > 0, room, 0.0)
    move = _lengths(weight, speed, room, need)
    return -w.sign() * move


def _lengths(weight: Tensor, speed: Tensor, room: Tensor, need: Tensor) -> Tensor:
    """How far each coordinate moves (B, D): min(lambda speed, room), so that the weighted sum of it is need (B,).

    Newton's step goes by which coordinates are at their end already: those give what they have, the others the rest.
    """
    worth = torch.stack([weight * speed, weight * room])  # of moving on with lambda, and of standing at the end
    reach = room / speed.clamp_min(torch.finfo(speed.dtype).tiny)
    scale = torch.zeros_like(need)
    most = worth[1].sum(1)
    for _ in range(NEWTON_STEPS):
        ended = reach <= scale[:, None]
        slope, given = worth[0].masked_fill(ended, 0.0).sum(1), worth[1].masked_fill(~ended, 0.0).sum(1)
        ahead = torch.where(slope > 0, (need - given) / slope, scale)
        if not bool((ahead > scale * (1 + 1e-7)).any()):
            break
        scale = torch.maximum(ahead, scale)
    return torch.where((need < most)[:, None], torch.minimum(speed * scale[:, None], room), room)
