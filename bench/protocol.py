"""The protocol in words and constants; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

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
ADAPTED = 254  # none of the protocol did, and one that a diagnostic called for
ANSWERS = {  # which stronger attacks a diagnostic calls for
    "stochastic_forward": ("eot",),
    "batch_dependence": ("eot",),
    "side_effects": ("eot",),
    "probabilities": ("rescaled",),
    "logit_scaling": ("rescaled",),
    "zero_gradients": ("rescaled", "black-box"),
    "square_gain": ("black-box",),
    "fgsm_beats_pgd": ("black-box",),
    "large_eps": ("black-box",),
    "more_steps": ("pgd-1000",),
    "transfer": ("transfer", "black-box"),
    "precision": ("float64",),
}
EVALUATOR_VERSION = "pyautoattack 0.2.0; outcomes 2"


def outcome_name(outcome: int, attacks: Sequence[str] = ATTACKS) -> str:
    """An outcome in words."""
    if outcome == MISCLASSIFIED:
        return "misclassified"
    if outcome == ADAPTED:
        return "adaptive"
    return "robust" if outcome == ROBUST else attacks[outcome - 1]


def verdicts(frame: pd.DataFrame) -> np.ndarray:
    """What counts of a table of outcomes, uint8 (N,): the outcome, and ADAPTED where nothing of the protocol broke an
    example and an attack that a diagnostic called for did. The score of record is the share that is ROBUST."""
    outcomes: np.ndarray = frame["outcome"].to_numpy(copy=True)
    adaptive = [name for name in frame.columns if str(name).startswith(ADAPTIVE)]
    if adaptive:
        outcomes[(outcomes == ROBUST) & ~frame[adaptive].to_numpy(bool).all(1)] = ADAPTED
    return outcomes


def called_for(diagnostics: Mapping[str, Any]) -> set[str]:
    """The stronger attacks that the diagnostics of an evaluation call for; `eot` alone where that is one of them."""
    tripped = [name for name, sign in diagnostics.items() if sign["verdict"] != "pass"]
    called = {attack for name in tripped for attack in ANSWERS.get(name, ())}
    return {"eot"} if "eot" in called else called


def unanswered(diagnostics: Mapping[str, Any], ran: Collection[str]) -> list[str]:
    """The stronger attacks that the diagnostics of an evaluation call for, and that are not among those that `ran`."""
    return sorted(called_for(diagnostics) - {name.removeprefix(ADAPTIVE) for name in ran})
