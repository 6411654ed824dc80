"""Multilayer perceptrons, for inputs that are no images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def mlp(shape: tuple[int, ...], classes: int, widths: Sequence[int] = (128, 128)) -> nn.Sequential:
    """Inputs (B, *shape), flattened, to logits (B, classes): hidden layers of these widths with ReLU.
    PyTorch's initialisation."""
    sizes = [math.prod(shape), *widths]
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], classes))
