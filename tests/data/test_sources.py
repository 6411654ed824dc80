"""Sources: each reads back what was written in its format, and says what is wrong with a file."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
import torchvision
from PIL import Image
from torch import Tensor

from bench.data import SOURCES, load, zoo
from bench.data.part import Part
from bench.errors import TemperError
from bench.scenario import DataSpec

FULL = {"train": 55_000, "validation": 5_000, "test": 10_000}
FASHION_MNIST_TEST = "5071b073bfcf80d1fccd89421ca42207d3363ac33c419eb7c0f166262b56c753"


def spec(
    source: str, path: Path | None = None, shape: tuple[int, ...] = (3, 6, 5), name: str = "", classes: int = 10
) -> DataSpec:
    split = {"train": 1, "validation": 1, "test": 1}
    fields = {"source": source, "path": path, "shape": shape, "name": name, "classes": classes, "split": split}
    return DataSpec.model_validate(fields)


def read(source: str, *args: Any, **options: Any) -> dict[str, Part]:
    return SOURCES[source](spec(source, *args, **options))


def pictures(n: int, shape: tuple[int, ...] = (3, 6, 5), seed: int = 0) -> Tensor:
    """Random images, uint8 (N, C, H, W)."""
    stream = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=stream)


def png(image: Tensor) -> bytes:
    """One image (C, H, W) as a PNG, which loses nothing."""
    pixels = image.squeeze(0).numpy() if len(image) == 1 else image.permute(1, 2, 0).numpy()
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="PNG")
    return out.getvalue()


def same(part: Part, x: Tensor, y: list[int]) -> bool:
    return torch.equal(part[0], x) and part[0].dtype == x.dtype and part[1].tolist() == y


# --- idx


def write_idx(path: Path, array: Tensor) -> None:
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    content = header + array.numpy().tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    for prefix, n, suffix in (("train", 7, ".gz"), ("t10k", 3, "")):
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte{suffix}", pictures(n, (6, 5), seed=n))
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte{suffix}", torch.arange(n, dtype=torch.uint8))
    return tmp_path


def test_idx_round_trips_gzipped_or_not(mnist: Path) -> None:
    parts = read("idx", mnist)
    assert same(parts["train"], pictures(7, (6, 5), seed=7).unsqueeze(1), list(range(7)))
    assert same(parts["test"], pictures(3, (6, 5), seed=3).unsqueeze(1), list(range(3)))


def test_idx_says_what_is_damaged(mnist: Path) -> None:
    images, packed = mnist / "t10k-images-idx3-ubyte", mnist / "train-labels-idx1-ubyte.gz"
    good = images.read_bytes()
    images.write_bytes(good[:-1])
    with pytest.raises(TemperError, match=r"t10k-images.* header says \[3, 6, 5\], 106 bytes in all, and it has 105"):
        read("idx", mnist)
    images.write_bytes(b"\x00\x00\x0d\x03" + good[4:])
    with pytest.raises(TemperError, match="starts with 00000d03, not 00000803"):
        read("idx", mnist)
    images.write_bytes(good)
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(TemperError, match=r"train-labels.*damaged or cut short"):
        read("idx", mnist)
    packed.write_bytes(b"no gzip")
    with pytest.raises(TemperError, match=r"train-labels.*damaged or cut short"):
        read("idx", mnist)
    packed.unlink()
    with pytest.raises(TemperError, match=r"no train-labels-idx1-ubyte or .*--data PATH"):
        read("idx", mnist)


@pytest.mark.parametrize("source", ["idx", "parquet", "folder", "tensors"])
def test_sources_that_read_files_need_a_path_that_is_there(source: str, tmp_path: Path) -> None:
    with pytest.raises(TemperError, match=r"--data PATH, or data.path in the scenario"):
        read(source)
    with pytest.raises(TemperError, match=r"no data at .*nowhere: correct --data PATH"):
        read(source, tmp_path / "nowhere")


@pytest.mark.skipif(not zoo.DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_fashion_mnist_of_debian_is_found_and_is_the_official_one() -> None:
    fields = {"source": "idx", "name": "fashion-mnist", "shape": (1, 28, 28), "classes": 10, "split": FULL}
    pinned = DataSpec.model_validate(fields | {"sha256": {"test": FASHION_MNIST_TEST}})
    test = load(pinned, names=("test",))["test"]
    assert test.y[:10].tolist() == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]


def no_internet(*_: object, **__: object) -> None:
    raise OSError("Name or service not known")


def test_fashion_mnist_names_the_ways_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "DEBIAN", tmp_path / "none")
    monkeypatch.setenv("TEMPER_CACHE", str(tmp_path))
    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", no_internet)
    message = r"apt-get install dataset-fashion-mnist.*--data PATH.*Name or service not known"
    with pytest.raises(TemperError, match=message):
        read("idx", name="fashion-mnist")


def test_fashion_mnist_falls_back_to_a_download(mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(root: str, download: bool, train: bool) -> None:
        raw = Path(root) / "FashionMNIST" / "raw"
        raw.mkdir(parents=True)
        for path in mnist.glob("*ubyte*"):
            (raw / path.name).write_bytes(path.read_bytes())

    monkeypatch.setattr(zoo, "DEBIAN", mnist / "none")
    monkeypatch.setenv("TEMPER_CACHE", str(mnist / "cache"))
    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", download)
    assert len(read("idx", name="fashion-mnist")["train"][1]) == 7


# --- torchvision


class FakeCIFAR:
    """What torchvision's CIFAR10 offers after a download: channels last, labels in a list."""

    def __init__(self, root: str, download: bool, train: bool) -> None:
        assert download
        assert Path(root).is_dir()
        self.data = pictures(2 if train else 1).permute(0, 2, 3, 1).numpy()
        self.targets = [4, 9] if train else [4]


