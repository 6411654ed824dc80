"""The random numbers of an evaluation, as pyautoattack draws them or keyed so that batches do not matter.

Attacks ask for `each` (numbers of their own for every example of the batch) and `shared` (one draw for all of them).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bench.hashing import derive

GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # the odd constant of splitmix64, as a signed 64-bit number
MIX = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64), (31, 1))


class Noise(Protocol):
    """What an attack draws from. Uniform numbers lie in [0, 1)."""

    def each(self, *shape: int) -> Tensor:
        """Uniform numbers (B, *shape), every example's its own."""

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers (B, *shape), every example's its own."""

    def shared(self, *shape: int) -> Tensor:
        """Uniform numbers of that shape, the same for all examples."""

    def keep(self, standing: Tensor) -> None:
        """Go on with the examples that `standing` (B,) names only."""


class Stream:
    """`compat`: one stream on the CPU that all draws of a batch share, as in pyautoattack, which seeds it anew for
    each batch and attack. What an example gets depends on the examples beside it."""

    def __init__(self, generator: torch.Generator, examples: int, device: torch.device) -> None:
        self.generator, self.examples, self.device = generator, examples, device

    def each(self, *shape: int) -> Tensor:
        return self.shared(self.examples, *shape)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(self.examples, *shape, generator=self.generator).to(self.device)

    def shared(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator).to(self.device)

    def keep(self, standing: Tensor) -> None:
        self.examples = int(standing.sum())


class Keyed:
    """`stable`: every number is a hash of (seed, example, attack, target, restart) and of how many were drawn before,
    so that it does not depend on batches, order, sharding, resume or device. Shared draws leave the example out."""

    def __init__(self, seed: int, examples: Tensor, *unit: object) -> None:
        key = derive("stable", seed, *unit)
        self.keys, self.key = _mix(examples ^ key), torch.tensor([key], device=examples.device)
        self.drawn = self.drawn_together = 0

    def each(self, *shape: int) -> Tensor:
        numbers = _uniform(self.keys, self.drawn, math.prod(shape))
        self.drawn += math.prod(shape)
        return numbers.view(-1, *shape)

    def normal(self, *shape: int) -> Tensor:
        radius, angle = self.each(*shape), self.each(*shape)
        return (-2 * torch.log1p(-radius)).sqrt() * torch.cos(2 * math.pi * angle)  # Box and Muller 1958

    def shared(self, *shape: int) -> Tensor:
        numbers = _uniform(self.key, self.drawn_together, math.prod(shape))
        self.drawn_together += math.prod(shape)
        return numbers.view(*shape)

    def keep(self, standing: Tensor) -> None:
        self.keys = self.keys[standing]


class Together:
    """The random numbers of some batches that are one batch now, for attacks in which examples share none."""

    def __init__(self, parts: Sequence[Noise]) -> None:
        self.parts = parts

    def each(self, *shape: int) -> Tensor:
        return torch.cat([part.each(*shape) for part in self.parts])

    def normal(self, *shape: int) -> Tensor:
        return torch.cat([part.normal(*shape) for part in self.parts])

    def shared(self, *shape: int) -> Tensor:
        raise NotImplementedError("batches that run together share no random number")

    def keep(self, standing: Tensor) -> None:
        for part, kept in zip(self.parts, standing.chunk(len(self.parts)), strict=True):
            part.keep(kept)


def example_keys(x: Tensor, y: Tensor) -> Tensor:
    """A 64-bit key (N,) for each example, from its content: inputs (N, ...) as float32 and labels (N,)."""
    labels = y.cpu().numpy().astype(np.int64)
    inputs = x.detach().to("cpu", torch.float32).contiguous().numpy()
    keys = [
        hashlib.blake2b(image.tobytes() + label.tobytes(), digest_size=8).digest()
        for image, label in zip(inputs, labels, strict=True)
    ]
    return torch.from_numpy(np.frombuffer(b"".join(keys), dtype="<i8").astype(np.int64)).to(x.device)


def _uniform(keys: Tensor, start: int, count: int) -> Tensor:
    """Numbers `start` to `start + count` of the stream of each key (K,), float32 (K, count) in [0, 1).

    Splitmix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195), of which the highest 24 bits are used.
    """
    counter = torch.arange(start + 1, start + count + 1, device=keys.device) * GOLDEN
    return (_mix(keys[:, None] + counter) >> 40 & (1 << 24) - 1).float() / (1 << 24)


def _mix(bits: Tensor) -> Tensor:
    """Splitmix64's finaliser on signed 64-bit integers, whose products wrap around."""
    for shift, factor in MIX:
        bits = (bits ^ (bits >> shift & (1 << 64 - shift) - 1)) * factor
    return bits
