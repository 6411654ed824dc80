"""The threat model against brute force, and by the properties that every ball has."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from torch import Generator, Tensor

import bench
from bench.threat import L2, Linf, Threat

SHAPES = [(3,), (2, 4), (1, 5, 5)]
THREATS = [Linf(0.1), Linf(8 / 255), L2(0.5), L2(3.0), Threat(norm="Linf", eps=0.7, bounds=(-1, 1))]


def stream(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def pair(threat: Threat, shape: tuple[int, ...], spread: float = 1.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Valid inputs, and points around them that lie anywhere; float64."""
    low, high = threat.bounds
    x = low + (high - low) * torch.rand(64, *shape, generator=stream(seed), dtype=torch.float64)
    return x, x + spread * torch.randn(x.shape, generator=stream(seed + 1), dtype=torch.float64)


def sizes(threat: Threat, x: Tensor, x_adv: Tensor) -> np.ndarray:
    order = np.inf if threat.norm == "Linf" else 2
    return np.array([np.linalg.norm(d.numpy().ravel(), order) for d in (x_adv - x)])


@pytest.mark.parametrize("shape", SHAPES)
def test_the_linf_projection_is_a_clamp(shape: tuple[int, ...]) -> None:
    x, far = pair(Linf(0.1), shape)
    expected = np.clip(np.clip(far.numpy(), x.numpy() - 0.1, x.numpy() + 0.1), 0, 1)
    np.testing.assert_allclose(Linf(0.1).project(x, far).numpy(), expected, atol=1e-15)


def test_the_linf_projection_is_the_nearest_point_of_a_grid() -> None:
    x, far = pair(Linf(0.25), (2,))
    side = torch.linspace(0, 1, 201, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    for start, point, found in zip(x, far, Linf(0.25).project(x, far), strict=True):
        allowed = grid[(grid - start).abs().amax(1) <= 0.25]
        assert (found - point).norm() <= (allowed - point).norm(dim=1).min() + 1e-12


def test_the_l2_projection_is_the_nearest_point_of_the_ball_where_the_bounds_do_not_bind() -> None:
    threat = Threat(norm="L2", eps=0.4, bounds=(-100, 100))
    x, far = pair(threat, (2,))
    angle = torch.linspace(0, 2 * math.pi, 20_001, dtype=torch.float64)
    circle = 0.4 * torch.stack([angle.cos(), angle.sin()], dim=1)
    for start, point, found in zip(x, far, threat.project(x, far), strict=True):
        if (point - start).norm() <= 0.4:
            torch.testing.assert_close(found, point)
        else:
            nearest = (start + circle)[(start + circle - point).norm(dim=1).argmin()]
            torch.testing.assert_close(found, nearest, atol=1e-3, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_projections_lie_inside_and_stay_where_they_are(threat: Threat, shape: tuple[int, ...]) -> None:
    x, far = pair(threat, shape, spread=2.0)
    once = threat.project(x, far)
    low, high = threat.bounds
    assert once.min() >= low
    assert once.max() <= high
    assert sizes(threat, x, once).max() <= threat.eps + 1e-12
    torch.testing.assert_close(threat.project(x, once), once, atol=1e-12, rtol=0)
    assert torch.equal(threat.project(x, x), x)


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_points_inside_are_left_alone(threat: Threat) -> None:
    x, _ = pair(threat, (1, 5, 5))
    near = (x + threat.eps / 30 * torch.randn(x.shape, generator=stream(3), dtype=torch.float64)).clamp(*threat.bounds)
    assert sizes(threat, x, near).max() < threat.eps
    torch.testing.assert_close(threat.project(x, near), near, atol=1e-12, rtol=0)


@pytest.mark.parametrize("threat", [Linf(0.0), L2(0.0)], ids=str)
def test_a_ball_of_no_size_holds_only_the_input(threat: Threat) -> None:
    x, far = pair(threat, (4,))
    for point in (threat.project(x, far), threat.start(x, "uniform", stream()), threat.start(x, "gaussian", stream())):
        assert torch.equal(point, x)
    assert threat.contains(x, x).all()


def test_far_points_in_float32_project_into_the_ball() -> None:
    x = torch.rand(5, 1, 8, 8, generator=stream())
    for threat in (Linf(0.15), L2(0.5)):
        for far in (x + 1e20, x - 1e30, x.clone()):
            assert threat.contains(x, threat.project(x, far), tolerance=1e-6).all()


@pytest.mark.parametrize("kind", ["uniform", "gaussian", "zero"])
@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_starts_lie_inside_and_follow_the_generator(threat: Threat, kind: str) -> None:
    x, _ = pair(threat, (1, 5, 5))
    before = x.clone()
    first, again, other = (threat.start(x, kind, stream(seed)) for seed in (1, 1, 2))  # type: ignore[arg-type]
    assert first.dtype == x.dtype
    assert sizes(threat, x, first).max() <= threat.eps + 1e-12
    assert threat.contains(x, first, tolerance=1e-12).all()
    assert torch.equal(first, again)
    assert torch.equal(first, other) is (kind == "zero")
    assert torch.equal(x, before)
    assert first.data_ptr() != x.data_ptr()


def test_a_zero_start_is_the_input() -> None:
    x, _ = pair(Linf(0.1), (4,))
    assert torch.equal(Linf(0.1).start(x, "zero"), x)


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.5)], ids=str)
def test_a_gaussian_start_is_normal_noise_of_one_thousandth(threat: Threat) -> None:
    x = torch.full((400, 50), 0.5, dtype=torch.float64)
    noise = (threat.start(x, "gaussian", stream()) - x).flatten().numpy()
    assert stats.kstest(noise, stats.norm(0, 1e-3).cdf).pvalue > 1e-3


