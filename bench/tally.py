"""Class statistics of training batches, from one end of an epoch to the next."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.method import Nets


@dataclass(frozen=True)
class Tally:
    """Means over the examples of each class, kept in `nets.state` under a name, and so checkpointed.

    `begin` in `setup`, `add` in `after_step`, `close` in `epoch_end`.
    """

    name: str

    def begin(self, nets: Nets, *width: int) -> None:
        """Nothing counted yet; values are of shape (B, *width)."""
        nets.state[f"{self.name}_sum"] = torch.zeros(nets.classes, *width, device=nets.device)
        nets.state[f"{self.name}_count"] = torch.zeros(nets.classes, device=nets.device)

    def add(self, nets: Nets, y: Tensor, values: Tensor) -> None:
        """Count values (B, *width) of examples with labels y (B,)."""
        total, count = nets.state[f"{self.name}_sum"], nets.state[f"{self.name}_count"]
        nets.state[f"{self.name}_sum"] = total.index_add(0, y, values.detach().to(total.dtype))
        nets.state[f"{self.name}_count"] = count + torch.bincount(y, minlength=nets.classes).to(count.dtype)

    def close(self, nets: Nets) -> tuple[Tensor, Tensor]:
        """The mean of each class (C, *width), 0 where it was not seen, and the counts (C,); then starts again."""
        total, count = nets.state[f"{self.name}_sum"], nets.state[f"{self.name}_count"]
        self.begin(nets, *total.shape[1:])
        return total / count.clamp_min(1).view(-1, *(1,) * (total.ndim - 1)), count
