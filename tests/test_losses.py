"""Per-example losses, each against its formula written out in NumPy's float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.losses import cross_entropy, dlr, kl, kl_logits, margin

Array = np.ndarray


def logits(examples: int = 20, classes: int = 7, seed: int = 0, scale: float = 3.0) -> Tensor:
    return scale * torch.randn(examples, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels(examples: int = 20, classes: int = 7) -> Tensor:
    return torch.arange(examples) % classes


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def np_cross_entropy(z: Array, y: Array) -> Array:
    return np.array([np.log(np.exp(row).sum()) - row[label] for row, label in zip(z, y, strict=True)])


def np_kl(p: Array, z: Array, t: float = 1.0) -> Array:
    q = softmax(z / t)
    return np.array(
        [sum(a * np.log(a / b) for a, b in zip(u, v, strict=True) if a > 0) for u, v in zip(p, q, strict=True)]
    )


def np_margin(z: Array, y: Array) -> Array:
    return np.array([np.delete(row, label).max() - row[label] for row, label in zip(z, y, strict=True)])


def np_dlr(z: Array, y: Array) -> Array:
    """Croce & Hein 2020, Eq. 6: -(z_y - max_{i != y} z_i) / (z_pi1 - z_pi3)."""
    top = np.sort(z, axis=1)[:, ::-1]
    return np_margin(z, y) / (top[:, 0] - top[:, 2])


ORACLES: list[tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Array, Array], Array]]] = [
    (cross_entropy, np_cross_entropy),
    (margin, np_margin),
    (dlr, np_dlr),
]


@pytest.mark.parametrize(("loss", "oracle"), ORACLES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("classes", [3, 7, 10])
def test_losses_of_labels_equal_their_formulas(loss, oracle, classes: int) -> None:
    z, y = logits(classes=classes), labels(classes=classes)
    found = loss(z, y)
    assert found.shape == (20,)
    np.testing.assert_allclose(found.numpy(), oracle(z.numpy(), y.numpy()), rtol=1e-10)


def test_cross_entropy_takes_soft_labels() -> None:
    z, p = logits(), logits(seed=1).softmax(1)
    expected = -(p.numpy() * np.log(softmax(z.numpy()))).sum(1)
    np.testing.assert_allclose(cross_entropy(z, p).numpy(), expected, rtol=1e-12)
    hard = torch.nn.functional.one_hot(labels(), 7).double()
    torch.testing.assert_close(cross_entropy(z, hard), cross_entropy(z, labels()))


@pytest.mark.parametrize("t", [1.0, 4.0, 30.0])
def test_kl_is_summed_over_classes(t: float) -> None:
    z, other = logits(), logits(seed=1)
    p = softmax(other.numpy() / t)
    np.testing.assert_allclose(kl(torch.from_numpy(p), z, t).numpy(), np_kl(p, z.numpy(), t), rtol=1e-9)
    np.testing.assert_allclose(kl_logits(other, z, t).numpy(), np_kl(p, z.numpy(), t), rtol=1e-9)


def test_a_probability_of_zero_contributes_nothing() -> None:
    z = logits(3, 4)
    p = torch.tensor([[0.0, 0.5, 0.5, 0.0], [1.0, 0.0, 0.0, 0.0], [0.25] * 4], dtype=torch.float64)
    np.testing.assert_allclose(kl(p, z).numpy(), np_kl(p.numpy(), z.numpy()), rtol=1e-12)
    assert kl(p, z)[1].item() == pytest.approx(cross_entropy(z, torch.zeros(3, dtype=torch.long))[1].item())
    z.requires_grad_()
    (gradient,) = torch.autograd.grad(kl(p, z).sum(), z)
    torch.testing.assert_close(gradient, z.softmax(1) - p)


def test_kl_of_itself_is_zero_and_of_anything_else_positive() -> None:
    z = logits()
    torch.testing.assert_close(kl(z.softmax(1), z), torch.zeros(20).double(), atol=1e-14, rtol=0)
    torch.testing.assert_close(kl_logits(z + 5, z), torch.zeros(20).double(), atol=1e-14, rtol=0)
    assert (kl_logits(logits(seed=1), z) > 0).all()


def test_large_logits_give_finite_losses_and_gradients_in_float32() -> None:
    y = torch.tensor([0, 1])
    for loss in (
        lambda z: cross_entropy(z, y),
        lambda z: kl(torch.tensor([[0.0, 1.0, 0.0]] * 2), z),
        lambda z: kl_logits(torch.tensor([[0.0, 500.0, -500.0]] * 2), z),
        lambda z: margin(z, y),
        lambda z: dlr(z, y),
    ):
        z = torch.tensor([[1000.0, -1000.0, 0.0], [-1000.0, 1000.0, 3.0]], requires_grad=True)
        value = loss(z)
        (gradient,) = torch.autograd.grad(value.sum(), z)
        assert value.isfinite().all()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("t", [1.0, 4.0])
def test_gradients_flow_into_both_sides_of_kl(t: float) -> None:
    """Central differences of the NumPy formula, in either argument."""
    z, other = logits(4, 5).requires_grad_(), logits(4, 5, seed=1).requires_grad_()
    directions = logits(4, 5, seed=2), logits(4, 5, seed=3)

    def formula(step: tuple[float, float]) -> float:
        a, b = (w.detach().numpy() + s * d.numpy() for w, s, d in zip((other, z), step, directions[::-1], strict=True))
        return float(np_kl(softmax(a / t), b, t).sum())

    for value in (kl((other / t).softmax(1), z, t).sum(), kl_logits(other, z, t).sum()):
        into_target, into_logits = torch.autograd.grad(value, (other, z))
        h = 1e-6
        slope = (formula((h, 0)) - formula((-h, 0))) / (2 * h)
        assert (into_target * directions[1]).sum().item() == pytest.approx(slope, rel=1e-6)
        slope = (formula((0, h)) - formula((0, -h))) / (2 * h)
        assert (into_logits * directions[0]).sum().item() == pytest.approx(slope, rel=1e-6)


def test_a_detached_target_gets_no_gradient() -> None:
    z, p = logits().requires_grad_(), logits(seed=1).softmax(1)
    assert kl(p, z).requires_grad
    assert not kl(p, z.detach()).requires_grad


def test_a_softmax_that_underflows_still_gets_a_finite_gradient() -> None:
    other = torch.tensor([[0.0, 200.0, 0.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(kl(other.softmax(1), torch.tensor([[1.0, 2.0, 3.0]])).sum(), other)
    assert gradient.isfinite().all()


def test_the_margin_is_positive_exactly_where_the_example_is_misclassified() -> None:
    z, y = logits(200), labels(200)
    assert torch.equal(margin(z, y) > 0, z.argmax(1) != y)
    assert 0 < int((margin(z, y) > 0).sum()) < 200


def test_the_margin_moves_the_right_logit_and_the_best_wrong_one_only() -> None:
    z = logits().requires_grad_()
    (gradient,) = torch.autograd.grad(margin(z, labels()).sum(), z)
    for row, logit, label in zip(gradient, z.detach(), labels().tolist(), strict=True):
        expected = torch.zeros(7, dtype=torch.float64)
        expected[label] = -1
        expected[logit.index_fill(0, torch.tensor(label), -torch.inf).argmax()] = 1
        assert torch.equal(row, expected)


def test_dlr_ignores_shift_scale_and_the_order_of_classes() -> None:
    z, y = logits(), labels()
    order = torch.randperm(7, generator=torch.Generator().manual_seed(4))
    for other in (z + 17, z * 1000, z / 1000, 3 * z - 1):
        torch.testing.assert_close(dlr(other, y), dlr(z, y), rtol=1e-7, atol=0)
    torch.testing.assert_close(dlr(z[:, order], order.argsort()[y]), dlr(z, y))


def test_dlr_is_bounded_below_where_right_and_between_zero_and_one_where_wrong() -> None:
    z, y = logits(500), labels(500)
    wrong = z.argmax(1) != y
    assert (dlr(z, y)[~wrong] >= -1).all()
    assert (dlr(z, y)[~wrong] < 0).all()
    assert (dlr(z, y)[wrong] > 0).all()


@pytest.mark.parametrize("loss", [cross_entropy, margin, dlr])
def test_losses_are_per_example(loss) -> None:
    z, y = logits(), labels()
    order = torch.arange(19, -1, -1)
    assert torch.equal(loss(z[order], y[order]), loss(z, y)[order])
    torch.testing.assert_close(loss(z[3:4], y[3:4]), loss(z, y)[3:4])
    assert torch.equal(z, logits())
