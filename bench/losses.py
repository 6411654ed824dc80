"""Per-example losses: pure functions of logits `(B, C)` that return shape `(B,)`. No reduction over the batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """-log softmax(logits)[y], for labels `y` (B,) or soft labels (B, C)."""
    return F.cross_entropy(logits, y, reduction="none")


def kl(target: Tensor, logits: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(target || softmax(logits / temperature)), summed over classes.

    `target` contains probabilities (B, C); gradients flow into it if it requires them.
    A probability of 0 contributes 0.
    """
    if target.requires_grad:  # log 0 has no gradient; a softmax that underflows must still give a finite one
        target = target.clamp_min(torch.finfo(target.dtype).tiny)
    log_q = F.log_softmax(logits / temperature, dim=1)
    return F.kl_div(log_q, target, reduction="none").sum(1)


def kl_logits(target_logits: Tensor, logits: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(softmax(target_logits / t) || softmax(logits / t)), summed over classes, in log space throughout."""
    log_p = F.log_softmax(target_logits / temperature, dim=1)
    log_q = F.log_softmax(logits / temperature, dim=1)
    return F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Largest wrong logit minus the true one: positive where the example is misclassified (Carlini & Wagner 2017)."""
    right = logits.gather(1, y[:, None]).squeeze(1)
    wrong = logits.scatter(1, y[:, None], float("-inf")).amax(1)
    return wrong - right


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """Difference of logits ratio (Croce & Hein 2020, Eq. 6): the margin over the gap of first to third logit.

    Needs at least 3 classes; invariant to shifts and rescaling of the logits.
    """
    top = logits.sort(dim=1, descending=True).values
    return margin(logits, y) / (top[:, 0] - top[:, 2] + 1e-12)


def margin_targeted(logits: Tensor, classes: Tensor) -> Tensor:
    """Logit of a target minus the true one, for `classes` (B, 2): the label and the target."""
    right, target = logits.gather(1, classes).unbind(1)
    return target - right


def dlr_targeted(logits: Tensor, classes: Tensor) -> Tensor:
    """The targeted margin over the gap of the first logit to the mean of third and fourth (Croce & Hein 2020, Eq. 7).

    `classes` (B, 2): the label and the target. Needs at least 4 classes.
    """
    top = logits.sort(dim=1, descending=True).values
    return margin_targeted(logits, classes) / (top[:, 0] - 0.5 * (top[:, 2] + top[:, 3]) + 1e-12)
