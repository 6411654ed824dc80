"""Generators: networks that make inputs from noise, or perturbations of inputs. Without batch norm, so that an output
depends on its own input only, in any mode."""

from __future__ import annotations

from torch import Tensor, nn

from bench.errors import TemperError


class ImageGenerator(nn.Module):
    """Noise (B, latent) to images (B, C, H, W) inside `bounds`: a map of a quarter of their size, doubled twice, each
    time followed by a 3x3 convolution, group norm and a leaky ReLU."""

    def __init__(self, latent: int, shape: tuple[int, ...], bounds: tuple[float, float], width: int = 32) -> None:
        super().__init__()
        channels, height, breadth = shape
        if height % 4 or breadth % 4:
            raise TemperError(f"a generator makes images whose sides are divisible by 4, not {height} x {breadth}")
        self.low, self.high = bounds
        start = width, height // 4, breadth // 4
        self.layers = nn.Sequential(
            nn.Linear(latent, width * start[1] * start[2]),
            nn.Unflatten(1, start),
            nn.GroupNorm(1, width),
            *_doubled(width, width),
            *_doubled(width, width // 2),
            nn.Conv2d(width // 2, channels, 3, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * self.layers(z)


class PerturbationGenerator(nn.Sequential):
    """Images (B, C, H, W) to a direction for each pixel in [-1, 1], of the same shape: three 3x3 convolutions."""

    def __init__(self, channels: int, width: int = 32) -> None:
        super().__init__(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.GroupNorm(1, width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(1, width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, channels, 3, padding=1),
            nn.Tanh(),
        )


def _doubled(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return (
        nn.Upsample(scale_factor=2),
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.GroupNorm(1, outputs),
        nn.LeakyReLU(0.2),
    )
