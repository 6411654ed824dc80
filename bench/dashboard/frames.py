"""Which rows of a ranking are methods that compete, which is the teacher, and what stands below them."""

from __future__ import annotations

import pandas as pd

from bench.ranking.words import CHECKPOINT, labels

COMPETING = ("ranked", "provisional", "failed")  # statuses of rows that a board compares
GROUPS = {  # the parts of a board's table by their headings, and the statuses of their rows
    "": (*COMPETING, "unranked"),
    "Checkpoints: trained elsewhere, budget unknown, not ranked": (CHECKPOINT,),
    "Superseded and retracted": ("superseded", "retracted"),
}


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
