"""Every shipped method against its formula, written out in NumPy's float64 from the papers (catalogue: methods.md).

The oracles share no code with `bench.losses` or the methods: networks are fixed random functions with a NumPy twin,
losses are sums over classes in plain NumPy, and gradients are central differences of those. A gradient that is
detached where the formula is not, or the other way round, shows there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.method import METHODS, Attack, Batch, Method, Net, Nets, make_method
from bench.threat import Linf
from tests.methods.oracles import GOLDEN as ORACLES
from tests.methods.setting import harness

SIZE, HIDDEN, CLASSES, EXAMPLES = 6, 9, 4, 12
Array = np.ndarray
Logits = Callable[[Array], Array]


class Small(nn.Module):
    """Logits B sin(A x + c), and the same in NumPy."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = np.random.default_rng(seed)
        self.a = nn.Parameter(torch.tensor(generator.normal(size=(HIDDEN, SIZE))))
        self.c = nn.Parameter(torch.tensor(generator.normal(size=HIDDEN)))
        self.b = nn.Parameter(torch.tensor(2 * generator.normal(size=(CLASSES, HIDDEN))))

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.a.T + self.c).sin() @ self.b.T

    def twin(self, shift: tuple[Array, ...] = (0, 0, 0)) -> Logits:  # type: ignore[assignment]
        a, c, b = (p.detach().numpy() + s for p, s in zip((self.a, self.c, self.b), shift, strict=True))
        return lambda x: np.sin(x @ a.T + c) @ b.T


# --- formulas, per example ------------------------------------------------------------------------


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def ce(z: Array, y: Array) -> Array:
    return -np.log(softmax(z)[np.arange(len(y)), y])


def kl(p: Array, q: Array) -> Array:
    return (p * np.log(p / q)).sum(1)


@dataclass
class Case:
    """Numbers of one batch, and the networks as NumPy functions."""

    x: Array
    y: Array
    x_adv: Array
    progress: float
    student: Logits
    teacher: Logits
    judge: Callable[[Array], Array]
    fixed: Logits  # the student as it is, where `student` is moved: for targets that are constants


Oracle = Callable[[Case], dict[str, Array]]
Inner = Callable[[Case, Array], Array]


def natural(c: Case) -> dict[str, Array]:
    return {"student": ce(c.student(c.x), c.y)}


def pgd_at(c: Case) -> dict[str, Array]:
    return {"student": ce(c.student(c.x_adv), c.y)}


def trades(c: Case, beta: float = 6.0) -> dict[str, Array]:
    """CE(f(x), y) + beta KL(p(x) || p(x')), with p(x) not detached."""
    clean, adversarial = c.student(c.x), c.student(c.x_adv)
    return {"student": ce(clean, c.y) + beta * kl(softmax(clean), softmax(adversarial))}


def kd(c: Case, t: float = 4.0, a: float = 0.9) -> dict[str, Array]:
    """a t^2 KL(p_T^t(x) || p_S^t(x)) + (1 - a) CE(f_S(x), y)."""
    z = c.student(c.x)
    return {"student": a * t**2 * kl(softmax(c.teacher(c.x) / t), softmax(z / t)) + (1 - a) * ce(z, c.y)}


def ard(c: Case, t: float = 30.0, a: float = 1.0, scale: float = 1.0) -> dict[str, Array]:
    """a t^2 KL(p_T^t(x) || p_S^t(x')) + (1 - a) CE(f_S(x), y): the teacher sees x, the student x'."""
    soft = kl(softmax(c.teacher(c.x) / t), softmax(c.student(c.x_adv) / t))
    return {"student": a * scale * t**2 * soft + (1 - a) * ce(c.student(c.x), c.y)}


def rslad(c: Case, a: float = 5 / 6, scale: float = 1.0) -> dict[str, Array]:
    """5/6 KL(p_T(x) || p_S(x')) + 1/6 KL(p_T(x) || p_S(x)); no labels."""
    target = softmax(c.teacher(c.x))
    adversarial, clean = (kl(target, softmax(c.student(x))) for x in (c.x_adv, c.x))
    return {"student": scale * (a * adversarial + (1 - a) * clean)}


