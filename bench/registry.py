"""Names to things: one registry class for methods, networks and data sources."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Generic, TypeVar, cast

from bench.errors import TemperError, unknown
from bench.files import MEGABYTE, regular
from bench.words import one_line

T = TypeVar("T")

FILES = "TEMPER_METHODS"  # names files of methods, networks and sources, for this process and those that it starts
OWN = "one of your own needs its file: --file FILE, or from Python an import before"
_run: dict[Path, str] = {}  # files that this process ran, and what went wrong in each


class Registry(Generic[T]):
    """Maps names to things of one kind. Plug-ins of the entry-point `group` are loaded at the first look-up.

    A thing may be given as "module:attribute"; it is then imported when it is first asked for. So are the files that
    the environment variable `TEMPER_METHODS` names, separated as in PATH: each is run once, whatever it registers.
    """

    def __init__(self, kind: str, group: str | None = None) -> None:
        self.kind = kind
        self.group = group
        self.broken: dict[str, str] = {}
        self._things: dict[str, T | str] = {}
        self._loaded = group is None

    def add(self, name: str, thing: T | str) -> None:
        """Register `thing`. Raises TemperError when the name is no line, or taken by something else."""
        try:
            one_line(name)
        except ValueError as error:
            raise TemperError(f"the name of a {self.kind} {error}") from None
        if name in self._things and not _same(self._things[name], thing):
            raise TemperError(f"{self.kind} {name!r} is registered twice: {self._things[name]!r} and {thing!r}")
        self._things[name] = thing

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator form of `add`."""

        def decorate(thing: T) -> T:
            self.add(name, thing)
            return thing

        return decorate

    def __getitem__(self, name: str) -> T:
        self._load()
        if name not in self._things:
            raise self._unknown(name)
        thing = self._things[name]
        if isinstance(thing, str):
            module, _, attribute = thing.partition(":")
            thing = self._things[name] = getattr(import_module(module), attribute)
        return cast(T, thing)

    def __contains__(self, name: str) -> bool:
        self._load()
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(sorted(self._things))

    def __len__(self) -> int:
        self._load()
        return len(self._things)

    def _load(self) -> None:
        """Import every plug-in once; one that fails is remembered in `broken` and hides nobody else."""
        if self._loaded:
            return
        self._loaded = True
        for plug_in in entry_points(group=self.group or ""):
            try:
                plug_in.load()
            except Exception as error:
                self.broken[plug_in.name] = f"{type(error).__name__}: {error}"
        self.broken |= run_files()

    def _unknown(self, name: str) -> TemperError:
        """The error for a name that is not here, with what may be the matter with something of the user's own."""
        error = unknown(self.kind, name, self._things, "" if self.group is None else OWN)
        broken = "; ".join(f"{each} does not load: {problem}" for each, problem in self.broken.items())
        return TemperError(f"{error} ({broken})") if broken else error


def run_files() -> dict[str, str]:
    """Run the files of `TEMPER_METHODS` that this process has not run yet; those that do not load, and why."""
    for file in named_files():
        if file not in _run:
            try:
                run_file(file)
            except Exception as error:
                _run[file] = f"{type(error).__name__}: {error}"
    return {str(file): _run[file] for file in named_files() if _run[file]}


def named_files() -> list[Path]:
    """The files of `TEMPER_METHODS`."""
    return [Path(name).resolve() for name in os.environ.get(FILES, "").split(os.pathsep) if name]


def run_file(file: Path) -> None:
    """Import a Python file that is in no package."""
    _run[file.resolve()] = ""
    regular(file, MEGABYTE)
    name = f"temper_file_{file.stem}"
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise TemperError(f"{file} is no Python file")
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)


def file_of(thing: object) -> Path:
    """The file that a registered class or function is written in."""
    return Path(inspect.getsourcefile(thing) or "")  # type: ignore[arg-type]


def _same(old: object, new: object) -> bool:
    """Whether `new` is `old`, imported again under the same module and name."""
    return old is new or (
        getattr(old, "__module__", None) == getattr(new, "__module__", 0)
        and getattr(old, "__qualname__", None) == getattr(new, "__qualname__", 0)
        and getattr(old, "__qualname__", None) is not None
    )
