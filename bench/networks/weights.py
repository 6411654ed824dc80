"""Weights on disk: safetensors only, checked name by name before they are used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from bench.errors import TemperError
from bench.files import replacing
from bench.foreign import read_tensors

LIMIT = 16 * 2**30  # bytes of a file of weights
PICKLES = (b"PK\x03\x04", b"\x80")  # how the files of torch.save start: a zip, or a bare pickle


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU. Raises TemperError for any other: nothing is unpickled."""
    try:
        return read_tensors(path, LIMIT)
    except FileNotFoundError:
        raise TemperError(f"no weights at {path}") from None
    except OSError as error:
        raise TemperError(f"cannot read weights {path}: {error.strerror or error}") from None
    except SafetensorError as error:
        raise _not_safetensors(path, error) from None


def save_weights(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write a state dict as safetensors, atomically. The bytes depend on names and values only."""
    with replacing(path) as temporary:
        temporary.write_bytes(weights_bytes(state))


def weights_bytes(state: Mapping[str, Tensor]) -> bytes:
    """A state dict as the bytes of a safetensors file."""
    return safetensors.torch.save({name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()})


def load_weights(module: nn.Module, path: Path) -> None:
    """Load a safetensors file into `module`. Raises TemperError unless names, shapes and dtypes are its own."""
    state = read_weights(path)
    problem = _first_difference(module.state_dict(), state)
    if problem:
        raise TemperError(f"weights {path} do not fit the network: {problem}")
    module.load_state_dict(state)


def _first_difference(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    """The first tensor, by the network's order, that is missing, unknown, or of another shape or dtype."""
    for name, tensor in expected.items():
        if name not in found:
            return f"tensor {name!r} is missing"
        if found[name].shape != tensor.shape:
            return f"{name!r} has shape {list(found[name].shape)}, the network's has {list(tensor.shape)}"
        if found[name].dtype != tensor.dtype:
            return f"{name!r} has dtype {found[name].dtype}, the network's has {tensor.dtype}"
    extra = sorted(set(found) - set(expected))
    return f"the network has no tensor {extra[0]!r}" if extra else None


def _not_safetensors(path: Path, error: SafetensorError) -> TemperError:
    with path.open("rb") as file:
        start = file.read(4)
    if start.startswith(PICKLES):
        return TemperError(
            f"{path} is a pickle, and pickles are never loaded, because they can run code: "
            "write its state dict with bench.networks.save_weights(path, state)"
        )
    return TemperError(f"{path} is not a safetensors file, or is cut short: {error}")
