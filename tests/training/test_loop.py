"""The loop on the digits, with methods of a few lines: what it draws, moves, counts and refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.data import Split, load
from bench.errors import ContractError, Diverged, TemperError
from bench.hashing import rng
from bench.losses import cross_entropy
from bench.method import Attack, Batch, Method, MethodInfo, Nets, make_method
from bench.networks import build
from bench.scenario import NetworkSpec, Scenario, load_scenario
from bench.threat import Linf
from bench.training import checkpoint
from bench.training.loop import Trainer
from bench.training.schedule import learning_rate

EXAMPLES, BATCH = 897, 128
STEPS = EXAMPLES // BATCH  # of an epoch
Run = Callable[..., Trainer]


def natural(self: Method, nets: Nets, batch: Batch) -> Tensor:
    return cross_entropy(nets.student(batch.x_adv), batch.y)


def pgd(self: Method, nets: Nets, batch: Batch) -> Attack:
    return Attack(lambda x: cross_entropy(nets.student(x), batch.y))


def stub(loss: Any = natural, **members: Any) -> Method:
    """A method of these functions, that is not registered."""
    info = MethodInfo("stub", version="1", family="test", reference="none")
    space = {"__module__": __name__, "needs": set(), "info": info, "loss": loss} | members
    return type("Stub", (Method,), space)()


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario("digits-linf")


@pytest.fixture(scope="module")
def splits(scenario: Scenario) -> Mapping[str, Split]:
    return load(scenario.data, ("train", "validation"))


@pytest.fixture
def teacher() -> nn.Module:
    return build(NetworkSpec(network="mlp", options={"widths": [8]}), (1, 8, 8), 10)


@pytest.fixture
def trainer(scenario: Scenario, splits: Mapping[str, Split], teacher: nn.Module) -> Run:
    """Make a trainer; `steps` is its budget in natural training steps (3 passes an example)."""

    def make(method: Method | None = None, *, steps: float = 7, seed: int = 1, **options: Any) -> Trainer:
        method = method or stub()
        optimiser = scenario.optimiser.model_copy(update=options.pop("optimiser", {}))
        options = {
            "passes": 3 * BATCH * steps / EXAMPLES,
            "teachers": {"robust": teacher, "natural": teacher},
        } | options
        return Trainer(scenario.model_copy(update={"optimiser": optimiser}), method, splits, seed=seed, **options)

    return make


def bits(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


# --- what is drawn --------------------------------------------------------------------------------


def test_every_epoch_is_a_permutation_of_its_own(trainer: Run) -> None:
    run = trainer(steps=100)
    epochs = []
    for _ in range(3):
        seen = []
        for _ in range(STEPS):
            batch = run.batch()
            seen += batch.index.tolist()
            assert torch.equal(batch.y, run.train.y[batch.index])
            run.step_index += 1
        assert len(seen) == len(set(seen)) == STEPS * BATCH
        assert 0 <= min(seen) <= max(seen) < EXAMPLES
        epochs.append(seen)
    assert epochs[0] != epochs[1] != epochs[2]
    assert len({*epochs[0], *epochs[1], *epochs[2]}) > STEPS * BATCH


def test_order_augmentation_and_attack_depend_on_seed_and_step_alone(trainer: Run) -> None:
    first, again, other = trainer(), trainer(stub(attack=pgd)), trainer(seed=2)
    again.step()
    again.step_index = 0
    for _ in range(2):
        one, two, three = first.batch(), again.batch(), other.batch()
        assert torch.equal(one.index, two.index)
        assert torch.equal(one.x, two.x)
        assert not torch.equal(one.index, three.index)
        assert torch.equal(torch.rand(3, generator=one.rng), torch.rand(3, generator=two.rng))
        for run in (first, again, other):
            run.step_index += 1


def test_batches_are_shifted_digits(trainer: Run) -> None:
    run = trainer()
    batch = run.batch()
    plain = run.train.inputs(batch.index)
    assert batch.x.shape == plain.shape == (BATCH, 1, 8, 8)
    shifts = [torch.roll(plain, (i, j), (2, 3))[..., 1:-1, 1:-1] for i in (-1, 0, 1) for j in (-1, 0, 1)]
    inner = batch.x[..., 1:-1, 1:-1]
    matches = torch.stack([(inner == shifted).flatten(1).all(1) for shifted in shifts])
    assert matches.any(0).all()
    assert (matches.sum(1) > 3).all()


@pytest.mark.parametrize("other", ["gkd-logit", "rslad", "pgd-at", "kd"])
def test_all_methods_start_from_the_same_student(trainer: Run, other: str) -> None:
    first = bits(trainer(make_method("natural"), seed=5).student)
    assert equal(bits(trainer(make_method(other), seed=5).student), first)
    assert not equal(bits(trainer(make_method(other), seed=6).student), first)


def test_the_global_random_state_neither_matters_nor_moves(trainer: Run) -> None:
    ends = []
    for noise in (0, 1):
        torch.manual_seed(noise)
        before = torch.get_rng_state()
        run = trainer(stub(attack=pgd), steps=10)
        run.step()
        assert torch.equal(torch.get_rng_state(), before)
        ends.append(bits(run.student))
    assert equal(*ends)


# --- what moves -----------------------------------------------------------------------------------


def statistics(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.named_buffers()}


def test_attacks_leave_batch_statistics_alone_and_see_eval_mode(trainer: Run) -> None:
    modes = []

    def attack(self: Method, nets: Nets, batch: Batch) -> Attack:
        def objective(x: Tensor) -> Tensor:
            modes.append((nets.student.module.training, nets.teacher.module.training))
            return cross_entropy(nets.student(x), batch.y)

        return Attack(objective)

    run = trainer(stub(attack=attack, needs={"teacher"}))
    run.student.train()
    before = statistics(run.student)
    run.perturb(run.batch())
    assert equal(statistics(run.student), before)
    assert modes == [(False, False)] * 10


@pytest.mark.parametrize("update", [True, False])
def test_statistics_move_in_the_loss_unless_told_not_to(trainer: Run, update: bool) -> None:
    seen: dict[str, Tensor] = {}

    def loss(self: Method, nets: Nets, batch: Batch) -> Tensor:
        assert nets.student.module.training
        assert not nets.teacher.module.training
        seen["logits"] = nets.student(batch.x, update_stats=update)
        return cross_entropy(seen["logits"], batch.y)

    run = trainer(stub(loss, needs={"teacher"}))
    before = statistics(run.student)
    batch = run.batch()
    twin = build(run.scenario.student, (1, 8, 8), 10)
    twin.load_state_dict(run.student.state_dict())
    run.losses(batch)
    assert torch.equal(seen["logits"], twin(batch.x)), "batch statistics normalise either way"
    assert equal(statistics(run.student), statistics(twin) if update else before)
    assert all(layer.track_running_stats for layer in run.student if isinstance(layer, nn.BatchNorm2d))


def test_statistics_thaw_after_an_error(trainer: Run) -> None:
    run = trainer()
    with pytest.raises(RuntimeError):
        run.nets.student(torch.zeros(2, 5, 8, 8), update_stats=False)
    assert all(layer.track_running_stats for layer in run.student if isinstance(layer, nn.BatchNorm2d))


def test_the_teacher_is_frozen_and_stays(trainer: Run, teacher: nn.Module) -> None:
    def loss(self: Method, nets: Nets, batch: Batch) -> Tensor:
        return (nets.student(batch.x) - nets.teacher(batch.x)).square().sum(1)

    before = bits(teacher)
    run = trainer(stub(loss, needs={"teacher"}), teachers={"robust": teacher})
    assert not any(parameter.requires_grad for parameter in run.nets.teacher.module.parameters())
    for _ in range(3):
        run.step()
    assert equal(bits(run.nets.teacher.module), before)
    assert equal(bits(teacher), before)
    assert all(parameter.requires_grad for parameter in teacher.parameters()), "the caller's own is not touched"
    assert not equal(bits(run.student), bits(trainer().student))


def test_a_step_is_sgd_written_out(trainer: Run, scenario: Scenario) -> None:
    run = trainer(stub(attack=pgd), steps=40)
    twin = build(scenario.student, (1, 8, 8), 10)
    twin.load_state_dict(run.student.state_dict())
    spec = scenario.optimiser
    velocity = [torch.zeros_like(p) for p in twin.parameters()]
    for _ in range(3):
        batch = run.batch()
        x_adv = run.perturb(batch)
        twin.train()
        loss = nn.functional.cross_entropy(twin(x_adv), batch.y)
        gradients = torch.autograd.grad(loss, list(twin.parameters()))
        rate = learning_rate(spec, run.progress)
        with torch.no_grad():
            for p, v, g in zip(twin.parameters(), velocity, gradients, strict=True):
                v.mul_(spec.momentum).add_(g + spec.weight_decay * p)
                p.sub_(rate * v)
        losses = run.step()
        assert losses == {"student": pytest.approx(loss.item())}
        for (name, tensor), (_, expected) in zip(
            run.student.state_dict().items(), twin.state_dict().items(), strict=True
        ):
            torch.testing.assert_close(tensor, expected, msg=name)


def test_the_learning_rate_follows_progress(trainer: Run) -> None:
    run = trainer(steps=20, optimiser={"warmup": 0.3})
    rates = []
    while not run.ended:
        progress = run.progress
        run.step()
        rates.append(run.nets.optimisers["student"].param_groups[0]["lr"])
        assert rates[-1] == learning_rate(run.scenario.optimiser, progress)
    assert len(rates) == 20
    assert rates.index(max(rates)) == 6


def test_losses_of_several_networks_are_differentiated_each_for_its_own(trainer: Run) -> None:
    """All at the same weights: what the student's step would do to the judge's loss does not show."""
    seen: list[tuple[Tensor, ...]] = []

    def setup(self: Method, nets: Nets) -> None:
        nets.add("judge", nn.Linear(10, 1), lambda p: torch.optim.SGD(p, lr=0.5))

    def loss(self: Method, nets: Nets, batch: Batch) -> dict[str, Tensor]:
        scores = nets.judge(nets.student(batch.x)).squeeze(1)
        student, judge = list(nets.student.module.parameters()), list(nets.judge.module.parameters())
        seen.append(
            (
                *torch.autograd.grad(scores.mean(), student, retain_graph=True),
                *torch.autograd.grad((-3 * scores).mean(), judge, retain_graph=True),
            )
        )
        return {"student": scores, "judge": -3 * scores}

    run = trainer(stub(loss, setup=setup))
    for _ in range(2):
        run.step()
        networks = (run.student, run.nets.judge.module)
        found = [p.grad for network in networks for p in network.parameters()]
        for gradient, expected in zip(found, seen[-1], strict=True):
            torch.testing.assert_close(gradient, expected)
    assert run.meter.counts["judge", "weights"] > 0


def test_the_hooks_of_a_method_are_called_when_they_should(trainer: Run) -> None:
    calls: list[Any] = []

    def after_step(self: Method, nets: Nets, batch: Batch, losses: Mapping[str, float]) -> None:
        assert not torch.is_grad_enabled()
        calls.append(losses["student"])

    run = trainer(stub(after_step=after_step, epoch_end=lambda self, nets: calls.append("epoch")), steps=2 * STEPS)
    losses = [run.step()["student"] for _ in range(2 * STEPS)]
    assert calls == [*losses[:STEPS], "epoch", *losses[STEPS:], "epoch"]


def test_auxiliary_networks_join_in_setup_once(trainer: Run) -> None:
    def twice(self: Method, nets: Nets) -> None:
        nets.add("judge", nn.Linear(10, 1))
        nets.add("judge", nn.Linear(10, 1))

    with pytest.raises(TemperError, match="there is a network 'judge' already"):
        trainer(stub(setup=twice))
    with pytest.raises(AttributeError, match="this trial has no network 'techer'; it has student, teacher"):
        _ = trainer(stub(needs={"teacher"})).nets.techer


# --- what is spent --------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "cost"), [(stub(), 3), (stub(attack=pgd), 23)])
def test_compute_is_spent_up_to_the_last_step_that_fits(trainer: Run, method: Method, cost: int) -> None:
    run = trainer(method, steps=30.5)
    seen: list[float] = []
    run.run(lambda trainer, losses: seen.append(trainer.progress))
    assert run.meter.passes == run.step_index * cost * BATCH
    assert run.meter.passes <= run.budget.total < run.meter.passes + cost * BATCH
    assert len(seen) == run.step_index
    assert seen == sorted(seen)
    assert seen[-1] <= 1


def test_epochs_gives_the_steps_of_pgd_at_whatever_they_cost(trainer: Run) -> None:
    runs = [trainer(method, steps=46, ruleset="epochs") for method in (stub(), stub(attack=pgd))]
    for run in runs:
        run.run()
    assert [run.step_index for run in runs] == [6, 6]
    assert runs[0].progress == runs[1].progress == 1.0
    assert runs[1].meter.passes == runs[1].budget.total


def test_selection_and_its_attack_are_free_and_leave_no_trace(trainer: Run) -> None:
    judged, plain = trainer(steps=8), trainer(steps=8)
    judged.run()
    while not plain.ended:
        plain.step()
    assert judged.selection.best is not None
    assert len(judged.selection.curve) == 4
    assert judged.meter.passes == plain.meter.passes
    assert equal(bits(judged.student), bits(plain.student))


def test_what_is_selected_is_what_the_method_delivers(trainer: Run) -> None:
    def setup(self: Method, nets: Nets) -> None:
        nets.add("average", build(load_scenario("digits-linf").student, nets.shape, nets.classes))

    run = trainer(stub(setup=setup, deliver=lambda self, nets: nets.average.module), steps=4)
    average = bits(run.nets.average.module)
    run.run()
    assert equal(run.selection.best_weights, average)


def test_a_last_step_dearer_than_all_before_it_is_refused(trainer: Run) -> None:
    """Ten steps of 3 passes fit; the last costs 24, which nobody can know before it is run."""

    def loss(self: Method, nets: Nets, batch: Batch) -> Tensor:
        calls = 8 if batch.progress > 0.85 else 1
        return sum((cross_entropy(nets.student(batch.x), batch.y) for _ in range(calls)), torch.zeros(BATCH))

    with breach("a step cost more than was left"):
        trainer(stub(loss), steps=10).run()


def test_a_budget_smaller_than_a_step_is_refused(trainer: Run) -> None:
    with pytest.raises(TemperError, match="a step cost more than was left of the budget of 192 passes"):
        trainer(steps=0.5).run()


# --- resuming -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [1, STEPS, STEPS + 3])
def test_a_resumed_trial_equals_an_uninterrupted_one(trainer: Run, tmp_path: Path, stop: int) -> None:
    whole, first, second = (trainer(make_method("gkd-logit"), steps=500, seed=3) for _ in range(3))
    for _ in range(STEPS + 5):
        whole.step()
    for _ in range(stop):
        first.step()
    checkpoint.save(tmp_path / "state", first.state())
    second.restore(checkpoint.load(tmp_path / "state"))
    for _ in range(STEPS + 5 - stop):
        second.step()
    assert equal(bits(second.student), bits(whole.student))
    assert equal(bits(second.nets.discriminator.module), bits(whole.nets.discriminator.module))
    assert second.meter.state() == whole.meter.state()
    assert (second.step_index, second.dearest_step) == (whole.step_index, whole.dearest_step)


# --- what is refused ------------------------------------------------------------------------------


def breach(message: str) -> Any:
    return pytest.raises(ContractError, match=f"method 'stub' breaks the contract: {message}")


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda s, n, b: n.student(b.x), r"loss 'student' is \(128, 10\); it must be a scalar or have shape \(128,\)"),
        (lambda s, n, b: natural(s, n, b)[:5], r"loss 'student' is \(5,\)"),
        (lambda s, n, b: natural(s, n, b)[:, None], r"loss 'student' is \(128, 1\)"),
        (lambda s, n, b: None, "loss 'student' is NoneType"),
        (lambda s, n, b: 0.5, "loss 'student' is float"),
        (lambda s, n, b: natural(s, n, b).detach(), "loss 'student' depends on no weights"),
        (lambda s, n, b: {"teacher": natural(s, n, b)}, r"loss has none for the student \(it has teacher\)"),
        (lambda s, n, b: {}, r"loss has none for the student \(it has none\)"),
        (
            lambda s, n, b: {"student": natural(s, n, b), "judge": natural(s, n, b)},
            r"loss for 'judge', which has no optimiser .*\['student'\]",
        ),
        (
            lambda s, n, b: {"student": natural(s, n, b), "teacher": natural(s, n, b)},
            "loss for 'teacher', which has no optimiser",
        ),
    ],
)
def test_a_wrong_loss_breaks_the_contract(trainer: Run, loss: Any, message: str) -> None:
    run = trainer(stub(loss, needs={"teacher"}))
    before = {name: p.clone() for name, p in run.student.named_parameters()}
    with breach(message):
        run.step()
    assert equal(dict(run.student.named_parameters()), before)


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (lambda s, n, b: "pgd", "attack returned str, not Attack, a tensor or None"),
        (lambda s, n, b: lambda x: x.sum((1, 2, 3)), "attack returned function, not Attack"),
        (lambda s, n, b: b.x[:5], r"attack returned shape \(5, 1, 8, 8\) for inputs \(128, 1, 8, 8\)"),
        (
            lambda s, n, b: Attack(lambda x: n.student(x)),
            r"attack: the objective returned shape \(128, 10\), not \(128,\)",
        ),
        (
            lambda s, n, b: Attack(lambda x: n.student(x).sum()),
            r"attack: the objective returned shape \(\), not \(128,\)",
        ),
    ],
)
def test_a_wrong_attack_breaks_the_contract(trainer: Run, attack: Any, message: str) -> None:
    with breach(message):
        trainer(stub(attack=attack)).step()


def setup_judge(self: Method, nets: Nets) -> None:
    nets.add("judge", nn.Linear(10, 1), lambda p: torch.optim.SGD(p, lr=0.1))


@pytest.mark.parametrize(
    "loss",
    [
        lambda s, n, b: {"student": n.judge(torch.ones(BATCH, 10)).squeeze(1)},
        lambda s, n, b: {"judge": n.judge(n.student(b.x)).squeeze(1)},
        lambda s, n, b: {},
    ],
    ids=["of another network", "none for the student", "empty"],
)
def test_a_loss_that_leaves_the_student_out_breaks_the_contract(trainer: Run, loss: Any) -> None:
    with breach("loss"):
        trainer(stub(loss, setup=setup_judge)).step()


@pytest.mark.parametrize(
    "objective",
    [lambda n, x: torch.zeros(len(x)), lambda n, x: n.student(torch.zeros_like(x)).sum(1), lambda n, x: None],
)
def test_an_objective_that_ignores_its_input_breaks_the_contract(trainer: Run, objective: Any) -> None:
    with breach("attack"):
        trainer(stub(attack=lambda s, n, b: Attack(lambda x: objective(n, x)))).step()


def test_an_unknown_start_breaks_the_contract(trainer: Run) -> None:
    with breach("attack"):
        trainer(stub(attack=lambda s, n, b: pgd(s, n, b)._replace(start="gausian"))).step()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_not_finite_stops_at_its_step(trainer: Run, bad: float) -> None:
    def loss(self: Method, nets: Nets, batch: Batch) -> Tensor:
        value = natural(self, nets, batch)
        return value * bad if batch.progress > 0.35 else value

    run = trainer(stub(loss), steps=10)
    with pytest.raises(Diverged, match="loss 'student' is not finite at step 4") as caught:
        run.run()
    assert caught.value.step == run.step_index == 4
    assert all(p.isfinite().all() for p in run.student.parameters())


def test_a_tensor_attack_is_projected(trainer: Run, scenario: Scenario) -> None:
    far: dict[str, Tensor] = {}

    def attack(self: Method, nets: Nets, batch: Batch) -> Tensor:
        far["x"] = batch.x + 3 * torch.randn(batch.x.shape, generator=batch.rng)
        return far["x"]

    run = trainer(stub(attack=attack))
    batch = run.batch()
    x_adv = run.perturb(batch)
    eps = scenario.threat.eps
    torch.testing.assert_close(x_adv, far["x"].clamp(batch.x - eps, batch.x + eps).clamp(0, 1))
    assert not x_adv.requires_grad


def test_no_attack_is_clean_training(trainer: Run) -> None:
    run = trainer()
    batch = run.batch()
    assert run.perturb(batch) is batch.x


@pytest.mark.parametrize("fields", [{}, {"eps": 0.3}, {"steps": 3}, {"steps": 0, "start": "zero"}, {"step_size": 0.01}])
def test_an_attack_takes_the_scenarios_values_unless_it_has_its_own(trainer: Run, scenario: Scenario, fields) -> None:
    asked: list[int] = []

    def attack(self: Method, nets: Nets, batch: Batch) -> Attack:
        def objective(x: Tensor) -> Tensor:
            asked.append(len(x))
            return cross_entropy(nets.student(x), batch.y)

        return Attack(objective, **fields)

    run = trainer(stub(attack=attack))
    batch = run.batch()
    found = run.perturb(batch)
    steps = fields.get("steps", scenario.attack.steps)
    assert asked == [BATCH] * steps
    size, eps = fields.get("step_size", scenario.attack.step_size), fields.get("eps", scenario.threat.eps)
    threat = Linf(eps)
    expected = threat.start(batch.x, fields.get("start", "uniform"), rng(1, "attack"))
    for _ in range(steps):
        point = expected.clone().requires_grad_()
        nn.functional.cross_entropy(run.student.eval()(point), batch.y, reduction="sum").backward()
        expected = (expected + size * point.grad.sign()).clamp(batch.x - eps, batch.x + eps).clamp(0, 1)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("role", ["teacher", "natural_teacher"])
def test_a_missing_teacher_is_named(trainer: Run, teacher: nn.Module, role: str) -> None:
    have = {"teacher": {"natural": teacher}, "natural_teacher": {}}[role]
    message = f"method 'stub' needs a {role.replace('_', ' ')}, and scenario 'digits-linf' has none"
    with pytest.raises(ContractError, match=message):
        trainer(stub(needs={role}), teachers=have)


def test_an_unknown_need_is_named(trainer: Run) -> None:
    with pytest.raises(ContractError, match="method 'stub' needs a techer"):
        trainer(stub(needs={"techer"}))


def test_trials_that_share_a_teacher_do_not_pay_for_each_other(trainer: Run, teacher: nn.Module) -> None:
    def loss(self: Method, nets: Nets, batch: Batch) -> Tensor:
        return (nets.student(batch.x) - nets.teacher(batch.x)).square().sum(1)

    first, second = (trainer(stub(loss, needs={"teacher"}), teachers={"robust": teacher}) for _ in range(2))
    second.step()
    assert first.meter.passes == 0


def test_roles_get_their_own_teacher(trainer: Run, teacher: nn.Module) -> None:
    other = build(NetworkSpec(network="mlp", options={"widths": [9]}), (1, 8, 8), 10)
    run = trainer(stub(needs={"teacher", "natural_teacher"}), teachers={"robust": teacher, "natural": other})
    assert equal(bits(run.nets.teacher.module), bits(teacher))
    assert equal(bits(run.nets.natural_teacher.module), bits(other))


def test_a_batch_larger_than_the_data_is_refused(trainer: Run) -> None:
    with pytest.raises(TemperError, match="batch size 898 is more than the 897 training examples"):
        trainer(optimiser={"batch_size": 898})
    assert trainer(optimiser={"batch_size": 897}).steps_per_epoch == 1
