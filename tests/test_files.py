"""Files are replaced whole or not at all, whatever goes wrong."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import TemperError
from bench.files import EVALUATIONS, cache, replacing, write_text


def only(path: Path) -> bool:
    """Whether `path` is alone in its folder: no temporary file is left."""
    return list(path.parent.iterdir()) == [path]


def test_a_new_file_and_its_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.txt"
    write_text(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o644
    assert only(path)


def test_readers_see_the_old_file_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent
    assert path.read_text() == "new"
    assert only(path)


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(3)])
def test_a_body_that_raises_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(type(error)) as caught, replacing(path) as temporary:
        temporary.write_text("half")
        raise error
    assert caught.value is error
    assert path.read_text() == "old"
    assert only(path)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_one_clear_line_and_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def full(*_: object, **__: object) -> int:
        raise OSError(code, "full")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(TemperError) as caught:
        write_text(path, "new")
    assert str(caught.value).startswith(f"no space left to write {path}: ")
    assert "\n" not in str(caught.value)
    assert path.read_text() == "old"
    assert only(path)


def test_a_disk_that_is_full_only_at_the_sync_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bench.files.os.fsync", full)
    with pytest.raises(TemperError, match="no space left"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert only(path)


LIMITED = """
import resource, signal, sys
from pathlib import Path
from bench.errors import TemperError
from bench.files import write_text
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_text(Path(sys.argv[1]), "x" * 100_000)
except TemperError as error:
    print(error)
"""


def test_a_real_limit_on_the_size_of_files_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    done = subprocess.run([sys.executable, "-c", LIMITED, str(path)], check=True, capture_output=True, text=True)
    assert done.stdout.startswith(f"no space left to write {path}: ")
    assert done.stdout.count("\n") == 1
    assert path.read_text() == "old"
    assert only(path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Root may write anywhere, so the parent is a file."""
    (tmp_path / "file").write_text("x")
    path = tmp_path / "file" / "record.json"
    with pytest.raises(TemperError, match=f"cannot write {path}: ") as caught:
        write_text(path, "new")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "x"


def test_a_folder_in_the_place_of_the_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.mkdir()
    with pytest.raises(TemperError, match=f"cannot write {path}: "):
        write_text(path, "new")
    assert path.is_dir()
    assert only(path)


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TEMPER_CACHE", str(tmp_path))
    assert cache() == tmp_path
    monkeypatch.setenv("TEMPER_CACHE", "")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache() == Path("/home/somebody/.cache/temper")


def test_a_cache_that_cannot_be_written_names_what_chooses_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Root may write anywhere, so a file lies in the folder's place."""
    place = tmp_path / "cache"
    place.write_text("x")
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("TEMPER_CACHE", str(place))
    with pytest.raises(TemperError, match=f"cannot write .*; TEMPER_CACHE=FOLDER chooses another place than {place}"):
        write_text(cache() / "teachers" / "card.json", "{}")
    with pytest.raises(TemperError, match="; --state FOLDER or TEMPER_CACHE=FOLDER chooses another place than"):
        write_text(cache() / EVALUATIONS / "ledger", "")
    with pytest.raises(TemperError, match="--leaderboards FOLDER or TEMPER_LEADERBOARDS=FOLDER chooses another place"):
        write_text(tmp_path / "file" / ".work" / "job.json", "{}")


def test_a_user_without_a_home_is_told_to_name_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("TEMPER_CACHE")
    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(TemperError, match="TEMPER_CACHE=FOLDER"):
        cache()
