"""Boards for the pages, computed once for each state of the files behind them. Nothing here is changed by a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from bench.checkpoints import FILE as CHECKPOINT
from bench.checkpoints import checkpoint_folders, has_checkpoints
from bench.dashboard.cached import cached
from bench.dashboard.view import View
from bench.errors import TemperError
from bench.files import cache
from bench.hashing import digest
from bench.ranking.collect import Collection, collect
from bench.ranking.rows import FIELDS, board_of
from bench.ranking.rows import settings as settings_of
from bench.records import has_records, leaderboards_read, record_files
from bench.scenario import SCENARIOS, Scenario, load_scenario, shipped_scenarios

READ = ("record.json", "outcomes.parquet")  # what a board reads of a record's folder
EMBEDDED = "digits-linf"


def scenarios() -> list[str]:
    """Names of the scenarios that ship, those with records or checkpoints first, else the one that needs nothing but
    Temper."""
    bare = {name: not (has_records(name) or has_checkpoints(name)) for name in shipped_scenarios()}
    return sorted(bare, key=lambda name: (bare[name], name != EMBEDDED, name))


def scenario(name: str) -> Scenario | None:
    """The scenario of that name, or None when its file cannot be read."""
    try:
        return load_scenario(name)
    except TemperError:
        return None


def view(scenario: str, fields: Mapping[str, str]) -> View:
    """The board of a scenario under these FIELDS, as the files are now. Raises what reading them raises."""
    return _view(scenario, tuple({**FIELDS, **fields}.items()), _state_now(scenario))


def neighbours(one: View) -> list[View]:
    """The boards beside one: all of its scenario, and those of other scenarios in its setting; those with rows.

    One that cannot be read is left out: it is not what was asked for.
    """
    places = [(one.board.scenario.name, setting) for setting in settings(one.board.scenario.name)]
    places += [(name, dict(one.board.fields)) for name in scenarios() if name != one.board.scenario.name]
    found = []
    for name, fields in places:
        with suppress(TemperError):
            if has_records(name) and (near := view(name, fields)).board.rows:
                found.append(near)
    return found


def settings(scenario: str) -> list[dict[str, str]]:
    """The settings (values of FIELDS) under which a scenario has records, the default first."""
    return settings_of(_collection(scenario, _state_now(scenario)))


def fingerprint(scenario: str) -> str:
    """Digest of the paths, times and sizes of all files that a board of the scenario is made from."""
    return digest([_state(path) for path in _sources(scenario)])


@cached(entries=64, seconds=1)
def _state_now(scenario: str) -> str:
    """The fingerprint, looked up once a second at most: a page asks several times."""
    return fingerprint(scenario)


@cached(entries=64, spinner="Computing ranks …")
def _view(scenario: str, fields: tuple[tuple[str, str], ...], fingerprint: str) -> View:
    """Cached by all its arguments."""
    return View.of(board_of(load_scenario(scenario), _collection(scenario, fingerprint), **dict(fields)))


@cached(entries=8, spinner="Reading records …")
def _collection(scenario: str, fingerprint: str) -> Collection:
    """Cached by all its arguments; `fingerprint` is there for that alone."""
    return collect(load_scenario(scenario))


def _sources(scenario: str) -> Iterator[Path]:
    """Records and checkpoints with their outcomes, the scenario's file, the teachers' files."""
    for root in leaderboards_read():
        for record in record_files(root, scenario):
            yield from (record.with_name(name) for name in READ)
        for folder in checkpoint_folders(root, scenario):
            yield from (folder / name for name in (CHECKPOINT, READ[1]))
    yield SCENARIOS / f"{scenario}.toml"
    for folder in (SCENARIOS.parent / "teachers" / "weights", cache() / "teachers"):
        yield from sorted(folder.glob("*"))


def _state(path: Path) -> tuple[str, int, int]:
    """Name, time and size of a file; zeros where it is not there."""
    try:
        found = path.stat()
    except OSError:
        return str(path), 0, 0
    return str(path), found.st_mtime_ns, found.st_size
