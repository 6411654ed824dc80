"""Discriminators: small networks that tell one source of inputs from another; without modes or batch statistics.

Their scores are positive for real inputs. None of them draws or keeps anything in a forward.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Spectral(nn.Module):
    """A layer whose weight is divided by its largest singular value (Miyato et al. 2018), estimated by power iteration.

    The estimate moves only in `power_iteration`, so that a forward changes no state.
    """

    weight: Tensor
    u: Tensor
    v: Tensor

    def begin(self) -> None:
        """Estimate the singular vectors of the initial weights; a kernel counts as a matrix with a row per output."""
        outputs, inputs = self.weight.flatten(1).shape
        self.register_buffer("u", F.normalize(torch.randn(outputs), dim=0))
        self.register_buffer("v", F.normalize(torch.randn(inputs), dim=0))
        self.power_iteration(steps=15)

    @torch.no_grad()
    def power_iteration(self, steps: int = 1) -> None:
        """Move the estimate of the singular vectors to those of the present weights."""
        matrix = self.weight.flatten(1)
        for _ in range(steps):
            self.v.copy_(F.normalize(matrix.T @ self.u, dim=0))
            self.u.copy_(F.normalize(matrix @ self.v, dim=0))

    def normalised(self) -> Tensor:
        """The weight over its largest singular value."""
        largest = (self.weight.flatten(1) * torch.outer(self.u, self.v)).sum()
        return self.weight / largest


class SpectralLinear(Spectral, nn.Linear):
    """A spectrally normalised linear layer."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias)
        self.begin()

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.normalised(), self.bias)


class SpectralConv2d(Spectral, nn.Conv2d):
    """A spectrally normalised convolution that keeps the size of the map, or with a stride divides it."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, bias: bool = True) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding=kernel // 2, bias=bias)
        self.begin()

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.normalised(), self.bias, self.stride, self.padding)


class MLPDiscriminator(nn.Sequential):
    """Inputs (B, D) to scores (B,): spectrally normalised layers D-width-width-1 with leaky ReLUs."""

    def __init__(self, inputs: int, width: int = 128) -> None:
        super().__init__(
            SpectralLinear(inputs, width),
            nn.LeakyReLU(0.2),
            SpectralLinear(width, width),
            nn.LeakyReLU(0.2),
            SpectralLinear(width, 1),
            nn.Flatten(0),
        )


class TapDiscriminators(nn.Module):
    """One MLPDiscriminator for each of several taps: inputs (B, sum of `sizes`), side by side, to scores (B, taps)."""

    def __init__(self, sizes: Sequence[int], width: int = 128) -> None:
        super().__init__()
        self.sizes = list(sizes)
        self.taps = nn.ModuleList(MLPDiscriminator(size, width) for size in sizes)

    def forward(self, x: Tensor) -> Tensor:
        inputs = x.split(self.sizes, dim=1)
        return torch.stack([tap(part) for tap, part in zip(self.taps, inputs, strict=True)], dim=1)


class ProjectionDiscriminator(nn.Module):
    """Inputs (B, D) to a score for every label (B, classes): D(u, y) = psi(phi(u)) + <e_y, phi(u)> (Miyato and Koyama
    2018), all spectrally normalised, phi of layers D-width-width."""

    def __init__(self, inputs: int, classes: int, width: int = 128) -> None:
        super().__init__()
        self.phi = nn.Sequential(
            SpectralLinear(inputs, width),
            nn.LeakyReLU(0.2),
            SpectralLinear(width, width),
            nn.LeakyReLU(0.2),
        )
        self.psi = SpectralLinear(width, 1)
        self.labels = SpectralLinear(width, classes, bias=False)

    def forward(self, u: Tensor) -> Tensor:
        phi = self.phi(u)
        return self.psi(phi) + self.labels(phi)


class PatchDiscriminator(nn.Sequential):
    """Feature maps (B, D, H, W) to scores of their patches (B, patches^2).

    The maps are averaged over each patch, which makes maps of any two sizes alike; projected to `width` channels and
    normalised; then judged by three 1x1 convolutions, spectrally normalised, with leaky ReLUs: a feature has seen its
    surroundings already.
    """

    def __init__(self, channels: int, width: int = 128, patches: int = 2) -> None:
        super().__init__(
            nn.AdaptiveAvgPool2d(patches),
            SpectralConv2d(channels, width, 1, bias=False),
            nn.GroupNorm(1, width, affine=False),
            SpectralConv2d(width, width, 1),
            nn.LeakyReLU(0.2),
            SpectralConv2d(width, width, 1),
            nn.LeakyReLU(0.2),
            SpectralConv2d(width, 1, 1),
            nn.Flatten(1),
        )


class ImageDiscriminator(nn.Sequential):
    """Images (B, C, H, W) to scores of their patches (B, H/4 W/4): spectrally normalised 3x3 convolutions
    C-width-2 width-1 with leaky ReLUs, of which the first two halve the image."""

    def __init__(self, channels: int, width: int = 32) -> None:
        super().__init__(
            SpectralConv2d(channels, width, 3, stride=2),
            nn.LeakyReLU(0.2),
            SpectralConv2d(width, 2 * width, 3, stride=2),
            nn.LeakyReLU(0.2),
            SpectralConv2d(2 * width, 1, 3),
            nn.Flatten(1),
        )


def power_iteration(discriminator: nn.Module) -> None:
    """One power iteration in every spectrally normalised layer; for `after_step` of a method."""
    for layer in discriminator.modules():
        if isinstance(layer, Spectral):
            layer.power_iteration()


def adam(parameters: Iterable[nn.Parameter]) -> torch.optim.Adam:
    """The optimiser customary for the two sides of a GAN."""
    return torch.optim.Adam(parameters, lr=2e-4, betas=(0.5, 0.999))


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """A discriminator's loss for scores (B, S) of real and of fake inputs, a mean over S: (B,)."""
    return ((1 - real).relu() + (1 + fake).relu()).mean(1)


