"""The one palette of all charts: Okabe and Ito's eight colours, which readers with any colour vision tell apart.

A family has its own marker, so that colour never stands alone; of the nine, two pairs of kin share a colour.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from PIL import Image, ImageDraw

ACCENT, ACCENT_DARK = "#0072B2", "#4AA3DF"  # what is chosen or can be clicked, on white and on black
NEUTRAL = "#888888"  # references: legible on white and on black


class Fill(NamedTuple):
    """How a part of a stacked bar is drawn: a colour, and a Plotly pattern that tells it without colour."""

    colour: str
    pattern: str = ""


class Look(NamedTuple):
    """How a family is drawn: a colour, and a Plotly marker symbol."""

    colour: str
    symbol: str


FAMILIES = {
    "teacher-free": Look("#0072B2", "circle"),
    "adversarial-kd": Look("#D55E00", "square"),
    "gan-kd": Look("#009E73", "diamond"),
    "clean-kd": Look("#CC79A7", "triangle-up"),
    "multi-teacher": Look("#E69F00", "pentagon"),
    "self-kd": Look("#56B4E9", "hexagon"),
    "online-kd": Look("#56B4E9", "triangle-left"),
    "fairness": Look("#F0E442", "star"),
    "baseline-kd": Look("#CC79A7", "cross"),
}
OTHERS = [Look(NEUTRAL, symbol) for symbol in ("triangle-down", "triangle-right", "x", "bowtie")]


LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # of series that have no family

OUTCOMES = {  # what became of a test image
    "robust": Fill("#0072B2"),
    "square": Fill("#009E73", "x"),
    "fab-t": Fill("#CC79A7", "."),
    "apgd-t": Fill("#E69F00", "\\"),
    "apgd-ce": Fill("#D55E00", "/"),
    "misclassified": Fill(NEUTRAL),
    "trial failed": Fill("#000000", "+"),
    "": Fill("#56B4E9", "-"),
}


def looks(families: Iterable[str]) -> dict[str, Look]:
    """The look of each family: its own, or for one that Temper does not ship the next that is free."""
    names = set(families)
    strangers = sorted(names - FAMILIES.keys())
    given = {name: OTHERS[k % len(OTHERS)] for k, name in enumerate(strangers)}
    return {name: FAMILIES.get(name) or given[name] for name in sorted(names)}


def favicon() -> Image.Image:
    """The icon of the browser's tab: three bars, drawn here because a named one would be fetched from elsewhere."""
    icon = Image.new("RGBA", (64, 64))
    draw = ImageDraw.Draw(icon)
    for top, length, family in ((6, 60, "teacher-free"), (25, 46, "adversarial-kd"), (44, 32, "gan-kd")):
        draw.rounded_rectangle((2, top, length, top + 14), radius=6, fill=FAMILIES[family].colour)
    return icon
