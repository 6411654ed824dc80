"""Boards for the pages, computed once for each state of the files behind them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pandas as pd
import streamlit as st

from bench.errors import TemperError
from bench.files import cache
from bench.hashing import digest
from bench.records import local_leaderboards, shipped_leaderboards
from bench.scenario import SCENARIOS, Ruleset, Scenario, Tier, load_scenario, shipped_scenarios

READ = ("record.json", "outcomes.parquet")  # what a board reads of a record's folder
EMBEDDED = "digits-linf"


def scenarios() -> list[str]:
    """Names of the scenarios that ship, those with records first, else the one that needs nothing but Temper."""
    return sorted(shipped_scenarios(), key=lambda name: (not has_records(name), name != EMBEDDED, name))


def scenario(name: str) -> Scenario | None:
    """The scenario of that name, or None when its file cannot be read."""
    try:
        return load_scenario(name)
    except TemperError:
        return None


def has_records(scenario: str) -> bool:
    """Whether there is any record of the scenario, shipped or local."""
    return any(next(_records(root, scenario), None) for root in _roots())


def board(scenario: str, ruleset: str, budget: str) -> pd.DataFrame:
    """`bench.leaderboard` of the scenario as the files are now. Raises what that raises."""
    return _board(scenario, ruleset, budget, fingerprint(scenario))


def fingerprint(scenario: str) -> str:
    """Digest of the paths, times and sizes of all files that a board of the scenario is made from."""
    return digest([_state(path) for path in _sources(scenario)])


@st.cache_data(show_spinner="Reading records …", max_entries=64)
def _board(scenario: str, ruleset: str, budget: str, fingerprint: str) -> pd.DataFrame:
    """Cached by all its arguments; `fingerprint` is there for that alone."""
    import bench

    return bench.leaderboard(scenario, ruleset=cast(Ruleset, ruleset), budget=cast(Tier, budget))


def _sources(scenario: str) -> Iterator[Path]:
    """Records with their outcomes, the scenario's file, the teachers' files."""
    for root in _roots():
        for record in _records(root, scenario):
            yield from (record.with_name(name) for name in READ)
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


def _roots() -> list[Path]:
    return [shipped_leaderboards(), local_leaderboards()]


def _records(root: Path, scenario: str) -> Iterator[Path]:
    return (root / "records" / scenario).glob("*/*/record.json")
