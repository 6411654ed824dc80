"""The learning rate, a function of progress alone."""

from __future__ import annotations

import math

from bench.scenario import OptimiserSpec


def learning_rate(spec: OptimiserSpec, progress: float) -> float:
    """The learning rate at `progress` in [0, 1]: linear warm-up from 0, then the decay that the scenario names."""
    peak = spec.learning_rate
    if progress < spec.warmup:
        # The first step, at progress 0, already moves: it takes a hundredth of the warm-up.
        return peak * max(progress / spec.warmup, 0.01)
    rest = (progress - spec.warmup) / (1 - spec.warmup)
    if spec.decay == "linear":
        return peak * (1 - rest)
    if spec.decay == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * rest))
    return peak * 0.1 ** sum(progress >= milestone for milestone in spec.milestones)
