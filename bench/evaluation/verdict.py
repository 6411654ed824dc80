"""The verdict on every example: made from what the attacks found, looked at once more, and told as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from bench.evaluation.inputs import Judged
from bench.evaluation.ledger import Ledger
from bench.protocol import ADAPTIVE, ATTACKS, BLACK_BOX, MISCLASSIFIED, PROTOCOLS, ROBUST, outcome_name, verdicts
from bench.task import NO_ANSWER, predicted


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
        """Share of examples that are right under every attack, those that diagnostics called for among them."""
        return float(np.mean(verdicts(self.details) == ROBUST))

    def to_frame(self) -> pd.DataFrame:
        """One row an example: `label`, `prediction`, `margin` (clean: z_y - max over others), `outcome`, `broken_by` in
        words, and of the breaking attack the class it aimed at (`target`, -1 for none) and the `iteration`; the
        smallest margin that each attack saw (`margin_NAME`, NaN where it did not run); `distance` of the adversarial
        example; calls of the network spent (`forwards`, `backwards`); `verified`: there is an adversarial example that
        lies in the ball and fools the model in another batch too. `adaptive_NAME` tells who is right under an attack
        that a diagnostic called for.
        """
        return self.details


def table_of(
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


def with_beyond(
    judged: Judged, frame: pd.DataFrame, adversarial: Tensor, index: Tensor, seed: int, batch_size: int
) -> tuple[pd.DataFrame, Tensor]:
    """AutoAttack's table and adversarial examples, with what further attacks break of what it left."""
    from bench.evaluation.beyond import beyond

    x, y = judged.x[index.to(judged.x.device)], judged.y[index.to(judged.y.device)]
    before = torch.from_numpy(frame["outcome"].to_numpy() == ROBUST)
    more = beyond(judged.model, x, y, judged.threat, before, seed=seed, batch_size=batch_size)
    return _fallen(frame, adversarial, more.standing.values(), more.adversarial, len(ATTACKS) + 1)


def with_transfer(
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


def diagnosed(judged: Judged, found: Evaluation, seed: int, batch_size: int, teacher: nn.Module | None) -> Evaluation:
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


def verdict_of(
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
