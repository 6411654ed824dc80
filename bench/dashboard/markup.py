"""Blocks as HTML, for both the dashboard and the static export; their look is in `assets/page.css`. All text is
escaped."""

from __future__ import annotations

import pandas as pd

from bench.dashboard.blocks import Block, Facts, Finding, Plain, Table
from bench.dashboard.text import escaped


def to_html(block: Block) -> str:
    """The markup of a block of words. Raises TypeError for a block of another kind."""
    match block:
        case Finding(text, detail):
            below = f"<p>{escaped(detail)}</p>" if detail else ""
            return f'<div class="finding"><p><strong>{escaped(text)}</strong></p>{below}</div>'
        case Plain(text):
            return "".join(f'<p class="plain">{escaped(part)}</p>' for part in text.split("\n\n"))
        case Facts(pairs):
            lines = (f"<dt>{escaped(name)}</dt><dd>{escaped(value)}</dd>" for name, value in pairs)
            return f'<dl class="facts">{"".join(lines)}</dl>'
        case Table(frame):
            return f'<div class="scroll"><table class="rows">{_head(frame)}{_body(frame)}</table></div>'
    raise TypeError(f"{type(block).__name__} is no block of words")


def _head(frame: pd.DataFrame) -> str:
    cells = (f'<th scope="col"{_right(frame, name)}>{escaped(str(name))}</th>' for name in frame)
    return f"<thead><tr>{''.join(cells)}</tr></thead>"


def _body(frame: pd.DataFrame) -> str:
    classes = [_right(frame, name) for name in frame]
    lines = (
        "".join(f"<td{kind}>{escaped(str(value))}</td>" for kind, value in zip(classes, row, strict=True))
        for row in frame.itertuples(index=False)
    )
    return f"<tbody>{''.join(f'<tr>{line}</tr>' for line in lines)}</tbody>"


def _right(frame: pd.DataFrame, name: object) -> str:
    """Columns of numbers stand right."""
    words = [str(value).strip("+-% ").replace(",", "") for value in frame[name] if str(value)]
    return ' class="number"' if words and all(word.replace(".", "", 1).isdigit() for word in words) else ""
