"""Text that comes from records, made harmless for the place where it is shown."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from bench.words import printable


def escaped(text: str) -> str:
    """`text` for HTML, and for Plotly, which reads tags in labels."""
    return html.escape(printable(text.expandtabs()))


def code_span(text: str) -> str:
    """`text` as a code span of Markdown, whatever it holds: no link, tag, formula or icon inside is read as one."""
    flat = " ".join(text.split())
    longest = max((len(run) for run in re.findall("`+", flat)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {flat} {fence}"


def plain_markdown(text: str) -> str:
    """`text` on one line for where Streamlit reads Markdown: every mark of it shown as it is."""
    return re.sub(r"([\\\\`*_{}\[\]()<>#+!|~$:-])", r"\\\1", " ".join(text.split()))


def shortened(text: str, length: int) -> str:
    """`text` on one line, cut to `length` characters with an ellipsis."""
    flat = " ".join(text.split())
    return flat if len(flat) <= length else flat[: length - 1].rstrip() + "…"


def listed(names: Sequence[str]) -> str:
    """Names as in a sentence: `a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
