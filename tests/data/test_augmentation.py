"""Augmentation: the gather against a loop over examples, and its draws."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from bench.data import augment
from bench.errors import TemperError
from bench.scenario import AugmentationSpec


def generator(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def every_way(x: Tensor, shift: int, flip: bool) -> list[Tensor]:
    """All that can become of one image (C, H, W), made one crop and one flip at a time."""
    height, width = x.shape[1:]
    padded = F.pad(x, (shift,) * 4)
    crops = [
        padded[:, top : top + height, left : left + width]
        for top in range(2 * shift + 1)
        for left in range(2 * shift + 1)
    ]
    return crops + [crop.flip(2) for crop in crops] if flip else crops


@pytest.mark.parametrize(("shift", "flip"), [(2, True), (1, False), (0, True)])
def test_each_example_is_shifted_and_flipped_in_one_of_the_ways_all_equally_often(shift: int, flip: bool) -> None:
    image = torch.rand(2, 5, 7, generator=generator(1))
    ways = every_way(image, shift, flip)
    n = 400 * len(ways)
    out = augment(image.expand(n, -1, -1, -1), AugmentationSpec(shift=shift, flip=flip), generator())
    which = (out.unsqueeze(1) == torch.stack(ways)).flatten(2).all(2)
    assert which.sum(1).eq(1).all()
    counts = Counter(which.int().argmax(1).tolist())
    assert len(counts) == len(ways)
    assert all(abs(count - 400) < 5 * 400**0.5 for count in counts.values())


def test_examples_of_a_batch_do_not_mix() -> None:
    x = torch.rand(64, 3, 6, 6, generator=generator(2))
    out = augment(x, AugmentationSpec(shift=1, flip=True), generator())
    assert out.shape == x.shape
    for before, after in zip(x, out, strict=True):
        assert any(torch.equal(after, way) for way in every_way(before, 1, True))


def test_draws_come_from_the_generator_alone() -> None:
    x, spec = torch.rand(32, 1, 8, 8), AugmentationSpec(shift=2, flip=True)
    before = torch.get_rng_state()
    same, again, other = (augment(x, spec, generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(same, again)
    assert not torch.equal(same, other)


def test_nothing_to_do_gives_the_batch_itself_and_draws_nothing() -> None:
    x, stream = torch.rand(3, 5), generator()
    before = stream.get_state()
    assert augment(x, AugmentationSpec(), stream) is x
    assert torch.equal(stream.get_state(), before)


def test_only_images_can_be_augmented() -> None:
    with pytest.raises(TemperError, match=r"shape \(3, 5\): set augmentation.shift = 0"):
        augment(torch.rand(3, 5), AugmentationSpec(shift=1), generator())
