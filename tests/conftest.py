"""What many tests share: a scenario that trains in a second, and the command line in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import save_file

from bench.data import SOURCES, load
from bench.method import METHODS
from bench.networks import NETWORKS
from bench.registry import FILES
from bench.scenario import load_scenario
from tests.here import in_this_process

torch.set_num_threads(1)

TINY = """
title = "A piece of the digits"
seeds = 2
[data]
source = "tensors"
path = "digits.safetensors"
shape = [1, 8, 8]
classes = 10
split = { train = 256, validation = 60, test = 40 }
[threat]
norm = "Linf"
eps = 0.3
[attack]
step_size = 0.075
[student]
network = "cnn"
options = { widths = [8, 8], strides = [2, 2] }
[optimiser]
learning_rate = 0.1
batch_size = 64
[budget]
s = 2
m = 4
l = 400
"""


class Result(NamedTuple):
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes into the checkout or the user's cache."""
    monkeypatch.setenv("TEMPER_LEADERBOARDS", str(tmp_path / "leaderboards"))
    monkeypatch.setenv("TEMPER_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def _own_things(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers, or brings along in a file, is gone after it."""
    for registry in (METHODS, NETWORKS, SOURCES):
        list(registry)
        monkeypatch.setattr(registry, "_things", dict(registry._things))
    monkeypatch.setenv(FILES, "")


@pytest.fixture(scope="session")
def digits_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real digits (of the training split) as a file of tensors."""
    train = load(load_scenario("digits-linf").data, ("train",))["train"]
    path = tmp_path_factory.mktemp("digits") / "digits.safetensors"
    save_file({"x": train.x, "y": train.y}, path)
    return path


@pytest.fixture(scope="session")
def tiny_text() -> str:
    """The file of that scenario."""
    return TINY


@pytest.fixture
def tiny(tmp_path: Path, digits_file: Path) -> Path:
    """A scenario file of one's own, beside its data."""
    (tmp_path / "digits.safetensors").symlink_to(digits_file)
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture
def temper(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run `temper ARGUMENTS` in this process."""
    from bench.cli import main

    def command(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["temper", *map(str, arguments)])
        capfd.readouterr()
        try:
            main.run()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capfd.readouterr()
        return Result(code, out, err)

    return command


@pytest.fixture
def here() -> Iterator[None]:
    """Trials are trained and judged in this process."""
    with in_this_process():
        yield
