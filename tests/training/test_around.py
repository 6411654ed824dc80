"""What the loop does around a method: the average of the weights, their perturbation, self-teachers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bench.data import load
from bench.method import Averaging, Batch, Method, Nets, make_method
from bench.scenario import load_scenario
from bench.teachers import load_teachers
from bench.training import checkpoint
from bench.training.loop import Trainer
from bench.training.weights import STRONG
from methods.adr import ADR
from methods.adversarial_training import PGDAT, Natural
from methods.lbgat import LBGAT

EXAMPLES, BATCH, K = 897, 128, 10


def trainer(method: Method | str, passes_of_a_step: float = 3, steps: float = 10, **options: Any) -> Trainer:
    """As `bench.testing.Subject` makes it, with a budget of so many steps at so many passes an example."""
    scenario = load_scenario("digits-linf")
    method = make_method(method) if isinstance(method, str) else method
    splits, teachers = load(scenario.data, ("train", "validation")), load_teachers(scenario, method.needs)
    passes = passes_of_a_step * steps * BATCH / EXAMPLES
    return Trainer(scenario, method, splits, teachers, **({"seed": 1, "passes": passes} | options))


def like(base: type[Method], **members: Any) -> Method:
    """A method with some members of its own."""
    return type("Stub", (base,), {"__module__": __name__} | members)()


def bits(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


# --- averaging ------------------------------------------------------------------------------------


def students(run: Trainer, steps: int) -> list[dict[str, Tensor]]:
    """The student after each step."""
    found = []
    for _ in range(steps):
        run.step()
        found.append(bits(run.student))
    return found


def test_an_exponential_average_is_its_formula() -> None:
    """m <- d m + (1 - d) s with d = min(decay, (1 + n) / (10 + n)), from the first student on; buffers too."""
    decay = 0.28
    run = trainer(like(Natural, averaging=lambda self: Averaging(decay)))
    seen = students(run, 6)
    factors = [min(decay, (1 + n) / (10 + n)) for n in range(1, 6)]
    assert factors[:2] == [2 / 11, 3 / 12]
    assert factors[2:] == [decay] * 3
    for name, mean in run.nets.average.module.state_dict().items():
        expected = seen[0][name].double()
        for factor, student in zip(factors, seen[1:], strict=True):
            expected = factor * expected + (1 - factor) * student[name].double()
        if not mean.is_floating_point():
            expected = seen[-1][name].double()
        torch.testing.assert_close(mean.double(), expected, rtol=1e-5, atol=1e-6, msg=name)
    assert any(name.endswith("running_var") for name in seen[0])


def test_an_average_of_equal_weights_begins_at_its_start() -> None:
    """Steps 4 to 9 of 10 begin at a progress of 0.35 or more; before them the average is the student."""
    run = trainer(like(Natural, averaging=lambda self: Averaging(None, start=0.35)))
    seen = students(run, 4)
    assert equal(bits(run.nets.average.module), seen[-1])
    assert run.nets.state["averaged"] == 0
    seen += students(run, 6)
    assert run.ended
    assert run.nets.state["averaged"] == 6
    for name, mean in run.nets.average.module.state_dict().items():
        if mean.is_floating_point():
            expected = torch.stack([student[name].double() for student in seen[4:]]).mean(0)
            torch.testing.assert_close(mean.double(), expected, rtol=1e-5, atol=1e-6, msg=name)


def test_the_average_is_delivered_and_costs_nothing() -> None:
    run, plain = trainer(like(Natural, averaging=lambda self: Averaging(0.9))), trainer("natural")
    judged: dict[int, dict[str, Tensor]] = {}
    run.run(lambda _, losses: judged.update({run.step_index: bits(run.nets.average.module)}))
    plain.run()
    assert equal(bits(run.student), bits(plain.student))
    assert run.meter.counts == plain.meter.counts
    assert run.delivered is run.nets.average.module
    assert not equal(bits(run.delivered), bits(run.student))
    assert run.selection.best is not None
    assert equal(run.selection.best_weights, judged[run.selection.best.step])


def test_the_strong_recipe_averages_and_perturbs_unless_the_method_has_its_own() -> None:
    plain, strong = trainer("natural"), trainer("natural", recipe="strong")
    assert (plain.gamma, plain.averaging, list(plain.nets.networks)) == (0.0, None, ["student"])
    assert (strong.gamma, strong.averaging) == (STRONG.gamma, STRONG.averaging) == (5e-3, Averaging(0.999))
    own = like(Natural, averaging=lambda self: Averaging(None, 0.5), weight_perturbation=lambda self: 0.1)
    run = trainer(own, recipe="strong")
    assert (run.gamma, run.averaging) == (0.1, Averaging(None, 0.5))
    run = trainer(ADR())
    assert run.delivered is run.student
    run = trainer(ADR(), recipe="strong")
    assert run.delivered is run.nets.average.module


# --- weight perturbation --------------------------------------------------------------------------


@dataclass
class Perturbed:
    """One step of PGD-AT under the strong recipe: the student before, at each call of `loss` and at the update."""

    run: Trainer = field(default_factory=lambda: trainer("pgd-at", recipe="strong"))
    at_loss: list[dict[str, Tensor]] = field(default_factory=list)
    at_update: list[dict[str, Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        def loss(method: Method, nets: Nets, batch: Batch) -> Tensor:
            self.at_loss.append(bits(nets.student.module))
            return PGDAT.loss(method, nets, batch)  # type: ignore[arg-type]

        self.run.method = like(PGDAT, loss=loss)
        optimiser = self.run.nets.optimisers["student"]
        optimiser.register_step_pre_hook(lambda *_: self.at_update.append(bits(self.run.student)))
        self.before = bits(self.run.student)
        self.twin = copy.deepcopy(self.run.student).train()
        self.twin._forward_hooks.clear()
        self.batch = self.run.batch()
        self.batch.x_adv = self.run.perturb(self.batch)
        self.run.step()

    def gradients(self) -> dict[str, Tensor]:
        """Of the loss at the twin's weights."""
        loss = cross_entropy(self.twin(self.batch.x_adv), self.batch.y)
        names, weights = zip(*self.twin.named_parameters(), strict=True)
        return dict(zip(names, torch.autograd.grad(loss, weights), strict=True))


