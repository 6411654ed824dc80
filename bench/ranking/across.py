"""Methods over several scenarios: the points of robust accuracy that each is above the baseline on each of them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.ranking.board import BASELINE, ranking
from bench.ranking.rows import Board
from bench.ranking.statistics import interquartile_mean, performance_profile
from bench.ranking.words import METHOD, described, points, rows, share
from bench.records import has_records
from bench.scenario import shipped_scenarios

FIELDS = ["method", "version", "hyperparameters", "tuned"]  # of a method with its settings


def across(boards: Sequence[Board]) -> pd.DataFrame:
    """One row for each method that is ranked on any of the boards (of different scenarios, in one setting).

    A scenario's column is the robust accuracy above that of the best `pgd-at` row there, a fraction; null where either
    is not ranked. With more than one scenario, `mean` and `interquartile_mean` (Agarwal et al. 2021: 25% trimmed from
    both ends) over all of them, and `above`, the performance profile at 0: the share of scenarios on which the method
    beats the baseline's mean; null where a scenario is missing. Best mean first, then those without one, by name.
    """
    names = [board.scenario.name for board in boards]
    table: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for board in boards:
        for key, row in _above(board).items():
            table[key] |= row
    frame = pd.DataFrame(list(table.values()), columns=[*FIELDS, *names])
    above = frame[names].astype(float)
    shown = [METHOD, *(points(name, name, best=True) for name in names)]
    best = above.mean(axis=1, skipna=False)
    if len(names) > 1:
        frame["mean"], frame["interquartile_mean"] = best, interquartile_mean(above)
        frame["above"] = performance_profile(above, [0.0])[:, 0]
        shown += [points(name.replace("_", " "), name, best=True) for name in ("mean", "interquartile_mean")]
        shown += [share("of scenarios above it", "above")]
    frame = (
        frame.assign(best=best)
        .sort_values(["best", "method", "version"], ascending=[False, True, True], ignore_index=True)
        .drop(columns="best")
    )
    problems = list(dict.fromkeys(problem for board in boards for problem in board.problems))
    return described(frame, f"Points of robust accuracy over {BASELINE}", _caption(boards), shown, problems=problems)


def with_records(leaderboards: Path | None = None) -> list[str]:
    """Names of the shipped scenarios that have any record, shipped or local."""
    return [name for name in shipped_scenarios() if has_records(name, leaderboards)]


def _above(board: Board) -> dict[str, dict[str, Any]]:
    """The ranked rows of a board by method and settings, each with its distance from the baseline."""
    ranked = [row for row in rows(ranking(board)) if row["status"] == "ranked"]
    base = next((row["robust"] for row in ranked if row["method"] == BASELINE), None)
    return {
        _key(row): {name: row[name] for name in FIELDS}
        | {board.scenario.name: None if base is None else row["robust"] - base}
        for row in ranked
    }


def _key(row: dict[str, Any]) -> str:
    """What makes rows of two boards one: settings that were searched for differ from scenario to scenario."""
    settings = {} if row["tuned"] else row["hyperparameters"]
    return json.dumps([row["method"], row["version"], row["tuned"], settings], sort_keys=True)


def _caption(boards: Sequence[Board]) -> list[str]:
    if not boards:
        return ["no scenario has records with these settings"]
    words = [boards[0].setting.partition(", ")[2]]
    words += [f"robust accuracy of ranked rows minus that of {BASELINE} on the same scenario, in points"]
    if len(boards) > 1:
        words += [f"means over all {len(boards)} scenarios, of methods that are ranked on each"]
    return [*words, "a difference below a scenario's minimum detectable difference is not a finding"]
