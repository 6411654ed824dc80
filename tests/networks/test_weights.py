"""Weights: they round-trip, and everything that is not exactly right is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench.errors import TemperError
from bench.networks import load_weights, read_weights, save_weights
from bench.networks.cnn import cnn


def net() -> nn.Module:
    return cnn((1, 8, 8), 10, widths=[4], strides=[2])


def test_weights_round_trip_bit_for_bit(tmp_path: Path) -> None:
    path, old, new = tmp_path / "folder" / "net.safetensors", net(), net()
    old(torch.rand(8, 1, 8, 8))
    save_weights(path, old.state_dict())
    load_weights(new, path)
    for name, tensor in old.state_dict().items():
        assert torch.equal(new.state_dict()[name], tensor)
    assert list(tmp_path.rglob("*.safetensors")) == [path]
    assert len(list(path.parent.iterdir())) == 1


def test_the_bytes_depend_on_names_and_values_only(tmp_path: Path) -> None:
    state = net().state_dict()
    save_weights(tmp_path / "a", state)
    save_weights(tmp_path / "b", dict(reversed(state.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_tied_and_strided_tensors_are_saved_as_their_values(tmp_path: Path) -> None:
    x = torch.rand(3, 4)
    save_weights(tmp_path / "w", {"x": x, "tied": x, "turned": x.T})
    found = read_weights(tmp_path / "w")
    assert torch.equal(found["tied"], x)
    assert torch.equal(found["turned"], x.T)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w"
    save_weights(path, {"x": torch.ones(1)})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(TemperError, match="no space left"):
        save_weights(path, {"x": torch.zeros(1)})
    assert read_weights(path)["x"].item() == 1
    assert list(tmp_path.iterdir()) == [path]


def changed(state: dict[str, Tensor], name: str, tensor: Tensor | None) -> dict[str, Tensor]:
    return {key: value for key, value in (state | {name: tensor}).items() if value is not None}


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("0.weight", None, "tensor '0.weight' is missing"),
        ("0.weight", torch.zeros(5, 1, 3, 3), r"'0.weight' has shape \[5, 1, 3, 3\], the network's has \[4, 1"),
        ("1.bias", torch.zeros(4).double(), "'1.bias' has dtype torch.float64, the network's has torch.float32"),
        ("9.bias", torch.zeros(4), "the network has no tensor '9.bias'"),
    ],
)
def test_the_first_difference_is_named(tmp_path: Path, name: str, tensor: Tensor | None, message: str) -> None:
    path, module = tmp_path / "w.safetensors", net()
    save_weights(path, changed(dict(module.state_dict()), name, tensor))
    before = module.state_dict()["4.weight"].clone()
    with pytest.raises(TemperError, match=message):
        load_weights(module, path)
    assert torch.equal(module.state_dict()["4.weight"], before)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_are_never_loaded(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "net.pth"
    torch.save(net().state_dict(), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(TemperError, match="is a pickle, and pickles are never loaded"):
        read_weights(path)


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, net().state_dict())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(TemperError, match="is not a safetensors file, or is cut short"):
        read_weights(path)


def test_a_header_that_starts_like_a_pickle_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    header = b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.ljust(0x80)
    path.write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<f", 0.5))
    assert path.read_bytes().startswith(b"\x80")
    assert read_weights(path)["x"].item() == 0.5


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TemperError, match="no weights at"):
        read_weights(tmp_path / "nothing")
    with pytest.raises(TemperError, match=str(tmp_path)):
        read_weights(tmp_path)
