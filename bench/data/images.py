"""Image files: decoded one by one into uint8, all of one size."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.data.part import Part, check_classes
from bench.errors import TemperError
from bench.files import MEGABYTE, regular

MODES = {1: "L", 3: "RGB"}
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
IMAGE = 100 * MEGABYTE  # of one file
DEEP = ("I", "F")  # modes of more than 8 bits start with these


def image_mode(shape: tuple[int, ...]) -> str:
    """PIL's name for images (C, H, W) of this shape. Raises TemperError unless they are grey or colour."""
    if len(shape) != 3 or shape[0] not in MODES:
        raise TemperError(f"images are (1, H, W) or (3, H, W), and data.shape is {list(shape)}")
    return MODES[shape[0]]


def decode(content: bytes, shape: tuple[int, ...], name: str) -> Tensor:
    """An encoded image as uint8 (C, H, W), turned to grey or colour. `name` is what errors call it."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            _fits(image, shape, name)
            pixels = torch.from_numpy(np.array(image.convert(image_mode(shape))))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise TemperError(f"{name} is not an image, or is damaged: {error}") from None
    return pixels.unsqueeze(0) if pixels.ndim == 2 else pixels.permute(2, 0, 1)


def read_image_folder(folder: Path, shape: tuple[int, ...], count: int) -> dict[str, Part]:
    """Images in one folder per class, in train/ and test/ or else as one pool. The `count` classes are numbered in
    the order of their names, those of the training part."""
    image_mode(shape)
    parts = [name for name in ("train", "test") if (folder / name).is_dir()]
    if len(parts) == 1:
        raise TemperError(f"{folder} has {parts[0]}/ but not the other: it needs train/ and test/, or classes only")
    roots = {name: folder / name for name in parts} or {"all": folder}
    first = next(iter(roots.values()))
    classes = _classes(first)
    if classes:
        check_classes(classes, count, first)
    return {name: _read(root, classes, shape) for name, root in roots.items()}


def _fits(image: Image.Image, shape: tuple[int, ...], name: str) -> None:
    """Raise TemperError when an image has another size, or more than 8 bits per channel."""
    wide, high = image.size
    if (high, wide) != shape[1:]:
        raise TemperError(f"{name} is {high} high and {wide} wide, and data.shape is {list(shape)}")
    if image.mode.startswith(DEEP):
        raise TemperError(f"{name} has more than 8 bits per pixel (mode {image.mode}): convert it to 8 bits")


def _classes(root: Path) -> list[str]:
    if not root.is_dir():
        raise TemperError(f"{root} is not a folder: give one with a folder of images per class")
    return sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _read(root: Path, classes: list[str], shape: tuple[int, ...]) -> Part:
    strange = sorted(set(_classes(root)) - set(classes))
    if strange:
        raise TemperError(f"{root} has a class {strange[0]!r} that the training part lacks")
    files = [
        (path, label)
        for label, name in enumerate(classes)
        for path in sorted((root / name).glob("*"))
        if path.suffix.lower() in SUFFIXES
    ]
    if not files:
        raise TemperError(f"no images in the folders of {root}: it needs CLASS/NAME.png, or another usual format")
    x = torch.stack([decode(regular(path, IMAGE).read_bytes(), shape, str(path)) for path, _ in files])
    return x, torch.tensor([label for _, label in files])
