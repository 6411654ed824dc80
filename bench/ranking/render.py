"""A table in every format, one writer each for all tables. What is read shows percent; data are fractions.

The data formats (CSV, JSON, parquet) hold all columns of the frame, floats to six significant digits: more than any
accuracy has, and few enough that two machines write the same bytes. The others show the columns that readers see.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from io import BytesIO, StringIO
from typing import Any, Literal, get_args

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.ranking.latex import to_latex
from bench.ranking.words import APART, in_words, missing, rows
from bench.words import as_cell

Format = Literal["table", "markdown", "csv", "parquet", "json", "latex"]
FORMATS: tuple[Format, ...] = get_args(Format)
WIDTH, NARROW = 160, 80  # characters of a table that goes to a file, and that any table has at least


def render(frame: pd.DataFrame, form: Format) -> bytes:
    """A table in one of the formats; text is UTF-8."""
    writers: dict[Format, Callable[[pd.DataFrame], str | bytes]] = {
        "table": _to_text,
        "markdown": to_markdown,
        "csv": to_csv,
        "parquet": to_parquet,
        "json": to_json,
        "latex": to_latex,
    }
    written = writers[form](frame)
    return written if isinstance(written, bytes) else written.encode()


def to_table(frame: pd.DataFrame) -> Table:
    """For the terminal; rows that are not ranked are dim, and those that do not compete stand below a line."""
    table = Table(title=frame.attrs["title"], caption=frame.attrs["caption"], min_width=NARROW)
    for column in frame.attrs["columns"]:
        table.add_column(column.heading, justify="right" if column.form else "left", overflow="fold")
    statuses = frame["status"] if "status" in frame else ["ranked"] * len(frame)
    before = "ranked"
    for words, status in zip(in_words(frame).itertuples(index=False), statuses, strict=True):
        if status in APART and before not in APART:
            table.add_section()
        before = status
        table.add_row(*map(Text, words), style=None if status == "ranked" else "dim")
    return table


def to_markdown(frame: pd.DataFrame) -> str:
    """A table of GitHub's Markdown with its caption below."""
    right = [column.form for column in frame.attrs["columns"]]
    words = in_words(frame)
    lines = [list(words.columns), ["---:" if form else "---" for form in right], *words.values.tolist()]
    lines[2:] = [[_plain_markdown(word) for word in line] for line in lines[2:]]
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), "", frame.attrs["caption"], ""])


def to_csv(frame: pd.DataFrame) -> str:
    """All columns; lists and mappings as JSON. Text that a spreadsheet would compute begins with an apostrophe."""
    cells = _flat(frame).apply(lambda column: column.map(_cell) if column.dtype == "object" else column)
    return cells.rename(columns=as_cell).to_csv(index=False, lineterminator="\n", float_format="%.6g")


def to_parquet(frame: pd.DataFrame) -> bytes:
    """All columns; lists and mappings as JSON. Title and caption are in the attrs that `pandas.read_parquet` gives."""
    file = BytesIO()
    flat = _flat(frame)
    flat.attrs = {name: frame.attrs[name] for name in ("title", "caption")}
    flat.to_parquet(file, engine="pyarrow", index=False)
    return file.getvalue()


def to_json(frame: pd.DataFrame) -> str:
    """A list of rows with all columns; null where a value is not known."""
    plain = [{name: _plain(value) for name, value in row.items()} for row in rows(frame)]
    return json.dumps(plain, sort_keys=True, indent=1, allow_nan=False) + "\n"


def _to_text(frame: pd.DataFrame) -> str:
    text = StringIO()
    Console(width=WIDTH, file=text).print(to_table(frame))
    return text.getvalue()


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns of numbers, truth values or text alone."""
    return pd.DataFrame({name: _flat_column(column) for name, column in frame.items()}, index=frame.index)


def _flat_column(column: pd.Series) -> pd.Series:
    values = [_plain(value) for value in column.tolist()]
    if any(isinstance(value, str | list | dict) for value in values):
        text = [json.dumps(value, sort_keys=True) if isinstance(value, list | dict) else value for value in values]
        return pd.Series(text, column.index, dtype="object")
    whole = str(column.dtype) if column.dtype != "object" else "float64"
    return pd.Series(values, column.index, dtype=whole)


def _cell(value: Any) -> Any:
    return as_cell(value) if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    if missing(value):
        return None
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _plain_markdown(word: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*|<\[\]])", r"\\\1", " ".join(word.split()))
