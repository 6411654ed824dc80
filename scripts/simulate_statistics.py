"""Coverage, false differences and width of the leaderboard's intervals on simulated boards of known truth.

A student is robust on an image when shift + difficulty + taste + seed effect + noise > 0, all normal: the
difficulty of an image is shared by all methods, its taste is one method's own, noise is drawn per seed and
image. So true accuracies and the variance of every mean and difference are known exactly. Widths are over what
knowing them would give. Three methods of a board are equal. "Worst method" is the least covered mean; "mixed" boards
have SDs of 0.1, 0.3 and 1 in turn, on the last boards one of the equal methods has 1 and all others 0.2.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import multivariate_normal, norm
from scipy.stats import t as student_t

from bench.ranking.statistics import (
    gap_closed,
    holm_pairs,
    mean_interval,
    moderated_variance,
    pairwise,
    prediction_interval,
)

Array = NDArray[np.float64]
ACCURACIES = {7: [0.50, 0.50, 0.50, 0.47, 0.44, 0.40, 0.35]}
ACCURACIES[12] = [*ACCURACIES[7], 0.49, 0.48, 0.46, 0.43, 0.38]
NORMAL = norm.ppf(0.975)
TEACHER, DIFFICULTY, TASTE = 0.60, 2.0, 0.7  # latent variances in units of the noise's


@dataclass
class World:
    """A board's truth: 7 or 12 methods whose seeds' accuracies vary by `spread` points each (M,)."""

    spread: Array
    images: int
    seeds: int

    def __post_init__(self) -> None:
        self.accuracies = np.array(ACCURACIES[len(self.spread)])
        still = 1 + DIFFICULTY + TASTE
        slope = norm.pdf(ndtri(self.accuracies)) / np.sqrt(still)
        self.seed_sd = self.spread / 100 / slope
        self.total = still + self.seed_sd**2
        self.shift = ndtri(self.accuracies) * np.sqrt(self.total)
        self.mean_variance, self.pair_variance = self._variances()

    def _variances(self) -> tuple[Array, Array]:
        """Variance of the mean of each method (M,), and of each paired difference (M, M)."""
        p, n, s = self.accuracies, self.images, self.seeds
        level = ndtri(p)
        seed = _joint_all(level, self.seed_sd**2 / self.total) - p**2
        image = _joint_all(level, (DIFFICULTY + TASTE) / self.total) - p**2
        both = p * (1 - p) - seed - image
        mean = seed / s + image / n + both / (s * n)
        root = np.sqrt(self.total)
        pairs = product(range(len(p)), repeat=2)
        shared = [_joint(level[i], level[j], DIFFICULTY / root[i] / root[j]) - p[i] * p[j] for i, j in pairs]
        return mean, np.add.outer(mean, mean) - 2 * np.reshape(shared, (len(p),) * 2) / n

    def draw(self, rng: np.random.Generator) -> tuple[list[Array], NDArray[np.bool_], NDArray[np.bool_]]:
        """Outcomes of the methods, of one more seed of each method, and of a teacher (1, N)."""
        m, s, n = len(self.accuracies), self.seeds + 1, self.images
        difficulty = rng.normal(0, np.sqrt(DIFFICULTY), n)
        fixed = difficulty + rng.normal(0, np.sqrt(TASTE), (m, n)) + self.shift[:, None]
        effect = rng.normal(size=(m, s)) * self.seed_sd[:, None]
        noise = rng.standard_normal((m, s, n), dtype=np.float32) + effect[:, :, None].astype(np.float32)
        robust = noise > -fixed[:, None].astype(np.float32)
        own = rng.normal(0, np.sqrt(1 + TASTE), n) + ndtri(TEACHER) * np.sqrt(1 + TASTE + DIFFICULTY)
        return list(robust[:, :-1].astype(np.float64)), robust[:, -1], (difficulty + own > 0)[None]


def _joint(a: float, b: float, correlation: float) -> float:
    """P(X < a, Y < b) of standard normals."""
    return float(multivariate_normal.cdf([a, b], cov=[[1, correlation], [correlation, 1]]))


def _joint_all(levels: Array, correlations: Array) -> Array:
    return np.array([_joint(h, h, c) for h, c in zip(levels, correlations, strict=True)])


def judge(world: World, rng: np.random.Generator, resamples: int) -> dict[str, Any]:
    """One simulated board: shares of intervals that hold the truth, of false differences, and relative widths."""
    robust, new, teacher = world.draw(rng)
    accuracies = [r.mean(1) for r in robust]
    variance, df = moderated_variance(accuracies)
    means = [mean_interval(r, v, d) for r, v, d in zip(robust, variance, df, strict=True)]
    runs = [prediction_interval(a, v, d) for a, v, d in zip(accuracies, variance, df, strict=True)]
    pairs = pairwise(robust, variance, df)
    upper = np.triu_indices(len(robust), 1)
    truth = np.subtract.outer(world.accuracies, world.accuracies)
    half = student_t.ppf(0.975, pairs.df) * pairs.se
    equal = np.abs(truth[upper]) < 1e-9
    covered = np.array([i.low <= a <= i.high for i, a in zip(means, world.accuracies, strict=True)])
    wide = np.array([i.high - i.low for i in means]) / (2 * NORMAL * np.sqrt(world.mean_variance))
    result = {
        "coverage, mean": covered.mean(),
        "worst method": covered,
        "coverage, difference": (np.abs(pairs.mean - truth) <= half)[upper].mean(),
        "coverage, new run": np.mean([i.low <= r.mean() <= i.high for i, r in zip(runs, new, strict=True)]),
        "false difference, per pair": (pairs.p[upper][equal] < 0.05).mean(),
        "any on the board, Holm": float((holm_pairs(pairs.p)[upper][equal] < 0.05).any()),
        "width, mean": wide.mean(),
        "width, difference": (half / (NORMAL * np.sqrt(world.pair_variance)))[upper].mean(),
    }
    if resamples:
        gaps = gap_closed(robust, len(robust) - 1, teacher, variance, df, resamples=resamples)
        true = (world.accuracies - world.accuracies[-1]) / (TEACHER - world.accuracies[-1])
        held = [g is not None and g.low <= v <= g.high for g, v in zip(gaps, true, strict=True)]
        result["coverage, gap"] = np.mean(held[:-1])
    return result


def simulate(world: World, draws: int, seed: int, resamples: int = 0) -> dict[str, float]:
    """Means of `judge` over `draws` boards; "worst method" is the least covered one's coverage."""
    streams = (np.random.default_rng([seed, world.images, world.seeds, k]) for k in range(draws))
    results = [judge(world, rng, resamples) for rng in streams]
    means = {key: np.mean([r[key] for r in results], axis=0) for key in results[0]}
    return {key: float(np.min(value)) for key, value in means.items()}


