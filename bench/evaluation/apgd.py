"""AutoPGD: projected gradient ascent that halves its step size where it no longer helps (Croce and Hein 2020,
arXiv:2003.01690, Algorithm 1), in the variant of the published code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.evaluation.found import Found
from bench.evaluation.network import Network
from bench.evaluation.noise import Noise
from bench.threat import Threat

Objective = Callable[[Tensor, Tensor], Tensor]  # logits (B, C) and classes (B,) to what is maximised (B,)

MOMENTUM = 0.75  # weight of the gradient step; the rest is the last move
RHO = 0.75  # a step size is kept while more than this share of the steps helped


def checkpoints(steps: int) -> set[int]:
    """After how many steps the step sizes are reviewed: 22% of them, then gaps that shrink by 3% down to 6%."""
    due, gap = 0, max(int(0.22 * steps), 1)
    moments = set()
    while (due := due + gap) <= steps:
        moments.add(due)
        gap = max(gap - max(int(0.03 * steps), 1), max(int(0.06 * steps), 1))
    return moments


def start_on_the_sphere(x: Tensor, threat: Threat, noise: Noise) -> Tensor:
    """Where AutoPGD starts: a random direction from x (B, ...), scaled to length eps, cut with the bounds."""
    shape = x.shape[1:]
    direction = 2 * noise.each(*shape) - 1 if threat.norm == "Linf" else noise.normal(*shape)
    return (x + threat.eps * _normalised(direction, threat)).clamp(0.0, 1.0)


@dataclass
class _State:
    """All that belongs to an example, so that one which is fooled can leave."""

    index: Tensor  # its place in the batch
    x: Tensor
    y: Tensor
    classes: Tensor  # what the objective is told: the labels, or the targets
    low: Tensor
    high: Tensor
    x_adv: Tensor
    x_before: Tensor
    x_best: Tensor
    gradient: Tensor
    gradient_best: Tensor
    step_size: Tensor
    loss_best: Tensor
    loss_at_review: Tensor
    reduced: Tensor
    losses: Tensor  # (B, steps)

    def keep(self, standing: Tensor) -> None:
        for name, value in vars(self).items():
            setattr(self, name, value[standing])


@torch.no_grad()
def apgd(
    network: Network,
    x: Tensor,
    y: Tensor,
    threat: Threat,
    objective: Objective,
    start: Tensor,
    *,
    classes: Tensor | None = None,
    steps: int = 100,
) -> Found:
    """Maximise `objective(logits, classes)` in the ball around x (B, ...) from `start` (B, ...), for labels y (B,).

    An example that is fooled at any step is found and leaves. `classes` are the labels unless given. Inputs lie in
    [0, 1].
    """
    found = Found.nothing(x)
    state = _begin(network, x, y, y if classes is None else classes, threat, objective, start, steps, found)
    reviews, last_review = checkpoints(steps), 0
    for step in range(1, steps + 1):
        if not len(state.index):
            break
        x_new = _step(state, threat, MOMENTUM if step > 1 else 1.0)
        state.x_before, state.x_adv = state.x_adv, x_new
        loss, fooled = _look(network, state, objective, step, found)
        state.losses[:, step - 1] = loss
        _remember(state, loss)
        if step in reviews:
            _review(state, step, step - last_review)
            last_review = step
        if bool(fooled.any()):
            state.keep(~fooled)
    return found


def _begin(
    network: Network,
    x: Tensor,
    y: Tensor,
    classes: Tensor,
    threat: Threat,
    objective: Objective,
    start: Tensor,
    steps: int,
    found: Found,
) -> _State:
    whole = torch.arange(len(x), device=x.device)
    low, high = (x - threat.eps).clamp_min(0.0), (x + threat.eps).clamp_max(1.0)
    sizes = torch.full((len(x),) + (1,) * (x.ndim - 1), 2.0 * threat.eps, dtype=x.dtype, device=x.device)
    ones, losses = x.new_ones(len(x)), x.new_zeros(len(x), steps)
    state = _State(
        whole, x, y, classes, low, high, start, start, start, start, start, sizes, ones, ones, ones.clone(), losses
    )
    loss, fooled = _look(network, state, objective, 0, found)
    state.gradient_best, state.loss_best, state.loss_at_review = state.gradient, loss, loss
    if bool(fooled.any()):
        state.keep(~fooled)
    return state


def _look(network: Network, state: _State, objective: Objective, step: int, found: Found) -> tuple[Tensor, Tensor]:
    """Objective (B,) and gradient at the current points, and which of them fool the network (B,)."""
    logits, loss, state.gradient = network.value_and_gradient(lambda z: objective(z, state.classes), state.x_adv)
    margin = network.margin(logits, state.x_adv, state.y)
    fooled = margin < 0
    found.record(state.index, state.x_adv, margin, fooled, step, backwards=1)
    return loss, fooled


def _step(state: _State, threat: Threat, momentum: float) -> Tensor:
    x_adv, last_move = state.x_adv, state.x_adv - state.x_before
    if threat.norm == "Linf":
        ahead = x_adv + state.step_size * state.gradient.sign()
        ahead = ahead.clamp_(state.low, state.high)
        return (x_adv + (ahead - x_adv) * momentum + last_move * (1 - momentum)).clamp_(state.low, state.high)
    ahead = _into_ball(x_adv + state.step_size * _normalised(state.gradient, threat), state.x, threat)
    return _into_ball(x_adv + (ahead - x_adv) * momentum + last_move * (1 - momentum), state.x, threat)


def _remember(state: _State, loss: Tensor) -> None:
    """Keep the point of the highest loss, and its gradient."""
    better = loss > state.loss_best
    image = better.view(-1, *(1,) * (state.x.ndim - 1))
    state.x_best = torch.where(image, state.x_adv, state.x_best)
    state.gradient_best = torch.where(image, state.gradient, state.gradient_best)
    state.loss_best = torch.where(better, loss, state.loss_best)


def _review(state: _State, step: int, period: int) -> None:
    """Halve the step size, and go back to the best point, where too few steps helped or nothing did since last time.

    The published code compares the first loss with the last, not yet computed and 0, at its first review; so do we.
    """
    after = state.losses[:, step - period : step]
    before = torch.cat([state.losses[:, step - period - 1, None], after[:, :-1]], 1)
    stuck = (after > before).sum(1) <= period * RHO
    unimproved = (1 - state.reduced > 0) & (state.loss_at_review >= state.loss_best)
    halve = stuck | unimproved
    state.reduced, state.loss_at_review = halve.to(state.reduced.dtype), state.loss_best
    image = halve.view(-1, *(1,) * (state.x.ndim - 1))
    state.step_size = torch.where(image, state.step_size / 2, state.step_size)
    state.x_adv = torch.where(image, state.x_best, state.x_adv)
    state.gradient = torch.where(image, state.gradient_best, state.gradient)


def _normalised(direction: Tensor, threat: Threat) -> Tensor:
    length = direction.flatten(1)
    length = length.abs().amax(1) if threat.norm == "Linf" else length.square().sum(1).sqrt()
    return direction / (length.view(-1, *(1,) * (direction.ndim - 1)) + 1e-12)


def _into_ball(point: Tensor, x: Tensor, threat: Threat) -> Tensor:
    """Back into the L2 ball, then into the bounds, in the order of the published code."""
    delta = point - x
    length = delta.flatten(1).square().sum(1).sqrt().view(-1, *(1,) * (x.ndim - 1))
    return (x + _normalised(delta, threat) * length.clamp_max(threat.eps)).clamp(0.0, 1.0)
