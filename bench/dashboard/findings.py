"""What a board says, in words: computed from ranks and tie groups, so that no sentence outlives its numbers."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench.dashboard.blocks import Block, Note
from bench.dashboard.frames import methods, teacher
from bench.dashboard.text import listed, shortened
from bench.ranking.words import CHECKPOINT, labels, missing, rows

NAMES = 6  # how many tied methods a sentence lists before it counts them


def finding(frame: pd.DataFrame) -> str:
    """Who leads and who is tied, as one sentence; plain text, not escaped. A board without methods gives ''."""
    board = methods(frame)
    names = [shortened(label, 40) for label in board["label"]]
    ranked = [k for k, status in enumerate(board["status"]) if status == "ranked"]
    if not names:
        return ""
    if not ranked:
        return f"No method is ranked yet; {names[0]} is highest so far, at {_percent(board['robust'].iloc[0])}."
    ties = {k: set(str(board["tie_group"].iloc[k])) for k in ranked}
    if len(ranked) == 1:
        return f"{names[ranked[0]]} is the only ranked method."
    return _order(names, ties, board["robust"].tolist())


def method_finding(frame: pd.DataFrame, row: int) -> str:
    """Where one row of a ranking, by its place in it, stands: a sentence."""
    board = rows(methods(frame))
    own = board[row]
    words = f"{own['label']}: {_percent(own['robust'])} robust"
    if not missing(own["robust_low"]):
        words += f" (95% interval {_number(own['robust_low'])} to {_number(own['robust_high'])})"
    words += "" if missing(own["clean"]) else f" and {_percent(own['clean'])} clean"
    if own["status"] != "ranked":
        return f"{words}; {own['status']}, not ranked."
    ranked = [each for each in board if each["status"] == "ranked"]
    words += f"; rank {own['rank']} of {len(ranked)}"
    if own["rank_low"] != own["rank_high"]:
        words += f" (could be {own['rank_low']} to {own['rank_high']})"
    letters = set(str(own["tie_group"]))
    tied = [each["label"] for each in ranked if each is not own and letters & set(str(each["tie_group"]))]
    return f"{words}; {f'tied with {_names(list(range(len(tied))), tied)}' if tied else 'no ties'}."


def figures_in_words(frame: pd.DataFrame) -> str:
    """The numbers that go with the finding: the best robust accuracy, its interval, the teacher's."""
    board = methods(frame)
    ranked = board[board["status"] == "ranked"]
    if ranked.empty:
        return ""
    best = ranked.iloc[0]
    words = f"Highest robust accuracy: {_percent(best['robust'])}"
    if pd.notna(best["robust_low"]):
        words += f" (95% interval {_number(best['robust_low'])} to {_number(best['robust_high'])})"
    guide = teacher(frame)
    return words + ("." if guide is None else f"; the teacher reaches {_percent(guide['robust'])}.")


def checkpoints_in_words(frame: pd.DataFrame) -> str:
    """The robust accuracy of each checkpoint from elsewhere, the highest first; '' where there is none."""
    bare = [(row, label) for row, label in zip(rows(frame), labels(frame), strict=True) if row["status"] == CHECKPOINT]
    said = [f"{shortened(label, 40)} {_percent(row['robust'])}" for row, label in bare[:NAMES]]
    said += [f"{len(bare) - NAMES} more"] if len(bare) > NAMES else []
    what = "Trained elsewhere and not ranked: "
    return f"{what}{listed(said)}." if said else ""


def damaged(problems: Sequence[str]) -> list[Block]:
    """Each damaged file by its name; nothing where there is none."""
    if not problems:
        return []
    head = "One file is" if len(problems) == 1 else f"{len(problems)} files are"
    return [Note(f"{head} damaged and left out; the rest is shown.", problems, "warning")]


def _order(names: list[str], ties: dict[int, set[str]], robust: list[float]) -> str:
    """The first two groups by name, the rest by number."""
    first, rest = _group(list(ties), ties)
    if not rest and _all_tied(first, ties):
        return f"All {len(first)} methods are tied: {_names(first, names)}."
    parts = [_leaders(first, names, ties)]
    if rest:
        second, last = _group(rest, ties)
        parts.append(_followers(second, first, names, ties, robust))
        parts += [f"{len(last)} more {'follow' if len(last) > 1 else 'follows'}"] if last else []
    return "; ".join(parts) + "."


def _group(rows: list[int], ties: dict[int, set[str]]) -> tuple[list[int], list[int]]:
    """The best of `rows` with all that share a letter with it, and the others."""
    best = ties[rows[0]]
    return [k for k in rows if ties[k] & best], [k for k in rows if not ties[k] & best]


def _all_tied(rows: list[int], ties: dict[int, set[str]]) -> bool:
    """Whether each of `rows` is tied with each: ties are not transitive, a letter that all have makes it so."""
    return bool(set.intersection(*(ties[k] for k in rows)))


def _leaders(rows: list[int], names: list[str], ties: dict[int, set[str]]) -> str:
    if len(rows) == 1:
        return f"{names[rows[0]]} is first"
    if _all_tied(rows, ties):
        return f"{_names(rows, names)} are tied for first place"
    return f"{names[rows[0]]} leads, not significantly ahead of {_names(rows[1:], names)}"


def _followers(
    rows: list[int], first: list[int], names: list[str], ties: dict[int, set[str]], robust: list[float]
) -> str:
    """The second group and by how much, behind all of the first where that is significant, else behind its best."""
    behind_all = not any(ties[a] & ties[b] for a in rows for b in first)
    whom = "it" if len(first) == 1 else "them" if behind_all else names[first[0]]
    together = len(rows) == 1 or _all_tied(rows, ties)
    subject = rows if together else rows[:1]
    behind = f"behind {whom} by {_margin(first if behind_all else first[:1], subject, robust)}"
    if not together:
        return f"{names[rows[0]]} is {behind}, not significantly ahead of {_names(rows[1:], names)}"
    return f"{_names(rows, names)} {'is' if len(rows) == 1 else 'are tied'} {behind}"


def _margin(ahead: list[int], behind: list[int], robust: list[float]) -> str:
    """The gaps between two groups: `2.0 points`, `1.2 to 3.4 points`."""
    gaps = [robust[a] - robust[b] for a in ahead for b in behind]
    ends = dict.fromkeys(map(_number, (min(gaps), max(gaps))))
    return f"{' to '.join(ends)} points"


def _names(rows: list[int], names: list[str]) -> str:
    shown = [names[k] for k in rows[:NAMES]]
    return listed([*shown, f"{len(rows) - NAMES} more"] if len(rows) > NAMES else shown)


def _percent(value: float) -> str:
    return f"{_number(value)} %"


def _number(value: float) -> str:
    return f"{100 * value:.1f}"