def gkd_logit(c: Case, weight: float = 0.1, t: float = 4.0) -> dict[str, Array]:
    """RSLAD - lambda D(u_S(x')), against the hinge loss of D; u = log softmax(f / 4), lambda ramps up over 10%."""
    real, fake = (np.log(softmax(z / t)) for z in (c.teacher(c.x), c.student(c.x_adv)))
    constant = np.log(softmax(c.fixed(c.x_adv) / t))  # what D is trained on carries no gradient to the student
    ramp = min(1.0, c.progress / 0.1)
    return {
        "student": rslad(c)["student"] - weight * ramp * c.judge(fake),
        "discriminator": np.maximum(0, 1 - c.judge(real)) + np.maximum(0, 1 + c.judge(constant)),
    }


def inner_ce(c: Case, x: Array) -> Array:
    return ce(c.student(x), c.y)


def inner_trades(c: Case, x: Array) -> Array:
    return kl(softmax(c.student(c.x)), softmax(c.student(x)))


def inner_rslad(c: Case, x: Array) -> Array:
    return kl(softmax(c.teacher(c.x)), softmax(c.student(x)))


@dataclass
class Golden:
    """What a method computes: its losses, what its attack maximises, and where that starts."""

    loss: Oracle
    inner: Inner | None = None
    start: str | None = None


GOLDEN = {
    "natural": Golden(natural),
    "pgd-at": Golden(pgd_at, inner_ce, "uniform"),
    "trades": Golden(trades, inner_trades, "gaussian"),
    "kd": Golden(kd),
    "ard": Golden(ard, inner_ce, "uniform"),
    "rslad": Golden(rslad, inner_rslad, "gaussian"),
    "gkd-logit": Golden(gkd_logit, inner_rslad, "gaussian"),
}


def test_every_shipped_method_has_a_golden_loss() -> None:
    shipped = {name for name in METHODS if METHODS[name].__module__.split(".")[0] == "methods"}
    assert shipped == set(GOLDEN) | set(ORACLES)


# --- the same batch for the method and for its oracle ---------------------------------------------


def spectral(module: nn.Module, shifts: list[Array]) -> Callable[[Array], Array]:
    """The discriminator in NumPy: weights over u^T W v, leaky ReLU of slope 0.2 between; u and v are constants."""
    layers = [
        (layer.weight.detach().numpy(), layer.bias.detach().numpy(), layer.u.numpy(), layer.v.numpy())
        for layer in module.modules()
        if isinstance(layer, nn.Linear)
    ]
    moves = iter(shifts or [np.zeros(())] * 2 * len(layers))
    layers = [(w + next(moves), b + next(moves), u, v) for w, b, u, v in layers]

    def judge(h: Array) -> Array:
        for position, (w, b, u, v) in enumerate(layers):
            h = h @ (w / (u @ w @ v)).T + b
            h = h if position == len(layers) - 1 else np.where(h > 0, h, 0.2 * h)
        return h[:, 0]

    return judge


class Bench:
    """A method with its networks and one batch."""

    def __init__(self, method: Method, progress: float = 0.04) -> None:
        self.method = method
        self.student, self.teacher = Small(1), Small(2).requires_grad_(False)
        self.nets = Nets({}, (SIZE,), CLASSES, Linf(0.1), harness(lambda: Small(7), (SIZE,)))
        self.nets.add("student", self.student)
        for role in sorted(method.needs):
            self.nets.add(role, self.teacher, frozen=True)
        torch.manual_seed(0)
        method.setup(self.nets)
        for net in self.nets.networks.values():
            net.module.double()
        generator = np.random.default_rng(3)
        self.x = generator.uniform(size=(EXAMPLES, SIZE))
        self.x_adv = self.x + generator.uniform(-0.2, 0.2, size=self.x.shape)
        self.y = np.arange(EXAMPLES) % CLASSES
        self.batch = Batch(
            x=torch.tensor(self.x),
            y=torch.tensor(self.y),
            x_adv=torch.tensor(self.x),
            index=torch.arange(EXAMPLES),
            progress=progress,
            rng=torch.Generator().manual_seed(0),
        )

    def attack(self) -> Attack | Tensor | None:
        with torch.no_grad():
            attack = self.method.attack(self.nets, self.batch)
        self.batch.x_adv = torch.tensor(self.x_adv)
        return attack

    def losses(self) -> dict[str, Tensor]:
        self.attack()
        found = self.method.loss(self.nets, self.batch)
        return found if isinstance(found, dict) else {"student": found}

    def case(self, moved: str = "", shift: Any = ()) -> Case:
        """The numbers for the oracle, with the weights of one network moved."""
        student = self.student.twin()
        judge = self.nets.networks.get("discriminator", Net(nn.Identity())).module
        return Case(
            x=self.x,
            y=self.y,
            x_adv=self.x_adv,
            progress=self.batch.progress,
            student=self.student.twin(shift) if moved == "student" else student,
            teacher=self.teacher.twin(),
            judge=spectral(judge, shift if moved == "discriminator" else []),
            fixed=student,
        )


