"""The protocol in words and constants; imports nothing heavy."""

from __future__ import annotations

ATTACKS = ("apgd-ce", "apgd-t", "fab-t", "square")  # AutoAttack `standard`, in its order
FURTHER = ("fgsm", "pgd-20", "cw")  # beside the score, never in it
MISCLASSIFIED, ROBUST = 0, 255  # outcomes; 1..n is the first attack of the protocol that broke the example
EVALUATOR_VERSION = "pyautoattack 0.2.0; outcomes 1"
MIN_CLASSES = 10  # fewer, and the reference's targeted attacks ask for more targets than there are


def outcome_name(outcome: int) -> str:
    """An outcome in words."""
    if outcome == MISCLASSIFIED:
        return "misclassified"
    return "robust" if outcome == ROBUST else ATTACKS[outcome - 1]
