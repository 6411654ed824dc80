"""Sources: where examples come from, by name. Each gives one pool ("all"), or a "train" and a "test" part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from bench.data.idx import read_idx_folder
from bench.data.images import read_image_folder
from bench.data.parquet import read_parquet
from bench.data.part import Part, location
from bench.data.zoo import fetch, fetch_fashion_mnist
from bench.errors import TemperError
from bench.foreign import read_tensors
from bench.registry import Registry
from bench.scenario import DataSpec

Source = Callable[[DataSpec], dict[str, Part]]

SOURCES: Registry[Source] = Registry("data source", group="temper.sources")


@SOURCES.register("digits")
def digits(spec: DataSpec) -> dict[str, Part]:
    """The 1,797 handwritten digits that come with scikit-learn: 17 levels of grey, float32 (N, 1, 8, 8)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = torch.from_numpy(bunch.images).float().div(16).unsqueeze(1)
    return {"all": (x, torch.from_numpy(bunch.target).long())}


@SOURCES.register("idx")
def idx(spec: DataSpec) -> dict[str, Part]:
    """The four files of MNIST and its likes, gzipped or not, in the folder `data.path`.

    For `data.name = "fashion-mnist"` the path may be left out: Debian's package is found, else it is
    downloaded.
    """
    if spec.path is None and spec.name == "fashion-mnist":
        return read_idx_folder(fetch_fashion_mnist())
    return read_idx_folder(location(spec))


@SOURCES.register("torchvision")
def torchvision(spec: DataSpec) -> dict[str, Part]:
    """A data set of torchvision by its class name, in `data.path` or the cache, downloaded if it is not there."""
    return fetch(spec)


@SOURCES.register("parquet")
def parquet(spec: DataSpec) -> dict[str, Part]:
    """Images as Hugging Face stores them: train*.parquet and test*.parquet in the folder `data.path`."""
    return read_parquet(location(spec), spec.shape, spec.classes, spec.name)


@SOURCES.register("folder")
def folder(spec: DataSpec) -> dict[str, Part]:
    """Image files in one folder per class, in train/ and test/ of the folder `data.path`, or in itself as a pool."""
    return read_image_folder(location(spec), spec.shape, spec.classes)


@SOURCES.register("tensors")
def tensors(spec: DataSpec) -> dict[str, Part]:
    """Examples of any shape in safetensors. `data.path` is a file with `x` and `y`, a file with `train_x`,
    `train_y`, `test_x` and `test_y`, or a folder with train.safetensors and test.safetensors that hold `x`
    and `y`."""
    path = location(spec)
    if path.is_dir():
        return {name: _part(path / f"{name}.safetensors") for name in ("train", "test")}
    names = set(_read(path))
    if {"x", "y"} <= names:
        return {"all": _part(path)}
    return {name: _part(path, f"{name}_") for name in ("train", "test")}


def _part(path: Path, prefix: str = "") -> Part:
    """The tensors `x` and `y` of a file, as they are stored: bytes, or floats that become float32."""
    found = _read(path)
    missing = [name for name in (f"{prefix}x", f"{prefix}y") if name not in found]
    if missing:
        raise TemperError(
            f"{path} has no tensor {missing[0]!r}, only {', '.join(sorted(found)) or 'none'}: "
            "it needs x and y, or train_x, train_y, test_x and test_y"
        )
    x, y = found[f"{prefix}x"], found[f"{prefix}y"]
    if x.dtype != torch.uint8 and not x.is_floating_point():
        raise TemperError(f"{prefix}x of {path} is {x.dtype}: store uint8 in 0 to 255, or floats inside threat.bounds")
    if y.ndim != 1 or y.is_floating_point() or y.is_complex():
        raise TemperError(f"{prefix}y of {path} is {y.dtype} {list(y.shape)}: store one integer per example")
    return (x if x.dtype == torch.uint8 else x.float()), y.long()


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return read_tensors(path)
    except FileNotFoundError:
        raise TemperError(f"no file {path}: the source needs train.safetensors and test.safetensors") from None
    except (SafetensorError, OSError) as error:
        raise TemperError(f"{path} is not a safetensors file, or is cut short: {error}") from None
