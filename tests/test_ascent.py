"""Projected ascent: it reaches optima that are known, step by step as in the formula."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from bench.ascent import ascend
from bench.threat import L2, Linf, Threat

FREE = (-100.0, 100.0)


def stream(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def inputs(examples: int = 16, size: int = 5) -> Tensor:
    return torch.rand(examples, size, generator=stream(7), dtype=torch.float64)


def towards(target: Tensor) -> Callable[[Tensor], Tensor]:
    """Concave, with its maximum at `target`."""
    return lambda point: -(point - target).square().flatten(1).sum(1)


@pytest.mark.parametrize("start", ["uniform", "gaussian", "zero"])
def test_a_concave_function_reaches_its_maximum_on_the_linf_ball(start) -> None:
    """It separates over coordinates, so its maximum is the target, clamped to the ball and to the bounds."""
    x = inputs()
    target = 3 * torch.randn(x.shape, generator=stream(1), dtype=torch.float64)
    found = ascend(towards(target), x, Linf(0.2), steps=200, step_size=0.003, start=start, generator=stream())
    expected = np.clip(np.clip(target.numpy(), x.numpy() - 0.2, x.numpy() + 0.2), 0, 1)
    np.testing.assert_allclose(found.numpy(), expected, atol=0.003 + 1e-12)
    outside = (target - x).abs() > 0.21
    np.testing.assert_allclose(found[outside].numpy(), expected[outside.numpy()], atol=1e-12)


@pytest.mark.parametrize("start", ["uniform", "gaussian", "zero"])
def test_a_concave_function_reaches_its_maximum_on_the_l2_ball(start) -> None:
    """The maximum of minus the distance is the target, pulled back to the sphere."""
    threat, x = Threat(norm="L2", eps=0.5, bounds=FREE), inputs()
    target = x + torch.randn(x.shape, generator=stream(1), dtype=torch.float64)
    assert ((target - x).norm(dim=1) > 0.5).sum() > 10
    found = ascend(towards(target), x, threat, steps=600, step_size=0.01, start=start, generator=stream())
    away = target - x
    expected = x + away * (0.5 / away.norm(dim=1, keepdim=True)).clamp_max(1)
    torch.testing.assert_close(found, expected, atol=0.011, rtol=0)


def test_a_linear_function_reaches_the_corner_or_the_pole() -> None:
    x = torch.full((4, 6), 0.5, dtype=torch.float64)
    weights = torch.randn(4, 6, generator=stream(2), dtype=torch.float64)

    def value(point: Tensor) -> Tensor:
        return (point * weights).sum(1)

    corner = ascend(value, x, Linf(0.1), steps=30, step_size=0.02, generator=stream())
    torch.testing.assert_close(corner, x + 0.1 * weights.sign())
    pole = ascend(value, x, L2(0.3), steps=400, step_size=0.02, generator=stream())
    torch.testing.assert_close(pole, x + 0.3 * weights / weights.norm(dim=1, keepdim=True), atol=1e-3, rtol=0)


def test_the_steps_are_those_of_pgd_written_out() -> None:
    net, x = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1)).double(), inputs()

    def value(point: Tensor) -> Tensor:
        return net(point).squeeze(1)

    expected = x.clone()
    for _ in range(7):
        point = expected.clone().requires_grad_()
        value(point).sum().backward()
        assert point.grad is not None
        expected = (expected + 0.03 * point.grad.sign()).clamp(x - 0.1, x + 0.1).clamp(0, 1)
    found = ascend(value, x, Linf(0.1), steps=7, step_size=0.03, start="zero")
    torch.testing.assert_close(found, expected)
    assert (value(found) > value(x)).all()


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_the_objective_is_asked_once_a_step(steps: int) -> None:
    asked: list[Tensor] = []

    def value(point: Tensor) -> Tensor:
        asked.append(point.detach().clone())
        return point.sum(1)

    x = inputs() / 4
    found = ascend(value, x, Linf(0.5), steps=steps, step_size=0.01, start="zero")
    assert len(asked) == steps
    torch.testing.assert_close(found, x + 0.01 * steps)
    if steps:
        assert torch.equal(asked[0], x)


def test_the_generator_decides_and_the_global_stream_does_not() -> None:
    x = inputs()

    def run(seed: int, noise: int) -> Tensor:
        torch.manual_seed(noise)
        return ascend(towards(x), x, Linf(0.2), steps=1, step_size=0.01, generator=stream(seed))

    assert torch.equal(run(1, 0), run(1, 5))
    assert not torch.equal(run(1, 0), run(2, 0))
    before = torch.get_rng_state()
    ascend(towards(x), x, Linf(0.2), steps=2, step_size=0.01, generator=stream())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "wrong", [lambda p: p.sum(), lambda p: p, lambda p: p.sum(1, keepdim=True), lambda p: p[1:, 0]]
)
def test_an_objective_of_another_shape_is_refused(wrong) -> None:
    with pytest.raises(ValueError, match=r"the objective returned shape \(.*\), not \(16,\)"):
        ascend(wrong, inputs(), Linf(0.1), steps=1, step_size=0.01, generator=stream())


@pytest.mark.parametrize("grad", [True, False])
def test_nothing_is_left_behind(grad: bool) -> None:
    """No gradient on inputs, result or weights; the same with gradients switched off outside."""
    net, x = nn.Linear(5, 1).double(), inputs()
    before = x.clone()
    with torch.set_grad_enabled(grad):
        found = ascend(lambda p: net(p).squeeze(1), x, Linf(0.1), steps=3, step_size=0.05, generator=stream())
        assert torch.is_grad_enabled() is grad
    assert not found.requires_grad
    assert found.grad_fn is None
    assert net.weight.grad is None
    assert not x.requires_grad
    assert x.grad is None
    assert torch.equal(x, before)
    torch.testing.assert_close((found - x).clamp(-0.1, 0.1), found - x)
    assert (net(found) > net(x)).all()


def test_no_step_returns_the_start_and_never_the_input_itself() -> None:
    x = inputs()
    found = ascend(towards(x), x, Linf(0.1), steps=0, step_size=0.1, start="zero")
    assert torch.equal(found, x)
    assert found.data_ptr() != x.data_ptr()


@pytest.mark.parametrize("threat", [Linf(0.15), L2(0.5)], ids=str)
def test_a_bumpy_objective_never_leaves_the_ball(threat: Threat) -> None:
    x = torch.rand(32, 1, 8, 8, generator=stream(3))
    found = ascend(
        lambda p: (40 * p).sin().flatten(1).sum(1), x, threat, steps=20, step_size=threat.eps, generator=stream()
    )
    assert threat.contains(x, found, tolerance=1e-6).all()
    assert found.dtype == torch.float32
    assert math.isfinite(found.sum().item())