@pytest.fixture(scope="module")
def perturbed() -> Perturbed:
    return Perturbed()


def test_weights_move_up_the_loss_by_gamma_of_their_norm(perturbed: Perturbed) -> None:
    first, second = perturbed.at_loss
    assert equal(first, perturbed.before)
    perturbed.twin.load_state_dict(first)
    gradients, moved = perturbed.gradients(), 0
    for name, weight in perturbed.twin.named_parameters():
        if weight.ndim == 1:
            assert torch.equal(second[name], first[name]), name
            continue
        step, gradient = (second[name] - first[name]).flatten(), gradients[name].flatten()
        torch.testing.assert_close(step.norm(), STRONG.gamma * first[name].norm(), rtol=1e-4, atol=0)
        assert torch.cosine_similarity(step, gradient, dim=0) > 0.9999, name
        moved += 1
    assert moved == 4


def test_the_update_takes_the_gradient_there_at_the_weights_of_before(perturbed: Perturbed) -> None:
    (at_update,) = perturbed.at_update
    for name, _ in perturbed.twin.named_parameters():
        assert torch.equal(at_update[name], perturbed.before[name]), name
    perturbed.twin.load_state_dict(perturbed.at_loss[1])
    for name, gradient in perturbed.gradients().items():
        found = perturbed.run.student.get_parameter(name).grad
        torch.testing.assert_close(found, gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_batch_statistics_move_once_a_step_at_the_moved_weights(perturbed: Perturbed) -> None:
    perturbed.twin.load_state_dict(perturbed.at_loss[1])
    perturbed.gradients()
    expected = dict(perturbed.twin.named_buffers())
    assert int(expected["1.num_batches_tracked"]) == 1
    for name, found in perturbed.run.student.named_buffers():
        torch.testing.assert_close(found, expected[name], rtol=1e-5, atol=1e-6, msg=name)


def test_statistics_of_other_networks_move_once_a_step_too() -> None:
    run = trainer(LBGAT(), recipe="strong")
    run.step()
    for network in (run.student, run.nets.guide.module):
        assert int(dict(network.named_buffers())["1.num_batches_tracked"]) == 1


@pytest.mark.parametrize(
    ("name", "cost"),
    [
        ("pgd-at", lambda prices: 2 * K + 6),
        ("fast-at-gradalign", lambda prices: 16 + 2 * prices["student, double backward"]),
    ],
)
def test_a_perturbed_step_pays_its_loss_twice(name: str, cost: Callable[[Mapping[str, float]], float]) -> None:
    run = trainer(name, recipe="strong")
    run.step()
    assert run.meter.passes == pytest.approx(BATCH * cost(run.meter.prices), rel=1e-9)


def test_both_losses_of_a_perturbed_step_see_the_same_random_numbers() -> None:
    drawn: list[Tensor] = []

    def loss(self: Method, nets: Nets, batch: Batch) -> Tensor:
        drawn.append(torch.rand(3, generator=batch.rng))
        return cross_entropy(nets.student(batch.x), batch.y, reduction="none")

    run = trainer(like(Natural, loss=loss), recipe="strong")
    for _ in range(2):
        run.step()
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[2], drawn[3])
    assert not torch.equal(drawn[0], drawn[2])