class Game(NamedTuple):
    """One step of a discriminator against the network that it judges, as a learning curve tells of it."""

    real: Tensor  # the discriminator's scores, of any shape
    fake: Tensor
    adversarial: Tensor | None  # that network's adversarial term with its weight, (B,); None while the weight is 0
    rest: Tensor  # the rest of that network's loss, (B,)
    read: Sequence[Tensor]  # the outputs of that network that the discriminator read

    def metrics(self) -> dict[str, float]:
        """The fractions of scores on the right side of 0, and the adversarial term's share of the gradient to `read`:
        its norm over the sum of both terms' norms."""
        adversarial, rest = (gradient_norm(term, self.read) for term in (self.adversarial, self.rest))
        return {
            "discriminator_real": (self.real > 0).double().mean().item(),
            "discriminator_fake": (self.fake < 0).double().mean().item(),
            "gan_share": adversarial / (adversarial + rest) if adversarial else 0.0,
        }


def gradient_norm(term: Tensor | None, read: Sequence[Tensor]) -> float:
    """The norm of the gradient of a term (B,), summed over the batch, with respect to these tensors together; 0 for a
    term that is not there."""
    if term is None:
        return 0.0
    gradients = torch.autograd.grad(term.sum(), read, retain_graph=True, materialize_grads=True)
    return torch.stack([gradient.norm() for gradient in gradients]).norm().item()


def binary_cross_entropy(scores: Tensor, real: bool) -> Tensor:
    """-log sigmoid(score) if the inputs are to pass for real ones, else -log (1 - sigmoid(score)), score by score."""
    return F.softplus(-scores if real else scores)


def pooled(features: Tensor, width: int) -> Tensor:
    """Features (B, D, H, W) as (B, width): averaged over the map, then over neighbouring channels if D > width.

    So that a discriminator can read networks of different widths without weights of its own for each, which alone
    would tell them apart.
    """
    return F.adaptive_avg_pool1d(features.mean((2, 3)), width)
