"""What the page of a method says of its submission: whose it is, what was checked, and the confirming seed."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench.dashboard.blocks import Block, Facts, Finding, Heading, Table
from bench.dashboard.view import View
from bench.ranking.collect import Entry
from bench.submission.landing import confirmation


def submission_blocks(view: View, row: int) -> list[Block]:
    """The submission behind a row; nothing for a method that came with Temper."""
    entries = view.board.rows[row]
    about = entries[0].record.submission
    if about is None:
        return []
    facts = [("authors", about.authors), ("licence", about.licence), ("SHA-256 of its file", about.source)]
    words = confirmation(view.board, row) or "Not confirmed: no seed was drawn after its file was frozen."
    return [Heading("Submission"), Finding(words), Facts(facts), Table(audits(entries))]


def audits(entries: Sequence[Entry]) -> pd.DataFrame:
    """Each audit of each seed."""
    return pd.DataFrame(
        [
            {
                "seed": entry.record.trial.seed_index,
                "audit": name,
                "value": f"{audit.value:.2g}",
                "threshold": f"{audit.threshold:.2g}",
                "verdict": audit.verdict,
                "in words": audit.words,
            }
            for entry in entries
            if entry.record.submission
            for name, audit in entry.record.submission.audits.items()
        ]
    )