def test_metrics_leave_the_statistics_of_every_network_alone() -> None:
    run = trainer(like(LBGAT, metrics=lambda self, nets, batch: {"mean": nets.guide(batch.x).mean().item()}))
    run.step()
    before = [bits(network) for network in (run.student, run.nets.guide.module)]
    spent = run.meter.passes
    assert list(run.metrics()) == ["mean"]
    assert all(map(equal, before, [bits(network) for network in (run.student, run.nets.guide.module)]))
    assert run.meter.passes == spent


# --- self-teachers --------------------------------------------------------------------------------


class Stop(Exception):
    """Somebody interrupted the trial."""


@dataclass
class Ended:
    """A trial of kd-swa, of four steps for each of its networks, that ran to its end."""

    trial: Trainer
    told: list[tuple[str, float]]  # the network that was trained in each step, and the trial's passes after it
    handed_over: dict[str, Mapping[str, Tensor]]


SELF_TEACHERS, STEPS = ("self_natural", "self_robust"), 4


def kd_swa(**options: Any) -> Trainer:
    return trainer("kd-swa", passes_of_a_step=51, steps=STEPS, **options)


@pytest.fixture(scope="module")
def ended() -> Ended:
    trial, told, handed_over = kd_swa(), [], {}

    def after_step(of: Trainer, losses: Mapping[str, float]) -> None:
        assert of is trial
        (name,) = losses
        told.append((name.removesuffix("/student"), trial.meter.passes))
        for stage in trial.pretraining:
            if stage.trainer and stage.trainer.ended:
                handed_over[stage.name] = stage.trainer.selection.best_weights

    trial.run(after_step)
    return Ended(trial, told, handed_over)


def test_self_teachers_come_first_and_all_train_equally_long(ended: Ended) -> None:
    names = [name for name, _ in ended.told]
    assert names == ["self_natural"] * STEPS + ["self_robust"] * STEPS + ["student"] * STEPS
    assert ended.trial.step_index == STEPS
    assert ended.trial.progress == 1.0


