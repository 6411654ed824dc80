"""What would decide a difference: what it names does decide in four of five repetitions, and where nothing would."""

import numpy as np
import pytest

from bench.ranking.power import needs
from bench.ranking.statistics import paired_difference

GAP, SEED_SD, IMAGES = 0.14, 0.1, 600
DF = [1e6, 1e6]  # the variance between seeds is known here


def drawn(rng: np.random.Generator, seeds: int, images: int = IMAGES, gap: float = GAP) -> np.ndarray:
    """Two methods, `gap` apart on a latent scale, on new images: bool (2, seeds, images)."""
    level = np.array([gap, 0.0])[:, None, None] + rng.normal(0, SEED_SD, (2, seeds, 1))
    image = rng.normal(0, 1.4, images) + rng.normal(0, 0.5, (2, 1, images))
    return level + image + rng.normal(size=(2, seeds, images)) > 0


def seed_variance(images: int) -> np.ndarray:
    """The variance of one seed's accuracy on so many images, of both methods."""
    rng = np.random.default_rng(0)
    return np.mean([drawn(rng, 40, images).mean(2).var(1, ddof=1) for _ in range(50)], axis=0)


@pytest.fixture(scope="module")
def truth() -> tuple[float, np.ndarray]:
    """The true difference, and the variance of one seed's accuracy on `IMAGES` images."""
    rng = np.random.default_rng(0)
    means = np.stack([drawn(rng, 1).mean(2)[:, 0] for _ in range(4000)])
    return float(np.subtract(*means.mean(0))), seed_variance(IMAGES)


def test_the_seeds_it_names_find_the_difference_in_four_of_five_repetitions(truth):
    gap, variance = truth
    rng = np.random.default_rng(1)
    pilots = (drawn(rng, 3) for _ in range(2000))
    typical = [p for p in pilots if abs(np.subtract(*p.mean((1, 2))) - gap) < 0.03 * gap]
    wanted = [needs(*pilot, variance, DF).seeds for pilot in typical]
    assert len(wanted) > 20
    seeds = int(np.median([n or 1000 for n in wanted]))
    assert 3 < seeds < 40
    found = np.mean([paired_difference(*drawn(rng, seeds), variance, DF).p < 0.05 for _ in range(500)])
    assert found == pytest.approx(0.8, abs=0.08)


def test_the_images_it_names_find_it_too(truth):
    gap, variance = truth
    rng = np.random.default_rng(2)
    pilots = (drawn(rng, 12) for _ in range(1500))
    typical = [p for p in pilots if abs(np.subtract(*p.mean((1, 2))) - gap) < 0.03 * gap]
    images = int(np.median([needs(*pilot, variance, DF).images or 1e7 for pilot in typical]))
    assert IMAGES <= images < 10 * IMAGES
    smaller = seed_variance(images)
    found = np.mean([paired_difference(*drawn(rng, 12, images), smaller, DF).p < 0.05 for _ in range(400)])
    assert found == pytest.approx(0.8, abs=0.08)


def test_where_one_part_of_the_error_is_too_large_no_number_of_the_other_helps():
    rng = np.random.default_rng(3)
    first, second = drawn(rng, 3, 200, gap=0.05)
    assert needs(first, second, [1e-8, 1e-8], DF).seeds is None  # the images decide
    first, second = drawn(rng, 3, 5000, gap=0.05)
    assert needs(first, second, [1.0, 1.0], DF).images is None  # the seeds decide
    assert needs(first, first, [1e-4, 1e-4], DF) == needs(second, second, [1e-4, 1e-4], DF)
    assert needs(first, first, [1e-4, 1e-4], DF).seeds is None  # there is nothing to find


def test_a_decided_difference_needs_no_more():
    first, second = np.ones((3, 400), bool), np.zeros((3, 400), bool)
    wanted = needs(first, second, [1e-4, 1e-4], [8, 8])
    assert (wanted.seeds, wanted.images) == (3, 400)
