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
from bench.threat import Threat

STEPS = 50  # of the attack on the reader's image
MADE = "AutoAttack made them anew, on these images alone."


class Struck(NamedTuple):
    """An image under attack: the adversarial image (C, H, W), and the logits (K,) before and after."""

    image: Tensor
    clean: Tensor
    attacked: Tensor

    @property
    def held(self) -> bool:
        """Whether the answer stayed the same."""
        return bool(self.clean.argmax() == self.attacked.argmax())


@cached(entries=4, spinner="Reading the test images …")
def images(scenario: str) -> tuple[Tensor, Tensor]:
    """The test split: inputs (N, C, H, W) in [0, 1] and labels (N,). Raises TemperError where the data are not here."""
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
    """PGD from one image (C, H, W) in [0, 1] on the margin of what the network says of it; at a radius of 0 nothing."""
    batch = x[None]
    with torch.no_grad():
        clean = module(batch)
    found = batch
    if threat.eps:
        y, generator = clean.argmax(1), torch.Generator().manual_seed(0)
        size = 2.5 * threat.eps / STEPS
        found = ascend(lambda z: margin(module(z), y), batch, threat, steps=STEPS, step_size=size, generator=generator)
    with torch.no_grad():
        return Struck(found[0], clean[0], module(found)[0])


def pixels(image: Tensor) -> np.ndarray[Any, Any]:
    """An image (C, H, W) as Streamlit and PNG take it: (H, W) or (H, W, 3), uint8, small ones enlarged."""
    grown = image.repeat_interleave(scale := max(1, 160 // image.shape[1]), 1).repeat_interleave(scale, 2)
    array = (255 * grown.clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()
    return array[:, :, 0] if array.shape[2] == 1 else array


def difference(x: Tensor, x_adv: Tensor, eps: float) -> np.ndarray[Any, Any]:
    """A perturbation as an image: grey where nothing changed, white at +eps and black at -eps."""
    return pixels(0.5 + (x_adv - x) / (2 * eps or 1.0))
