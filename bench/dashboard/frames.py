"""Which rows of a ranking are methods that compete, and which is the teacher."""

from __future__ import annotations

import pandas as pd

from bench.ranking.words import labels

COMPETING = ("ranked", "provisional", "failed")  # statuses of rows that a board compares


def methods(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that compete, in their order, with what each is called as `label`."""
    bare = frame.copy(deep=False)
    bare.attrs = {}  # which pandas copies with every selection
    bare["label"] = labels(frame)
    return bare[bare["status"].isin(COMPETING)]


def teacher(frame: pd.DataFrame) -> pd.Series | None:
    """The row of the teacher; None where it was not judged."""
    rows = frame[frame["status"] == "unranked"]
    return None if rows.empty else rows.iloc[0]
