"""Soundness diagnostics: signs that AutoAttack's verdict on a model is too good.

All are one-sided: they trip where an attack breaks what AutoAttack left robust, where gradients fail, or where the
model is no function of its input alone. Costs are per example; AutoAttack spends about 1900 gradients and 6000 passes
on a robust one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from bench.evaluation.found import Found
from bench.evaluation.models import writes_into
from bench.evaluation.network import raw_gradient
from bench.evaluation.noise import Noise
from bench.evaluation.probe import (
    Attack,
    Case,
    Probe,
    are_probabilities,
    batches,
    claimed,
    given_labels,
    in_double,
    pgd,
    rescaled,
)
from bench.hashing import rng, tensor_digest
from bench.losses import cross_entropy, margin
from bench.protocol import ATTACKS
from bench.threat import Linf, Threat

Verdict = Literal["pass", "warn", "fail", "not run"]

POINTS, FEW = 0.01, 3  # a sign trips above this share of the examples, and above this many
PRECISION = 1e-3  # of the size of logits that float64 may change; honest students come to 3e-6
TOLERANCE = 1e-4  # between two passes over the same examples, in units of the median largest logit
SHORT, LONG, TRANSFER = 50, 200, 20  # steps of PGD
SCALING_STEPS = 50
HALF = 0.5  # of the input range
SEVERAL = {  # the signs of a check that is not called after its only one
    "passes": ("stochastic_forward", "side_effects", "batch_dependence", "probabilities"),
    "pgd": ("fgsm_beats_pgd", "more_steps"),
}


@dataclass(frozen=True)
class Diagnostic:
    """One sign. It trips where `value` exceeds `threshold`: `warn` calls for a stronger attack, `fail` needs none.
    One that could not run is `not run`, and counts as tripped."""

    name: str
    value: float
    threshold: float
    verdict: Verdict
    words: str

    @property
    def tripped(self) -> bool:
        """Whether the verdict is not `pass`."""
        return self.verdict != "pass"

    def to_json(self) -> dict[str, Any]:
        """The fields, as a record stores them."""
        return asdict(self)


def diagnose(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: Threat,
    outcomes: np.ndarray,
    *,
    seed: int = 0,
    batch_size: int = 256,
    teacher: nn.Module | None = None,
    gradients: bool = True,
) -> dict[str, Diagnostic]:
    """All diagnostics of a model in eval mode with frozen weights, by name, on all examples.

    Inputs x (N, ...) lie in [0, 1], y (N,) are labels, `outcomes` (N,) AutoAttack's verdicts; `transfer` is there only
    with a teacher. Those that need the model's `gradients` are left out where it has none. Random states, buffers and
    modes are left as found. Costs about 120 gradients in Linf, 170 in L2, and 20 of the teacher, on survivors; a tenth
    of that on the others.
    """
    case = Case(model, x, y, threat, outcomes, seed, batch_size)
    found: dict[str, Diagnostic] = {}
    with case.undisturbed(*filter(None, [teacher])):
        every = (_passes, _precision, _zero_gradients, _square_gain, _pgd, _large_eps)
        for check in every if gradients else (_passes,):
            found |= _run(check, case)
        if teacher:
            found |= _run(partial(_transfer, teacher=teacher), case)
        if gradients:
            doubted = ("probabilities", "zero_gradients")
            exactly = any(name in found and found[name].tripped for name in doubted)
            found |= _run(partial(_logit_scaling, exactly=exactly), case)
    return found


def _run(check: Callable[[Case], Iterable[Diagnostic]], case: Case) -> dict[str, Diagnostic]:
    """The signs of a check by name; that it could not run, where a model that is like no other makes it fail."""
    try:
        return {sign.name: sign for sign in check(case)}
    except Exception as error:
        name = getattr(check, "func", check).__name__.strip("_")
        return {sign: not_run(sign, error) for sign in SEVERAL.get(name, (name,))}


def not_run(name: str, error: Exception) -> Diagnostic:
    """What stands in the place of something that failed."""
    reason = next(iter(str(error).strip().splitlines()), "")
    return Diagnostic(name, 1.0, 0.0, "not run", f"Could not run: {type(error).__name__}: {reason}".rstrip(": "))


def _sign(name: str, value: float, threshold: float, words: str, otherwise: Verdict = "warn") -> Diagnostic:
    value = float(np.nan_to_num(value, nan=1e9, posinf=1e9))
    return Diagnostic(name, value, threshold, otherwise if value > threshold else "pass", words)


def _share(case: Case, name: str, which: Tensor | int, words: str, otherwise: Verdict = "warn") -> Diagnostic:
    """A sign whose value is the share of examples in `which`, bool (N,) or a count; `words` has places for counts."""
    count, total = int(which.sum()) if isinstance(which, Tensor) else which, len(case.x)
    return _sign(name, count / total, max(POINTS, FEW / total), words.format(count, total), otherwise)


def _passes(case: Case) -> list[Diagnostic]:
    """What three forward passes tell: the second repeats the first, the third has other batches in another order."""
    before = _state(case)
    first, second = case.logits(), case.logits()
    after = _state(case)
    changed = [name for name, value in before.items() if after[name] != value]
    changed += ["its input"] if writes_into(case.model) else []
    order = torch.randperm(len(case.x), generator=rng(case.seed, "order")).to(case.x.device)
    third = case.logits(order, max(1, min(case.batch_size, len(case.x)) // 2))
    first, second, third = (logits.nan_to_num(0.0) for logits in (first, second, third))  # NaN twice is the same
    scale = first.abs().amax(1).median().clamp_min(1e-12)
    again, other = (float((logits - first).abs().amax() / scale) for logits in (second, third))
    told = "outputs are probabilities, where logits are expected"
    moved = "moves logits by up to {:.2g} of their size."
    state = f"A pass changes {', '.join(changed) or 'nothing that stays'}."
    return [
        _sign("stochastic_forward", again, TOLERANCE, f"The same pass twice {moved.format(again)}", "fail"),
        _sign("side_effects", len(changed), 0, state, "fail"),
        _sign("batch_dependence", other, max(TOLERANCE, 3 * again), f"Another batch {moved.format(other)}", "fail"),
        _share(case, "probabilities", are_probabilities(first), f"{{}} of {{}} {told}.", "fail"),
    ]


def _precision(case: Case) -> list[Diagnostic]:
    """How far the same weights in float64 say something else, of inputs and of corners of their balls: 4 passes, two of
    them in float64. Weights can be such that float32 rounds away what its gradients follow, or what sets logits apart.

    Differences between the logits of an example are compared, in units of their median size. Nothing where there can be
    no copy in float64.
    """
    double = in_double(case.model, case.x[:2])
    if double is None:
        return []
    sign = torch.randint(0, 2, case.x.shape, generator=rng(case.seed, "precision")).to(case.x) * 2 - 1
    corners = case.threat.project(case.x, case.threat.step(case.x, sign, case.threat.eps))
    worst = 0.0
    for points in (case.x, corners):
        single = replace(case, x=points).logits().double()
        exact = replace(case, x=points.double(), model=double).logits()
        single, exact = (logits - logits.mean(1, keepdim=True) for logits in (single, exact))
        size = single.abs().amax(1).median().clamp_min(1e-12)
        worst = max(worst, float(((single - exact).abs().amax() / size).nan_to_num(1e9)))
    return [_sign("precision", worst, PRECISION, f"In float64 logits move by up to {worst:.2g} of their size.")]


def _state(case: Case) -> dict[str, str]:
    """What a forward pass must not change, as digests: buffers, and the states of random numbers."""
    tensors = {f"the buffer {name}": buffer for name, buffer in case.model.named_buffers()}
    tensors["PyTorch's random state"] = torch.get_rng_state()
    if case.x.is_cuda:
        tensors["the GPU's random state"] = torch.cuda.get_rng_state(case.x.device)
    tensors["NumPy's random state"] = torch.from_numpy(np.random.get_state()[1].astype(np.int64))  # type: ignore[index]
    digests = {name: tensor_digest({name: tensor}) for name, tensor in tensors.items()}
    return digests | {"Python's random state": str(random.getstate())}


def _zero_gradients(case: Case) -> list[Diagnostic]:
    """Examples on which the gradient of cross-entropy or of the margin is exactly 0, or not finite: 2 gradients.

    AutoAttack needs both kinds of loss. A model that says the same of all examples is constant, and hides nothing.
    """
    dead = torch.zeros_like(case.y, dtype=torch.bool)
    for index in batches(case.right, case.batch_size):
        for loss in (cross_entropy, margin):
            _, _, gradient = raw_gradient(case.model, partial(given_labels, loss, case.y[index]), case.x[index])
            rows = gradient.flatten(1)
            dead[index] |= ~((rows != 0).any(1) & rows.isfinite().all(1))
    if bool(dead.any()):
        logits = case.logits()
        dead &= bool((logits != logits[:1]).any())
    return [_share(case, "zero_gradients", dead, "{} of {} examples have no gradient in cross-entropy or the margin.")]


def _square_gain(case: Case) -> list[Diagnostic]:
    """Examples that random search broke and none of the three attacks with gradients did: free."""
    alone = torch.as_tensor(case.outcomes == ATTACKS.index("square") + 1)
    return [_share(case, "square_gain", alone, "{} of {} examples fell to Square alone, which needs no gradient.")]


def _pgd(case: Case) -> list[Diagnostic]:
    """FGSM, and PGD of 50 and 200 steps: 60 to 110 gradients."""
    network, threat, standing = Probe(case.model), case.threat, case.standing
    one = case.attack(case.right, _fgsm(network, threat), "fgsm") >= 0
    short = case.attack(case.right & ~standing, pgd(network, threat, cross_entropy, SHORT), "pgd")
    long = case.attack(standing, pgd(network, threat, cross_entropy, LONG), "pgd")
    within = (short >= 0) | ((long >= 0) & (long <= SHORT))
    counts = f"FGSM breaks {int(one.sum())}, PGD-{SHORT} {int(within.sum())}: {{}} of {{}} examples in FGSM's favour."
    steps = f"PGD-{LONG} breaks {{}} of {{}} examples that AutoAttack left robust, {int((long > SHORT).sum())} late."
    excess = max(0, int(one.sum()) - int(within.sum()))
    return [_share(case, "fgsm_beats_pgd", excess, counts), _share(case, "more_steps", long >= 0, steps)]


def _fgsm(network: Probe, threat: Threat) -> Attack:
    def run(x: Tensor, y: Tensor, noise: Noise) -> Found:
        _, _, gradient = network.value_and_gradient(partial(given_labels, cross_entropy, y), x)
        return claimed(x, threat.project(x, threat.step(x, gradient, threat.eps)))

    return run


def _large_eps(case: Case) -> list[Diagnostic]:
    """Examples that PGD-50 cannot break in half the input range, Linf for either norm: about 5 gradients.

    Those count that a grey image, or one of three others cut to the ball, does break: a constant model hides nothing.
    """
    case = replace(case, threat=Linf(HALF))
    left = case.attack(case.right, pgd(Probe(case.model), case.threat, margin, SHORT), "large_eps") < 0
    left &= case.right
    beside = [torch.full_like(case.x[0], HALF), *case.x[:: max(1, len(case.x) // 3)][:3]]
    fooled = torch.zeros_like(left)
    for image in beside:
        fooled |= case.attack(left & ~fooled, partial(_show, case.threat, image), "show") >= 0
    words = "{} of {} examples stand against PGD at half the input range, where images of other classes are in reach."
    return [_share(case, "large_eps", left & fooled, words)]


def _show(threat: Threat, image: Tensor, x: Tensor, y: Tensor, noise: Noise) -> Found:
    return claimed(x, threat.project(x, image.expand_as(x)))


def _transfer(case: Case, teacher: nn.Module) -> list[Diagnostic]:
    """Survivors that fall on the way of PGD-20 on the teacher: 20 gradients of the teacher, 20 passes."""
    run = pgd(Probe(case.model, teacher), case.threat, cross_entropy, TRANSFER)
    words = "{} of {} examples that AutoAttack left robust fall to examples made on the teacher."
    return [_share(case, "transfer", case.attack(case.standing, run, "transfer") >= 0, words)]


def _logit_scaling(case: Case, exactly: bool) -> list[Diagnostic]:
    """Survivors that fall to APGD-CE on rescaled logits: 50 gradients, in float64 where gradients vanish."""
    run = rescaled(case, cross_entropy, steps=SCALING_STEPS, double=exactly)
    words = "{} of {} examples that AutoAttack left robust fall to APGD-CE on rescaled logits."
    return [_share(case, "logit_scaling", case.attack(case.standing, run, "logit_scaling") >= 0, words)]
