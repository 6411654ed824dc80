"""Files: atomic writes, and where things lie."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import TemperError

PACKAGE = Path(__file__).parent
SHIPPED = PACKAGE / "_shipped" if (PACKAGE / "_shipped").exists() else PACKAGE.parent


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it at the end: readers see the old file or the new, never a half.

    Raises TemperError, and leaves the old file, when the disk is full or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
    except OSError as error:
        raise _cannot_write(path, error) from None
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from None
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


def cache() -> Path:
    """Where trained teachers and downloads are kept: `TEMPER_CACHE`, or `~/.cache/temper`."""
    return Path(os.environ.get("TEMPER_CACHE") or Path.home() / ".cache" / "temper")


def _cannot_write(path: Path, error: OSError) -> TemperError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return TemperError(f"no space left to write {path}: free some and run again; what was saved before is kept")
    return TemperError(f"cannot write {path}: {error.strerror or error}")
