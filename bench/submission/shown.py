"""What a sandbox sees of this machine: the system, Python with its packages, Temper's code; no data, no records."""

from __future__ import annotations

import site
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from bench.files import PACKAGE

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
HIDDEN = ("/usr/share/datasets", "/usr/share/doc", "/usr/local/share")  # data sets of the system
PRIVATE = ("leaderboards", ".git")  # below a folder that packages are imported from
PACKAGES = (  # where packages lie below what is shown: of Python, of the system, of conda
    *("", "python*/*-packages/", "lib*/python*/*-packages/", "local/lib*/python*/*-packages/"),
    *("envs/*/lib/python*/*-packages/", "pkgs/*/lib/python*/*-packages/", "pkgs/*/*-packages/"),
)


def code() -> list[Path]:
    """The folders of Temper's code: the harness, and the methods that ship."""
    found = find_spec("methods")
    return [PACKAGE, *(Path(place) for place in (found.submodule_search_locations or () if found else ()))]


def search_path() -> list[Path]:
    """Where imports look inside: Temper's code, then whatever of this process's own path is shown, in its order."""
    return list(dict.fromkeys([*(place.parent for place in code()), *_packages()]))


def readable() -> list[Path]:
    """What is shown, outer before inner."""
    python = [*site.getsitepackages(), sys.prefix, sys.base_prefix]
    places = {Path(place) for place in (*SYSTEM, *python)} | set(_packages()) | set(code())
    return sorted(place for place in places if place.exists())


def masked() -> list[Path]:
    """What of that is not: data sets, records, and verdicts on teachers, which hold test labels."""
    return [place for place in dict.fromkeys(_private()) if place.exists()]


def _packages() -> list[Path]:
    """The folders and archives of `sys.path`, which `.pth` lines and PYTHONPATH add to; not those that may hold
    anything (the working directory, that of the script, what holds the home directory), nor a checkout of Temper."""
    own = Path(sys.prefix)
    places = dict.fromkeys(Path(entry) for entry in sys.path if Path(entry).is_absolute() and Path(entry).exists())
    return [place for place in places if place.is_relative_to(own) or not _anything(place)]


def _anything(place: Path) -> bool:
    within = place.resolve()
    home = Path("~").expanduser().resolve()
    if home.is_relative_to(within) or within in (Path.cwd(), Path(sys.argv[0]).resolve().parent):
        return True
    if "site-packages" in within.parts or "dist-packages" in within.parts:
        return False  # of an environment, which may lie in a checkout
    return any((each / "bench").is_dir() and (each / "pyproject.toml").is_file() for each in (within, *within.parents))


def _private() -> Iterator[Path]:
    for place in readable():
        found = [each for packages in PACKAGES for each in sorted(place.glob(f"{packages}sklearn/datasets"))]
        yield from (each for each in found if each.resolve() == place.resolve() / each.relative_to(place))
    for place in _packages():
        yield from (place / name for name in PRIVATE)
    yield PACKAGE / "_shipped"
    yield from sorted((PACKAGE / "teachers" / "weights").glob("*.parquet"))
    yield from map(Path, HIDDEN)
