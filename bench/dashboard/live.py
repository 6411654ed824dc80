"""Stored students at work: adversarial versions of test images, and of an image that the reader drew.

Only networks of our own registry are built, and weights are read as safetensors: nothing of a submission runs here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from bench.ascent import ascend
from bench.dashboard.cached import cached
from bench.losses import margin
from bench.ranking import load_student
from bench.scenario import load_scenario
from bench.task import NO_ANSWER, predicted
from bench.threat import Threat

STEPS = 50  # of the attack on the reader's image
MADE = "Recomputed by AutoAttack on these images only."


class Struck(NamedTuple):
    """An image under attack: the adversarial image (C, H, W), and the logits (K,) before and after."""

    image: Tensor
    clean: Tensor
    attacked: Tensor

    @property
    def before(self) -> int:
        """The class that the student names without attack, -1 where a logit is not finite."""
        return int(predicted(self.clean[None]))

    @property
    def after(self) -> int:
        """The class that it names under attack, likewise."""
        return int(predicted(self.attacked[None]))

    @property
    def held(self) -> bool:
        """Whether the answer stayed the same; one that is not finite never does."""
        return self.before == self.after != NO_ANSWER


def answer(guess: int) -> str:
    """A predicted class in words."""
    return "no class (its logits are not finite)" if guess == NO_ANSWER else str(guess)


@cached(entries=4, spinner="Reading the test images …")
def images(scenario: str) -> tuple[Tensor, Tensor]:
    """The test split: inputs (N, C, H, W) inside the scenario's bounds, and labels (N,). Raises TemperError where the
    data are not here."""
    from bench.data import load

    split = load(load_scenario(scenario).data, ("test",))["test"]
    return split.inputs(), split.y


@cached(entries=256)
def student(folder: Path) -> nn.Module:
    """The selected student of a record. Raises TemperError where its weights are not beside it."""
    return load_student(folder)


@cached(entries=64, spinner="Attacking …")
def adversarial(folder: Path, scenario: str, index: tuple[int, ...]) -> Tensor:
    """What AutoAttack makes of these test images, (K, C, H, W), against the student of a record."""
    import bench

    x, y = (part[list(index)] for part in images(scenario))
    threat = load_scenario(scenario).threat
    return bench.evaluate(student(folder), x, y, threat=threat, diagnose=False).adversarial


def strike(module: nn.Module, x: Tensor, threat: Threat) -> Struck:
    """PGD from one image (C, H, W) inside the bounds, on the margin of what the network says of it; nothing at a radius
    of 0, or where it says nothing finite."""
    batch = x[None]
    with torch.no_grad():
        clean = module(batch)
    found, y = batch, predicted(clean)
    if threat.eps and int(y) != NO_ANSWER:
        generator = torch.Generator().manual_seed(0)
        size = 2.5 * threat.eps / STEPS
        found = ascend(lambda z: margin(module(z), y), batch, threat, steps=STEPS, step_size=size, generator=generator)
    with torch.no_grad():
        return Struck(found[0], clean[0], module(found)[0])


def pixels(image: Tensor, bounds: tuple[float, float] = (0.0, 1.0)) -> np.ndarray[Any, Any]:
    """An image (C, H, W) inside `bounds` as Streamlit and PNG take it: (H, W) or (H, W, 3), uint8; small ones are
    enlarged."""
    image = (image - bounds[0]) / (bounds[1] - bounds[0])
    grown = image.repeat_interleave(scale := max(1, 160 // image.shape[1]), 1).repeat_interleave(scale, 2)
    array = (255 * grown.clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()
    return array[:, :, 0] if array.shape[2] == 1 else array


def difference(x: Tensor, x_adv: Tensor, eps: float) -> np.ndarray[Any, Any]:
    """A perturbation as an image: grey where nothing changed, white at +eps and black at -eps."""
    return pixels(0.5 + (x_adv - x) / (2 * eps or 1.0))