def test_self_teachers_are_paid_for_before_the_student(ended: Ended) -> None:
    trial, told = ended.trial, ended.told
    spent = [passes for _, passes in told]
    natural, robust, student = 3 * BATCH, 23 * BATCH, 25 * BATCH
    assert spent[: 2 * STEPS] == [0.0] * STEPS + [STEPS * natural] * STEPS, "each is charged when it is done"
    assert spent[2 * STEPS] == STEPS * (natural + robust) + student
    assert {after - before for before, after in pairwise(spent[2 * STEPS :])} == {student}
    assert trial.meter.passes == pytest.approx(trial.budget.total)
    assert trial.meter.passes <= trial.budget.total
    assert trial.meter.counts["self_robust, pretraining", "weights"] == STEPS * BATCH
    assert trial.meter.counts["self_robust, pretraining", "input"] == STEPS * K * BATCH


def test_the_best_weights_are_handed_over_and_stay(ended: Ended) -> None:
    trial, handed_over = ended.trial, ended.handed_over
    fresh = kd_swa()
    for name in SELF_TEACHERS:
        module = trial.nets.networks[name].module
        assert equal(bits(module), handed_over[name])
        assert not equal(bits(module), bits(fresh.nets.networks[name].module))
        assert not any(parameter.requires_grad for parameter in module.parameters())


def test_what_the_selection_holds_is_what_is_handed_over() -> None:
    """Not the weights of the last step."""
    trial = kd_swa()

    def after_step(_: Trainer, losses: Mapping[str, float]) -> None:
        stage = trial.pretraining[0]
        if stage.done:
            raise Stop
        if stage.trainer and stage.trainer.ended:
            kept = stage.trainer.selection.best_weights
            stage.trainer.selection.best_weights = {name: torch.full_like(t, 7) for name, t in kept.items()}

    with pytest.raises(Stop):
        trial.run(after_step)
    assert all((tensor == 7).all() for tensor in trial.nets.self_natural.module.state_dict().values())


def test_the_student_begins_as_under_any_other_method() -> None:
    """Neither its first weights nor its learning rate know what was trained before."""
    trial, rates = kd_swa(), []

    def after_step(_: Trainer, losses: Mapping[str, float]) -> None:
        if "student" in losses:
            rates.append(trial.nets.optimisers["student"].param_groups[0]["lr"])

    assert equal(bits(trial.student), bits(trainer("pgd-at").student))
    plain = trainer("natural", steps=STEPS)
    trial.run(after_step)
    expected = []
    while not plain.ended:
        plain.step()
        expected.append(plain.nets.optimisers["student"].param_groups[0]["lr"])
    assert rates == pytest.approx(expected)


def test_equal_epochs_count_the_steps_of_self_teachers() -> None:
    method = make_method("kd-swa", {"natural_share": 0.25, "robust_share": 0.375})
    trial, told = trainer(method, passes_of_a_step=23, steps=8, ruleset="epochs"), []
    trial.run(lambda _, losses: told.extend(losses))
    assert told == ["self_natural/student"] * 2 + ["self_robust/student"] * 3 + ["student"] * 3
    assert trial.progress == 1.0
    assert trial.meter.passes == BATCH * (2 * 3 + 3 * 23 + 3 * 25)


@pytest.mark.parametrize("stop", [2, 4, 6, 8, 10])
def test_a_trial_interrupted_among_its_self_teachers_ends_the_same(tmp_path: Path, ended: Ended, stop: int) -> None:
    """In the middle of the first (2) or of the second (6), after the last step of one (4, 8), or later (10)."""
    first, steps = kd_swa(), []

    def after_step(trial: Trainer, losses: Mapping[str, float]) -> None:
        steps.append(losses)
        if len(steps) == stop:
            checkpoint.save(tmp_path / "state", trial.state())
            raise Stop

    with pytest.raises(Stop):
        first.run(after_step)
    second, told = kd_swa(), []
    second.restore(checkpoint.load(tmp_path / "state"))
    second.run(lambda _, losses: told.append(losses))
    whole = ended.trial
    assert len(told) == 3 * STEPS - stop
    for name, net in second.nets.networks.items():
        assert equal(bits(net.module), bits(whole.nets.networks[name].module)), name
    assert equal(second.selection.best_weights, whole.selection.best_weights)
    assert second.selection.curve == whole.selection.curve
    assert second.meter.state() == whole.meter.state()
