"""The conformance suite: every registered method passes, and each kind of cheat is refused by its own clause."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.errors import ContractError, TemperError
from bench.losses import cross_entropy, kl_logits
from bench.method import METHODS, Attack, Batch, Method, Nets, register
from bench.scenario import load_scenario
from bench.testing import CHECKS, Subject, check_method, formula_passes

INFO = {"version": "1", "family": "test", "reference": "none"}


@pytest.mark.parametrize("name", METHODS)
def test_every_registered_method_conforms(name: str) -> None:
    assert check_method(name) == [check.__name__ for check in CHECKS]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_is_and_where_it_is_from(name: str) -> None:
    info = METHODS[name].info
    assert info.version
    assert info.family
    assert info.reference
    assert METHODS[name].__doc__


def test_gkd_with_weight_zero_is_rslad_bit_for_bit_and_costs_the_same() -> None:
    from bench.method import make_method

    subject = Subject("rslad", {}, load_scenario("digits-linf"))
    plain, switched_off = subject.trainer(), subject.trainer(make_method("gkd-logit", {"gan_weight": 0}))
    for _ in range(4):
        assert plain.step() == switched_off.step()
    assert plain.meter.state() == switched_off.meter.state()
    assert list(switched_off.nets.networks) == list(plain.nets.networks) == ["student", "teacher"]
    for name, tensor in plain.student.state_dict().items():
        assert torch.equal(tensor, switched_off.student.state_dict()[name])
    on = subject.trainer(make_method("gkd-logit"))
    for _ in range(4):
        on.step()
    assert not torch.equal(on.student[0].weight, plain.student[0].weight)


def test_formulas_are_read_with_the_measured_prices() -> None:
    trainer = Subject("rslad", {}, load_scenario("digits-linf")).trainer()
    trainer.meter.prices = {"student": 1.0, "teacher": 8.5, "natural_teacher": 3.0, "critic": 0.5}
    assert formula_passes("2*K + 6 + r + 2*r_N + 4*critic", trainer) == 20 + 6 + 8.5 + 6 + 2


# --- methods that cheat, or are broken ------------------------------------------------------------


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Register a method of these members, check it, and give the clause that refuses it."""
    list(METHODS)
    monkeypatch.setattr(METHODS, "_things", dict(METHODS._things))

    def check(info: Mapping[str, Any] | None = None, **members: Any) -> str:
        base = members.pop("base", Method)
        method = type("Broken", (base,), {"__module__": __name__, "loss": natural} | members)
        register("broken", **(INFO | dict(info or {})))(method)
        with pytest.raises(ContractError) as caught:
            check_method("broken")
        message = str(caught.value)
        assert message.startswith("method 'broken'")
        return message.removeprefix("method 'broken' breaks the contract: ")

    return check


def natural(self: Method, nets: Nets, batch: Batch) -> Tensor:
    return cross_entropy(nets.student(batch.x_adv), batch.y)


def pgd(self: Method, nets: Nets, batch: Batch) -> Attack:
    return Attack(lambda x: cross_entropy(nets.student(x), batch.y))


def test_a_sound_method_of_three_lines_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """So what refuses the others below is what is broken in them."""
    list(METHODS)
    monkeypatch.setattr(METHODS, "_things", dict(METHODS._things))

    @register("sound", **INFO, passes="2*K + 3 + r")
    class Sound(Method):
        needs = {"teacher"}
        temperature: float = 2.0

        def attack(self, nets: Nets, batch: Batch) -> Attack:
            return Attack(lambda x: cross_entropy(nets.student(x), batch.y), start="gaussian", eps=0.2)

        def loss(self, nets: Nets, batch: Batch) -> Tensor:
            return kl_logits(nets.teacher(batch.x), nets.student(batch.x_adv), self.temperature)

    check_method("sound", {"temperature": 1})
    with pytest.raises(TemperError, match="field 'temprature'"):
        check_method("sound", {"temprature": 1})


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(TemperError, match="unknown method 'rslda'; did you mean rslad"):
        check_method("rslda")


def move_teacher(self: Method, nets: Nets, batch: Batch, losses: Mapping[str, float]) -> None:
    next(nets.teacher.module.parameters()).add_(1e-8)


def test_moving_the_teacher_is_refused(refused) -> None:
    assert refused(needs={"teacher"}, after_step=move_teacher) == "a teacher moved"


