"""`--file`: methods, networks and data sources of one's own, in every process of a command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.errors import TemperError
from bench.registry import FILES
from bench.testing import check_method

MINE = """
import torch
from torch import nn
from bench import Method, register
from bench.data import SOURCES
from bench.losses import cross_entropy
from bench.networks import NETWORKS

@SOURCES.register("stripes")
def stripes(spec):
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(300) % 4
    x = torch.rand(300, 1, 4, 4, generator=generator) * 0.4
    x[torch.arange(300), 0, y] += 0.5
    return {"all": (x, y)}

@NETWORKS.register("plain")
def plain(shape, classes, width=8):
    return nn.Sequential(nn.Flatten(), nn.Linear(16, width), nn.ReLU(), nn.Linear(width, classes))

@register("mine", version="1", family="test", reference="none")
class Mine(Method):
    def loss(self, nets, batch):
        return cross_entropy(nets.student(batch.x), batch.y)
"""
SCENARIO = """
seeds = 1
[data]
source = "stripes"
shape = [1, 4, 4]
classes = 4
split = { train = 200, validation = 50, test = 50 }
[threat]
norm = "Linf"
eps = 0.1
[attack]
step_size = 0.025
[student]
network = "plain"
[teachers.robust]
network = "plain"
options = { width = 16 }
weights = "stripes-robust.safetensors"
recipe = { method = "mine", epochs = 1 }
[optimiser]
learning_rate = 0.1
batch_size = 50
[budget]
s = 1
m = 2
l = 3
"""


@pytest.fixture
def own(tmp_path: Path) -> tuple[Path, Path]:
    """The file, and a scenario file that uses what it registers."""
    file, scenario = tmp_path / "mine.py", tmp_path / "stripes.toml"
    file.write_text(MINE)
    scenario.write_text(SCENARIO)
    return file, scenario


def test_a_file_brings_a_source_a_network_and_a_method_to_every_process(own: tuple[Path, Path], tmp_path: Path) -> None:
    def temper(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "bench.cli.main", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    file, scenario = own
    temper("teacher", "train", scenario, "--file", file)
    ran = json.loads(temper("run", scenario, "-m", "mine", "-f", file, "--json").stdout)
    assert ran["problems"] == []
    row, *_ = json.loads(temper("leaderboard", scenario, "-f", file, "--json").stdout)
    assert (row["method"], row["status"]) == ("mine", "ranked")
    again = temper("reproduce", ran["trials"][0], "--scenario", scenario, "-f", file, "--json")
    assert json.loads(again.stdout)["holds"]


def test_every_listing_knows_what_a_file_brings(own: tuple[Path, Path], temper: Callable) -> None:
    file, scenario = own
    shown = json.loads(temper("scenarios", scenario, "-f", file, "--json").out)
    assert shown["student_parameters"] == 16 * 8 + 8 + 8 * 4 + 4


def test_the_variable_alone_brings_it_too(own: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from bench.data import SOURCES; from bench.networks import NETWORKS; SOURCES['stripes'], NETWORKS['plain']"
    monkeypatch.setenv(FILES, str(own[0]))
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_its_file_a_name_is_unknown_and_the_file_is_asked_for(own: tuple[Path, Path], temper: Callable) -> None:
    refused = temper("run", own[1], "-m", "pgd-at", "--seeds", 1)
    assert refused.code == 2
    assert "unknown data source 'stripes'; one of your own needs its file: --file FILE" in refused.err
    with pytest.raises(TemperError, match=r"unknown method 'my-method'; one of your own needs its file") as caught:
        check_method("my-method")
    assert "did you mean" not in str(caught.value)


def test_a_file_that_does_not_load_is_named_where_what_it_holds_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "broken.py"
    file.write_text("import no_such_module\n")
    monkeypatch.setenv(FILES, str(file))
    done = subprocess.run(
        [sys.executable, "-m", "bench.cli.main", "methods", "mine"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"({file} does not load: ModuleNotFoundError: No module named 'no_such_module')" in done.stderr
