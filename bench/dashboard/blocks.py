"""What a page says, as data: a list of blocks, which Streamlit draws (`draw`) and the static export writes (`site`).

Text in blocks is plain unless its name says Markdown: whoever draws it escapes it. Markdown is ours alone; what comes
from records enters it through `text.code_span`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go


@dataclass(frozen=True)
class Heading:
    """A section's name."""

    text: str


@dataclass(frozen=True)
class Finding:
    """What the numbers say, in a sentence, and the numbers that go with it."""

    text: str
    detail: str = ""


@dataclass(frozen=True)
class Chart:
    """A figure, and for those who cannot see it what it shows. `key` names it within the page.

    Where it `picks`, a click on a point picks the row in its `customdata`.
    """

    figure: go.Figure
    alt: str
    key: str
    picks: bool = False


@dataclass(frozen=True)
class Table:
    """A plain table of text."""

    frame: pd.DataFrame


@dataclass(frozen=True)
class Html:
    """Markup of `table.board_html`, with its texts escaped already."""

    markup: str


@dataclass(frozen=True)
class Plain:
    """Words of others, such as a docstring: paragraphs of plain text."""

    text: str


@dataclass(frozen=True)
class Prose:
    """Our own words."""

    markdown: str


@dataclass(frozen=True)
class Facts:
    """Names and what they stand for."""

    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Code:
    """Something to copy."""

    text: str
    language: str = "bash"


@dataclass(frozen=True)
class Formula:
    """LaTeX."""

    latex: str


@dataclass(frozen=True)
class Note:
    """Something to know before the rest is read: a title and its points."""

    text: str
    points: Sequence[str] = ()
    kind: Literal["info", "warning", "error", "success"] = "info"


@dataclass(frozen=True)
class Picture:
    """An image, uint8 (H, W) or (H, W, 3), with what stands below it."""

    pixels: np.ndarray
    caption: str


@dataclass(frozen=True)
class Pictures:
    """Groups of images; those of a group stand together."""

    groups: Sequence[Sequence[Picture]]


@dataclass(frozen=True)
class Download:
    """A file that is made when it is asked for."""

    label: str
    name: str
    make: Callable[[], bytes] = field(compare=False)


@dataclass(frozen=True)
class Downloads:
    """Files to take along."""

    files: Sequence[Download]


@dataclass(frozen=True)
class Columns:
    """Blocks side by side, below each other where the page is narrow."""

    columns: Sequence[Sequence[Block]]


Block = (
    Heading
    | Finding
    | Chart
    | Table
    | Html
    | Plain
    | Prose
    | Facts
    | Code
    | Formula
    | Note
    | Pictures
    | Downloads
    | Columns
)
