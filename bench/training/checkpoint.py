"""A tree of tensors, numbers and strings as one safetensors file, written atomically. Nothing is pickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from bench.errors import TemperError
from bench.files import replacing


def save(path: Path, tree: Any) -> None:
    """Write `tree` (nested dicts and lists of tensors and JSON values; keys may be ints) to `path`."""
    with replacing(path) as temporary:
        temporary.write_bytes(as_bytes(tree))


def as_bytes(tree: Any) -> bytes:
    """What `save` writes: the same bytes for the same tree."""
    tensors: dict[str, Tensor] = {}
    skeleton = json.dumps(_take_apart(tree, tensors))
    return to_bytes(tensors, metadata={"tree": skeleton})


def load(path: Path, device: str = "cpu") -> Any:
    """Read what `save` wrote. Raises TemperError for a damaged file."""
    try:
        with safe_open(path, "pt", device=device) as file:
            skeleton = json.loads(file.metadata()["tree"])
            return _put_together(skeleton, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise TemperError(f"{path} is damaged ({error}); delete it to start this trial again") from None


def _take_apart(tree: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(tree, torch.Tensor):
        name = f"t{len(tensors)}"
        tensors[name] = tree.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(tree, dict):
        return {"items": [[key, _take_apart(value, tensors)] for key, value in tree.items()]}
    if isinstance(tree, (list, tuple)):
        return [_take_apart(value, tensors) for value in tree]
    return tree


def _put_together(tree: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(tree, list):
        return [_put_together(value, tensors) for value in tree]
    if isinstance(tree, dict):
        if "tensor" in tree:
            return tensors[tree["tensor"]]
        return {key: _put_together(value, tensors) for key, value in tree["items"]}
    return tree