def check_losses(setup: Bench, oracle: Oracle) -> None:
    """Values per example, and the slope of every loss along a random direction of its own network's weights."""
    found, expected = setup.losses(), oracle(setup.case())
    assert list(found) == list(expected)
    for name, loss in found.items():
        assert loss.dtype == torch.float64
        np.testing.assert_allclose(loss.detach().numpy(), expected[name], rtol=1e-9, atol=1e-12, err_msg=name)
        weights = list(setup.nets.networks[name].module.parameters())
        generator = np.random.default_rng(4)
        direction = [generator.normal(size=p.shape) for p in weights]
        gradients = torch.autograd.grad(loss.sum(), weights, retain_graph=True)
        slope = sum((g * torch.tensor(d)).sum().item() for g, d in zip(gradients, direction, strict=True))
        h = 1e-6
        ends = [oracle(setup.case(name, [s * h * d for d in direction]))[name].sum() for s in (1, -1)]
        assert slope == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-5), name


@pytest.mark.parametrize("name", GOLDEN)
def test_losses_equal_the_formula_in_value_and_gradient(name: str) -> None:
    check_losses(Bench(make_method(name)), GOLDEN[name].loss)


@pytest.mark.parametrize("name", GOLDEN)
def test_the_inner_objective_equals_the_formula_in_value_and_gradient(name: str) -> None:
    golden, setup = GOLDEN[name], Bench(make_method(name))
    attack = setup.attack()
    if golden.inner is None:
        assert attack is None
        return
    assert isinstance(attack, Attack)
    assert attack.start == golden.start
    assert (attack.steps, attack.step_size, attack.eps) == (None, None, None), "the scenario's"
    case, generator = setup.case(), np.random.default_rng(5)
    point = setup.x + generator.uniform(-0.1, 0.1, size=setup.x.shape)
    leaf = torch.tensor(point, requires_grad=True)
    value = attack.objective(leaf)
    np.testing.assert_allclose(value.detach().numpy(), golden.inner(case, point), rtol=1e-9)
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    direction, h = generator.normal(size=point.shape), 1e-6
    ends = [golden.inner(case, point + s * h * direction) for s in (1, -1)]
    np.testing.assert_allclose(
        (gradient.numpy() * direction).sum(1), (ends[0] - ends[1]) / (2 * h), rtol=1e-4, atol=1e-7
    )


@pytest.mark.parametrize(
    ("name", "fields", "oracle"),
    [
        ("trades", {"beta": 1.5}, lambda c: trades(c, 1.5)),
        ("kd", {"temperature": 2.0, "soft_weight": 0.3}, lambda c: kd(c, 2.0, 0.3)),
        ("kd", {"soft_weight": 0.0}, natural),
        ("ard", {"temperature": 5.0, "soft_weight": 0.7}, lambda c: ard(c, 5.0, 0.7)),
        ("ard", {"kl_scale": 0.1}, lambda c: ard(c, scale=0.1)),
        ("ard", {"soft_weight": 0.6, "kl_scale": 0.1}, lambda c: ard(c, a=0.6, scale=0.1)),
        ("rslad", {"adversarial_weight": 0.4, "kl_scale": 0.1}, lambda c: rslad(c, 0.4, 0.1)),
        ("rslad", {"adversarial_weight": 1.0}, lambda c: rslad(c, 1.0)),
        ("gkd-logit", {"gan_weight": 0.7, "temperature": 2.0, "width": 16}, lambda c: gkd_logit(c, 0.7, 2.0)),
        ("gkd-logit", {"gan_weight": 0.0}, rslad),
    ],
)
def test_fields_mean_what_they_say(name: str, fields: dict[str, float], oracle: Oracle) -> None:
    check_losses(Bench(make_method(name, fields)), oracle)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("trades", {"beta": 6.0}),
        ("kd", {"temperature": 4.0, "soft_weight": 0.9}),
        ("ard", {"temperature": 30.0, "soft_weight": 1.0, "kl_scale": 1.0}),
        ("rslad", {"adversarial_weight": 5 / 6, "kl_scale": 1.0}),
        (
            "gkd-logit",
            {"adversarial_weight": 5 / 6, "kl_scale": 1.0, "gan_weight": 0.1, "temperature": 4.0, "width": 128},
        ),
    ],
)
def test_defaults_are_those_of_the_catalogue(name: str, fields: dict[str, float]) -> None:
    assert make_method(name).model_dump() == fields


