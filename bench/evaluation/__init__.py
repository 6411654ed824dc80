"""Evaluation: which test examples a model classifies right, and which attack breaks the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from bench.errors import TemperError, unknown
from bench.evaluation.inputs import Judged, judging, prepare
from bench.evaluation.ledger import Ledger
from bench.protocol import ATTACKS, MISCLASSIFIED, PROTOCOLS, ROBUST, outcome_name
from bench.threat import Threat

Progress = Callable[[float], None]
ADAPTIVE = "adaptive_"  # begins the column of an adaptive attack
CHOICES = {"protocol": list(PROTOCOLS), "engine": ["fast", "reference"], "randomness": ["stable", "compat"]}

__all__ = ["Evaluation", "Progress", "evaluate", "judging"]


@dataclass(frozen=True)
class Evaluation:
    """The verdict on every example. Accuracies are fractions in [0, 1]."""

    outcomes: np.ndarray  # uint8 (N,): 0 misclassified, 1..n first attack that broke it, 255 robust
    labels: np.ndarray  # int64 (N,)
    predictions: np.ndarray  # int64 (N,), on clean inputs
    adversarial: Tensor = field(repr=False)  # (N, ...), the inputs themselves where nothing broke them
    details: pd.DataFrame = field(repr=False)  # one row an example, see `to_frame`
    index: np.ndarray = field(repr=False)  # int64 (N,), which of the inputs these are: all, but for a shard
    attacks: tuple[str, ...] = ATTACKS
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
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    threat: Threat,
    protocol: Literal["standard", "screen", "beyond"] = "standard",
    engine: Literal["fast", "reference"] = "fast",
    randomness: Literal["stable", "compat"] = "stable",
    seed: int = 0,
    batch_size: int = 256,
    progress: bool | Progress = False,
    folder: Path | None = None,
    shard: tuple[int, int] = (1, 1),
    diagnose: bool = True,
    teacher: nn.Module | None = None,
) -> Evaluation:
    """Judge `model` on inputs `x` (N, C, H, W) inside the threat's bounds, labels `y` (N,).

    The model maps (B, C, H, W) to logits (B, K) and is put into eval mode meanwhile; its mode, gradients, buffers and
    the global random state are left as found. `standard` is AutoAttack; `screen` is its APGD-CE and APGD-T alone, about
    5 times cheaper, and not AutoAttack; `beyond` is AutoAttack, and then further attacks on what it left. With `stable`
    randomness outcomes depend neither on batches nor on order; `compat` draws what pyautoattack draws. The `reference`
    engine is pyautoattack itself, and always `compat`.

    Work is saved in `folder` after every target of every attack, and taken up from there by the same call, even after
    a kill. Shard (i, n) judges every n-th block of `batch_size` examples, from the i-th on; a call without a shard on
    the same folder finds what the shards did. `progress` shows a bar, or is called with the fraction done.

    Unless told not to `diagnose`, the soundness diagnostics (of which one needs the `teacher`) look for signs that the
    verdict is too good, and where one is found stronger attacks run; see `diagnostics` and `adaptive` of the result.

    Raises TemperError for inputs that make no sense (out of bounds, wrong labels, NaN logits, no gradient).
    """
    _known(protocol=protocol, engine=engine, randomness=randomness)
    if engine == "reference":
        randomness = "compat"
    _sensible(batch_size, shard, randomness)
    attacks = PROTOCOLS[protocol]
    with _reporting(progress) as report, prepare(model, x, y, threat, batch_size) as judged:
        if judged.threat.eps == 0:
            ledger = Ledger.begin(judged.x, judged.outcome, 0)
            return _verdict(judged, *_table(judged, (), [(slice(0, len(x)), ledger)]), (), batch_size)
        from bench.evaluation.suite import Suite, make_engine

        first = tuple(attack for attack in attacks if attack in ATTACKS)
        where = folder and folder / judged.fingerprint(first, engine, randomness, seed, batch_size)
        with_engine = make_engine(engine, judged, seed)
        together = judged.x.is_cuda and randomness == "stable"
        suite = Suite(judged.model, with_engine, first, randomness, seed, batch_size, together, where, report)
        ledgers = suite.run(judged.x, judged.y, judged.outcome, shard)
        frame, adversarial, index = _table(judged, first, ledgers)
        if protocol == "beyond":
            frame, adversarial = _beyond(judged, frame, adversarial, index, seed, batch_size)
        found = _verdict(judged, frame, adversarial, index, attacks, batch_size)
        if diagnose and shard == (1, 1):
            found = _diagnosed(judged, found, seed, batch_size, teacher)
        return found


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
    outcomes = torch.from_numpy(frame["outcome"].to_numpy(copy=True))
    before = left = outcomes == ROBUST
    more = beyond(judged.model, x, y, judged.threat, before, seed=seed, batch_size=batch_size)
    for number, still in enumerate(more.standing.values(), start=len(ATTACKS) + 1):
        outcomes[left & ~still] = number
        left = still
    fallen = (before & ~left).view(-1, *(1,) * (adversarial.ndim - 1))
    return frame.assign(outcome=outcomes.numpy()), torch.where(fallen, more.adversarial.to(adversarial), adversarial)


def _diagnosed(judged: Judged, found: Evaluation, seed: int, batch_size: int, teacher: nn.Module | None) -> Evaluation:
    """The verdict with its diagnostics, and with the stronger attacks that they call for."""
    from bench.evaluation.adaptive import adaptive
    from bench.evaluation.diagnostics import diagnose

    given = (judged.model, judged.x, judged.y, judged.threat, found.outcomes)
    same = teacher if judged.bounds == (0.0, 1.0) else None
    signs = diagnose(*given, seed=seed, batch_size=batch_size, teacher=same)
    right = adaptive(*given, signs, seed=seed, batch_size=batch_size, teacher=same)
    columns = {ADAPTIVE + name: column for name, column in right.items()}
    told = {name: sign.to_json() for name, sign in signs.items()}
    return replace(found, details=found.details.assign(**columns), diagnostics=told | found.diagnostics)


def _verdict(
    judged: Judged, frame: pd.DataFrame, adversarial: Tensor, index: Tensor, attacks: tuple[str, ...], batch_size: int
) -> Evaluation:
    """A verdict from its table: each adversarial example is shown to the model again, in batches of another size."""
    x, y = judged.x[index.to(judged.x.device)], judged.y[index.to(judged.y.device)]
    inside, fools, distance = _second_look(judged, x, y, adversarial.to(x), batch_size)
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
        deviations=judged.deviations if attacks else (),
        diagnostics={
            "outside_the_ball": _count(broken & ~inside, "{} adversarial examples lie outside the threat model."),
            "fooling_no_more": _count(
                broken & inside & ~fools, "{} adversarial examples fool no more in other batches."
            ),
        },
    )


def _count(which: Tensor, words: str) -> dict[str, Any]:
    count = int(which.sum())
    verdict = "fail" if count else "pass"
    return {"value": count, "threshold": 0, "verdict": verdict, "words": words.format(count or "No")}


@torch.no_grad()
def _second_look(
    judged: Judged, x: Tensor, y: Tensor, adversarial: Tensor, batch_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Of each adversarial example (K,): whether it lies in the ball, whether it fools the model, and its distance."""
    parts = zip(*(tensor.split(batch_size // 2 + 1) for tensor in (y, adversarial)), strict=True)
    fools = torch.cat([judged.model(point).argmax(1) != labels for labels, point in parts])
    inside, distance = judged.threat.contains(x, adversarial), judged.threat.distance(x, adversarial)
    return inside.cpu(), fools.cpu(), distance.cpu()


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
