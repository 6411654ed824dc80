"""A leaderboard as text: for the terminal, Markdown, CSV, LaTeX, JSON. Tables show percent, data fractions."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, Literal

import pandas as pd
from rich.table import Table

Format = Literal["table", "markdown", "csv", "latex", "json"]
HEADINGS = ["rank", "method", "family", "robust %", "95% interval", "tie", "clean %", "PGD-20 %", "gap closed %"]
HEADINGS += ["passes", "seeds", "notes"]


def render(frame: pd.DataFrame, form: Literal["markdown", "csv", "latex", "json"]) -> str:
    """The whole board as text in one of the formats."""
    writers: dict[str, Callable[[pd.DataFrame], str]] = {
        "markdown": to_markdown,
        "csv": to_csv,
        "latex": to_latex,
        "json": to_json,
    }
    return writers[form](frame)


def rows_as_words(frame: pd.DataFrame) -> list[list[str]]:
    """Every row as the words under HEADINGS."""
    return [_words(row) for row in _dicts(frame)]


def caption(frame: pd.DataFrame) -> str:
    """What must stand beside any table of this board."""
    about = frame.attrs
    parts = [f"{about['scenario']}, ruleset {about['ruleset']}, budget {about['budget']}, recipe {about['recipe']}"]
    parts.append("intervals: 95% over seeds and images, unadjusted; methods that share a letter are tied (Holm, 5%)")
    if about["teacher_cost"]:
        parts.append(f"the teacher's forward costs r = {about['teacher_cost']:.2f} passes")
    if not math.isnan(about["minimum_detectable_difference"]):
        parts.append(f"minimum detectable difference {100 * about['minimum_detectable_difference']:.1f} points")
    return "; ".join(parts) + "."


def to_table(frame: pd.DataFrame) -> Table:
    """For the terminal."""
    table = Table(title=f"Robust accuracy on {frame.attrs['scenario']}", caption=caption(frame))
    for heading in HEADINGS:
        right = heading.endswith("%") or heading in ("rank", "passes")
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for words, status in zip(rows_as_words(frame), frame["status"], strict=True):
        table.add_row(*words, style=None if status == "ranked" else "dim")
    return table


def to_markdown(frame: pd.DataFrame) -> str:
    """A table of GitHub's Markdown with its caption below."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    lines += ["| " + " | ".join(word.replace("|", "\\|") for word in words) + " |" for words in rows_as_words(frame)]
    return "\n".join([*lines, "", caption(frame), ""])


def to_csv(frame: pd.DataFrame) -> str:
    """All columns, to six digits; lists and mappings as JSON."""
    return _flat(frame).to_csv(index=False, lineterminator="\n", float_format="%.6g")


def to_json(frame: pd.DataFrame) -> str:
    """A list of rows with all columns; null where a value is not known."""
    return json.dumps([_plain(row) for row in _dicts(frame)], sort_keys=True, indent=1) + "\n"


def to_latex(frame: pd.DataFrame) -> str:
    """A booktabs table, the best robust accuracy (and what is tied with it) in bold."""
    best = next(iter(frame["tie_group"].dropna()), "")
    lines = [r"\begin{tabular}{rlrcrrr}", r"\toprule"]
    lines += [r"Rank & Method & Robust (\%) & 95\% interval & Tie & Clean (\%) & Passes \\", r"\midrule"]
    for row, words in zip(_dicts(frame), rows_as_words(frame), strict=True):
        tied = isinstance(row["tie_group"], str) and set(row["tie_group"]) & set(best)
        robust = rf"\textbf{{{words[3]}}}" if tied else words[3]
        cells = [words[0], _escaped(words[1]), robust, words[4].replace("-", "--"), words[5], words[6], words[9]]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", "% " + caption(frame), ""])


def _dicts(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _words(row: dict[str, Any]) -> list[str]:
    low, high = row["robust_low"], row["robust_high"]
    known = not _missing(low)
    return [
        "" if _missing(row["rank"]) else str(int(row["rank"])),
        row["method"] + _settings(row),
        row["family"],
        _percent(row["robust"]),
        f"{100 * low:.1f}-{100 * high:.1f}" if known else "",
        "" if _missing(row["tie_group"]) else row["tie_group"],
        _percent(row["clean"]),
        _percent(row["pgd_20"]),
        "" if _missing(row["gap_closed"]) else f"{100 * row['gap_closed']:.0f}",
        "" if _missing(row["passes"]) else f"{row['passes']:.0f}",
        str(len(row["seeds"])) if row["seeds"] else "",
        _notes(row),
    ]


def _settings(row: dict[str, Any]) -> str:
    """Hyper-parameters that are not the method's defaults, in brackets."""
    from bench.method import METHODS

    if row["method"] not in METHODS:
        return ""
    fields = METHODS[row["method"]].model_fields
    changed = {k: v for k, v in row["hyperparameters"].items() if k in fields and fields[k].default != v}
    return f" ({', '.join(f'{name}={value}' for name, value in changed.items())})" if changed else ""


def _notes(row: dict[str, Any]) -> str:
    notes = [] if row["status"] == "ranked" else [row["status"]]
    trials = len(row["trials"])
    for what in ("collapsed", "failed"):
        if not _missing(row[what]) and row[what]:
            notes.append(f"{int(row[what])} of {trials} {what}")
    if isinstance(row["reproduced"], dict):
        notes += [f"run again here, seed {seed}: {verdict}" for seed, verdict in row["reproduced"].items()]
    return "; ".join(notes)


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    flat = frame.copy()
    for column in ("seeds", "trials", "hyperparameters", "reproduced"):
        flat[column] = [json.dumps(value, sort_keys=True) for value in flat[column]]
    return flat


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: None if _missing(value) else value for name, value in row.items()}


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value)) or value is pd.NA


def _percent(value: Any) -> str:
    return "" if _missing(value) else f"{100 * value:.1f}"


def _escaped(text: str) -> str:
    return "".join(f"\\{c}" if c in "_%&#${}" else c for c in text)
