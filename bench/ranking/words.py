"""How readers see a table: which columns, under which headings, each value in words. Data stay fractions."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pandas as pd

from bench.words import printable

DASH = "\N{EN DASH}"
CHECKPOINT = "checkpoint"  # status and family of a row that was trained elsewhere
APART = ("unranked", CHECKPOINT, "superseded", "retracted")  # statuses of rows that stand below those that compete
UNKNOWN = "trained elsewhere, budget unknown"


class Column(NamedTuple):
    """A column that readers see, of a field of the frame or of WORDS.

    `form` is the format of its numbers, "" for text; with `.1%` the sign stands in the heading. The largest number of a
    `best` column is set in bold where the format can; one that is `aside` is left out where the page is narrow.
    """

    heading: str
    field: str
    form: str = ""
    best: bool = False
    aside: bool = False


RANK, METHOD = Column("rank", "rank", ".0f"), Column("method", "label")
ROBUST, INTERVAL = Column("robust %", "robust", "z.1%", best=True), Column("95% interval", "interval")


def share(heading: str, field: str, best: bool = False) -> Column:
    """A column of fractions in [0, 1], shown in percent."""
    return Column(f"{heading} %", field, "z.1%", best)


def points(heading: str, field: str, best: bool = False) -> Column:
    """A column of differences between fractions, shown in points."""
    return Column(heading, field, "+z.1%", best)


def described(
    frame: pd.DataFrame, title: str, caption: Sequence[str], columns: Sequence[Column], **more: Any
) -> pd.DataFrame:
    """`frame` with all that a rendering of it needs, in its attrs; the parts of `caption` become one sentence."""
    frame.attrs |= {"title": title, "caption": f"{'; '.join(caption)}.", "columns": list(columns), **more}
    return frame


def in_words(frame: pd.DataFrame) -> pd.DataFrame:
    """The table that readers see: printable text under headings."""
    cells = {c.heading: [printable(word) for word in _cells(frame, c)] for c in frame.attrs["columns"]}
    return pd.DataFrame(cells, index=frame.index, dtype=object)


def labels(frame: pd.DataFrame) -> list[str]:
    """What each row is called, no two alike: its method with changed settings, its version where that is ambiguous.

    A checkpoint from elsewhere that is called like another row is `name (checkpoint)`: it renames no method.
    """
    table = rows(frame)
    named = [None if row.get("status") == CHECKPOINT else (_label(row), row["version"]) for row in table]
    names = Counter(each[0] for each in {*named} if each)
    first = [each and (f"{each[0]} · {each[1]}" if names[each[0]] > 1 else each[0]) for each in named]
    taken = {*filter(None, first), *names}
    return _told_apart([name or _elsewhere(row["method"], taken) for name, row in zip(first, table, strict=True)])


def notes(frame: pd.DataFrame) -> list[str]:
    """What a reader must know of each row beside its numbers."""
    return [_notes(row) for row in rows(frame)]


def rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as mappings."""
    bare = frame.copy(deep=False)
    bare.attrs = {}  # which pandas copies with every row
    return [{str(name): value for name, value in row.items()} for row in bare.to_dict("records")]


def missing(value: Any) -> bool:
    """Whether a value of a frame is not known."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _intervals(frame: pd.DataFrame) -> list[str]:
    ends = zip(frame["robust_low"], frame["robust_high"], strict=True)
    return ["" if missing(low) else f"{100 * low:.1f}{DASH}{100 * high:.1f}" for low, high in ends]


def _seeds(frame: pd.DataFrame) -> list[str]:
    return [str(len(seeds)) if seeds else "" for seeds in frame["seeds"]]


WORDS: dict[str, Callable[[pd.DataFrame], list[str]]] = {  # what is made of several fields
    "label": labels,
    "interval": _intervals,
    "seeds": _seeds,
    "notes": notes,
}


def _cells(frame: pd.DataFrame, column: Column) -> list[str]:
    if column.field in WORDS:
        return WORDS[column.field](frame)
    return [_word(value, column.form) for value in frame[column.field].tolist()]


def _word(value: Any, form: str) -> str:
    if missing(value):
        return ""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return format(value, form).removesuffix("%") if form else str(value)


def _told_apart(names: Sequence[str]) -> list[str]:
    """Names, of which the second of one kind is `name (2)`: of methods not known here, settings are not named."""
    met: Counter[str] = Counter()
    apart = []
    for name in names:
        met[name] += 1
        apart.append(f"{name} ({met[name]})" if met[name] > 1 else name)
    return apart


def _elsewhere(name: str, taken: set[str]) -> str:
    return f"{name} ({CHECKPOINT})" if name in taken else name


def _label(row: dict[str, Any]) -> str:
    from bench.method import METHODS

    fields = METHODS[row["method"]].model_fields if row["method"] in METHODS else {}
    settings = [f"{k}={v}" for k, v in row["hyperparameters"].items() if k in fields and fields[k].default != v]
    settings += ["tuned"] if row["tuned"] else []
    return f"{row['method']} ({', '.join(settings)})" if settings else row["method"]


def _notes(row: dict[str, Any]) -> str:
    if row["status"] == CHECKPOINT:
        return f"{CHECKPOINT}: {UNKNOWN}"
    said = [] if row["status"] == "ranked" else [row["status"]]
    for what in ("collapsed", "failed"):
        if not missing(row[what]) and row[what]:
            said.append(f"{int(row[what])} of {len(row['trials'])} {what}")
    if isinstance(row["reproduced"], dict):
        said += _run_again(row["reproduced"])
    return "; ".join(said)


def _run_again(verdicts: dict[int, str]) -> list[str]:
    """What second runs of the seeds said, each verdict once."""
    seeds: defaultdict[str, list[str]] = defaultdict(list)
    for seed, verdict in verdicts.items():
        seeds[verdict].append(str(seed))
    return [
        f"run again here, seed{'s' * (len(same) > 1)} {', '.join(same)}: {verdict}" for verdict, same in seeds.items()
    ]
