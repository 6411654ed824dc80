"""The protocol in words and constants; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence

ATTACKS = ("apgd-ce", "apgd-t", "fab-t", "square")  # AutoAttack `standard`, in its order
BEYOND = ("pma", "malt", "restarts")  # on what AutoAttack leaves, beside the score too
BLACK_BOX = "black-box"
PROTOCOLS: dict[str, tuple[str, ...]] = {
    "standard": ATTACKS,
    "screen": ATTACKS[:2],  # about 5 times cheaper, and not AutoAttack
    "beyond": ATTACKS + BEYOND,
    BLACK_BOX: ("square", "transfer"),  # for a model without a gradient, and not AutoAttack
}
FURTHER = ("fgsm", "pgd-20", "cw")  # beside the score, never in it
ADAPTIVE = "adaptive_"  # begins the column of an attack that a diagnostic called for
MISCLASSIFIED, ROBUST = 0, 255  # outcomes; 1..n is the first attack of the protocol that broke the example
EVALUATOR_VERSION = "pyautoattack 0.2.0; outcomes 2"


def outcome_name(outcome: int, attacks: Sequence[str] = ATTACKS) -> str:
    """An outcome in words."""
    if outcome == MISCLASSIFIED:
        return "misclassified"
    return "robust" if outcome == ROBUST else attacks[outcome - 1]
