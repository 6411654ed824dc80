"""Names to things: one registry class for methods, networks and data sources."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Generic, TypeVar, cast

from bench.errors import TemperError, unknown

T = TypeVar("T")


class Registry(Generic[T]):
    """Maps names to things of one kind. Plug-ins of the entry-point `group` are loaded at the first look-up.

    A thing may be given as "module:attribute"; it is then imported when it is first asked for. The environment variable
    `files` names further Python files, separated as in PATH, that register things when they are run.
    """

    def __init__(self, kind: str, group: str | None = None, files: str = "") -> None:
        self.kind = kind
        self.group = group
        self.files = files
        self.broken: dict[str, str] = {}
        self._things: dict[str, T | str] = {}
        self._loaded = group is None

    def add(self, name: str, thing: T | str) -> None:
        """Register `thing`. Raises TemperError when the name is taken by something else."""
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
            raise unknown(self.kind, name, self._things)
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
        plug_ins = [(point.name, point.load) for point in entry_points(group=self.group or "")]
        files = [Path(name) for name in os.environ.get(self.files, "").split(os.pathsep) if name]
        for name, load in plug_ins + [(str(file), partial(run_file, file)) for file in files]:
            try:
                load()
            except Exception as error:
                self.broken[name] = f"{type(error).__name__}: {error}"


def run_file(file: Path) -> None:
    """Import a Python file that is in no package."""
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
