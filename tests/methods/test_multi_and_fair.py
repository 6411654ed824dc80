"""What mtard, b-mtard, fair-rslad and absld carry from step to step and epoch to epoch, against numbers by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from bench.ascent import ascend
from bench.method import Attack, make_method
from bench.scenario import load_scenario
from bench.testing import Subject
from tests.methods.oracles.adversarial import divergence, probabilities
from tests.methods.oracles.fairness import TEMPERATURES, warm
from tests.methods.oracles.multi import put
from tests.methods.setting import EPS, Golden, Setting


def fresh(name: str, **fields: float) -> Setting:
    return Setting(make_method(name, fields), Golden(loss=lambda facts: {}))


def step(setting: Setting, progress: float = 0.0, **scratch: Any) -> None:
    """The end of a step whose `loss` left these numbers on the batch."""
    setting.batch.progress = progress
    vars(setting.batch).update({k: torch.tensor(v) if isinstance(v, list) else v for k, v in scratch.items()})
    setting.method.after_step(setting.nets, setting.batch, {})


def doubles(values: list[Any]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def state_is(setting: Setting, name: str, values: list[Any], tolerance: float = 1e-6) -> None:
    found = setting.nets.state[name].double()
    torch.testing.assert_close(found, doubles(values), rtol=tolerance, atol=0)


# --- mtard: weights of the losses -----------------------------------------------------------------


def test_the_loss_keeps_the_mean_divergence_from_each_teacher() -> None:
    setting = fresh("mtard", kl_scale=0.1)
    setting.losses()
    f = setting.facts()
    adversarial = divergence(probabilities(f.teacher(f.x_adv)), probabilities(f.student(f.x_adv))).mean()
    natural = divergence(probabilities(f.natural_teacher(f.x)), probabilities(f.student(f.x))).mean()
    torch.testing.assert_close(setting.batch.teacher_losses, torch.stack([adversarial, natural]).detach())
    assert not setting.batch.teacher_losses.requires_grad


@pytest.mark.parametrize("name", ["mtard", "b-mtard"])
def test_the_loss_that_fell_less_gets_more_weight(name: str) -> None:
    setting = fresh(name)
    state_is(setting, "loss_weights", [0.5, 0.5])
    entropies = [1.0, 1.0]
    step(setting, teacher_losses=[2.0, 4.0], entropies=entropies)  # the first: relative losses 1 and 1
    state_is(setting, "loss_weights", [0.5, 0.5])
    step(setting, teacher_losses=[1.0, 3.0], entropies=entropies)  # 0.5 and 0.75, shares 0.4 and 0.6
    state_is(setting, "loss_weights", [0.4975, 0.5025])
    step(setting, teacher_losses=[1.2, 0.8], entropies=entropies)  # 0.6 and 0.2, shares 0.75 and 0.25
    state_is(setting, "loss_weights", [0.5038125, 0.4961875])  # 0.4975 + 0.025 (0.75 - 0.4975)
    state_is(setting, "first_losses", [2.0, 4.0])


def test_the_exponent_sharpens_relative_losses() -> None:
    setting = fresh("mtard", exponent=2.0, weight_rate=1.0)
    step(setting, teacher_losses=[2.0, 2.0])
    step(setting, teacher_losses=[1.0, 2.0])  # 0.25 and 1
    state_is(setting, "loss_weights", [0.2, 0.8])


@pytest.mark.parametrize(
    ("progress", "rate"),
    [(0.0, 0.025), (214 / 300, 0.025), (216 / 300, 0.0025), (261 / 300, 2.5e-4), (286 / 300, 2.5e-5), (1.0, 2.5e-5)],
)
def test_weights_move_slower_after_each_milestone(progress: float, rate: float) -> None:
    setting = fresh("mtard")
    step(setting, progress, teacher_losses=[1.0, 1.0])
    step(setting, progress, teacher_losses=[0.9, 0.1])  # shares 0.9 and 0.1
    state_is(setting, "loss_weights", [0.5 + 0.4 * rate, 0.5 - 0.4 * rate])


# --- b-mtard: temperatures of the teachers --------------------------------------------------------


def test_entropies_are_those_of_the_softened_teachers() -> None:
    golden = Golden(loss=lambda facts: {}, prepare=put(temperatures=[2.5, 1.4]))
    setting = Setting(make_method("b-mtard"), golden)
    setting.losses()
    f = setting.facts()
    targets = probabilities(f.teacher(f.x_adv), 2.5), probabilities(f.natural_teacher(f.x), 1.4)
    expected = torch.stack([-(p * p.log()).sum(1).mean() for p in targets])
    torch.testing.assert_close(setting.batch.entropies, expected)


def test_the_teacher_of_more_entropy_gets_sharper_and_the_other_softer() -> None:
    setting = fresh("b-mtard")
    losses = [1.0, 1.0]
    setting.nets.state["temperatures"] = doubles([2.0, 3.0])
    step(setting, teacher_losses=losses, entropies=[0.9, 0.4])
    state_is(setting, "temperatures", [1.999, 3.001])
    step(setting, teacher_losses=losses, entropies=[0.3, 0.4])
    step(setting, teacher_losses=losses, entropies=[0.1, 0.4])
    state_is(setting, "temperatures", [2.001, 2.999])
    step(setting, teacher_losses=losses, entropies=[0.4, 0.4])
    state_is(setting, "temperatures", [2.001, 2.999])
    step(setting, 270 / 300, teacher_losses=losses, entropies=[0.3, 0.4])
    state_is(setting, "temperatures", [2.00101, 2.99899], tolerance=1e-9)


def test_temperatures_stay_between_1_and_10() -> None:
    setting = fresh("b-mtard")
    step(setting, teacher_losses=[1.0, 1.0], entropies=[0.9, 0.4])
    state_is(setting, "temperatures", [1.0, 1.001])
    setting.nets.state["temperatures"] = doubles([1.0005, 9.9995])
    step(setting, teacher_losses=[1.0, 1.0], entropies=[0.9, 0.4])
    state_is(setting, "temperatures", [1.0, 10.0], tolerance=1e-12)


# --- fair-rslad: weights of the classes -----------------------------------------------------------


def test_steps_are_counted_before_each_of_which_the_student_is_right() -> None:
    setting = fresh("fair-rslad")
    attack = setting.attack()
    assert isinstance(attack, Attack)
    threat = setting.nets.threat
    ascend(attack.objective, setting.x, threat, steps=6, step_size=EPS / 8, start="zero")
    f = setting.facts()
    x_adv, target, expected = f.x, probabilities(f.teacher(f.x)), torch.zeros_like(f.y)
    for _ in range(6):
        point = x_adv.detach().requires_grad_()
        logits = f.student(point)
        expected += logits.argmax(1) == f.y
        (gradient,) = torch.autograd.grad(divergence(target, probabilities(logits)).sum(), point)
        x_adv = threat.project(f.x, x_adv + EPS / 8 * gradient.sign())
    assert setting.batch.steps_right.tolist() == expected.tolist()
    assert len(set(expected.tolist())) >= 3, "some fall at once, some on the way, some never"


def epoch(setting: Setting, steps_right: list[int], y: list[int]) -> None:
    step(setting, y=y, steps_right=steps_right)
    setting.method.epoch_end(setting.nets)


def test_classes_that_fall_early_weigh_more_in_the_next_epoch() -> None:
    setting = fresh("fair-rslad")
    state_is(setting, "class_weights", [1.0] * 5)
    step(setting, y=[0, 1, 1, 2], steps_right=[5, 2, 6, 4])
    state_is(setting, "class_weights", [1.0] * 5)
    epoch(setting, [10, 9, 7, 5], [3, 4, 4, 0])
    # means 5, 4, 4, 10, 8; their squares' inverses .04, .0625, .0625, .01, .015625, together .190625
    state_is(setting, "class_weights", [1.0491803, 1.6393443, 1.6393443, 5 / 6, 5 / 6], 1e-5)
    epoch(setting, [3, 3, 3, 3, 3], [0, 1, 2, 3, 4])  # of the epoch before, nothing is left
    state_is(setting, "class_weights", [1.0] * 5)


def test_beta_says_how_much_more() -> None:
    setting = fresh("fair-rslad", beta=1.0)
    epoch(setting, [4, 5, 5, 10, 4], [0, 1, 2, 3, 4])  # inverses .25, .2, .2, .1, .25, together 1
    state_is(setting, "class_weights", [1.25, 1.0, 1.0, 5 / 6, 1.25], 1e-5)


def test_a_class_that_is_never_right_gets_the_largest_weight() -> None:
    setting = fresh("fair-rslad")
    epoch(setting, [0, 9, 9, 9, 9], [0, 1, 2, 3, 4])
    state_is(setting, "class_weights", [2.5] + [5 / 6] * 4)
    epoch(setting, [0, 0, 0, 0, 0], [0, 1, 2, 3, 4])
    state_is(setting, "class_weights", [1.0] * 5)


def test_a_class_that_was_not_seen_keeps_its_weight() -> None:
    setting = fresh("fair-rslad", beta=1.0)
    setting.nets.state["class_weights"] = doubles([1.0, 1.0, 1.0, 1.0, 2.0])
    epoch(setting, [4, 5, 5, 2], [0, 1, 2, 3])  # .25, .2, .2, .5, together 1.15, of 4
    state_is(setting, "class_weights", [0.8695652, 5 / 6, 5 / 6, 1.7391304, 2.0], 1e-5)


# --- absld: temperatures of the classes -----------------------------------------------------------


def test_the_error_risk_is_the_cross_entropy_on_adversarial_and_clean_inputs() -> None:
    setting = Setting(make_method("absld"), Golden(loss=lambda facts: {}, prepare=warm))
    setting.losses()
    f = setting.facts()
    expected = [-probabilities(f.student(x))[range(len(f.y)), f.y].log() for x in (f.x_adv, f.x)]
    torch.testing.assert_close(setting.batch.error_risk, torch.stack(expected, 1).detach())
    assert not setting.batch.error_risk.requires_grad


def test_hard_classes_get_sharper_soft_labels_and_easy_ones_softer() -> None:
    setting = fresh("absld")
    step(setting, y=[0, 1, 2], error_risk=[[1.0, 2.0], [1.0, 1.0], [3.0, 2.0]])
    step(setting, y=[1, 3, 4], error_risk=[[3.0, 3.0], [4.0, 2.0], [5.0, 12.0]])
    state_is(setting, "temperatures", [[1.0, 1.0]] * 5)
    setting.method.epoch_end(setting.nets)
    # adversarial means 1 to 5, gaps -2 to 2; clean means 2, 2, 2, 2, 12, gaps -2 and 8
    state_is(setting, "temperatures", [[1.1, 1.025], [1.05, 1.025], [1.0, 1.025], [0.95, 1.025], [0.9, 0.9]])
    step(setting, y=[0, 1, 2, 3, 4], error_risk=[[2.0, 1.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [0.0, 1.0]])
    setting.method.epoch_end(setting.nets)  # the new epoch alone; equal risks move nothing
    state_is(setting, "temperatures", [[1.0, 1.025], [1.05, 1.025], [1.0, 1.025], [0.95, 1.025], [1.0, 0.9]])


@pytest.mark.parametrize(
    ("progress", "rate"), [(0.0, 0.1), (214 / 300, 0.1), (216 / 300, 0.01), (261 / 300, 1e-3), (286 / 300, 1e-4)]
)
def test_temperatures_move_slower_after_each_milestone(progress: float, rate: float) -> None:
    setting = fresh("absld")
    step(setting, progress, y=[0, 1, 2, 3, 4], error_risk=[[2.0, 1.0], [1.0, 2.0], [1.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    setting.method.epoch_end(setting.nets)
    expected = [[1 - rate, 1.0], [1.0, 1 - rate], [1.0, 1.0], [1.0, 1.0], [1 + rate, 1 + rate]]
    state_is(setting, "temperatures", expected)


def test_temperatures_of_classes_stay_between_a_half_and_5() -> None:
    setting = Setting(make_method("absld"), Golden(loss=lambda facts: {}, prepare=warm))
    step(setting, y=[0, 1, 2, 3, 4], error_risk=[[2.0, 0.0], [1.0, 1.0], [0.0, 2.0], [1.0, 1.0], [1.0, 1.0]])
    setting.method.epoch_end(setting.nets)
    state_is(setting, "temperatures", [[0.5, 2.1], TEMPERATURES[1], [5.0, 0.6], TEMPERATURES[3], TEMPERATURES[4]])


def test_a_class_that_was_not_seen_keeps_its_temperatures() -> None:
    setting = fresh("absld")
    step(setting, y=[0, 1], error_risk=[[3.0, 1.0], [1.0, 3.0]])
    setting.method.epoch_end(setting.nets)
    state_is(setting, "temperatures", [[0.9, 1.1], [1.1, 0.9], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0]])


# --- whole epochs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "off", "control", "moves"),
    [
        ("b-mtard", {"temperature_rate": 0.0}, "mtard", "temperatures"),
        ("fair-rslad", {"min_weight": 1.0, "max_weight": 1.0}, "rslad", "class_weights"),
        ("absld", {"temperature_rate": 0.0}, "rslad", "temperatures"),
    ],
)
def test_switched_off_it_is_its_control_beyond_an_epoch(
    name: str, off: dict[str, float], control: str, moves: str
) -> None:
    subject = Subject(name, {}, load_scenario("digits-linf"))
    trainers = [subject.trainer(make_method(*each)) for each in ((control, {}), (name, off), (name, {}))]
    for trainer in trainers:
        for _ in range(trainer.steps_per_epoch + 2):
            trainer.step()
    plain, switched_off, on = (trainer.student.state_dict() for trainer in trainers)
    assert all(torch.equal(plain[key], switched_off[key]) for key in plain)
    assert not torch.equal(plain["0.weight"], on["0.weight"])
    assert bool((trainers[2].nets.state[moves] != 1).any())
    assert bool((trainers[1].nets.state[moves] == 1).all())
