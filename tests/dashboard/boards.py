"""Small boards as `bench.leaderboard` gives them, for the tests of figures, findings and tables."""

from __future__ import annotations

import pandas as pd

from bench.ranking.board import COLUMNS, COUNTS


def board(*rows: tuple[str, float, str], **columns: list[object]) -> pd.DataFrame:
    """Ranked rows (method, robust accuracy, tie letters), best first; `columns` replaces whole columns."""
    table = [_row(rank, *row) for rank, row in enumerate(rows, 1)]
    frame = pd.DataFrame(table, columns=COLUMNS).astype(dict.fromkeys(COUNTS, "Int64"))
    for name, values in columns.items():
        frame[name] = pd.Series(values, dtype=frame[name].dtype)
    frame.attrs |= {"scenario": "digits-linf", "ruleset": "compute", "budget": "s", "recipe": "plain"}
    frame.attrs |= {"teacher_cost": 8.6, "minimum_detectable_difference": 0.02, "problems": []}
    return frame


def with_teacher(frame: pd.DataFrame, robust: float = 0.83) -> pd.DataFrame:
    """The board with the teacher as its last row."""
    row = _row(len(frame) + 1, "teacher: trades", robust, "")
    row |= {"rank": None, "rank_low": None, "rank_high": None, "tie_group": None, "robust_low": None}
    row |= {"robust_high": None, "status": "unranked", "family": "teacher", "seeds": [], "trials": [], "passes": None}
    both = pd.concat([frame, pd.DataFrame([row], columns=COLUMNS).astype(dict.fromkeys(COUNTS, "Int64"))])
    both.attrs |= frame.attrs
    return both.reset_index(drop=True)


def _row(rank: int, method: str, robust: float, tie: str) -> dict[str, object]:
    return {
        "rank": rank,
        "rank_low": rank,
        "rank_high": rank,
        "tie_group": tie,
        "method": method,
        "version": "1",
        "family": "adversarial-kd",
        "ruleset": "compute",
        "budget": "s",
        "recipe": "plain",
        "track": "main",
        "seeds": [0, 1, 2],
        "trials": ["a", "b", "c"],
        "hyperparameters": {},
        "tuned": False,
        "clean": 0.98,
        "robust": robust,
        "robust_low": robust - 0.01,
        "robust_high": robust + 0.02,
        "pgd_20": robust + 0.01,
        "passes": 2299.0,
        "collapsed": 0,
        "failed": 0,
        "status": "ranked",
    }
