"""Evaluation: which test examples a model classifies right, and which attack breaks the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from bench.errors import TemperError, unknown
from bench.evaluation.inputs import Examples, Judged, judging, prepare
from bench.evaluation.ledger import Ledger
from bench.protocol import ADAPTIVE, ATTACKS, BLACK_BOX, MISCLASSIFIED, PROTOCOLS, ROBUST, outcome_name
from bench.task import NO_ANSWER, predicted
from bench.threat import Threat

Progress = Callable[[float], None]
CHOICES = {"protocol": list(PROTOCOLS), "engine": ["fast", "reference"], "randomness": ["stable", "compat"]}

__all__ = ["Evaluation", "Progress", "evaluate", "judging"]


@dataclass(frozen=True)
class Evaluation:
    """The verdict on every example. Accuracies are fractions in [0, 1]."""

    outcomes: np.ndarray  # uint8 (N,): 0 misclassified, 1..n first attack that broke it, 255 robust
    labels: np.ndarray  # int64 (N,)
    predictions: np.ndarray  # int64 (N,), on clean inputs; -1 where the logits are not finite
    adversarial: Tensor = field(repr=False)  # (N, ...), the inputs themselves where nothing broke them
    details: pd.DataFrame = field(repr=False)  # one row an example, see `to_frame`
    index: np.ndarray = field(repr=False)  # int64 (N,), which of the inputs these are: all, but for a shard
    attacks: tuple[str, ...] = ATTACKS
    protocol: str = "standard"  # what ran: `standard` alone is AutoAttack
    notes: tuple[str, ...] = ()  # in words, what was done to the model and the examples so that they could be judged
    deviations: tuple[str, ...] = ()  # in words, where these inputs do not allow the attacks as published
    diagnostics: dict[str, Any] = field(default_factory=dict)  # by name: value, threshold, verdict, words

    @property
    def adaptive(self) -> dict[str, np.ndarray]:
        """Which examples are right under each stronger attack that a diagnostic called for, bool (N,) by name."""
        names = [str(name) for name in self.details if str(name).startswith(ADAPTIVE)]
        return {name.removeprefix(ADAPTIVE): self.details[name].to_numpy() for name in names}

    @property
    def clean_accuracy(self) -> float:
        """Share of examples that are classified right."""
        return float(np.mean(self.outcomes != MISCLASSIFIED))

    @property
    def robust_accuracy(self) -> float:
        """Share of examples that are right under every attack."""
        return float(np.mean(self.outcomes == ROBUST))

    def to_frame(self) -> pd.DataFrame:
        """One row an example: `label`, `prediction`, `margin` (clean: z_y - max over others), `outcome`, `broken_by` in
        words, and of the breaking attack the class it aimed at (`target`, -1 for none) and the `iteration`; the
        smallest margin that each attack saw (`margin_NAME`, NaN where it did not run); `distance` of the adversarial
        example; calls of the network spent (`forwards`, `backwards`); `verified`: there is an adversarial example that
        lies in the ball and fools the model in another batch too. `adaptive_NAME` tells who is right under an attack
        that a diagnostic called for.
        """
        return self.details


def evaluate(
    model: Callable[[Tensor], Tensor],
    x: Examples,
    y: Examples,
    *,
    threat: Threat,
    protocol: Literal["standard", "screen", "beyond", "black-box"] = "standard",
    engine: Literal["fast", "reference"] = "fast",
    randomness: Literal["stable", "compat"] = "stable",
    seed: int = 0,
    batch_size: int = 256,
    dtype: torch.dtype | None = torch.float32,
    progress: bool | Progress = False,
    folder: str | Path | None = None,
    shard: tuple[int, int] = (1, 1),
    diagnose: bool = True,
    teacher: nn.Module | None = None,
) -> Evaluation:
    """Judge `model` on inputs `x` (N, C, H, W) inside the threat's bounds, labels `y` (N,).

    The model maps (B, C, H, W) to logits (B, K): a module (a compiled, scripted, exported or parallel one too) or any
    callable. It is put into eval mode meanwhile; its mode, gradients, buffers and the global random state are left as
    found. It computes in `dtype`; for None as it does by itself. `x` and `y` may be tensors, arrays or lists, `y` of
    any type of whole numbers. What was done so that all fits together is said in `notes` of the result.

    `standard` is AutoAttack; `screen` is its APGD-CE and APGD-T alone, about 5 times cheaper, and not AutoAttack;
    `beyond` is AutoAttack, and then further attacks on what it left. `black-box` needs no gradient, and is not
    AutoAttack either: Square, and examples made on the `teacher` where one is given. A quantised model, which has no
    gradient, is judged so whatever was asked for. An example is right where all logits are finite and the label's is
    the largest.

    With `stable` randomness outcomes depend neither on batches nor on order; `compat` draws what pyautoattack draws.
    The `reference` engine is pyautoattack itself, and always `compat`.

    Work is saved in `folder` after every target of every attack, and taken up from there by the same call, even after
    a kill. Shard (i, n) judges every n-th block of `batch_size` examples, from the i-th on; a call without a shard on
    the same folder finds what the shards did. `progress` shows a bar, or is called with the fraction done.

    Unless told not to `diagnose`, the soundness diagnostics (of which one needs the `teacher`) look for signs that the
    verdict is too good, and where one is found stronger attacks run; see `diagnostics` and `adaptive` of the result.
    One that cannot run says so, and loses nothing of the verdict.

    Raises TemperError for inputs that make no sense (out of bounds, wrong labels, no finite logits, no gradient).

    >>> import torch, bench
    >>> linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    >>> _ = linear[1].weight.data.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0]])), linear[1].bias.data.zero_()
    >>> x = torch.tensor([[0.9, 0.1, 0.5, 0.5], [0.5, 0.6, 0.5, 0.5]]).view(2, 1, 2, 2)
    >>> verdict = bench.evaluate(linear, x, [0, 1], threat=bench.Linf(0.1))
    >>> verdict.clean_accuracy, verdict.robust_accuracy, verdict.outcomes.tolist()
    (1.0, 0.5, [255, 1])
    """
    _known(protocol=protocol, engine=engine, randomness=randomness)
    if engine == "reference":
        randomness = "compat"
    _sensible(batch_size, shard, randomness)
    with _reporting(progress) as report, prepare(model, x, y, threat, batch_size, dtype) as judged:
        if judged.threat.eps == 0:
            ledger = Ledger.begin(judged.x, judged.outcome, 0)
            return _verdict(
                judged, *_table(judged, (), [(slice(0, len(judged.x)), ledger)]), protocol, (), (), batch_size
            )
        ran = _possible(judged, protocol)
        attacks = PROTOCOLS[ran] if teacher is not None or ran != BLACK_BOX else ("square",)
        from bench.evaluation.engine import deviations
        from bench.evaluation.suite import Suite, make_engine

        notes = deviations(judged.threat, tuple(judged.x.shape[1:]), judged.classes)
        notes += () if ran != BLACK_BOX else (f"{' and '.join(attacks)} alone: no AutoAttack, which needs a gradient",)
        first = tuple(attack for attack in attacks if attack in ATTACKS)
        place = Path(folder) / judged.fingerprint(first, engine, randomness, seed, batch_size) if folder else None
        with_engine, together = make_engine(engine, judged, seed), judged.x.is_cuda and randomness == "stable"
        suite = Suite(judged.model, with_engine, first, randomness, seed, batch_size, together, place, report)
        ledgers = suite.run(judged.x, judged.y, judged.outcome, shard)
        frame, adversarial, index = _table(judged, first, ledgers)
        if ran == "beyond":
            frame, adversarial = _beyond(judged, frame, adversarial, index, seed, batch_size)
        if ran == BLACK_BOX and teacher is not None:
            frame, adversarial = _transferred(judged, frame, adversarial, index, seed, batch_size, teacher)
        found = _verdict(judged, frame, adversarial, index, ran, attacks, notes, batch_size)
        if diagnose and shard == (1, 1):
            found = _diagnosed(judged, found, seed, batch_size, teacher)
        return found


def _possible(judged: Judged, protocol: str) -> str:
    """The protocol that can run: `black-box` on a quantised model. Raises TemperError where there is no gradient, and
    nothing says that there cannot be one."""
    if protocol == BLACK_BOX or not judged.gradient:
        return protocol
    if judged.quantised:
        return BLACK_BOX
    raise TemperError(
        f"the model's logits carry no gradient to its input ({judged.gradient}); white-box attacks would prove "
        "nothing; protocol='black-box' runs Square alone, which is not AutoAttack"
    )


def _table(
    judged: Judged, attacks: Sequence[str], ledgers: Sequence[tuple[slice, Ledger]]
) -> tuple[pd.DataFrame, Tensor, Tensor]:
    """All that the ledgers say: a row an example, the adversarial examples (K, ...), and which inputs they are (K,)."""
    index = torch.cat([torch.arange(block.start, block.stop) for block, _ in ledgers])
    outcome, target, iteration, worst, forwards, backwards, adversarial = (
        torch.cat([getattr(ledger, name) for _, ledger in ledgers])
        for name in ("outcome", "target", "iteration", "worst", "forwards", "backwards", "adversarial")
    )
    frame = pd.DataFrame(
        {
            "label": judged.y.cpu()[index].numpy(),
            "prediction": judged.predictions[index].numpy(),
            "margin": judged.margins[index].numpy(),
            "outcome": outcome.numpy(),
            "target": target.numpy(),
            "iteration": iteration.numpy(),
            **{f"margin_{name}": worst[:, k].numpy() for k, name in enumerate(attacks)},
            "forwards": forwards.numpy().astype(np.int32),
            "backwards": backwards.numpy().astype(np.int32),
        }
    )
    return frame, adversarial, index


def _beyond(
    judged: Judged, frame: pd.DataFrame, adversarial: Tensor, index: Tensor, seed: int, batch_size: int
) -> tuple[pd.DataFrame, Tensor]:
    """AutoAttack's table and adversarial examples, with what further attacks break of what it left."""
    from bench.evaluation.beyond import beyond

    x, y = judged.x[index.to(judged.x.device)], judged.y[index.to(judged.y.device)]
    before = torch.from_numpy(frame["outcome"].to_numpy() == ROBUST)
    more = beyond(judged.model, x, y, judged.threat, before, seed=seed, batch_size=batch_size)
    return _fallen(frame, adversarial, more.standing.values(), more.adversarial, len(ATTACKS) + 1)


