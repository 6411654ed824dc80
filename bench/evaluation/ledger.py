"""What an evaluation knows so far of a block of examples: written after every unit of work, so that none is lost."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from bench.evaluation.found import Found
from bench.files import replacing
from bench.protocol import ROBUST

Unit = tuple[int, int, int]  # number of the attack, of the batch, of the target
NOTHING: Unit = (-1, -1, -1)


@dataclass
class Ledger:
    """One row an example of the block. Tensors lie on the CPU."""

    outcome: Tensor  # uint8 (N,)
    target: Tensor  # int16 (N,), the class that the breaking attack aimed at, -1 where there was none
    iteration: Tensor  # int16 (N,), of the breaking attack, -1 where nothing broke
    worst: Tensor  # float32 (N, attacks), the smallest margin that each attack saw, NaN where it did not run
    forwards: Tensor  # int64 (N,)
    backwards: Tensor  # int64 (N,)
    adversarial: Tensor  # (N, ...), the inputs themselves where nothing broke them
    stream: Tensor  # uint8, the state of the random stream of `compat`, between two targets of a batch
    done: Unit = NOTHING  # the last unit that is in here

    @classmethod
    def begin(cls, x: Tensor, outcome: Tensor, attacks: int) -> Ledger:
        """A block of inputs x (N, ...), of which `outcome` (N,) says which are misclassified."""
        count = torch.zeros(len(x), dtype=torch.int64)
        worst = torch.full((len(x), attacks), torch.nan)
        none = torch.full((len(x),), -1, dtype=torch.int16)
        stream = torch.zeros(0, dtype=torch.uint8)
        return cls(
            outcome.cpu().to(torch.uint8), none, none.clone(), worst, count, count.clone(), x.cpu().clone(), stream
        )

    def members(self, attack: int) -> Tensor:
        """The examples (K,) that stood when attack number `attack` began."""
        return ((self.outcome == ROBUST) | (self.outcome == attack + 1)).nonzero().squeeze(1)

    def enter(self, unit: Unit, index: Tensor, found: Found) -> None:
        """A unit of work was done on the examples at `index`; those of `found.fooled` are broken by it."""
        attack, fooled = unit[0], found.fooled
        broken = index[fooled.cpu()]
        self.outcome[broken] = attack + 1
        self.iteration[broken] = found.iteration[fooled].cpu().to(torch.int16)
        self.target[broken] = found.target[fooled].cpu().to(torch.int16)
        self.adversarial[broken] = found.x_adv[fooled].cpu()
        seen = found.margin.cpu().float()
        self.worst[index, attack] = torch.fmin(self.worst[index, attack], seen.where(seen < torch.inf, torch.nan))
        self.forwards[index] += found.forwards.cpu()
        self.backwards[index] += found.backwards.cpu()
        self.done = unit

    def save(self, path: Path) -> None:
        """Write everything, atomically."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "done"}
        with replacing(path) as temporary:
            temporary.write_bytes(save(tensors, {"done": json.dumps(self.done)}))

    @classmethod
    def load(cls, path: Path) -> Ledger | None:
        """What was saved; None where there is nothing (or nothing whole)."""
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                return cls(**tensors, done=tuple(json.loads(file.metadata()["done"])))
        except (FileNotFoundError, SafetensorError):
            return None
