"""How much faster our engine is than pyautoattack: both in turn on the same examples, on one thread (`make bench`).

A ratio is the reference's time over ours. The reference attacks the network as a user hands it over, with weights that
ask for gradients (its FAB computes them). Printed: the median of some pairs, with the lowest and the highest.
"""

from __future__ import annotations

import copy
import os
import statistics
import time
from collections.abc import Callable

import pytest
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from bench.data import load
from bench.errors import TemperError
from bench.evaluation.engine import FastEngine
from bench.evaluation.inputs import judging
from bench.evaluation.noise import Stream
from bench.evaluation.reference import ReferenceEngine
from bench.networks import build
from bench.networks.resnet import resnet18
from bench.protocol import ATTACKS
from bench.scenario import Scenario, load_scenario
from bench.threat import L2, Threat
from tests.nets import adversarially_trained

PAIRS = int(os.environ.get("TEMPER_BENCH_PAIRS", "3"))
CASES = {  # name: scenario, network (None: its student), images, threat (None: its own)
    "digits student, Linf": ("digits-linf", None, 128, None),
    "digits student, L2": ("digits-linf", None, 64, L2(0.6)),
    "fashion-mnist-small student, Linf": ("fashion-mnist-small-linf", None, 64, None),
    "digits ResNet-18 of width 8, Linf": ("digits-linf", lambda: resnet18((1, 8, 8), 10, width=8), 16, None),
}


def prepared(name: str) -> tuple[nn.Module, Tensor, Tensor, Threat]:
    """The network of a case, and training images that it classifies right."""
    scenario, network, images, threat = CASES[name]
    loaded: Scenario = load_scenario(scenario)
    try:
        split = load(loaded.data, ("train",))["train"]
    except TemperError as error:
        pytest.skip(str(error))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = network() if network else build(loaded.student, loaded.data.shape, loaded.data.classes)
    x, y = split.inputs(), split.y
    module = adversarially_trained(module, x[:5000], y[:5000], 150, loaded.threat.eps)
    right = (module(x[:1000]).argmax(1) == y[:1000]).nonzero().squeeze(1)[:images]
    return module, x[right], y[right], threat or loaded.threat


def ours(engine: FastEngine, attack: str, x: Tensor, y: Tensor) -> Tensor:
    """Which examples an attack of ours breaks, with the reference's random numbers, target after target."""
    stream, broken = torch.Generator().manual_seed(0), torch.zeros(len(x), dtype=torch.bool)
    for rank in engine.targets(attack):
        left = (~broken).nonzero().squeeze(1)
        if len(left):
            noise = Stream(stream, len(left), x.device)
            broken[left] |= engine.run(attack, (rank,), x[left], y[left], [noise]).fooled
    return broken


def timed(run: Callable[[], Tensor]) -> tuple[Tensor, float]:
    started = time.perf_counter()
    return run(), time.perf_counter() - started


@pytest.mark.speed
@pytest.mark.parametrize("name", CASES)
def test_our_engine_against_the_reference(name: str) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    module, x, y, threat = prepared(name)
    ratios: dict[str, list[float]] = {attack: [] for attack in (*ATTACKS, "whole")}
    disagreements = 0
    as_users_have_it = copy.deepcopy(module).eval().requires_grad_(True)
    with judging(module):
        reference = ReferenceEngine(as_users_have_it, threat, 0, x.device, 10)
        engine = FastEngine(module, threat, x, 10)
        for pair in range(PAIRS):
            left, spent = torch.arange(len(x)), torch.zeros(2)
            for attack in ATTACKS:
                inputs, labels = x[left], y[left]
                runs = [
                    lambda a=attack, i=inputs, t=labels: as_users_have_it(reference.perturb(a, i, t)).argmax(1) != t,
                    lambda a=attack, i=inputs, t=labels: ours(engine, a, i, t),
                ]
                order = (0, 1) if pair % 2 == 0 else (1, 0)
                results = {k: timed(runs[k]) for k in order}
                disagreements += int((results[0][0] != results[1][0]).sum())
                ratios[attack].append(results[0][1] / results[1][1])
                spent += torch.tensor([results[0][1], results[1][1]])
                left = left[~results[0][0]]
            ratios["whole"].append(float(spent[0] / spent[1]))
    torch.set_num_threads(threads)
    table = Table("", "ratio", "from", "to", title=f"{name}: {len(x)} images, {PAIRS} pairs")
    for attack, found in ratios.items():
        table.add_row(attack, f"{statistics.median(found):.2f}", f"{min(found):.2f}", f"{max(found):.2f}")
    Console().print(table)
    assert disagreements == 0
    assert statistics.median(ratios["whole"]) >= 1.0
