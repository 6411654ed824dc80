"""What a model's outputs mean: the class that it predicts, and whether that is right.

Everything that asks "is this still right?" asks here, so that one rule holds everywhere: an example is right where all
its logits are finite and the label's is the largest. Of equal logits the first class counts, as in pyautoattack. A
model that answers NaN or infinity to an input has failed on it, whatever the label.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.losses import margin

NO_ANSWER = -1  # the prediction where a logit is not finite


def predicted(logits: Tensor) -> Tensor:
    """The class (B,) of the largest of logits (B, C), the first of several; -1 where one of them is not finite."""
    return torch.where(logits.isfinite().all(1), logits.argmax(1), NO_ANSWER)


def correct(logits: Tensor, y: Tensor) -> Tensor:
    """Where logits (B, C) say that the class is y (B,): bool (B,)."""
    return predicted(logits) == y


def lead(logits: Tensor, y: Tensor) -> Tensor:
    """By how much the logit of the label y (B,) leads the others (B,): z_y - max over others, negative where the model
    is wrong, and -inf where a logit is not finite."""
    return (-margin(logits, y)).where(logits.isfinite().all(1), -torch.inf)
