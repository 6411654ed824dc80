"""Evaluation: which test examples a model classifies right, and which attack breaks the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from bench.errors import TemperError, unknown
from bench.evaluation.inputs import Examples, Judged, judging, prepare
from bench.evaluation.ledger import Ledger
from bench.evaluation.verdict import Evaluation, diagnosed, table_of, verdict_of, with_beyond, with_transfer
from bench.protocol import ATTACKS, BLACK_BOX, PROTOCOLS
from bench.threat import Threat

Progress = Callable[[float], None]
CHOICES = {"protocol": list(PROTOCOLS), "engine": ["fast", "reference"], "randomness": ["stable", "compat"]}

__all__ = ["Evaluation", "Progress", "evaluate", "judging"]


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
    prepared = prepare(model, x, y, threat, batch_size, dtype)
    with _reporting(progress) as report, prepared as judged, _quiet(teacher):
        if judged.threat.eps == 0:
            ledger = Ledger.begin(judged.x, judged.outcome, 0)
            return verdict_of(
                judged, *table_of(judged, (), [(slice(0, len(judged.x)), ledger)]), protocol, (), (), batch_size
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
        frame, adversarial, index = table_of(judged, first, ledgers)
        if ran == "beyond":
            frame, adversarial = with_beyond(judged, frame, adversarial, index, seed, batch_size)
        if ran == BLACK_BOX and teacher is not None:
            frame, adversarial = with_transfer(judged, frame, adversarial, index, seed, batch_size, teacher)
        found = verdict_of(judged, frame, adversarial, index, ran, attacks, notes, batch_size)
        if diagnose and shard == (1, 1):
            found = diagnosed(judged, found, seed, batch_size, teacher)
        return found


def _quiet(teacher: nn.Module | None) -> AbstractContextManager[None]:
    """Inside, a teacher is in eval mode and frozen."""
    return nullcontext() if teacher is None else judging(teacher)


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
