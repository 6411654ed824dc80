"""Files: atomic writes, and where things lie."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import TemperError

PACKAGE = Path(__file__).parent
SHIPPED = PACKAGE / "_shipped" if (PACKAGE / "_shipped").exists() else PACKAGE.parent

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UNWRITABLE = (*FULL, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)  # whoever else is asked for the file
EVALUATIONS = "evaluations"  # below the cache: those that `temper evaluate` has under way


MEGABYTE = 2**20


def regular(path: Path, limit: int | None = None) -> Path:
    """`path`, if it can be opened and read to its end; one that is not there is left to its reader to tell.

    Raises TemperError for a folder, a device, a pipe or a socket, and for a file of more than `limit` bytes.
    """
    try:
        found = path.stat()
    except OSError:
        return path
    if not stat.S_ISREG(found.st_mode):
        raise TemperError(f"{path} is {_kind(found.st_mode)}, not a file: name a file")
    if limit is not None and found.st_size > limit:
        raise TemperError(f"{path} has {found.st_size:,} bytes; at most {limit:,} are read of such a file")
    return path


def _kind(mode: int) -> str:
    return "a folder" if stat.S_ISDIR(mode) else "a device, a pipe or a socket"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raises TemperError where what is done inside to write `path` meets a full disk or a read-only folder."""
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from None


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
    """Where trained teachers, downloads and evaluations under way are kept: `TEMPER_CACHE`, or `~/.cache/temper`."""
    if named := os.environ.get("TEMPER_CACHE"):
        return Path(named)
    try:
        return Path.home() / ".cache" / "temper"
    except RuntimeError:
        raise TemperError("this user has no home directory to keep a cache in: name one, TEMPER_CACHE=FOLDER") from None


def cannot_write(path: Path, error: OSError) -> TemperError:
    """The error for a path that could not be written, with what chooses another place."""
    if error.errno in FULL:
        words = f"no space left to write {path}: free some and run again; what was saved before is kept"
    else:
        words = f"cannot write {path}: {error.strerror or error}"
    return TemperError(words + _elsewhere(path))


def _elsewhere(path: Path) -> str:
    """What chooses another place than the one that a path lies in; "" for a path that the user named."""
    with contextlib.suppress(TemperError):
        if path.is_relative_to(cache()):
            return _cache_elsewhere(path)
    if ".work" in path.parts:
        return "; --leaderboards FOLDER or TEMPER_LEADERBOARDS=FOLDER chooses another place"
    return ""


def _cache_elsewhere(path: Path) -> str:
    state = "--state FOLDER or " if path.is_relative_to(cache() / EVALUATIONS) else ""
    return f"; {state}TEMPER_CACHE=FOLDER chooses another place than {cache()}"
