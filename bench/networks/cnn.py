"""Small convolutional networks: a few 3x3 convolutions with batch norm, then one linear layer."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from bench.errors import TemperError


def cnn(
    shape: tuple[int, ...],
    classes: int,
    widths: Sequence[int] = (16, 32, 32),
    strides: Sequence[int] = (1, 2, 1),
) -> nn.Sequential:
    """Images (B, C, H, W) to logits (B, classes): for each width a 3x3 convolution with that stride, batch
    norm and ReLU; then one linear layer on all that is left. PyTorch's initialisation."""
    if len(widths) != len(strides) or not widths:
        raise TemperError(f"cnn needs a stride per width, got widths = {list(widths)}, strides = {list(strides)}")
    channels, height, width = shape
    layers: list[nn.Module] = []
    for outputs, stride in zip(widths, strides, strict=True):
        layers.append(nn.Conv2d(channels, outputs, 3, stride, padding=1, bias=False))
        layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
        channels, height, width = outputs, -(-height // stride), -(-width // stride)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, classes))