# --- gkd-logit, its own machinery -----------------------------------------------------------------


@pytest.mark.parametrize("progress", [0.0, 0.01, 0.05, 0.1, 0.5, 1.0])
def test_the_weight_of_the_discriminator_ramps_up(progress: float) -> None:
    check_losses(Bench(make_method("gkd-logit"), progress), gkd_logit)


def test_the_discriminators_loss_gives_the_student_no_gradient() -> None:
    setup = Bench(make_method("gkd-logit"))
    loss = setup.losses()["discriminator"]
    gradients = torch.autograd.grad(loss.sum(), list(setup.student.parameters()), allow_unused=True)
    assert gradients == (None, None, None)


def test_the_discriminator_has_its_optimiser_and_its_shape() -> None:
    setup = Bench(make_method("gkd-logit"))
    group = setup.nets.optimisers["discriminator"].param_groups[0]
    assert isinstance(setup.nets.optimisers["discriminator"], torch.optim.Adam)
    assert (group["lr"], group["betas"], group["weight_decay"]) == (2e-4, (0.5, 0.999), 0)
    linear = [m for m in setup.nets.discriminator.module.modules() if isinstance(m, nn.Linear)]
    assert [tuple(m.weight.shape) for m in linear] == [(128, CLASSES), (128, 128), (1, 128)]
    assert setup.nets.discriminator(torch.zeros(5, CLASSES).double()).shape == (5,)


def test_power_iteration_finds_the_largest_singular_value() -> None:
    setup = Bench(make_method("gkd-logit"))
    linear = [m for m in setup.nets.discriminator.module.modules() if isinstance(m, nn.Linear)]
    before = [m.u.clone() for m in linear]
    setup.losses()
    assert all(torch.equal(m.u, u) for m, u in zip(linear, before, strict=True)), "a loss moves no state"
    for _ in range(300):
        setup.method.after_step(setup.nets, setup.batch, {})
    for layer in linear:
        weight = layer.weight.detach().numpy()
        estimate = layer.u.numpy() @ weight @ layer.v.numpy()
        assert estimate == pytest.approx(np.linalg.svd(weight, compute_uv=False)[0], rel=1e-3)


def test_the_discriminator_is_1_lipschitz() -> None:
    setup = Bench(make_method("gkd-logit"))
    for _ in range(300):
        setup.method.after_step(setup.nets, setup.batch, {})
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(500, CLASSES, generator=generator).double() for _ in range(2))
    with torch.no_grad():
        gap = (setup.nets.discriminator(a) - setup.nets.discriminator(b)).abs()
    assert (gap <= (a - b).norm(dim=1) * (1 + 1e-3)).all()
    assert gap.max() > 0


def test_without_weight_no_discriminator_is_built() -> None:
    setup = Bench(make_method("gkd-logit", {"gan_weight": 0.0}))
    assert set(setup.nets.networks) == {"student", "teacher"}
    setup.losses()
    setup.method.after_step(setup.nets, setup.batch, {})


@pytest.mark.parametrize("name", GOLDEN)
def test_the_teacher_sees_clean_inputs_once(name: str) -> None:
    """Its pass is what `r` in the formula of costs stands for."""
    setup, seen = Bench(make_method(name)), []
    setup.teacher.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].clone()))
    setup.losses()
    assert len(seen) == len(setup.method.needs)
    assert all(torch.equal(x, setup.batch.x) for x in seen)


def test_a_target_stays_fixed_while_the_attack_runs() -> None:
    """RSLAD's and TRADES' targets come from the clean input, not from the point that moves."""
    for name in ("rslad", "trades", "gkd-logit"):
        setup = Bench(make_method(name))
        attack = setup.attack()
        assert isinstance(attack, Attack)
        at_start = attack.objective(setup.batch.x)
        away = attack.objective(setup.batch.x + 0.3)
        assert torch.equal(attack.objective(setup.batch.x), at_start)
        assert not torch.allclose(at_start, away)
        if name == "trades":
            torch.testing.assert_close(at_start, torch.zeros(EXAMPLES).double(), atol=1e-12, rtol=0)
