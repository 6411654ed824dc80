"""Files: atomic writes, and where things lie."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import TemperError

PACKAGE = Path(__file__).parent
SHIPPED = PACKAGE / "_shipped" if (PACKAGE / "_shipped").exists() else PACKAGE.parent


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raises TemperError where what is done inside to write `path` meets a full disk or a read-only folder."""
    try:
        yield
    except OSError as error:
        raise _cannot_write(path, error) from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it at the end: readers see the old file or the new, never a half.

    Raises TemperError, and leaves the old file, when the disk is full or the folder cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
    temporary = Path(name)
    try:
        with writing(path):
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file of bytes atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def copy(source: Path, path: Path) -> None:
    """Copy a file atomically."""
    with replacing(path) as temporary:
        shutil.copyfile(source, temporary)


def discard(folder: Path) -> None:
    """Delete a folder where there is one; a kill meanwhile leaves it whole, or a rest of it under a hidden name."""
    rest = folder.with_name(f".{folder.name}")
    shutil.rmtree(rest, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.rename(rest)
    shutil.rmtree(rest, ignore_errors=True)


def cache() -> Path:
    """Where trained teachers and downloads are kept: `TEMPER_CACHE`, or `~/.cache/temper`."""
    return Path(os.environ.get("TEMPER_CACHE") or Path.home() / ".cache" / "temper")


def _cannot_write(path: Path, error: OSError) -> TemperError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return TemperError(f"no space left to write {path}: free some and run again; what was saved before is kept")
    return TemperError(f"cannot write {path}: {error.strerror or error}")