def _transferred(
    judged: Judged,
    frame: pd.DataFrame,
    adversarial: Tensor,
    index: Tensor,
    seed: int,
    batch_size: int,
    teacher: nn.Module,
) -> tuple[pd.DataFrame, Tensor]:
    """Square's table and adversarial examples, with what examples made on the teacher break of what it left."""
    from bench.evaluation.adaptive import transferred

    where = index.to(judged.x.device)
    given = (judged.model, judged.x[where], judged.y[where], judged.threat, frame["outcome"].to_numpy())
    left, x_adv = transferred(*given, judged.like(teacher), seed=seed, batch_size=batch_size)
    return _fallen(frame, adversarial, [left], x_adv, PROTOCOLS[BLACK_BOX].index("transfer") + 1)


def _fallen(
    frame: pd.DataFrame, adversarial: Tensor, standing: Iterable[Tensor], x_adv: Tensor, number: int
) -> tuple[pd.DataFrame, Tensor]:
    """The table and adversarial examples after further attacks: `standing` (N,) is what each left, `x_adv` (N, ...)
    what they made of the others, and `number` the outcome of the first attack."""
    outcomes = torch.from_numpy(frame["outcome"].to_numpy(copy=True))
    before = left = outcomes == ROBUST
    for outcome, still in enumerate(standing, start=number):
        outcomes[left & ~still] = outcome
        left = still
    fallen = (before & ~left).view(-1, *(1,) * (adversarial.ndim - 1))
    return frame.assign(outcome=outcomes.numpy()), torch.where(fallen, x_adv.to(adversarial), adversarial)


