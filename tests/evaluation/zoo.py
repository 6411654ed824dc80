"""Defences that look robust and are not, around an honest network, and AutoAttack in small to judge them by.

All map (B, 1, 8, 8) in [0, 1] to (B, 10).
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.evaluation.apgd import apgd, start_on_the_sphere
from bench.evaluation.probe import Case, Probe
from bench.evaluation.square import square
from bench.losses import cross_entropy, dlr
from bench.networks.cnn import cnn
from bench.protocol import MISCLASSIFIED, ROBUST
from bench.threat import Threat


def honest_network(x: Tensor, y: Tensor) -> nn.Module:
    """A small network after a hundred steps of adversarial training on x (N, 1, 8, 8) and y (N,), frozen."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = cnn((1, 8, 8), 10, widths=[8, 8], strides=[2, 2])
        optimiser = torch.optim.SGD(module.parameters(), 0.1, 0.9)
        for _ in range(100):
            index = torch.randint(len(x), (128,))
            point = x[index] + 0.15 * (2 * torch.rand(128, 1, 8, 8) - 1)
            for _ in range(3):
                point = point.detach().requires_grad_()
                (gradient,) = torch.autograd.grad(F.cross_entropy(module.eval()(point), y[index]), point)
                point = (point + 0.075 * gradient.sign()).clamp(x[index] - 0.15, x[index] + 0.15).clamp(0, 1)
            loss = F.cross_entropy(module.train()(point.detach()), y[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    module.zero_grad()
    return module.eval().requires_grad_(False)


def judge(model: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> np.ndarray:
    """Outcomes (N,) after 20 steps of APGD on each of two losses, and 300 queries of Square."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        outcomes = np.where((model(x).argmax(1) == y).numpy(), ROBUST, MISCLASSIFIED)
        case = Case(model, x, y, threat, outcomes, 0, len(x))
        network = Probe(model)

        def ascend(loss: Any, x: Tensor, y: Tensor, noise: Any) -> Any:
            return apgd(network, x, y, threat, loss, start_on_the_sphere(x, threat, noise), steps=20)

        def search(x: Tensor, y: Tensor, noise: Any) -> Any:
            return square(network, x, y, threat, noise, queries=300)

        for number, run in ((1, partial(ascend, cross_entropy)), (2, partial(ascend, dlr)), (4, search)):
            outcomes[(case.attack(case.standing, run, "judge") >= 0).numpy()] = number
        return outcomes.astype(np.uint8)


class Defence(nn.Module):
    """Something around a network."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = copy.deepcopy(net)
        self.eval()


class NoiseLayer(Defence):
    """Gaussian noise on every input, drawn anew."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x + 0.2 * torch.randn_like(x))


class RandomResize(Defence):
    """The image made a pixel smaller or not, and padded at a random side (Xie et al. 2018, arXiv:1711.01991)."""

    def forward(self, x: Tensor) -> Tensor:
        side = x.shape[-1]
        size = int(torch.randint(side - 1, side + 1, ()))
        left, top = (int(torch.randint(side - size + 1, ())) for _ in range(2))
        small = F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)
        return self.net(F.pad(small, (left, side - size - left, top, side - size - top)))


class BatchStatistics(Defence):
    """Batch norm by the statistics of the batch at test time."""

    def forward(self, x: Tensor) -> Tensor:
        for module in self.net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.train()
        return self.net(x)


class Quantised(Defence):
    """Inputs rounded to four levels, which leaves no gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net((x * 3).round() / 3)


class _Kill(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return torch.zeros_like(gradient)


class GradientKilling(Defence):
    """The network as it is, with a gradient of 0."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(_Kill.apply(x))


class Detached(Defence):
    """The same, so that autograd sees no way back at all."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.detach())


class NotANumber(Defence):
    """The same, with a gradient that is not finite."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) + 0 * (x - x.detach()).abs().sqrt().flatten(1).sum(1, keepdim=True)


class OnTheGrid(Defence):
    """Gradients at the pixel values of the data only, multiples of 1/16: where a second step starts, there is none."""

    def forward(self, x: Tensor) -> Tensor:
        sixteenths = x.detach() * 16
        data = ((sixteenths - sixteenths.round()).abs() < 1e-4).flatten(1).all(1)
        return self.net(torch.where(data.view(-1, 1, 1, 1), x, x.detach()))


class Saturated(Defence):
    """Winner and runner-up through a tanh that float32 soon cannot tell from 1 and -1."""

    def forward(self, x: Tensor) -> Tensor:
        logits = self.net(x)
        return torch.tanh(8 * (logits - logits.topk(2, 1).values.mean(1, keepdim=True)))


class Scaled(Defence):
    """Logits a thousand times as large: cross-entropy has no gradient, scale-free losses do."""

    def forward(self, x: Tensor) -> Tensor:
        return 1000 * self.net(x)


class SoftmaxOutputs(Defence):
    """Confident probabilities in place of logits, so that a loss takes the softmax of a softmax."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(100 * self.net(x), 1)
