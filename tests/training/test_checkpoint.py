"""Checkpoints: what goes in comes out, bit for bit, and a damaged file says so."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bench.errors import TemperError
from bench.training import checkpoint


def back(tmp_path: Path, tree: Any) -> Any:
    checkpoint.save(tmp_path / "c.safetensors", tree)
    return checkpoint.load(tmp_path / "c.safetensors")


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


TREES: list[Any] = [
    {},
    [],
    None,
    {"a": {}, "b": [], "c": [[], {}]},
    {0: "zero", 1: torch.ones(2), "1": torch.zeros(3), -5: None},
    {"tensor": "t0", "items": [["x", 1]], "t0": torch.arange(3)},
    {"x": [torch.tensor(1.5), {"y": [torch.zeros(0, 3), True, False, None, "text ü"]}]},
    {"int": 2**80, "negative": -7, "nested": {"deep": {"deeper": [1, [2, [3]]]}}},
    [torch.ones(2, dtype=dtype) for dtype in (torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.uint8)],
]


@pytest.mark.parametrize("tree", TREES, ids=range(len(TREES)))
def test_trees_come_back_with_their_types_and_order(tmp_path: Path, tree: Any) -> None:
    assert same(back(tmp_path, tree), tree)


def test_numbers_come_back_bit_for_bit(tmp_path: Path) -> None:
    floats = [0.1, 1 / 3, math.pi * 1e-300, 5e-324, 1.7976931348623157e308, -0.0, 2.0**53 + 1]
    found = back(tmp_path, floats)
    assert [value.hex() for value in found] == [value.hex() for value in floats]
    strange = back(tmp_path, [math.inf, -math.inf, math.nan])
    assert strange[:2] == [math.inf, -math.inf]
    assert math.isnan(strange[2])


def test_tensors_come_back_bit_for_bit(tmp_path: Path) -> None:
    bits = torch.randint(-(2**31), 2**31, (1000,), dtype=torch.int32)
    found = back(tmp_path, {"x": bits.view(torch.float32)})["x"]
    assert torch.equal(found.view(torch.int32), bits)


def test_tuples_become_lists(tmp_path: Path) -> None:
    assert back(tmp_path, {"betas": (0.9, 0.999)}) == {"betas": [0.9, 0.999]}


def test_shared_strided_and_grad_tensors_are_saved_as_values(tmp_path: Path) -> None:
    x = torch.rand(3, 4, requires_grad=True)
    found = back(tmp_path, [x, x, x.T, x[1]])
    for tensor, expected in zip(found, [x, x, x.T, x[1]], strict=True):
        assert torch.equal(tensor, expected)
        assert not tensor.requires_grad
    found[0].zero_()
    assert found[1].abs().sum() > 0


@pytest.mark.parametrize("make", [lambda p: torch.optim.SGD(p, 0.1, 0.9), lambda p: torch.optim.Adam(p, 1e-3)])
def test_an_optimiser_goes_on_as_if_nothing_had_happened(tmp_path: Path, make) -> None:
    """Its state has integer keys."""
    x = torch.rand(8, 3)

    def steps(net: nn.Module, optimiser: torch.optim.Optimizer, n: int) -> None:
        for _ in range(n):
            optimiser.zero_grad()
            net(x).square().sum().backward()
            optimiser.step()

    net = nn.Linear(3, 2)
    optimiser = make(net.parameters())
    steps(net, optimiser, 3)
    saved = back(tmp_path, {"net": net.state_dict(), "optimiser": optimiser.state_dict()})
    other = nn.Linear(3, 2)
    other.load_state_dict(saved["net"])
    resumed = make(other.parameters())
    resumed.load_state_dict(saved["optimiser"])
    steps(net, optimiser, 3)
    steps(other, resumed, 3)
    assert torch.equal(net.weight, other.weight)


def test_saving_again_replaces_and_a_failure_keeps_the_old(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, {"step": 1})
    checkpoint.save(path, {"step": 2})
    with pytest.raises(TypeError):
        checkpoint.save(path, {"step": object()})
    assert checkpoint.load(path) == {"step": 2}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("keep", [0, 4, 8, 60, -1])
def test_a_file_that_is_cut_short_is_damaged(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, {"x": torch.rand(100), "step": 3})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(TemperError, match=f"{path} is damaged .*; delete it to start this trial again"):
        checkpoint.load(path)


@pytest.mark.parametrize("content", [b"garbage " * 100, b"\x00" * 500, b"\x80\x04\x95pickle", b"PK\x03\x04" * 50])
def test_garbage_is_damaged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.safetensors"
    path.write_bytes(content)
    with pytest.raises(TemperError, match="is damaged"):
        checkpoint.load(path)


@pytest.mark.parametrize(
    "metadata", [None, {"other": "x"}, {"tree": "not json"}, {"tree": '{"tensor": "t9"}'}, {"tree": '{"x": 1}'}]
)
def test_a_safetensors_file_that_is_no_checkpoint_is_damaged(tmp_path: Path, metadata) -> None:
    path = tmp_path / "c.safetensors"
    save_file({"x": torch.ones(1)}, path, metadata=metadata)
    with pytest.raises(TemperError, match="is damaged"):
        checkpoint.load(path)
