"""McNemar's test: two single students, image by image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from bench.errors import TemperError


@dataclass(frozen=True)
class McNemar:
    """Images on which only the first and only the second student is robust, and the two-sided p of the exact test."""

    only_first: int
    only_second: int
    p: float


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> McNemar:
    """Whether two trained networks differ on images like these: bool (N,) each, robust or not on the same images.

    The images on which they disagree are tossed like a fair coin where the two are equally robust (McNemar 1947, exact
    binomial). It says nothing of two methods, whose other seeds give other students: hence one student each.

    Raises TemperError for several seeds (S, N), unequal numbers of images, or anything but booleans.
    """
    first, second = np.asarray(first), np.asarray(second)
    if first.ndim != 1 or second.ndim != 1:
        raise TemperError(
            f"McNemar's test takes one student each, bool (images,), got shapes {first.shape} and {second.shape}: "
            "it knows nothing of how seeds differ; compare methods by paired_difference"
        )
    if first.dtype != bool or second.dtype != bool:
        raise TemperError(f"McNemar's test takes booleans, robust or not, got {first.dtype} and {second.dtype}")
    if first.shape != second.shape:
        raise TemperError(f"students must share their test images, got {len(first)} and {len(second)} of them")
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    apart = only_first + only_second
    return McNemar(only_first, only_second, float(binomtest(only_first, apart).pvalue) if apart else 1.0)