def _diagnosed(judged: Judged, found: Evaluation, seed: int, batch_size: int, teacher: nn.Module | None) -> Evaluation:
    """The verdict with its diagnostics, and with the stronger attacks that they call for."""
    from bench.evaluation.adaptive import adaptive
    from bench.evaluation.diagnostics import Diagnostic, diagnose

    given = (judged.model, judged.x, judged.y, judged.threat, found.outcomes)
    options: dict[str, Any] = {"seed": seed, "batch_size": batch_size}
    options["teacher"] = None if teacher is None else judged.like(teacher)
    signs = diagnose(*given, **options, gradients=found.protocol != BLACK_BOX)
    stopped: dict[str, Diagnostic] = {}
    right = adaptive(*given, signs, **options, stopped=stopped)
    columns = {ADAPTIVE + name: column for name, column in right.items()}
    told = {name: sign.to_json() for name, sign in (signs | stopped).items()}
    return replace(found, details=found.details.assign(**columns), diagnostics=told | found.diagnostics)


def _verdict(
    judged: Judged,
    frame: pd.DataFrame,
    adversarial: Tensor,
    index: Tensor,
    protocol: str,
    attacks: tuple[str, ...],
    deviations: tuple[str, ...],
    batch_size: int,
) -> Evaluation:
    """A verdict from its table: each adversarial example is shown to the model again, in batches of another size."""
    x, y = judged.x[index.to(judged.x.device)], judged.y[index.to(judged.y.device)]
    inside, guessed, distance = _second_look(judged, x, adversarial.to(x), batch_size)
    fools, silent = guessed != y.cpu(), guessed == NO_ANSWER
    outcome = torch.from_numpy(frame["outcome"].to_numpy(copy=True))
    broken = (outcome != ROBUST) & (outcome != MISCLASSIFIED)
    words = [outcome_name(int(each), attacks) for each in outcome]
    verified = broken & inside & fools
    return Evaluation(
        outcomes=outcome.numpy(),
        labels=frame["label"].to_numpy(),
        predictions=frame["prediction"].to_numpy(),
        adversarial=judged.restored(adversarial, index),
        details=frame.assign(broken_by=words, distance=distance.numpy(), verified=verified.numpy()),
        index=index.numpy(),
        attacks=attacks,
        protocol=protocol,
        notes=judged.notes,
        deviations=deviations,
        diagnostics={
            "outside_the_ball": _count(broken & ~inside, "{} adversarial {} outside the threat model", "lie"),
            "fooling_no_more": _count(broken & inside & ~fools, "{} adversarial {} fooling in other batches", "stop"),
            "non_finite": _count(silent, "{} {} logits that are not finite", "get"),
        },
    )