def test_moving_the_statistics_of_the_teacher_is_refused(refused) -> None:
    def loss(self: Method, nets: Nets, batch: Batch) -> Tensor:
        nets.teacher.module.train()
        soft = nets.teacher(batch.x)
        nets.teacher.module.eval()
        return kl_logits(soft, nets.student(batch.x))

    assert refused(needs={"teacher"}, loss=loss) == "a teacher moved"


def count_steps(self: Method, nets: Nets, batch: Batch) -> Tensor:
    object.__setattr__(self, "steps", getattr(self, "steps", 0) + 1)
    return natural(self, nets, batch) / self.steps  # type: ignore[attr-defined]


def test_state_behind_the_back_of_pydantic_is_refused(refused) -> None:
    assert refused(loss=count_steps) == "the same seed gave other weights"


def test_state_in_a_global_that_starts_anew_is_refused_at_resuming(refused) -> None:
    """Reset by `setup`, so it repeats itself; a new process would start counting again."""
    counter: dict[int, int] = {}

    def setup(self: Method, nets: Nets) -> None:
        counter[id(nets)] = 0

    def loss(self: Method, nets: Nets, batch: Batch) -> Tensor:
        counter[id(nets)] += 1
        return natural(self, nets, batch) / counter[id(nets)]

    assert refused(setup=setup, loss=loss) == "a resumed run differs from an uninterrupted one"


def test_state_moved_by_the_loss_is_refused(refused) -> None:
    def setup(self: Method, nets: Nets) -> None:
        nets.state["seen"] = torch.zeros(())

    def loss(self: Method, nets: Nets, batch: Batch) -> Tensor:
        nets.state["seen"] += 1
        return natural(self, nets, batch)

    assert refused(setup=setup, loss=loss) == "`attack` or `loss` changed state"


def test_state_moved_by_the_attack_is_refused(refused) -> None:
    def setup(self: Method, nets: Nets) -> None:
        nets.add("average", nn.Linear(1, 1))

    def attack(self: Method, nets: Nets, batch: Batch) -> None:
        nets.average.module.weight.mul_(0.9)

    assert refused(setup=setup, attack=attack) == "`attack` or `loss` changed state"


def test_state_moved_after_the_step_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    list(METHODS)
    monkeypatch.setattr(METHODS, "_things", dict(METHODS._things))

    @register("average", **INFO)
    class Average(Method):
        def setup(self, nets: Nets) -> None:
            nets.state["seen"] = torch.zeros(())

        def loss(self, nets: Nets, batch: Batch) -> Tensor:
            return natural(self, nets, batch) / (1 + nets.state["seen"])

        def after_step(self, nets: Nets, batch: Batch, losses: Mapping[str, float]) -> None:
            nets.state["seen"] += 1

    check_method("average")


@pytest.mark.parametrize(
    "draw",
    [lambda: torch.rand(1), lambda: np.random.rand(), random.random],
    ids=["torch", "numpy", "random"],
)
def test_touching_a_global_random_state_is_refused(refused, draw) -> None:
    def loss(self: Method, nets: Nets, batch: Batch) -> Tensor:
        draw()
        return natural(self, nets, batch)

    assert refused(loss=loss) == "it draws from a global random state; use batch.rng"


def test_seeding_the_global_random_state_is_refused(refused) -> None:
    def loss(self: Method, nets: Nets, batch: Batch) -> Tensor:
        torch.manual_seed(3)
        return cross_entropy(nets.student(batch.x + 0.1 * torch.rand(1)), batch.y)

    assert refused(loss=loss) == "it draws from a global random state; use batch.rng"


def test_noise_from_a_global_random_state_is_refused(refused) -> None:
    def loss(self: Method, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x + 0.1 * torch.rand_like(batch.x)), batch.y)

    assert refused(loss=loss) == "the same seed gave other weights"


def test_noise_from_the_batchs_own_stream_repeats_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench import testing

    list(METHODS)
    monkeypatch.setattr(METHODS, "_things", dict(METHODS._things))

    @register("noisy", **INFO)
    class Noisy(Method):
        def loss(self, nets: Nets, batch: Batch) -> Tensor:
            noise = torch.rand(batch.x.shape, generator=batch.rng)
            return cross_entropy(nets.student(batch.x + 0.1 * noise), batch.y)

    subject = Subject("noisy", {}, load_scenario("digits-linf"))
    for check in (testing.repeats_itself, testing.resumes_exactly, testing.keeps_off_global_randomness):
        check(subject)


