"""FAB-T: the nearest adversarial example, by steps onto the linearised decision boundary towards one class
(Croce and Hein 2020, arXiv:1907.02044, Algorithm 1)."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.evaluation.found import Found
from bench.evaluation.network import Network
from bench.evaluation.projection import onto_hyperplane
from bench.threat import Threat

ALPHA_MAX = 0.1  # the most that a step is drawn towards the input
ETA = 1.05  # how far it shoots over the boundary
BETA = 0.9  # how much of the way back to the input is kept once the network is fooled


@torch.no_grad()
def fab(
    network: Network, x: Tensor, y: Tensor, target: Tensor, threat: Threat, *, steps: int = 100, stop: bool = True
) -> Found:
    """Look for adversarial examples of x (B, ...), labels y (B,), across the boundary to `target` (B,).

    With `stop`, an example leaves once it is fooled within eps. Without, the attack goes on, and `x_adv` is the nearest
    point that fools, wherever it lies; `fooled` then says that there is one. Margins are of points within eps. Inputs
    lie in [0, 1].
    """
    found = Found.nothing(x)
    nearest = torch.full((len(x),), torch.inf, dtype=x.dtype, device=x.device)
    index, point = torch.arange(len(x), device=x.device), x
    for step in range(1, steps + 1):
        if not len(index):
            break
        here, label = x[index], y[index]
        point = _step(network, point, here, label, target[index], threat)
        point = point.where(point.isfinite(), here)
        margin = network.margin(network(point), point, label)
        wrong = margin < 0
        size = threat.distance(here, point)
        better = wrong & (size < nearest[index]) & ((size <= threat.eps) | (not stop))
        found.record(index, point, margin.where(size <= threat.eps, torch.inf), better, step, backwards=1)
        found.forwards[index] += 1
        nearest[index] = torch.where(better, size, nearest[index])
        point = torch.where(wrong.view(-1, *(1,) * (x.ndim - 1)), here + (point - here) * BETA, point)
        if stop and bool(better.any()):
            index, point = index[~better], point[~better]
    return found


def _step(network: Network, point: Tensor, x: Tensor, y: Tensor, target: Tensor, threat: Threat) -> Tensor:
    """Over the linearised boundary from the point and from the input, mixed so as to stay near the input."""
    _, gap, gradient = network.value_and_gradient(lambda z: _difference(z, y, target), point)
    flat, origin, w = point.flatten(1), x.flatten(1), gradient.flatten(1)
    b = (w * flat).sum(1) - gap
    moves = onto_hyperplane(torch.cat([flat, origin]), torch.cat([w, w]), torch.cat([b, b]), threat.norm)
    length = moves.abs().amax(1) if threat.norm == "Linf" else moves.square().sum(1).sqrt()
    here, back = length.clamp_min(1e-8).view(2, -1, 1)
    alpha = (here / (here + back)).clamp(0.0, ALPHA_MAX)
    move, from_origin = moves.view(2, *flat.shape)
    mixed = (flat + ETA * move) * (1 - alpha) + (origin + from_origin * ETA) * alpha
    return mixed.clamp(0.0, 1.0).view_as(point)


def _difference(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    return logits.gather(1, target[:, None]).squeeze(1) - logits.gather(1, y[:, None]).squeeze(1)
