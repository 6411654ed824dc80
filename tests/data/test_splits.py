"""Splits: cut in proportion, the same for everybody, and refused when they are not what the scenario says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from bench.data import SOURCES, Split, load, split_hashes
from bench.data.splits import stratified
from bench.errors import TemperError
from bench.scenario import DataSpec

DIGITS_SHA256 = {
    "train": "5910f0e6802795c7b12ebea3befe69dd14087920b79e666cff924bb34c894517",
    "validation": "fcd1823492c863cb428bb6a3ed5a01d2f477ed844cfc04a85b3a7ff82d194c7d",
    "test": "cca72def86999e32f81ecae6c243f3624adf515ceb06828f8053e300075f0fb0",
}


def digits(**changes: Any) -> DataSpec:
    fields = {"source": "digits", "shape": (1, 8, 8), "classes": 10}
    split = {"train": 897, "validation": 300, "test": 600}
    return DataSpec.model_validate(fields | {"split": split} | changes)


def parts(path: Path, sizes: tuple[int, int, int], **tensors: Tensor) -> DataSpec:
    """A data set of those tensors, whose inputs are its row numbers."""
    safetensors.torch.save_file(tensors, path)
    split = dict(zip(("train", "validation", "test"), sizes, strict=True))
    return DataSpec.model_validate({"source": "tensors", "path": path, "shape": (1,), "classes": 3, "split": split})


def rows(n: int) -> Tensor:
    return torch.arange(n, dtype=torch.uint8).unsqueeze(1)


def imbalanced(n: int) -> Tensor:
    """Labels 0, 1 and 2 in the proportion 5 : 3 : 2, sorted."""
    return torch.tensor([0] * (n // 2) + [1] * (3 * n // 10) + [2] * (n // 5))


def test_the_digits_are_those_of_the_scenario() -> None:
    splits = load(digits(sha256=DIGITS_SHA256))
    assert {name: len(split) for name, split in splits.items()} == {"train": 897, "validation": 300, "test": 600}
    assert splits["train"].x.shape[1:] == (1, 8, 8)
    assert splits["train"].y.dtype == torch.int64


def test_a_pool_is_cut_without_overlap(tmp_path: Path) -> None:
    splits = load(parts(tmp_path / "pool", (50, 20, 30), x=rows(100), y=imbalanced(100)))
    taken = torch.cat([split.x.flatten() for split in splits.values()])
    assert taken.sort().values.tolist() == list(range(100))
    for split in splits.values():
        assert torch.equal(split.y, imbalanced(100)[split.x.flatten().long()])


def test_splits_and_their_prefixes_keep_the_class_proportions(tmp_path: Path) -> None:
    splits = load(parts(tmp_path / "pool", (50, 20, 30), x=rows(100), y=imbalanced(100)))
    shares = torch.tensor([0.5, 0.3, 0.2])
    for split in splits.values():
        for size in range(1, len(split) + 1):
            counts = split.y[:size].bincount(minlength=3)
            assert (counts - size * shares).abs().max() <= 1.5


def test_the_order_is_random_within_a_class_and_depends_on_the_seed() -> None:
    y = torch.zeros(50, dtype=torch.int64)
    orders = [tuple(stratified(y, seed).tolist()) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != tuple(range(50))


def test_a_test_part_stays_apart_and_in_its_own_order(tmp_path: Path) -> None:
    spec = parts(
        tmp_path / "parts",
        (60, 20, 20),
        train_x=rows(100),
        train_y=imbalanced(100),
        test_x=rows(120)[100:].clone(),
        test_y=imbalanced(20),
    )
    splits = load(spec)
    assert splits["test"].x.flatten().tolist() == list(range(100, 120))
    taken = torch.cat([splits["train"].x, splits["validation"].x]).flatten()
    assert len(taken.unique()) == 80
    assert taken.max() < 100
    smaller = load(spec.model_copy(update={"split": spec.split.model_copy(update={"test": 10})}))
    assert smaller["test"].y.bincount().tolist() == [5, 3, 2]
    assert smaller["test"].x.min() >= 100


def test_only_the_named_splits_are_given_in_that_order() -> None:
    splits = load(digits(), names=("validation", "train"))
    assert list(splits) == ["validation", "train"]
    with pytest.raises(TemperError, match="unknown split 'valid'; did you mean validation"):
        load(digits(), names=("valid",))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": {"train": 1500, "validation": 300, "test": 600}}, r"= 2400 examples.* has 1797"),
        ({"shape": (8, 8)}, r"shape \[1, 8, 8\], and data.shape says \[8, 8\]"),
        ({"classes": 9}, "run from 0 to 9, and data.classes = 9 allows 0 to 8"),
        ({"source": "digit"}, "unknown data source 'digit'; did you mean digits"),
    ],
)
def test_data_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TemperError, match=message):
        load(digits(**changes))


@pytest.mark.parametrize("bad", [-0.1, 1.5, float("nan")])
def test_floats_outside_the_unit_range_are_refused(tmp_path: Path, bad: float) -> None:
    x = torch.rand(10, 1)
    x[3] = bad
    with pytest.raises(TemperError, match=r"store floats in \[0, 1\]"):
        load(parts(tmp_path / "floats", (6, 2, 2), x=x, y=imbalanced(10)))


def test_a_label_per_example_is_needed(tmp_path: Path) -> None:
    with pytest.raises(TemperError, match="10 examples and 20 labels"):
        load(parts(tmp_path / "labels", (6, 2, 2), x=rows(10), y=imbalanced(20)))


def test_other_bytes_than_the_pinned_ones_are_refused() -> None:
    spec = digits(sha256=DIGITS_SHA256 | {"validation": "0" * 64})
    message = f"the validation split .* expected SHA-256 {'0' * 64}, found {DIGITS_SHA256['validation']}"
    with pytest.raises(TemperError, match=message):
        load(spec)
    assert len(load(spec, names=("train", "test"))) == 2
    assert len(load(spec, check=False)) == 3


def test_split_hashes_ignore_the_pins_and_load_once(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = digits(sha256={"train": "0" * 64})
    assert split_hashes(spec) == DIGITS_SHA256
    monkeypatch.setattr(SOURCES, "_things", {})
    assert split_hashes(spec) == DIGITS_SHA256


def test_the_digest_depends_on_inputs_labels_and_their_order() -> None:
    x, y = rows(4), torch.tensor([0, 1, 2, 0])
    digests = {
        Split(x, y).digest(),
        Split(x, y.flip(0)).digest(),
        Split(x.flip(0), y.flip(0)).digest(),
        Split(x.float(), y).digest(),
    }
    assert len(digests) == 4


def test_inputs_are_floats_in_the_unit_range() -> None:
    split = Split(torch.tensor([[0], [51], [255]], dtype=torch.uint8), torch.tensor([0, 1, 2]))
    assert split.inputs().dtype == torch.float32
    assert torch.equal(split.inputs(), torch.tensor([[0.0], [0.2], [1.0]]))
    assert torch.equal(split.inputs(torch.tensor([2, 0])), torch.tensor([[1.0], [0.0]]))
    assert torch.equal(split.inputs(slice(1, 2)), torch.tensor([[0.2]]))
    floats = Split(torch.tensor([[0.25]]), torch.tensor([0]))
    assert torch.equal(floats.inputs(), torch.tensor([[0.25]]))
    assert split.to("meta").x.device.type == split.to("meta").y.device.type == "meta"
