"""Files of weights that people have, read without running code of theirs: safetensors, and what torch.save wrote."""

from __future__ import annotations

import pickletools
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bench.errors import TemperError
from bench.files import MEGABYTE, regular
from bench.networks.checkpoints.harmless import harmless
from bench.networks.weights import LIMIT, read_weights

SAVE = 'torch.save(model.state_dict(), "weights.pt")'
CONVERT = f"where you trust it, load it with the code that it belongs to, and write the weights alone: {SAVE}"
STARTS = (  # how a file starts, what it is then, and what to do
    (b"\x93NUMPY", "a NumPy array", f"load it into the model, then {SAVE}"),
    (b"\x89HDF", "an HDF5 file (Keras)", f"load it into a PyTorch model, then {SAVE}"),
    (b"GGUF", "a GGUF file", f"load it into a PyTorch model, then {SAVE}"),
    (b"\x1f\x8b", "compressed with gzip", "unpack it with gunzip or tar first"),
    (b"BZh", "compressed with bzip2", "unpack it with bunzip2 first"),
    (b"\xfd7zXZ", "compressed with xz", "unpack it with unxz first"),
    (b"(\xb5/\xfd", "compressed with zstandard", "unpack it with unzstd first"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it first"),
    (b"Rar!", "a RAR archive", "unpack it first"),
    (b"version https://git-lfs", "a pointer of Git LFS instead of the file", "run `git lfs pull` first"),
    (b"<", "a web page instead of a file", "download it anew; the link may ask for a confirmation"),
    (b"{", "JSON, which holds no tensors", f"name the checkpoint itself, such as written by {SAVE}"),
)
MEMBERS = (  # a pattern of a zip's members, what it is then, and what to do
    (
        r"(^|/)(constants\.pkl|code/)",
        "a TorchScript archive",
        "load it with torch.jit.load, and write its state_dict()",
    ),
    (
        r"(^|/)archive_format$|(^|/)serialized_exported_program",
        "an exported program",
        f"load it with torch.export, {SAVE}",
    ),
    (r"\.npy$", "an archive of NumPy arrays (.npz)", f"load them into the model, then {SAVE}"),
    (r"(^|/)model\.weights\.h5$", "a Keras model", f"load it into a PyTorch model, then {SAVE}"),
    (r"\.(pth?|tar|bin|ckpt|safetensors)$", "a zip archive of further files", "unpack it first"),
)
OPCODES = 100_000  # of a foreign pickle, looked through for the names that it would import


class Contents(NamedTuple):
    """What a file holds: nested mappings and sequences with tensors, and whether these stand in the model's order."""

    tree: Any
    ordered: bool


def read(path: Path) -> Contents:
    """The contents of a checkpoint, on the CPU. Raises TemperError for anything but tensors in plain containers.

    Nothing in the file is run: pickles make only numbers, arrays, mappings and the like (`harmless`).
    """
    if path.is_dir():
        raise TemperError(f"{path} is a folder: name the file of weights in it{_inside(path)}")
    start = _start(path)
    if not start:
        raise TemperError(f"{path} is empty: it was not written or copied to its end")
    if start[8:9] == b"{":
        return Contents(read_weights(path), ordered=False)
    _refuse_others(path, start)
    return Contents(_unpickled(path), ordered=True)


def _start(path: Path) -> bytes:
    try:
        with regular(path, LIMIT).open("rb") as file:
            return file.read(512)
    except FileNotFoundError:
        raise TemperError(f"no weights at {path}") from None
    except OSError as error:
        raise TemperError(f"cannot read weights {path}: {error.strerror or error}") from None


def _inside(folder: Path) -> str:
    """The files of weights in a folder, in words."""
    known = (".pt", ".pth", ".bin", ".ckpt", ".tar", ".safetensors")
    names = sorted(file.name for file in folder.iterdir() if file.suffix in known)
    return f" ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})" if names else ""


def _refuse_others(path: Path, start: bytes) -> None:
    """Raise TemperError for a file that torch.save did not write, which says what it is."""
    if start.startswith(b"PK"):
        _refuse_archive(path)
    for sign, kind, remedy in STARTS:
        if start.lstrip().startswith(sign):
            raise TemperError(f"{path} is {kind}: {remedy}")
    tar = start[257:262] == b"ustar"
    if not tar and not start.startswith((b"PK", b"\x80")):
        raise TemperError(
            f"{path} is neither a safetensors file nor one of torch.save (it starts with {start[:8]!r}), "
            f"or is cut short; write the weights with {SAVE}"
        )


def _refuse_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            unpacked = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise TemperError(f"{path} is cut short or damaged ({_line(error)}): copy it anew") from None
    most = 10 * path.stat().st_size + 100 * MEGABYTE  # torch.save does not even compress
    if unpacked > most:
        raise TemperError(f"{path} would unpack to {unpacked:,} bytes; at most {most:,} are read of a file of its size")
    for pattern, kind, remedy in MEMBERS:
        if any(re.search(pattern, member) for member in members):
            raise TemperError(f"{path} is {kind}: {remedy}")
    if not any(member.endswith("data.pkl") for member in members):
        raise TemperError(f"{path} is a zip archive without weights ({', '.join(members[:3])}): unpack it first")


def _unpickled(path: Path) -> Any:
    """What torch.save wrote. Whatever else a hostile file does to the reader, the caller sees a TemperError."""
    try:
        with path.open("rb") as file, torch.serialization.safe_globals(harmless()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)  # not the path: its suffix would mislead
    except Exception as error:
        raise _refusal(path, error) from None


def _refusal(path: Path, error: Exception) -> TemperError:
    wants = re.search(r"GLOBAL (\S+)", str(error))
    if wants:
        return TemperError(
            f"{path} is a pickle that asks for {wants[1]!r}, not a file of tensors alone, and nothing in it is run: "
            f"{CONVERT}"
        )
    foreign = [] if zipfile.is_zipfile(path) else _imports(path)
    if foreign:
        name = next((name for name in foreign if not name.startswith(("collections.", "torch._utils."))), foreign[0])
        return TemperError(
            f"{path} is a pickle that torch.save did not write; it asks for {name!r}, and nothing in it is run: "
            f"{CONVERT}"
        )
    return TemperError(
        f"{path} is no checkpoint of torch.save, or is cut short or damaged ({_line(error)}): copy it anew"
    )


def _imports(path: Path) -> list[str]:
    """The names that a pickle would import, looked for without running it."""
    names: list[str] = []
    recent: list[str] = []
    try:
        with path.open("rb") as file:
            for count, (opcode, value, _) in enumerate(pickletools.genops(file)):
                if opcode.name == "GLOBAL":
                    names.append(str(value).replace(" ", "."))
                elif opcode.name == "STACK_GLOBAL":
                    names.append(".".join(recent[-2:]))
                elif isinstance(value, str):
                    recent = [*recent[-1:], value]
                if count > OPCODES:
                    break
    except Exception:
        return names
    return names


def _line(error: Exception) -> str:
    """What an error says, short: torch says it after its advice."""
    text = str(error).rpartition("WeightsUnpickler error:")[2].strip() or type(error).__name__
    return text.splitlines()[0][:120]
