"""Files that are no weights: each is named for what it is, in one line, and nothing in it is run."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bench.errors import TemperError
from bench.networks.checkpoints import load_checkpoint
from bench.networks.checkpoints.opening import open_checkpoint
from bench.networks.checkpoints.reading import read
from bench.scenario import NetworkSpec
from tests.networks.customary import ResNet, shown, used


class Trap:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("form", ["zip", "old", "pickle"])
def test_a_pickle_that_would_run_code_is_refused_and_does_not(form: str, tmp_path: Path) -> None:
    made, path = tmp_path / "made", tmp_path / "net.pt"
    contents = {"state_dict": ResNet().state_dict(), "extra": Trap(made)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(contents))
    else:
        torch.save(contents, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(TemperError, match=r"a pickle.*nothing in it is run.*torch\.save\(model\.state_dict\(\)"):
        read(path)
    assert not made.exists()
    pickle.loads(pickle.dumps(Trap(made)))
    assert made.exists()


def test_a_whole_module_is_refused_by_its_class(tmp_path: Path) -> None:
    torch.save(ResNet(), tmp_path / "net.pt")
    with pytest.raises(TemperError, match=r"asks for 'tests\.networks\.customary\.ResNet'.*torch\.save") as refused:
        read(tmp_path / "net.pt")
    assert "\n" not in str(refused.value)


def script(path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.rand(1, 2)), path)


def arrays(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(2))


def array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(2))


OTHERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "TorchScript": (script, "TorchScript archive: load it with torch.jit.load"),
    "npz": (arrays, "archive of NumPy arrays"),
    "npy": (array, "a NumPy array"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "web page": (lambda path: path.write_text("<!DOCTYPE html><html>"), "a web page instead of a file"),
    "LFS": (lambda path: path.write_text("version https://git-lfs.example/spec/v1\noid"), "git lfs pull"),
    "gzip": (lambda path: path.write_bytes(b"\x1f\x8b\x08" + bytes(50)), "compressed with gzip"),
    "text": (lambda path: path.write_text("weights"), "neither a safetensors file"),
    "nothing": (lambda path: None, "no weights at"),
    "numbers": (lambda path: torch.save({"epoch": 3, "acc": 0.5}, path), "by name, but 'epoch', 'acc'"),
    "a tensor": (lambda path: torch.save(torch.zeros(3), path), "holds no tensors by name, but a Tensor"),
    "optimiser": (lambda path: torch.save({"optimizer": {"a": torch.zeros(3)}}, path), "holds no tensors by name"),
}


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", OTHERS)
def test_other_files_are_named_for_what_they_are(kind: str, tmp_path: Path) -> None:
    write, says = OTHERS[kind]
    write(tmp_path / "file.pt")
    with pytest.raises(TemperError) as refused:
        open_checkpoint(tmp_path / "file.pt")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("keep", [1, 3, 100, 1000, -1, -200])
def test_a_file_that_is_cut_short_is_refused(keep: int, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save(ResNet().state_dict(), path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(TemperError, match="cut short"):
        read(path)


def test_noise_and_absurd_pickles_never_crash(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "noise.pt"
    torch.save({"a": torch.zeros(2)}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    contents = [b"\x80\x02" + bytes([operation]) * 50 + b"." for operation in b"]}(l0a.tR"]
    contents += [b"\x80\x02" + rng.bytes(100) for _ in range(40)]
    contents += [whole[:at] + rng.bytes(30) for at in range(0, 200, 10)]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(TemperError):
            open_checkpoint(path)


def test_a_container_that_holds_itself_has_an_end(tmp_path: Path) -> None:
    network = used(ResNet)
    contents: dict[str, Any] = {"net": network.state_dict()}
    for name in "abcdefgh":
        contents[name] = contents
    torch.save(contents, tmp_path / "net.pt")
    spec = NetworkSpec(network="resnet18", options={"width": 4})
    found = load_checkpoint(tmp_path / "net.pt", spec, (3, 16, 16), 10)
    x, logits = shown(network)
    with torch.no_grad():
        torch.testing.assert_close(found.network(x), logits, atol=1e-5, rtol=0)
