"""Hashes that depend on content only, and random streams that depend on their key only."""

from __future__ import annotations

import hashlib
import itertools
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.hashing import derive, digest, file_digest, rng, tensor_digest


def test_the_digest_is_sha256_of_canonical_json() -> None:
    text = '{"a":[1,2.5,null,true],"b":{"x":"\\u00e9"}}'
    assert digest({"b": {"x": "é"}, "a": (1, 2.5, None, True)}) == hashlib.sha256(text.encode()).hexdigest()


def test_the_order_of_keys_does_not_matter_and_that_of_items_does() -> None:
    assert digest({"a": 1, "b": {"c": 2, "d": 3}}) == digest({"b": {"d": 3, "c": 2}, "a": 1})
    assert digest([1, 2]) != digest([2, 1])
    assert len({digest(value) for value in (1, 1.5, "1", None, [], {}, [[]], True)}) == 8


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(TypeError):
        digest({"x": object()})


def test_file_digests_are_those_of_the_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)
    assert file_digest(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_tensor_digests_depend_on_names_shapes_dtypes_and_values() -> None:
    base = {"a": torch.arange(6.0), "b": torch.zeros(2, dtype=torch.int64)}
    others = [
        base | {"a": torch.arange(6.0).view(2, 3)},
        base | {"a": torch.arange(6.0).double()},
        base | {"a": torch.arange(6.0) + 1e-6},
        base | {"b": torch.zeros(2, dtype=torch.int32)},
        {"a": base["a"]},
        {"a": base["a"], "c": base["b"]},
        {"a": base["a"].flip(0), "b": base["b"]},
        {},
    ]
    digests = [tensor_digest(tensors) for tensors in (base, *others)]
    assert len(set(digests)) == len(digests)
    zero = torch.tensor([0.0])
    assert tensor_digest({"x": zero}) != tensor_digest({"x": -zero})


def test_tensor_digests_ignore_order_strides_and_gradients() -> None:
    x = torch.rand(3, 4)
    y = torch.rand(2)
    expected = tensor_digest({"x": x, "y": y})
    assert tensor_digest({"y": y, "x": x}) == expected
    assert tensor_digest({"x": x.T.contiguous().T, "y": y}) == expected
    assert tensor_digest({"x": x.clone().requires_grad_() * 1, "y": y}) == expected


def test_bfloat16_has_a_digest_too() -> None:
    assert tensor_digest({"x": torch.ones(2).bfloat16()}) != tensor_digest({"x": torch.zeros(2).bfloat16()})


def test_derived_seeds_fit_and_depend_on_every_part_of_the_key() -> None:
    keys = [(), (0,), (1,), (0, 1), (1, 0), ("0", "a"), ("0a",), ("0", "a", 0), ("a", "0"), (0, "a", 1)]
    seeds = [derive(*key) for key in keys]
    assert len(set(seeds)) == len(keys)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seeds == [derive(*key) for key in keys]


def test_derived_seeds_spread_over_their_range() -> None:
    many = [derive("fingerprint", index) for index in range(2000)]
    assert len(set(many)) == 2000
    for bit in range(63):
        assert 0.4 < sum(seed >> bit & 1 for seed in many) / 2000 < 0.6


def test_streams_are_keyed_by_seed_purpose_and_step() -> None:
    keys = itertools.product((0, 1), ("order", "attack", "augmentation"), (0, 1, 2))
    draws = [tuple(torch.rand(4, generator=rng(*key)).tolist()) for key in keys]
    assert len(set(draws)) == 18
    assert torch.equal(torch.rand(4, generator=rng(1, "attack", 2)), torch.rand(4, generator=rng(1, "attack", 2)))


def test_a_stream_leaves_the_global_one_alone() -> None:
    before = torch.get_rng_state()
    torch.rand(4, generator=rng(0, "attack"))
    assert torch.equal(torch.get_rng_state(), before)


def test_hashes_are_the_same_in_another_process() -> None:
    """Python salts its own `hash` per process; none of it may leak in."""
    code = "from bench.hashing import derive, digest; print(derive(3, 'order', 1), digest({'b': 1, 'a': [2.5]}))"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert out == [str(derive(3, "order", 1)), digest({"b": 1, "a": [2.5]})]