class FakeSVHN:
    """What torchvision's SVHN offers: channels first, labels in an array."""

    def __init__(self, root: str, download: bool, split: str) -> None:
        self.data = pictures(2 if split == "train" else 1).numpy()
        self.labels = np.array([4, 9] if split == "train" else [4])


@pytest.mark.parametrize(("name", "fake"), [("CIFAR10", FakeCIFAR), ("SVHN", FakeSVHN)])
def test_torchvision_arrays_become_our_tensors(
    name: str, fake: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchvision.datasets, name, fake)
    parts = read("torchvision", tmp_path / "new", name=name)
    assert same(parts["train"], pictures(2), [4, 9])
    assert same(parts["test"], pictures(1), [4])


def test_torchvision_says_why_there_are_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", no_internet)
    with pytest.raises(TemperError, match=r"could not download CIFAR10 into .*: Name or service .*--data PATH"):
        read("torchvision", tmp_path, name="CIFAR10")
    with pytest.raises(TemperError, match="unknown data set of torchvision 'CIFAR'; known: CIFAR10, CIFAR100"):
        read("torchvision", tmp_path, name="CIFAR")


def test_every_data_set_of_the_table_is_one_of_torchvision() -> None:
    assert all(hasattr(torchvision.datasets, name) for name in zoo.DATASETS)


# --- parquet


def write_parquet(path: Path, x: Tensor, labels: dict[str, Any], struct_column: bool = True) -> None:
    encoded: list[Any] = [png(image) for image in x]
    column = [{"bytes": content, "path": None} for content in encoded] if struct_column else encoded
    pq.write_table(pa.table({**labels, "img": column}), path)


@pytest.mark.parametrize("below", ["", "data"])
@pytest.mark.parametrize("struct_column", [True, False])
def test_parquet_in_the_layout_of_hugging_face_round_trips(tmp_path: Path, below: str, struct_column: bool) -> None:
    folder = tmp_path / below
    folder.mkdir(exist_ok=True)
    write_parquet(folder / "train-00001-of-00002.parquet", pictures(2, seed=1), {"label": [7, 8]}, struct_column)
    write_parquet(folder / "train-00000-of-00002.parquet", pictures(3), {"label": [1, 2, 3]}, struct_column)
    write_parquet(folder / "test-00000-of-00001.parquet", pictures(1, seed=2), {"label": [9]}, struct_column)
    parts = read("parquet", tmp_path)
    assert same(parts["train"], torch.cat([pictures(3), pictures(2, seed=1)]), [1, 2, 3, 7, 8])
    assert same(parts["test"], pictures(1, seed=2), [9])


def both(folder: Path, x: Tensor, labels: dict[str, list[int]]) -> Path:
    for part in ("train", "test"):
        write_parquet(folder / f"{part}.parquet", x, labels)
    return folder


