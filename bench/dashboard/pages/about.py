"""What Temper is, and how to cite it."""

from __future__ import annotations

import streamlit as st

from bench.dashboard.blocks import Block, Code, Heading, Prose
from bench.dashboard.draw import draw

WHAT = """
Temper is the benchmark of robust knowledge distillation for small classifiers. It answers a question that no single
paper's table can: **with the same teacher, the same student, the same data and the same compute, which method
gives the most robust student, and is the difference real?**

Published tables mix teachers, budgets, implementations and single seeds. Temper re-implements every method from
its formula, trains it in one harness with one metered budget, and judges it by AutoAttack, image by image. Every number
on these pages follows from records in the repository, and every record can be run again.
"""
READING = """
- The **dot** is the mean robust accuracy over seeds, the **bar** its 95% interval over seeds and images. The
  **ring** is clean accuracy, the **dashed line** the teacher.
- **Tie** letters: rows that share one are not significantly different (paired tests, Holm's correction at 5%).
- **Rank** with a range below it: the ranks consistent with these tests.
- **Gap closed**: from PGD-AT (0) to the teacher (100). Below 0, the method is less robust than PGD-AT.
- **Passes**: compute per training example, in forwards of the student; all other networks are charged by FLOPs.
- **Provisional** rows have fewer seeds than the scenario asks for. They have no rank.
- **Papers**: published AutoAttack accuracies on CIFAR-10, with other teachers, epochs and checkpoints. Not part of
  the ranking.
"""
CITE = """@misc{temper,
  title = {Temper: the benchmark and leaderboard of robust knowledge distillation},
  author = {{The Temper authors}},
  year = {2026},
  note = {Cite a dated release of the leaderboards, and the papers of the methods and attacks that you report}
}"""


def blocks() -> list[Block]:
    """About Temper."""
    return [Prose(WHAT), Heading("How to read a board"), Prose(READING), Heading("Cite"), Code(CITE, "bibtex")]


def page() -> None:
    """Draw the page."""
    st.title("About Temper", anchor=False)
    draw(blocks())