def test_a_uniform_linf_start_is_uniform_in_the_cube() -> None:
    x = torch.full((400, 50), 0.5, dtype=torch.float64)
    noise = (Linf(0.1).start(x, "uniform", stream()) - x).numpy()
    assert stats.kstest(noise.ravel(), stats.uniform(-0.1, 0.2).cdf).pvalue > 1e-3


@pytest.mark.parametrize("dimensions", [1, 2, 5, 64])
def test_a_uniform_l2_start_is_uniform_in_the_ball(dimensions: int) -> None:
    """The share of the volume within radius r is (r / eps)^d, and no direction is preferred."""
    threat = Threat(norm="L2", eps=0.5, bounds=(-1, 1))
    x = torch.zeros(4000, dimensions, dtype=torch.float64)
    noise = threat.start(x, "uniform", stream()).numpy()
    radius = np.linalg.norm(noise, axis=1)
    assert stats.kstest(radius, lambda r: np.clip(r / 0.5, 0, 1) ** dimensions).pvalue > 1e-3
    directions = noise / radius[:, None]
    assert np.abs(directions.mean(0)).max() < 4 / math.sqrt(4000)
    assert np.abs(directions.T @ directions / 4000 - np.eye(dimensions) / dimensions).max() < 0.06


def test_steps_go_along_the_sign_or_the_unit_gradient() -> None:
    x, gradient = pair(Linf(0.1), (2, 3))
    gradient[0, 0, 0] = 0
    signed = Linf(0.1).step(x, gradient, 0.02)
    np.testing.assert_allclose(signed.numpy(), x.numpy() + 0.02 * np.sign(gradient.numpy()))
    unit = gradient.numpy() / np.linalg.norm(gradient.numpy().reshape(64, -1), axis=1)[:, None, None]
    np.testing.assert_allclose(L2(0.5).step(x, gradient, 0.02).numpy(), x.numpy() + 0.02 * unit)


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.1)], ids=str)
def test_a_step_along_no_gradient_goes_nowhere(threat: Threat) -> None:
    x, _ = pair(threat, (4,))
    assert torch.equal(threat.step(x, torch.zeros_like(x), 0.1), x)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_distances_are_numpys_norms(threat: Threat, shape: tuple[int, ...]) -> None:
    x, far = pair(threat, shape)
    np.testing.assert_allclose(threat.distance(x, far).numpy(), sizes(threat, x, far))