def test_parquet_labels_are_found_or_named(tmp_path: Path) -> None:
    both(tmp_path, pictures(2), {"fine_label": [1, 2], "coarse_label": [0, 0]})
    assert read("parquet", tmp_path)["train"][1].tolist() == [1, 2]
    assert read("parquet", tmp_path, name="coarse_label")["train"][1].tolist() == [0, 0]
    with pytest.raises(TemperError, match="no column img of integers or text, only fine_label, coarse_label: name it"):
        read("parquet", tmp_path, name="img")


def test_parquet_labels_of_text_are_numbered_in_sorted_order(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train-0.parquet", pictures(2), {"label": ["dog", "ant"]})
    write_parquet(tmp_path / "train-1.parquet", pictures(1), {"label": pa.array(["cat"]).dictionary_encode()})
    write_parquet(tmp_path / "test.parquet", pictures(2), {"label": ["dog", "cat"]})
    parts = read("parquet", tmp_path, classes=3)
    assert parts["train"][1].tolist() == [2, 0, 1]
    assert parts["test"][1].tolist() == [2, 1]
    with pytest.raises(TemperError, match=r"has 3 classes \(ant, cat, dog\), and data.classes = 4"):
        read("parquet", tmp_path, classes=4)
    write_parquet(tmp_path / "test.parquet", pictures(1), {"label": ["emu"]})
    with pytest.raises(TemperError, match=r"row 0 of .*test.parquet has a label 'emu' that the training part lacks"):
        read("parquet", tmp_path, classes=3)


def test_parquet_labels_are_of_one_kind_in_both_parts(tmp_path: Path) -> None:
    for train, test in ((["a", "b"], [0, 1]), ([0, 1], ["a", "b"])):
        write_parquet(tmp_path / "train.parquet", pictures(2), {"label": train})
        write_parquet(tmp_path / "test.parquet", pictures(2), {"label": test})
        with pytest.raises(TemperError, match=f"has a label {test[0]!r} that the training part lacks"):
            read("parquet", tmp_path, classes=2)


def test_parquet_turns_colour_to_grey_and_back(tmp_path: Path) -> None:
    grey = pictures(2, (1, 6, 5))
    both(tmp_path, grey, {"label": [1, 2]})
    assert same(read("parquet", tmp_path)["train"], grey.expand(-1, 3, -1, -1), [1, 2])
    both(tmp_path, grey.expand(-1, 3, -1, -1), {"label": [1, 2]})
    assert same(read("parquet", tmp_path, shape=(1, 6, 5))["train"], grey, [1, 2])


def test_parquet_says_what_is_wrong(tmp_path: Path) -> None:
    both(tmp_path, pictures(2), {"label": [1, 2]})
    with pytest.raises(
        TemperError, match=r"row 0 of .*train.parquet is 6 high and 5 wide, and data.shape is \[3, 5, 6\]"
    ):
        read("parquet", tmp_path, shape=(3, 5, 6))
    with pytest.raises(TemperError, match=r"images are \(1, H, W\) or \(3, H, W\), and data.shape is \[2, 5, 6\]"):
        read("parquet", tmp_path, shape=(2, 5, 6))
    test = tmp_path / "test.parquet"
    good = test.read_bytes()
    test.write_bytes(good[: len(good) // 2])
    with pytest.raises(TemperError, match=r"test.parquet is not a parquet file, or is damaged: [^\n]*$"):
        read("parquet", tmp_path)
    pq.write_table(pa.table({"img": [png(pictures(1)[0])[:60]], "label": [1]}), test)
    with pytest.raises(TemperError, match=r"row 0 of .*test.parquet is not an image, or is damaged"):
        read("parquet", tmp_path)
    pq.write_table(pa.table({"img": [png(pictures(1)[0]), None], "label": [1, 2]}), test)
    with pytest.raises(TemperError, match=r"row 1 of .*test.parquet lacks its image"):
        read("parquet", tmp_path)
    pq.write_table(pa.table({"text": ["a"], "label": [1]}), test)
    with pytest.raises(TemperError, match="no column of encoded images, only text, label"):
        read("parquet", tmp_path)
    test.unlink()
    with pytest.raises(TemperError, match=r"no test\*.parquet in"):
        read("parquet", tmp_path)


# --- folder


def write_folder(root: Path, x: Tensor, names: list[str]) -> None:
    for number, (image, name) in enumerate(zip(x, names, strict=True)):
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / f"{number}.png").write_bytes(png(image))


def test_folders_of_images_are_a_pool_with_classes_in_the_order_of_names(tmp_path: Path) -> None:
    write_folder(tmp_path, pictures(3), ["dog", "cat", "dog"])
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / ".cache").mkdir()
    assert same(read("folder", tmp_path, classes=2)["all"], pictures(3)[[1, 0, 2]], [0, 1, 1])
    with pytest.raises(TemperError, match=r"has 2 classes \(cat, dog\), and data.classes = 10: correct it"):
        read("folder", tmp_path)


def test_folders_may_have_a_training_and_a_test_part(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", pictures(3), ["ant", "cat", "dog"])
    write_folder(tmp_path / "test", pictures(1, seed=1), ["dog"])
    parts = read("folder", tmp_path, classes=3)
    assert same(parts["train"], pictures(3), [0, 1, 2])
    assert same(parts["test"], pictures(1, seed=1), [2])
    write_folder(tmp_path / "test", pictures(1), ["emu"])
    with pytest.raises(TemperError, match="a class 'emu' that the training part lacks"):
        read("folder", tmp_path, classes=3)


def test_folders_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(TemperError, match="no images in the folders of"):
        read("folder", tmp_path, classes=2)
    write_folder(tmp_path, pictures(2), ["cat", "dog"])
    (tmp_path / "cat" / "0.png").write_bytes(png(pictures(1)[0])[:-30])
    with pytest.raises(TemperError, match=r"cat/0.png is not an image, or is damaged"):
        read("folder", tmp_path, classes=2)
    Image.fromarray(np.zeros((6, 5), dtype=np.uint16)).save(tmp_path / "cat" / "0.png")
    with pytest.raises(TemperError, match="more than 8 bits"):
        read("folder", tmp_path, shape=(1, 6, 5), classes=2)
    with pytest.raises(TemperError, match="is not a folder"):
        read("folder", tmp_path / "cat" / "0.png")
    (tmp_path / "train").mkdir()
    with pytest.raises(TemperError, match=r"has train/ but not the other"):
        read("folder", tmp_path, classes=2)


# --- tensors


def test_tensors_of_any_shape_in_a_file_with_parts_or_a_pool_or_a_folder(tmp_path: Path) -> None:
    wave, y = torch.rand(4, 1, 9, dtype=torch.float64), torch.tensor([3, 1, 0, 2], dtype=torch.uint8)
    pool, parts, folder = tmp_path / "pool.safetensors", tmp_path / "parts.safetensors", tmp_path / "folder"
    folder.mkdir()
    safetensors.torch.save_file({"x": wave, "y": y}, pool)
    test = {"test_x": wave[:1].clone(), "test_y": y[:1].clone()}
    safetensors.torch.save_file({"train_x": wave, "train_y": y, **test}, parts)
    safetensors.torch.save_file({"x": wave, "y": y}, folder / "train.safetensors")
    safetensors.torch.save_file({"x": pictures(4), "y": y}, folder / "test.safetensors")
    assert same(read("tensors", pool)["all"], wave.float(), [3, 1, 0, 2])
    assert same(read("tensors", parts)["train"], wave.float(), [3, 1, 0, 2])
    assert same(read("tensors", parts)["test"], wave[:1].float(), [3])
    assert same(read("tensors", folder)["test"], pictures(4), [3, 1, 0, 2])
    assert read("tensors", folder)["train"][1].dtype == torch.int64


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"x": torch.rand(2, 3)}, "has no tensor 'train_x', only x"),
        ({"x": torch.ones(2, 3).long(), "y": torch.ones(2).long()}, "x of .* is torch.int64: store uint8"),
        ({"x": torch.rand(2, 3), "y": torch.ones(2)}, r"y of .* is torch.float32 \[2\]: store one integer"),
        ({"x": torch.rand(2, 3), "y": torch.ones(2, 1).long()}, r"y of .* is torch.int64 \[2, 1\]: store one"),
    ],
)
def test_tensors_that_are_no_examples_are_refused(tmp_path: Path, content: dict[str, Tensor], message: str) -> None:
    safetensors.torch.save_file(content, tmp_path / "data")
    with pytest.raises(TemperError, match=message):
        read("tensors", tmp_path / "data")


def test_tensor_files_that_are_missing_or_damaged_are_named(tmp_path: Path) -> None:
    with pytest.raises(TemperError, match=r"no file .*train.safetensors"):
        read("tensors", tmp_path)
    path = tmp_path / "data"
    safetensors.torch.save_file({"x": torch.rand(2, 3), "y": torch.ones(2).long()}, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(TemperError, match="is not a safetensors file, or is cut short"):
        read("tensors", path)
