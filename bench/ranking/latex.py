"""A table for a paper: booktabs, the best in bold, what is tied with it marked. Compiles with any font encoding."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from math import inf

import pandas as pd

from bench.ranking.words import DASH, Column, in_words, missing

TIED = r"\rlap{$^\dagger$}"
SPECIAL = {c: rf"\{c}" for c in "_%&#${}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    '"': "''",
    "`": r"\`{}",
    "[": "{[}",  # after a line's end it would begin an argument, as would a star
    "*": "{*}",
    DASH: "--",
    "\N{MIDDLE DOT}": r"$\cdot$",
}


def to_latex(frame: pd.DataFrame) -> str:
    r"""A `tabular` of booktabs; the caption is a comment after it, for the float that it is put into.

    The best of a column is bold; robust accuracies that share a letter with the best have a dagger. Columns that are
    aside are left out.
    """
    columns: list[Column] = [column for column in frame.attrs["columns"] if not column.aside]
    words = in_words(frame)
    cells = [_marked(frame, column, [_cell(word, column) for word in words[column.heading]]) for column in columns]
    lines = [rf"\begin{{tabular}}{{{''.join('r' if column.form else 'l' for column in columns)}}}", r"\toprule"]
    lines += [_line([escaped(column.heading) for column in columns]), r"\midrule"]
    lines += [_line(row) for row in zip(*cells, strict=True)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", f"% {_comment(frame)}", ""])


def escaped(text: str) -> str:
    """`text` for LaTeX: on one line, every character shown as itself, letters beyond ASCII without their accents and
    what has no such letter by its number."""
    unjoined = re.sub(r"(?<=[-'`!?])(?=[-'`])", "\0", " ".join(text.split()))  # no ligatures
    return "".join("{}" if c == "\0" else SPECIAL.get(c) or _ascii(c) for c in unjoined)


def _ascii(character: str) -> str:
    if character.isascii():
        return character if character.isprintable() else ""
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return "".join(SPECIAL.get(c, c) for c in plain) or f"(U+{ord(character):04X})"


def _cell(word: str, column: Column) -> str:
    return re.sub("^-", "$-$", escaped(word)) if column.form else escaped(word)


def _marked(frame: pd.DataFrame, column: Column, cells: list[str]) -> list[str]:
    """The cells of a column, the best in bold and the robust accuracies that are tied with it marked."""
    if not column.best or frame.empty:
        return cells
    ranked = (frame["status"] == "ranked").tolist() if "status" in frame else [True] * len(frame)
    values = [v if counts and not missing(v) else -inf for v, counts in zip(frame[column.field], ranked, strict=True)]
    letters = frame["tie_group"] if column.field == "robust" and "tie_group" in frame else [""] * len(frame)
    groups = ["" if missing(group) else str(group) for group in letters]
    best = max(values)
    tied = set(groups[values.index(best)])
    return [
        cell if value == -inf else rf"\textbf{{{cell}}}" if value == best else cell + TIED * bool(tied & set(group))
        for cell, value, group in zip(cells, values, groups, strict=True)
    ]


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _comment(frame: pd.DataFrame) -> str:
    tied = rf" {TIED}: tied with the best." if "tie_group" in frame else ""
    return f"{' '.join(frame.attrs['caption'].split())}{tied}"
