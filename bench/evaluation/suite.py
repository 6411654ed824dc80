"""Runs a sequence of attacks over blocks of examples, and remembers every unit of work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from bench.errors import TemperError
from bench.evaluation.engine import FastEngine
from bench.evaluation.found import Found
from bench.evaluation.inputs import Judged
from bench.evaluation.ledger import Ledger, Unit
from bench.evaluation.noise import Keyed, Noise, Stream, example_keys
from bench.protocol import ROBUST
from bench.task import correct

SAMPLE = 64  # examples on which a rewritten network is compared with the model
Randomness = Literal["stable", "compat"]
WORK = {"apgd-ce": 2.0, "apgd-t": 2.0, "fab-t": 3.0, "square": 40.0}  # of one target, for the progress shown


class Engine(Protocol):
    """Something that runs the attacks."""

    def targets(self, attack: str) -> range:
        """The ranks of the targets that an attack goes through."""

    def run(self, attack: str, ranks: Sequence[int], x: Tensor, y: Tensor, noises: Sequence[Noise]) -> Found:
        """What the attack found with the targets of these ranks, and the random numbers of each."""


@dataclass
class Suite:
    """The attacks of a protocol on one model.

    With `stable` randomness, a block is attacked by itself: blocks may be run in any order, on other machines, and
    again. With `compat`, all examples are one block, of which what still stands is cut into batches anew for each
    attack, as pyautoattack does.
    """

    model: nn.Module
    engine: Engine
    attacks: Sequence[str]
    randomness: Randomness
    seed: int
    batch_size: int
    together: bool = False  # all targets of an attack in one batch; with `stable` randomness only
    folder: Path | None = None  # where ledgers are kept; None keeps nothing
    report: Callable[[float], None] = field(default=lambda done: None)

    def run(self, x: Tensor, y: Tensor, outcome: Tensor, shard: tuple[int, int] = (1, 1)) -> list[tuple[slice, Ledger]]:
        """Attack x (N, ...), labels y (N,), from `outcome` (N,) of the clean inputs. One ledger a block of the shard.

        Shard (i, n) is every n-th block, from the i-th on.
        """
        size = self.batch_size if self.randomness == "stable" else len(x)
        blocks = [slice(start, min(start + size, len(x))) for start in range(0, len(x), size)][shard[0] - 1 :: shard[1]]
        if not blocks:
            raise TemperError(
                f"shard {shard[0]}/{shard[1]} is empty: {len(x)} examples are {-(-len(x) // size)} blocks"
            )
        ledgers = []
        for number, block in enumerate(blocks):
            done, share = number / len(blocks), 1 / len(blocks)
            path = self.folder / f"{block.start}.safetensors" if self.folder else None
            ledger = (path and Ledger.load(path)) or Ledger.begin(x[block], outcome[block], len(self.attacks))
            self._attack(x[block], y[block], ledger, path, done, share)
            ledgers.append((block, ledger))
        self.report(1.0)
        return ledgers

    def _attack(self, x: Tensor, y: Tensor, ledger: Ledger, path: Path | None, done: float, share: float) -> None:
        """All attacks on a block, after those that its ledger has."""
        keys = example_keys(x, y) if self.randomness == "stable" else None
        total, spent = sum(WORK[a] * len(self.engine.targets(a)) for a in self.attacks), 0.0
        for number, attack in enumerate(self.attacks):
            batches = ledger.members(number).split(self.batch_size)
            for part, batch in enumerate(batches):
                for ranks in self._groups(attack):
                    unit = (number, part, ranks[-1])
                    if unit > ledger.done:
                        self._unit(attack, ranks, unit, batch, x, y, keys, ledger)
                        if path:
                            ledger.save(path)
                    spent += WORK[attack] * len(ranks) / len(batches)
                    self.report(done + share * min(spent / total, 1.0))

    def _groups(self, attack: str) -> list[range]:
        """The targets that run in one batch: each by itself, or all."""
        targets = self.engine.targets(attack)
        return [targets] if self.together else [range(rank, rank + 1) for rank in targets]

    def _unit(
        self,
        attack: str,
        ranks: range,
        unit: Unit,
        batch: Tensor,
        x: Tensor,
        y: Tensor,
        keys: Tensor | None,
        ledger: Ledger,
    ) -> None:
        """Some targets of an attack on those of a batch that still stand."""
        index = batch[ledger.outcome[batch] == ROBUST]
        if not len(index):
            ledger.done = unit
            return
        where = index.to(x.device)
        inputs, labels = x[where], y[where]
        if keys is not None:
            noises = [Keyed(self.seed, keys[where], attack, rank, 0) for rank in ranks]
            found = self.engine.run(attack, ranks, inputs, labels, noises)
        else:
            stream = torch.Generator().manual_seed(self.seed)
            if ranks[0] > 1 and len(ledger.stream):
                stream.set_state(ledger.stream)
            found = self.engine.run(attack, ranks, inputs, labels, [Stream(stream, len(index), x.device)])
            ledger.stream = stream.get_state()
        found.fooled &= self._wrong(found.x_adv, labels)
        ledger.enter(unit, index, found)

    @torch.no_grad()
    def _wrong(self, x: Tensor, y: Tensor) -> Tensor:
        """Where the model as it is errs (B,)."""
        return ~correct(self.model(x), y)


def make_engine(name: str, judged: Judged, seed: int) -> Engine:
    """The engine of that name for a model: ours, or pyautoattack."""
    if name == "reference":
        from bench.evaluation.reference import ReferenceEngine

        return ReferenceEngine(judged.model, judged.threat, seed, judged.x.device, judged.classes)
    return FastEngine(judged.model, judged.threat, judged.x[:SAMPLE], judged.classes)
