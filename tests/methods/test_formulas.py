"""Every method against its formula, written out a second time from the papers in `tests/methods/oracles`."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bench.method import Attack, make_method
from tests.methods.oracles import GOLDEN
from tests.methods.setting import Golden, Setting

CASES = [pytest.param(name, golden, id=f"{name}-{k}") for name in GOLDEN for k, golden in enumerate(GOLDEN[name])]


@pytest.mark.parametrize(("name", "golden"), CASES)
def test_losses_equal_the_formula_in_value_and_gradient(name: str, golden: Golden) -> None:
    setting = Setting(make_method(name, golden.fields), golden)
    found = setting.losses()
    facts = setting.facts()
    for net in setting.nets.networks.values():
        net.module.train(not net.frozen)
    expected = golden.loss(facts)
    assert list(found) == list(expected)
    for network, loss in found.items():
        assert loss.dtype == torch.float64
        torch.testing.assert_close(loss, expected[network], rtol=1e-9, atol=1e-11, msg=lambda m, n=network: f"{n}: {m}")
        weights = list(setting.nets.networks[network].module.parameters())
        slopes = _gradients(loss, weights), _gradients(expected[network], weights)
        for ours, theirs in zip(*slopes, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-10, msg=lambda m, n=network: f"{n}: {m}")


@pytest.mark.parametrize(("name", "golden"), CASES)
def test_the_inner_objective_equals_the_formula_in_value_and_gradient(name: str, golden: Golden) -> None:
    setting = Setting(make_method(name, golden.fields), golden)
    attack = setting.attack()
    if golden.inner is None:
        assert not isinstance(attack, Attack)
        return
    assert isinstance(attack, Attack)
    asked = {k: v for k, v in attack._asdict().items() if k != "objective" and v is not None}
    assert asked == {"start": golden.start} | dict(golden.options)
    facts = setting.facts()
    slopes = []
    for objective in (attack.objective, lambda x: golden.inner(facts, x)):  # type: ignore[misc]
        leaf = setting.x_adv.clone().requires_grad_()
        value = objective(leaf)
        slopes.append((value.detach(), torch.autograd.grad(value.sum(), leaf)[0]))
    torch.testing.assert_close(*slopes, rtol=1e-7, atol=1e-10)


def _gradients(loss: Tensor, weights: list[Tensor]) -> list[Tensor]:
    gradients = torch.autograd.grad(loss.sum(), weights, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for w, g in zip(weights, gradients, strict=True)]
