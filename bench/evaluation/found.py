"""What an attack found on a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Found:
    """One row an example. `x_adv` is the input itself where nothing was found."""

    x_adv: Tensor  # (B, ...)
    fooled: Tensor  # bool (B,)
    target: Tensor  # int64 (B,), the class that the attack aimed at, -1 where it had none
    iteration: Tensor  # int64 (B,), at which it was found, -1 where it was not
    margin: Tensor  # (B,), the smallest z_y - max over others that was seen
    forwards: Tensor  # int64 (B,), calls of the network that the example went through
    backwards: Tensor  # int64 (B,), gradients likewise

    @classmethod
    def nothing(cls, x: Tensor) -> Found:
        """Nothing found yet for inputs x (B, ...)."""
        count = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        margin = torch.full((len(x),), torch.inf, dtype=x.dtype, device=x.device)
        return cls(x.clone(), count.bool(), count - 1, count - 1, margin, count.clone(), count.clone())

    def record(
        self, index: Tensor, x_adv: Tensor, margin: Tensor, fooled: Tensor, iteration: int, backwards: int = 0
    ) -> None:
        """The examples at `index` were shown to the network at `x_adv`, with these margins; some were fooled."""
        self.forwards[index] += 1
        self.backwards[index] += backwards
        self.margin[index] = torch.minimum(self.margin[index], margin)
        if bool(fooled.any()):
            where = index[fooled]
            self.x_adv[where], self.fooled[where], self.iteration[where] = x_adv[fooled], True, iteration

    def first(self, parts: int) -> Found:
        """One row for each of B examples that stand here `parts` times, one after the other: the first that fooled,
        else the one of the smallest margin. Margins are the smallest of all, and calls are added up."""
        fooled, margin = self.fooled.view(parts, -1), self.margin.view(parts, -1)
        part = torch.where(fooled.any(0), fooled.int().argmax(0), margin.argmin(0))
        row = part * fooled.shape[1] + torch.arange(fooled.shape[1], device=part.device)
        calls = (count.view(parts, -1).sum(0) for count in (self.forwards, self.backwards))
        return Found(self.x_adv[row], self.fooled[row], self.target[row], self.iteration[row], margin.amin(0), *calls)
