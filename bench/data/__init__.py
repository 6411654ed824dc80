"""Data: where examples come from, how they are cut into splits, and how they are augmented on the device."""

from __future__ import annotations

from bench.data.augmentation import augment
from bench.data.sources import SOURCES
from bench.data.splits import Split, load, split_hashes

__all__ = ["SOURCES", "Split", "augment", "load", "split_hashes"]
