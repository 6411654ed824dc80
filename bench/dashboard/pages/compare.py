"""Two to five methods side by side: what each survives, whether they differ, and on which images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import streamlit as st

from bench.dashboard import live
from bench.dashboard.blocks import Block, Chart, Finding, Heading, Note, Picture, Pictures, Table
from bench.dashboard.draw import draw
from bench.dashboard.figures import differences_chart, outcomes_chart
from bench.dashboard.text import listed, shortened
from bench.dashboard.view import View
from bench.dashboard.widgets import choose_board, choose_many, choose_one
from bench.errors import TemperError
from bench.protocol import ADAPTED, ATTACKS, MISCLASSIFIED, ROBUST
from bench.ranking.collect import Entry
from bench.ranking.explanation import ALPHA, Explanation, row_named
from bench.ranking.statistics import mcnemar
from bench.ranking.words import missing
from bench.task import predicted

MOST = 5  # rows that are compared at once
SHOWN = 6  # test images
FAILED = "trial failed"  # instead of an outcome
NAMED = 2  # pairs that do not differ; more are counted
JUDGED = "Ranked rows: test among all pairs of the board (Holm, 5%). Other rows: test of the two alone."
IMAGES = "The images that make the difference"


def blocks(view: View, names: Sequence[str]) -> list[Block]:
    """The comparison of some rows of a board by their labels, at least two."""
    pairs = [view.comparisons.explain(*pair) for pair in combinations(names, 2)]
    table, shares, words = differences(pairs), outcome_shares(view, names), compare_finding(pairs)
    return [
        Finding(words, pairs[0].text if len(pairs) == 1 else JUDGED),
        Chart(differences_chart(table), f"Paired differences: {words}", "differences"),
        Table(_listed(table)),
        Heading("Which attack broke what"),
        Finding(outcome_finding(shares)),
        Chart(outcomes_chart(shares), "Stacked bars: outcomes of the test images.", "outcomes"),
    ]


def told(pair: Explanation) -> bool:
    """Whether two rows differ: by the test among all pairs of the board where both are ranked, else by their own."""
    p = pair.difference.p if pair.holm is None else pair.holm
    return bool(p < ALPHA)


def compare_finding(pairs: Sequence[Explanation]) -> str:
    """Which of the rows differ significantly, in a sentence."""
    tied = [" and ".join(pair.names) for pair in pairs if not told(pair)]
    beaten: dict[str, list[Explanation]] = {}
    for pair in filter(told, pairs):
        beaten.setdefault(pair.names[pair.difference.mean < 0], []).append(pair)
    parts = [f"{winner} beats {_whom(winner, won)} by {_by(won)}" for winner, won in beaten.items()]
    if tied:
        which = listed(tied) if len(tied) <= NAMED else f"{len(tied)} of {len(pairs)} pairs"
        parts.append(f"{which} do not differ significantly")
    return "; ".join(parts) + "."


def differences(pairs: Sequence[Explanation]) -> pd.DataFrame:
    """One row a pair, in points: its difference and 95% interval, and its p-value among all pairs of the board."""
    return pd.DataFrame(
        {
            "pair": [" − ".join(pair.names) for pair in pairs],  # noqa: RUF001
            **{end: [100 * getattr(pair.difference, end) for pair in pairs] for end in ("mean", "low", "high")},
            "p": [pair.difference.p for pair in pairs],
            "holm": [pair.holm for pair in pairs],
            "told": [told(pair) for pair in pairs],
        }
    )


def outcome_shares(view: View, names: Sequence[str]) -> pd.DataFrame:
    """Outcomes of the test images, percent, mean over seeds; a row a method, a column an outcome."""
    shares = {name: _shares(view.board.rows[row_named(view.labels, name)]) for name in names}
    return pd.DataFrame(shares).T.fillna(0)


def outcome_finding(shares: pd.DataFrame) -> str:
    """Which attack did most of the work against each."""
    broken = shares[list(ATTACKS)]
    most = zip(broken.index, broken.sum(axis=1), broken.max(axis=1), broken.idxmax(axis=1), strict=True)
    words = [f"{name}: {all_:.1f} % broken" + f", {top:.1f} first by {by}" * (top > 0) for name, all_, top, by in most]
    return "; ".join(words) + "."


def images_apart(one: Entry, other: Entry) -> np.ndarray:
    """The test images, by number, that the student `one` resists and `other` classifies right but does not resist."""
    if one.robust is None or other.robust is None or other.correct is None:
        return np.empty(0, dtype=int)
    return np.flatnonzero(one.robust & ~other.robust & other.correct)


def image_blocks(view: View, names: Sequence[str], seed: int) -> list[Block]:
    """Test images that the first student of a seed resists and the second does not, with what fools the second."""
    one, other = (_of_seed(view.board.rows[row_named(view.labels, name)], seed) for name in names[:2])
    if one is None or other is None:
        return [Note(f"{names[0]} and {names[1]} do not both have seed {seed}.")]
    apart = images_apart(one, other)
    words = _apart_in_words(names, one, other, seed)
    if not len(apart):
        return [Finding(words)]
    try:
        pictures = _pictures(view, other, apart[:SHOWN], names[1])
    except TemperError as error:
        return [Finding(words), Note("The images cannot be shown.", [str(error)], "warning")]
    return [Finding(words, f"Each image, its adversarial example, and the perturbation. {live.MADE}"), pictures]


def page() -> None:
    """Draw the page."""
    st.title("Compare", anchor=False)
    view = choose_board()
    if view is None:
        return
    every = view.labels
    names = choose_many("Methods", "pick", every, max_selections=MOST, placeholder="two to five rows")
    if not names:
        st.caption("No rows chosen; showing the two most robust.")
    names = (names + [name for name in every if name not in names])[: max(2, len(names))]
    if len(names) < 2:
        st.info("This board has one row; a comparison needs two.")
        return
    draw(blocks(view, names))
    draw([Heading(IMAGES)])
    with st.container(horizontal=True):
        first = choose_one("Resists", "resists", names, fixed=False, width=260)
        others = [name for name in names if name != first]
        second = choose_one("does not resist", "falls", others, fixed=False, width=260)
        seed = choose_one("Seed", "seed", _seeds(view), fixed=False, width=100)
    draw(image_blocks(view, [first, second], int(seed)))


def _seeds(view: View) -> list[str]:
    return [str(k) for k in sorted({entry.record.trial.seed_index for row in view.board.rows for entry in row})]


def _of_seed(row: Sequence[Entry], seed: int) -> Entry | None:
    return next((entry for entry in row if entry.record.trial.seed_index == seed), None)


def _whom(winner: str, won: Sequence[Explanation]) -> str:
    return listed([next(name for name in pair.names if name != winner) for pair in won])


def _by(won: Sequence[Explanation]) -> str:
    sizes = sorted(abs(pair.difference.mean) for pair in won)
    return " to ".join(dict.fromkeys(f"{100 * size:.1f}" for size in (sizes[0], sizes[-1]))) + " points"


def _listed(table: pd.DataFrame) -> pd.DataFrame:
    """The differences as readers see them; nothing where so few seeds give no interval."""
    ends = zip(table["low"], table["high"], strict=True)
    return pd.DataFrame(
        {
            "pair": table["pair"],
            "difference, points": table["mean"].map("{:+.1f}".format),
            "95% interval": ["" if np.isnan(low) else f"{low:+.1f} to {high:+.1f}" for low, high in ends],
            "p": [_p(value) for value in table["p"]],
            "p among all pairs (Holm)": [_p(value) for value in table["holm"]],
        }
    )


def _p(value: float | None) -> str:
    return "" if missing(value) else f"{value:.2g}"


def _shares(row: Sequence[Entry]) -> dict[str, float]:
    """Percent of the images of all seeds; a failed trial has none that was judged."""
    attacks = {name: k for k, name in enumerate(ATTACKS, 1)} | {"a stronger attack": ADAPTED}
    codes = {"robust": ROBUST, **attacks, "misclassified": MISCLASSIFIED}
    outcomes = [entry.outcomes for entry in row if entry.outcomes is not None]
    judged = np.concatenate(outcomes) if outcomes else np.empty(0)
    share = len(outcomes) / len(row)
    found = {name: 100 * share * float(np.mean(judged == code)) if share else 0.0 for name, code in codes.items()}
    return found | ({FAILED: 100 * (1 - share)} if share < 1 else {})


def _apart_in_words(names: Sequence[str], one: Entry, other: Entry, seed: int) -> str:
    if one.robust is None or other.robust is None:
        return "One of the two failed in training and counts as 0 % robust."
    test = mcnemar(one.robust, other.robust)
    verdict = "differ" if test.p < ALPHA else "do not differ significantly"
    return (
        f"Seed {seed}: {test.only_first} images are robust only with {names[0]} and {test.only_second} only with "
        f"{names[1]}: these two students {verdict} (McNemar, p = {test.p:.2g})."
    )


def _pictures(view: View, other: Entry, index: np.ndarray, name: str) -> Pictures:
    scenario = view.board.scenario
    x, y = live.images(scenario.name)
    found = live.adversarial(other.folder, scenario.name, tuple(int(k) for k in index))
    guessed, bounds = predicted(live.student(other.folder)(found)), scenario.threat.bounds
    groups = []
    for place, k in enumerate(index):
        shown = Picture(live.pixels(x[k], bounds), f"image {k}: {int(y[k])}")
        fooled = Picture(
            live.pixels(found[place], bounds), f"{shortened(name, 20)} predicts {live.answer(int(guessed[place]))}"
        )
        change = Picture(live.difference(x[k], found[place], scenario.threat.eps), "the change")
        groups.append([shown, fooled, change])
    return Pictures(groups)
