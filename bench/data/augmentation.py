"""Augmentation of a batch where it lies, with one random number per example and choice."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from bench.errors import TemperError
from bench.scenario import AugmentationSpec


def augment(x: Tensor, spec: AugmentationSpec, generator: Generator) -> Tensor:
    """Random shifts by up to `spec.shift` pixels, zero padded, then horizontal flips with probability 1/2.

    `x` is (B, C, H, W), and so is the result; `x` itself comes back when both are off. Every example is
    padded, cropped at its own place and flipped or not, all in one gather. Draws come from `generator`, which
    lives on the device of `x`. Raises TemperError when the inputs are no images.
    """
    if not (spec.shift or spec.flip):
        return x
    if x.ndim != 4:
        raise TemperError(
            f"augmentation shifts and flips images (B, C, H, W), and the inputs have shape {tuple(x.shape)}: "
            "set augmentation.shift = 0 and augmentation.flip = false"
        )
    batch, channels, height, width = x.shape
    rows = torch.arange(height, device=x.device).expand(batch, -1)
    columns = torch.arange(width, device=x.device).expand(batch, -1)
    shift = torch.zeros(2, batch, 1, dtype=torch.long, device=x.device)
    if spec.shift:
        shift.random_(0, 2 * spec.shift + 1, generator=generator)
        x = F.pad(x, (spec.shift,) * 4)
    if spec.flip:
        flipped = torch.rand(batch, 1, generator=generator, device=x.device) < 0.5
        columns = torch.where(flipped, columns.flip(1), columns)
    rows, columns = rows + shift[0], columns + shift[1]
    example = torch.arange(batch, device=x.device).view(-1, 1, 1, 1)
    channel = torch.arange(channels, device=x.device).view(1, -1, 1, 1)
    return x[example, channel, rows[:, None, :, None], columns[:, None, None, :]]