def _count(which: Tensor, words: str, verb: str) -> dict[str, Any]:
    """A diagnostic that fails where there is any example in `which`, bool (N,); `words` has places for how many, and
    for the examples with their `verb`."""
    count = int(which.sum())
    subject = f"example {verb}s" if count == 1 else f"examples {verb}"
    told = f"{words.format(count or 'No', subject)}."
    return {"value": count, "threshold": 0, "verdict": "fail" if count else "pass", "words": told}


@torch.no_grad()
def _second_look(judged: Judged, x: Tensor, adversarial: Tensor, batch_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of each adversarial example (K,): whether it lies in the ball, what the model says to it, and its distance."""
    guessed = torch.cat([predicted(judged.model(part)) for part in adversarial.split(batch_size // 2 + 1)])
    inside, distance = judged.threat.contains(x, adversarial), judged.threat.distance(x, adversarial)
    return inside.cpu(), guessed.cpu(), distance.cpu()


def _known(**choices: str) -> None:
    for name, choice in choices.items():
        if choice not in CHOICES[name]:
            raise unknown(name, choice, CHOICES[name])


def _sensible(batch_size: int, shard: tuple[int, int], randomness: str) -> None:
    if batch_size < 1:
        raise TemperError(f"batch_size must be at least 1, got {batch_size}")
    if not 1 <= shard[0] <= shard[1]:
        raise TemperError(f"a shard is i/n with 1 <= i <= n, got {shard[0]}/{shard[1]}")
    if shard != (1, 1) and randomness != "stable":
        raise TemperError("shards need stable randomness: with compat, outcomes depend on what else is in a batch")


@contextmanager
def _reporting(progress: bool | Progress) -> Iterator[Progress]:
    """The function to call with the fraction done: the caller's, a bar's, or one that does nothing."""
    if callable(progress):
        yield progress
    elif progress:
        from rich.progress import Progress as Bars

        with Bars(transient=True) as bars:
            task = bars.add_task("attacks", total=1.0)
            yield lambda done: bars.update(task, completed=done)
    else:
        yield lambda done: None
