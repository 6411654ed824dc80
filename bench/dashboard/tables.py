"""A board as the table that readers see: percent, intervals and notes as words."""

from __future__ import annotations

import pandas as pd

from bench.ranking.words import DASH, labels, notes

__all__ = ["labels", "methods", "ranked_table", "teacher"]
OPTIONAL = ["PGD-20", "Gap closed", "Passes"]
TEACHER_NOTE = "reference, not ranked"


def methods(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that compete, in their order."""
    return frame[frame["status"] != "unranked"]


def teacher(frame: pd.DataFrame) -> pd.Series | None:
    """The row of the teacher; None where it was not judged."""
    rows = frame[frame["status"] == "unranked"]
    return None if rows.empty else rows.iloc[0]


def ranked_table(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a method and the teacher; accuracies in percent, missing values null, all text plain.

    Columns of OPTIONAL that hold nothing on this board are left out.
    """
    table = pd.DataFrame(
        {
            "Rank": frame["rank"].astype("Int64"),
            "Method": labels(frame),
            "Robust": _percent(frame["robust"]),
            "95% interval": _ranges(_percent(frame["robust_low"]), _percent(frame["robust_high"]), "{:.1f}"),
            "Tie": frame["tie_group"].astype(object).fillna("").astype(str),
            "Rank range": _ranges(frame["rank_low"], frame["rank_high"], "{:.0f}"),
            "Clean": _percent(frame["clean"]),
            "PGD-20": _percent(frame["pgd_20"]),
            "Gap closed": _percent(frame["gap_closed"]),
            "Passes": frame["passes"].astype(float),
            "Seeds": [len(seeds) or None for seeds in frame["seeds"]],
            "Family": frame["family"].astype(str),
            "Notes": _notes(frame),
        }
    )
    table["Seeds"] = table["Seeds"].astype("Int64")
    unknown = [name for name in OPTIONAL if table[name].isna().all()]
    return table.drop(columns=unknown).reset_index(drop=True)


def _percent(column: pd.Series) -> pd.Series:
    return 100 * column.astype(float)


def _ranges(low: pd.Series, high: pd.Series, form: str) -> list[str]:
    """Both ends with a dash, one number where both are the same, nothing where they are not known."""
    words = []
    for a, b in zip(low, high, strict=True):
        ends = [] if pd.isna(a) or pd.isna(b) else [form.format(a), form.format(b)]
        words.append(DASH.join(dict.fromkeys(ends)))
    return words


def _notes(frame: pd.DataFrame) -> list[str]:
    return [TEACHER_NOTE if note == "unranked" else note for note in notes(frame)]