def test_ignoring_the_seed_is_refused(refused) -> None:
    def loss(self: Method, nets: Nets, batch: Batch) -> Tensor:
        for parameter in nets.student.module.parameters():
            nn.init.zeros_(parameter)
        return nets.student(batch.x).square().sum(1)

    assert refused(loss=loss) == "another seed gave the same weights"


@pytest.mark.parametrize(
    "loss",
    [
        lambda s, n, b: natural(s, n, b) * torch.arange(1, len(b.x) + 1),
        lambda s, n, b: natural(s, n, b).cumsum(0),
        lambda s, n, b: kl_logits(n.student(b.x).roll(1, 0), n.student(b.x_adv)),
        lambda s, n, b: (natural(s, n, b) * torch.arange(len(b.x))).mean(),
        lambda s, n, b: cross_entropy(n.student(b.x_adv), b.y.flip(0)),
    ],
    ids=["weights by place", "cumulative", "mixes neighbours", "scalar", "labels of others"],
)
def test_a_loss_that_depends_on_the_order_of_the_batch_is_refused(refused, loss) -> None:
    assert refused(loss=loss) == "loss 'student' depends on the order of the batch"


def test_a_loss_that_overflows_in_half_precision_is_refused(refused) -> None:
    def loss(self: Method, nets: Nets, batch: Batch) -> Tensor:
        shares = nets.student(batch.x).softmax(1).max(1).values
        near_one = 1 - 1e-5 * shares  # rounds to 1 in bfloat16
        return natural(self, nets, batch) - 1e-3 * (1 - near_one).log()

    assert refused(loss=loss) == "loss 'student' is not finite in bfloat16"


def test_a_wrong_formula_of_costs_is_refused(refused) -> None:
    message = refused({"passes": "2*K + 4"}, attack=pgd)
    assert message == "a step spends 23.0000 passes per example, its formula gives 24.0000"


@pytest.mark.parametrize("formula", ["3 + r", "3 + spare"])
def test_a_formula_that_cannot_be_read_is_refused(refused, formula: str) -> None:
    message = refused({"passes": formula})
    assert f"its formula of passes {formula!r} fails: name '{formula[4:]}' is not defined" in message


def test_a_dearer_step_than_the_formula_is_refused(refused) -> None:
    def loss(self: Method, nets: Nets, batch: Batch) -> Tensor:
        return natural(self, nets, batch) + 0 * nets.student(batch.x).sum(1)

    assert refused({"passes": "3"}, loss=loss) == "a step spends 6.0000 passes per example, its formula gives 3.0000"


def test_passing_the_weights_by_the_meter_is_refused(refused) -> None:
    """The module's layers are called one by one, so its hooks never see it."""

    def loss(self: Method, nets: Nets, batch: Batch) -> Tensor:
        x = batch.x
        for layer in nets.student.module:
            x = layer(x)
        return cross_entropy(x, batch.y) + 0 * nets.student(batch.x[:1]).sum()

    assert re.fullmatch(r"the meter charges 0\.0\d+ of the FLOPs of a step", refused(loss=loss))


def test_a_control_that_is_not_one_is_refused(refused) -> None:
    assert refused({"controls": {"pgd-at": {}}}) == "with {} it is not 'pgd-at' bit for bit"


def test_a_control_that_costs_less_is_refused(refused) -> None:
    """Even where the weights are the same: what is spent decides when a trial ends."""

    def loss(self: Method, nets: Nets, batch: Batch) -> Tensor:
        with torch.no_grad():
            nets.student(batch.x, update_stats=False)
        return natural(self, nets, batch)

    assert refused({"controls": {"natural": {}}}, loss=loss) == "with {} it costs more than 'natural'"


def test_leaving_the_ball_is_refused(refused, monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness projects whatever a method returns; this breaks the harness itself."""
    from bench.threat import Threat

    monkeypatch.setattr(Threat, "project", lambda self, x, x_adv: x_adv)
    message = refused(attack=pgd)
    assert message == "an adversarial input lies outside the ball"


def test_checking_leaves_the_number_of_threads_alone() -> None:
    torch.set_num_threads(2)
    check_method("natural")
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
