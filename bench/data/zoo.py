"""Data sets that torchvision downloads, and Fashion-MNIST, which Debian packages."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.data.part import Part
from bench.errors import TemperError, unknown
from bench.files import UNWRITABLE, cache, cannot_write
from bench.scenario import DataSpec

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
TIMEOUT = 20.0  # seconds without an answer, after which a download has failed
TRAINING, TEST = {"train": True}, {"train": False}
DATASETS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # arguments for the training and the test part
    "CIFAR10": (TRAINING, TEST),
    "CIFAR100": (TRAINING, TEST),
    "FashionMNIST": (TRAINING, TEST),
    "KMNIST": (TRAINING, TEST),
    "MNIST": (TRAINING, TEST),
    "STL10": ({"split": "train"}, {"split": "test"}),
    "SVHN": ({"split": "train"}, {"split": "test"}),
}


def fetch(spec: DataSpec) -> dict[str, Part]:
    """The data set `spec.name` of torchvision, downloaded if it is not there yet: x uint8 (N, C, H, W).

    torchvision checks the MD5 of every file before it reads it.
    """
    if spec.name not in DATASETS:
        raise unknown("data set of torchvision", spec.name, DATASETS)
    root = spec.path or cache() / "torchvision"
    parts = zip(("train", "test"), DATASETS[spec.name], strict=True)
    return {part: _tensors(_dataset(spec.name, root, arguments)) for part, arguments in parts}


def fetch_fashion_mnist() -> Path:
    """The folder with the IDX files of Fashion-MNIST: Debian's, else the cache, filled by a download if need be."""
    if DEBIAN.is_dir():
        return DEBIAN
    root = cache() / "torchvision"
    try:
        _dataset("FashionMNIST", root, TRAINING)
    except TemperError as error:
        raise TemperError(
            "no Fashion-MNIST on this machine: `apt-get install dataset-fashion-mnist`, or give the folder "
            f"of its four IDX files by --data PATH ({error})"
        ) from None
    return root / "FashionMNIST" / "raw"


def _dataset(name: str, root: Path, arguments: dict[str, Any]) -> Any:
    import torchvision

    make = getattr(torchvision.datasets, name)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _timeout(TIMEOUT):
            return make(str(root), download=True, **arguments)
    except (OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno in UNWRITABLE:
            raise cannot_write(root, error) from None
        problem = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TemperError(
            f"could not download {name} into {root}: {problem}; put it there yourself, or give --data PATH"
        ) from None


def _tensors(dataset: Any) -> Part:
    """Images and labels as torchvision holds them: tensors or arrays, the channels last, first or nowhere."""
    x = torch.as_tensor(dataset.data)
    y = torch.as_tensor(dataset.targets if hasattr(dataset, "targets") else dataset.labels).long()
    return _channels_first(x), y


def _channels_first(x: Tensor) -> Tensor:
    if x.ndim == 3:
        return x.unsqueeze(1)
    return x.permute(0, 3, 1, 2).contiguous() if x.shape[3] == 3 else x


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """Inside, sockets give up after so long; torchvision's downloads would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
