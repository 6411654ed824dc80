"""Evaluation: which test examples a model classifies right, and which attack breaks the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from bench.errors import TemperError, unknown
from bench.evaluation.inputs import Judged, judging, prepare
from bench.evaluation.ledger import Ledger
from bench.protocol import MISCLASSIFIED, PROTOCOLS, ROBUST, outcome_name
from bench.threat import Threat

Progress = Callable[[float], None]
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
    attacks: tuple[str, ...] = PROTOCOLS["standard"]
    deviations: tuple[str, ...] = ()  # in words, where these inputs do not allow the attacks as published
    diagnostics: dict[str, Any] = field(default_factory=dict)

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
        lies in the ball and fools the model in another batch too.
        """
        return self.details


def evaluate(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    threat: Threat,
    protocol: Literal["standard", "screen"] = "standard",
    engine: Literal["fast", "reference"] = "fast",
    randomness: Literal["stable", "compat"] = "stable",
    seed: int = 0,
    batch_size: int = 256,
    progress: bool | Progress = False,
    folder: Path | None = None,
    shard: tuple[int, int] = (1, 1),
) -> Evaluation:
    """Judge `model` on inputs `x` (N, C, H, W) inside the threat's bounds, labels `y` (N,).

    The model maps (B, C, H, W) to logits (B, K) and is put into eval mode meanwhile; its mode, gradients, buffers and
    the global random state are left as found. `standard` is AutoAttack; `screen` is its APGD-CE and APGD-T alone, about
    5 times cheaper, and not AutoAttack. With `stable` randomness outcomes depend neither on batches nor on order;
    `compat` draws what pyautoattack draws. The `reference` engine is pyautoattack itself, and always `compat`.

    Work is saved in `folder` after every target of every attack, and taken up from there by the same call, even after
    a kill. Shard (i, n) judges every n-th block of `batch_size` examples, from the i-th on; a call without a shard on
    the same folder finds what the shards did. `progress` shows a bar, or is called with the fraction done.

    Raises TemperError for inputs that make no sense (out of bounds, wrong labels, NaN logits, no gradient).
    """
    _known(protocol=protocol, engine=engine, randomness=randomness)
    if engine == "reference":
        randomness = "compat"
    _sensible(batch_size, shard, randomness)
    attacks = PROTOCOLS[protocol]
    with _reporting(progress) as report, prepare(model, x, y, threat, batch_size) as judged:
        if judged.threat.eps == 0:
            return _verdict(judged, (), [(slice(0, len(x)), Ledger.begin(judged.x, judged.outcome, 0))], batch_size)
        from bench.evaluation.suite import Suite, make_engine

        where = folder and folder / judged.fingerprint(attacks, engine, randomness, seed, batch_size)
        suite = Suite(
            judged.model,
            make_engine(engine, judged, seed),
            attacks,
            randomness,
            seed,
            batch_size,
            where,
            report,
        )
        ledgers = suite.run(judged.x, judged.y, judged.outcome, shard)
        return _verdict(judged, attacks, ledgers, batch_size)


def _verdict(
    judged: Judged, attacks: Sequence[str], ledgers: Sequence[tuple[slice, Ledger]], batch_size: int
) -> Evaluation:
    """All that the ledgers say, and a second look at every adversarial example."""
    index = torch.cat([torch.arange(block.start, block.stop) for block, _ in ledgers])
    outcome, target, iteration, worst, forwards, backwards, adversarial = (
        torch.cat([getattr(ledger, name) for _, ledger in ledgers])
        for name in ("outcome", "target", "iteration", "worst", "forwards", "backwards", "adversarial")
    )
    x, y = judged.x[index.to(judged.x.device)], judged.y[index.to(judged.y.device)]
    verified, distance = _second_look(judged, x, y, adversarial.to(x), batch_size)
    broken = (outcome != ROBUST) & (outcome != MISCLASSIFIED)
    frame = pd.DataFrame(
        {
            "label": y.cpu().numpy(),
            "prediction": judged.predictions[index].numpy(),
            "margin": judged.margins[index].numpy(),
            "outcome": outcome.numpy(),
            "broken_by": [outcome_name(int(each), attacks) for each in outcome],
            "target": target.numpy(),
            "iteration": iteration.numpy(),
            **{f"margin_{name}": worst[:, k].numpy() for k, name in enumerate(attacks)},
            "distance": distance.numpy(),
            "forwards": forwards.numpy().astype(np.int32),
            "backwards": backwards.numpy().astype(np.int32),
            "verified": (broken & verified).numpy(),
        }
    )
    inside = judged.threat.contains(x, adversarial.to(x)).cpu()
    return Evaluation(
        outcomes=frame["outcome"].to_numpy(),
        labels=frame["label"].to_numpy(),
        predictions=frame["prediction"].to_numpy(),
        adversarial=judged.restored(adversarial, index),
        details=frame,
        index=index.numpy(),
        attacks=tuple(attacks),
        deviations=judged.deviations if attacks else (),
        diagnostics={
            "adversarial_examples": int(broken.sum()),
            "outside_the_threat_model": int((broken & ~inside).sum()),
            "fooling_no_more": int((broken & inside & ~verified).sum()),
        },
    )


@torch.no_grad()
def _second_look(judged: Judged, x: Tensor, y: Tensor, adversarial: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
    """Which adversarial examples lie in the ball and fool the model in batches of another size, and how far they are."""
    parts = zip(*(tensor.split(batch_size // 2 + 1) for tensor in (x, y, adversarial)), strict=True)
    verified = [
        judged.threat.contains(inputs, point) & (judged.model(point).argmax(1) != labels)
        for inputs, labels, point in parts
    ]
    return torch.cat(verified).cpu(), judged.threat.distance(x, adversarial).cpu()


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
