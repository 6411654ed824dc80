"""A checkpoint that was really judged, once for all tests."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import nn

from bench.cli.evaluate import evaluate
from bench.networks import build, save_weights
from bench.scenario import load_scenario


class Judged(NamedTuple):
    """The scenario's file, the weights, the folder of leaderboards, and the row's folder in it."""

    scenario: Path
    weights: Path
    leaderboards: Path
    row: Path


@pytest.fixture(scope="session")
def judged(tmp_path_factory: pytest.TempPathFactory, digits_file: Path, tiny_text: str) -> Judged:
    folder = tmp_path_factory.mktemp("judged")
    (folder / "digits.safetensors").symlink_to(digits_file)
    scenario = folder / "tiny.toml"
    scenario.write_text(tiny_text)
    weights = student(scenario)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEMPER_CACHE", str(folder / "cache"))
        patch.setenv("TEMPER_SHIPPED", str(folder / "none"))
        root = folder / "leaderboards"
        evaluate(weights, str(scenario), add_row="Mine, v1", source="https://example.org/x", leaderboards=root)
    return Judged(scenario, weights, root, root / "checkpoints" / "tiny" / "mine-v1")


def student(scenario: Path, seed: int = 0) -> Path:
    """A file of the student's first weights, with a last layer that gives every class a chance."""
    loaded = load_scenario(scenario)
    torch.manual_seed(seed)
    module = build(loaded.student, loaded.data.shape, loaded.data.classes)
    assert isinstance(module, nn.Module)
    path = scenario.with_name(f"student-{seed}.safetensors")
    save_weights(path, module.state_dict())
    return path
