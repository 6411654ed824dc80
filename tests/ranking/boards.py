"""Boards that several tests of the statistics share."""

import numpy as np


def flat(accuracies, images=50):
    """Outcomes of equal value on every image: no image part, so that only seeds vary."""
    return np.repeat(np.asarray(accuracies, float)[:, None], images, axis=1)


def board(methods=4, seeds=3, images=200, seed=0):
    """Binary outcomes of correlated methods, each a bit worse than the one before."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(size=images)
    return [
        (rng.normal(size=(seeds, images)) + difficulty + rng.normal(0, 0.1, (seeds, 1)) > 0.3 * m)
        for m in range(methods)
    ]
