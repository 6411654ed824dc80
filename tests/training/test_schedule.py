"""The learning rate is the function of progress that the scenario names."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest

from bench.scenario import OptimiserSpec
from bench.training.schedule import learning_rate

GRID = [k / 200 for k in range(201)]


def spec(**fields: Any) -> OptimiserSpec:
    return OptimiserSpec(learning_rate=0.2, **fields)


@pytest.mark.parametrize("decay", ["linear", "cosine", "steps"])
def test_warm_up_is_linear_from_a_hundredth_to_the_peak(decay) -> None:
    optimiser = spec(warmup=0.1, decay=decay)
    assert learning_rate(optimiser, 0.0) == pytest.approx(0.002)
    assert learning_rate(optimiser, 0.0005) == pytest.approx(0.002)
    assert learning_rate(optimiser, 0.05) == pytest.approx(0.1)
    assert learning_rate(optimiser, 0.075) == pytest.approx(0.15)
    assert learning_rate(optimiser, 0.1) == pytest.approx(0.2)


@pytest.mark.parametrize("decay", ["linear", "cosine", "steps"])
def test_without_warm_up_the_peak_comes_first(decay) -> None:
    assert learning_rate(spec(decay=decay), 0.0) == 0.2


def test_linear_decay_ends_at_nothing() -> None:
    for progress in GRID:
        assert learning_rate(spec(), progress) == pytest.approx(0.2 * (1 - progress))
    assert learning_rate(spec(warmup=0.2), 0.6) == pytest.approx(0.1)
    assert learning_rate(spec(warmup=0.2), 1.0) == 0


def test_cosine_decay_is_half_a_wave() -> None:
    for progress in GRID:
        assert learning_rate(spec(decay="cosine"), progress) == pytest.approx(
            0.2 * math.cos(math.pi * progress / 2) ** 2
        )
    assert learning_rate(spec(decay="cosine", warmup=0.5), 0.75) == pytest.approx(0.1)


def test_steps_take_a_tenth_at_each_milestone() -> None:
    optimiser = spec(decay="steps", milestones=(0.5, 0.75))
    values = [learning_rate(optimiser, progress) for progress in (0.0, 0.499, 0.5, 0.749, 0.75, 1.0)]
    assert values == pytest.approx([0.2, 0.2, 0.02, 0.02, 0.002, 0.002])
    assert learning_rate(spec(decay="steps", milestones=()), 1.0) == 0.2


@pytest.mark.parametrize("decay", ["linear", "cosine", "steps"])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.4])
def test_it_rises_then_falls_between_zero_and_the_peak(decay, warmup: float) -> None:
    optimiser = spec(decay=decay, warmup=warmup)
    values = [learning_rate(optimiser, progress) for progress in GRID]
    assert all(0 <= value <= 0.2 + 1e-12 for value in values)
    peak = GRID.index(warmup)
    assert values[peak] == pytest.approx(0.2)
    assert all(a <= b + 1e-12 for a, b in pairwise(values[: peak + 1]))
    assert all(a >= b - 1e-12 for a, b in pairwise(values[peak:]))
