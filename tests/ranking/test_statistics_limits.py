"""What the statistics of a board cost at most, and how often they err on simulated boards."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ALL_OF_A_BOARD = """
import json, resource, time
import numpy as np
from bench.ranking.statistics import *
rng = np.random.default_rng(0)
hard = rng.normal(size=10_000)
robust = [rng.normal(size=(5, 10_000)) + hard > rng.normal(0, 0.3) for _ in range(40)]
start = time.process_time()
accuracies = [r.mean(1) for r in robust]
means = np.array([a.mean() for a in accuracies])
v, df = moderated_variance(accuracies)
for r, a, *spread in zip(robust, accuracies, v, df):
    mean_interval(r, *spread)
    prediction_interval(a, *spread)
pairs = pairwise(robust, v, df)
adjusted = holm_pairs(pairs.p)
letters(means, adjusted)
rank_bounds(means, adjusted)
minimum_detectable_difference(robust, v, df)
base = int(means.argmin())
assert gap_closed(robust, base, hard[None] > -0.5, v, df)[0] is not None
for r in robust:
    paired_difference(r, robust[base], v[:2], df[:2])
    mcnemar(r[0], robust[base][0])
front(np.stack([means, v], axis=1), smaller=[1])
points, se = means - means[base], pairs.se[base]
taus = np.linspace(-0.1, 0.1, 100)
performance_profile(points, taus)
resampling_interval(interquartile_mean, points, se, df)
resampling_interval(lambda p: performance_profile(p, taus), points, se, df)
seconds = time.process_time() - start
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20]))
"""


def test_all_statistics_of_forty_methods_take_under_five_seconds_and_two_gibibytes():
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    command = [sys.executable, "-c", ALL_OF_A_BOARD]
    done = subprocess.run(command, env=os.environ | threads, capture_output=True, text=True, check=True)
    seconds, gibibytes = json.loads(done.stdout)
    assert seconds < 5
    assert 0.02 < gibibytes < 2


def simulation():
    """`scripts/simulate_statistics.py` as a module."""
    path = Path(__file__).parents[2] / "scripts" / "simulate_statistics.py"
    spec = importlib.util.spec_from_file_location("simulate_statistics", path)
    script = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = script
    spec.loader.exec_module(script)
    return script


@pytest.mark.slow
@pytest.mark.parametrize(("spread", "images"), [([0.3], 600), ([1.0], 2000), ([0.1, 0.3, 1.0], 2000)])
def test_simulated_coverage_false_differences_and_width(spread, images):
    script = simulation()
    got = script.simulate(script.World(np.resize(spread, 7), images, 5), 400, 0)
    assert got["coverage, mean"] > 0.93
    assert got["worst method"] > 0.9
    assert got["coverage, difference"] > 0.93
    assert got["coverage, new run"] > 0.93
    assert got["false difference, per pair"] < 0.075
    assert got["any on the board, Holm"] < 0.075
    assert 0.9 < got["width, mean"] < 1.2
    assert 0.9 < got["width, difference"] < 1.2


def test_the_simulations_true_variances_are_those_of_its_draws():
    """Widths and coverage are judged by them."""
    script = simulation()
    world = script.World(np.array([1.0, *[0.2] * 6]), 300, 3)
    rng = np.random.default_rng(0)
    means = np.array([[r.mean() for r in world.draw(rng)[0]] for _ in range(4000)])
    assert means.mean(0) == pytest.approx(world.accuracies, abs=0.003)
    assert means.var(0) == pytest.approx(world.mean_variance, rel=0.1)
    apart = means[:, 0] - means[:, 1]
    assert apart.var() == pytest.approx(world.pair_variance[0, 1], rel=0.1)