def worlds() -> list[tuple[str, World]]:
    """The boards of the table: seed SDs of 0.1, 0.3 and 1 point, all three on one board, and one noisy method."""
    spreads = {f"7 of {sd:g}": np.full(7, sd) for sd in (0.1, 0.3, 1.0)}
    spreads |= {f"{m} mixed": np.resize([0.1, 0.3, 1.0], m) for m in (7, 12)}
    spreads["6 of 0.2, 1 of 1"] = np.array([1.0, *[0.2] * 6])
    grid = product(spreads.items(), (600, 10_000), (3, 5, 10))
    return [(name, World(spread, images, seeds)) for (name, spread), images, seeds in grid]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1000, help="simulated boards per line of the table")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resamples", type=int, default=0, help="also judge gap closed, with so many (slow)")
    parser.add_argument("--only", default="", help="only lines that begin like this: '7 mixed | 10000 | 3'")
    options = parser.parse_args()
    lines = ((f"{name} | {world.images} | {world.seeds}", world) for name, world in worlds())
    for k, (line, world) in enumerate((line, world) for line, world in lines if line.startswith(options.only)):
        result = simulate(world, options.draws, options.seed, options.resamples)
        if k == 0:
            print("| methods, seed SD | images | seeds |", " | ".join(result), "|")
            print("|---" * (3 + len(result)) + "|")
        cells = [f"{v:.2f}" if key.startswith("width") else f"{100 * v:.1f}%" for key, v in result.items()]
        print(f"| {line} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