def moved(x: Tensor, by: float) -> Tensor:
    """x with one entry moved: the same distance in every norm."""
    point = x.clone()
    point[..., 0] += by
    return point


@pytest.mark.parametrize("make", [Linf, L2])
def test_contains_catches_what_lies_outside(make: type) -> None:
    threat, x = make(0.1), torch.full((1, 4), 0.5, dtype=torch.float64)
    assert threat.contains(x, moved(x, 0.1)).item()
    assert threat.contains(x, moved(x, -0.1 - 5e-6)).item()
    assert not threat.contains(x, moved(x, 0.1 + 2e-5)).item()
    assert not threat.contains(x, moved(x, 0.1 + 2e-6), tolerance=1e-6).item()
    assert not threat.contains(x, moved(x, float("nan"))).item()
    assert not threat.contains(x, moved(x, float("inf"))).item()
    edge = torch.tensor([[0.0, 1.0, 0.5, 0.5]], dtype=torch.float64)
    assert threat.contains(edge, edge).item()
    assert not threat.contains(edge, edge - 1e-9).item()
    assert not threat.contains(edge, edge + 1e-9).item()


def test_contains_judges_each_example_alone() -> None:
    x = torch.full((3, 2, 2), 0.5)
    x_adv = x.clone()
    x_adv[1, 0, 0] = 0.7
    x_adv[2, 1, 1] = float("nan")
    assert Linf(0.1).contains(x, x_adv).tolist() == [True, False, False]


@pytest.mark.parametrize(("text", "value"), [("8/255", 8 / 255), ("0.5", 0.5), ("1/2", 0.5), (0.25, 0.25)])
def test_radii_may_be_fractions(text: str | float, value: float) -> None:
    assert Threat.model_validate({"norm": "L2", "eps": text}).eps == value
    assert Threat.model_validate({"norm": "Linf", "eps": text}) == Linf(value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"eps": -0.1}, "greater than or equal to 0"),
        ({"eps": float("nan")}, "finite number"),
        ({"eps": 8}, "8/255 is 0.03137, not 8"),
        ({"eps": "8"}, "8/255 is 0.03137, not 8"),
        ({"eps": 1.0}, r"covers the whole input range \(0.0, 1.0\)"),
        ({"eps": "eight"}, "eps\n.*'eight'"),
        ({"eps": 0.1, "bounds": (1.0, 0.0)}, "low < high"),
        ({"eps": 0.1, "norm": "L1"}, "norm"),
        ({"eps": 0.1, "epsilon": 0.1}, "epsilon"),
        ({}, "eps\n.*required"),
    ],
)
def test_threats_that_make_no_sense_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Threat.model_validate({"norm": "Linf"} | fields)


def test_wider_bounds_allow_wider_balls() -> None:
    assert Threat(norm="Linf", eps=1.5, bounds=(-1, 1)).eps == 1.5


def test_a_fraction_over_nothing_is_refused() -> None:
    with pytest.raises(ValidationError):
        Threat.model_validate({"norm": "Linf", "eps": "8/0"})


def test_an_unknown_start_is_refused() -> None:
    with pytest.raises(Exception, match="gausian"):
        Linf(0.1).start(torch.full((2, 3), 0.5), "gausian")  # type: ignore[arg-type]


def test_another_radius_keeps_norm_and_bounds() -> None:
    threat = Threat(norm="L2", eps=0.5, bounds=(-1, 1))
    assert threat.with_eps(0.7) == Threat(norm="L2", eps=0.7, bounds=(-1, 1))
    assert threat.with_eps(None) is threat
    with pytest.raises(ValidationError):
        threat.with_eps(-1)


def test_threats_are_frozen_and_public() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Linf(0.1).eps = 0.2  # type: ignore[misc]
    assert bench.Linf(0.1) == Threat(norm="Linf", eps=0.1, bounds=(0, 1))
    assert bench.L2(0.5) == Threat(norm="L2", eps=0.5)
