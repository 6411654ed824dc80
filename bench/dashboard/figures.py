"""Charts of a board: pure functions to Plotly figures. Backgrounds are clear, so light and dark pages both work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from bench.dashboard.palette import ACCENT, LINES, NEUTRAL, OUTCOMES, looks
from bench.dashboard.text import escaped, shortened

ROW = 34  # pixels of a row of bars
FRAME = 110  # pixels for axis and legend
LABEL = 22  # characters of a name on an axis
CLEAR = "rgba(0,0,0,0)"
GRID = "rgba(128,128,128,0.2)"
HATCH = {"fillmode": "overlay", "fgcolor": "rgba(255,255,255,0.6)", "size": 5}


def dressed(figure: go.Figure, x: str, y: str, height: int = 420) -> go.Figure:
    """What all charts share: clear ground, faint grid, titles of the axes, a legend above."""
    axis = {"gridcolor": GRID, "zeroline": False, "tickfont": {"size": 13}, "automargin": True}
    figure.update_xaxes(title=x, **axis)
    figure.update_yaxes(title=y, **axis)
    return figure.update_layout(
        height=height,
        margin={"l": 8, "r": 12, "t": 36, "b": 8},
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        dragmode=False,
        hovermode="closest",
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0, "font": {"size": 12}, "title": ""},
    )


def front_chart(points: pd.DataFrame, x: str, y: str) -> go.Figure:
    """Rows as points with error bars, those on the front joined and named.

    `points` has label, row (what a click picks), family, x, y, on_front, and the ends of the bars, x_low, x_high, y_low
    and y_high, NaN where they are not known.
    """
    figure = go.Figure()
    edge = points[points["on_front"]].sort_values("x")
    line = {"color": NEUTRAL, "dash": "dot", "width": 1.5}
    figure.add_scatter(x=edge["x"], y=edge["y"], mode="lines", line=line, hoverinfo="skip", showlegend=False)
    for family, look in looks(points["family"]).items():
        part = points[points["family"] == family]
        figure.add_scatter(
            x=part["x"],
            y=part["y"],
            name=escaped(shortened(family, LABEL)),
            mode="markers+text",
            marker={"color": look.colour, "symbol": look.symbol, "size": 11, "line": {"width": 1, "color": NEUTRAL}},
            text=[
                escaped(shortened(n, LABEL)) if on else ""
                for n, on in zip(part["label"], part["on_front"], strict=True)
            ],
            textposition="top center",
            textfont={"size": 12},
            error_x=_bars(part, "x", look.colour),
            error_y=_bars(part, "y", look.colour),
            customdata=part["row"],
            hovertext=_hover(part, x, y),
            hoverinfo="text",
        )
    return dressed(figure, x, y, 480)


def differences_chart(pairs: pd.DataFrame) -> go.Figure:
    """Paired differences with their intervals, one row a pair: `pair`, `mean`, `low`, `high` in points, `told`."""
    figure = go.Figure()
    figure.add_vline(0, line={"color": NEUTRAL, "width": 1})
    for told, name, colour in ((True, "a difference", ACCENT), (False, "cannot be told", NEUTRAL)):
        part = pairs[pairs["told"] == told]
        figure.add_scatter(
            x=part["mean"],
            y=part["pair"].map(escaped),
            name=name,
            mode="markers",
            marker={"color": colour, "size": 10, "symbol": "circle" if told else "circle-open"},
            error_x=_bars(part.rename(columns={"mean": "x", "low": "x_low", "high": "x_high"}), "x", colour, 0.8),
            hovertext=[
                f"{escaped(pair)}: {mean:+.1f} points" for pair, mean in zip(part["pair"], part["mean"], strict=True)
            ],
            hoverinfo="text",
        )
    _named_rows(figure, pairs["pair"], 2 * LABEL)
    return dressed(figure, "difference of robust accuracy, points", "", ROW * len(pairs) + FRAME)


def outcomes_chart(shares: pd.DataFrame) -> go.Figure:
    """What became of the test images, one bar a row: `shares` has a label as index, an outcome a column, percent."""
    figure = go.Figure()
    for k, outcome in enumerate(shares.columns):
        look = OUTCOMES.get(outcome, OUTCOMES[""])
        figure.add_bar(
            x=shares[outcome],
            y=[escaped(str(label)) for label in shares.index],
            name=escaped(outcome),
            orientation="h",
            marker={"color": look.colour, "pattern": {"shape": look.pattern, **HATCH}},
            legendrank=k,
            hovertext=[
                f"{escaped(str(label))}: {escaped(outcome)} {share:.1f} %" for label, share in shares[outcome].items()
            ],
            hoverinfo="text",
        )
    figure.update_layout(barmode="stack", bargap=0.3)
    _named_rows(figure, shares.index, LABEL)
    return dressed(figure, "share of the test images, %", "", ROW * len(shares) + FRAME)


def lines_chart(
    lines: Mapping[str, pd.Series], x: str, y: str, *, marks: Mapping[str, float] | None = None
) -> go.Figure:
    """Series by name, each drawn over its index; `marks` are upright lines with their names."""
    figure = go.Figure()
    for k, (name, series) in enumerate(lines.items()):
        figure.add_scatter(
            x=series.index,
            y=series,
            name=escaped(shortened(name, LABEL)),
            mode="lines+markers" if len(series) < 30 else "lines",
            line={"color": LINES[k % len(LINES)], "dash": _DASHES[k % len(_DASHES)], "width": 2},
            marker={"size": 6},
        )
    for name, place in (marks or {}).items():
        line = {"color": NEUTRAL, "dash": "dash", "width": 1}
        figure.add_vline(place, line=line, annotation={"text": name, "font": {"size": 12, "color": NEUTRAL}})
    return dressed(figure, x, y, 360)


def bars_chart(values: pd.Series, x: str, y: str, reference: pd.Series | None = None) -> go.Figure:
    """One bar a name; `reference` as short lines over the bars of the same names."""
    figure = go.Figure()
    names = [escaped(str(name)) for name in values.index]
    figure.add_bar(x=names, y=values, marker={"color": ACCENT}, name=escaped(str(values.name)))
    if reference is not None:
        mark = {"symbol": "line-ew-open", "size": 22, "color": NEUTRAL, "line": {"width": 3}}
        figure.add_scatter(x=names, y=reference, mode="markers", marker=mark, name=escaped(str(reference.name)))
    figure.update_xaxes(type="category")
    return dressed(figure, x, y, 320)


def _named_rows(figure: go.Figure, names: Sequence[object] | pd.Series | pd.Index, length: int) -> None:
    """Rows from the top down, called by their names, which are cut for the eye alone."""
    every = [escaped(str(name)) for name in names]
    ticks = [escaped(shortened(str(name), length)) for name in names]
    order = {"categoryorder": "array", "categoryarray": every}
    figure.update_yaxes(autorange="reversed", tickvals=every, ticktext=ticks, **order)


_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


def _bars(part: pd.DataFrame, axis: str, colour: str, faint: float = 0.3) -> dict[str, Any]:
    """Error bars of an axis from its low and high ends, none where they are not known."""
    middle = part[axis].astype(float)
    up = (part[f"{axis}_high"].astype(float) - middle).fillna(0)
    down = (middle - part[f"{axis}_low"].astype(float)).fillna(0)
    return {
        "type": "data",
        "symmetric": False,
        "array": up,
        "arrayminus": down,
        "color": f"rgba({', '.join(str(int(colour[k : k + 2], 16)) for k in (1, 3, 5))}, {faint})",
        "thickness": 1.5,
        "width": 0,
    }


def _hover(part: pd.DataFrame, x: str, y: str) -> Sequence[str]:
    return [
        f"<b>{escaped(shortened(label, 60))}</b><br>{y}: {b:.1f}<br>{x}: {a:,.1f}"
        for label, a, b in zip(part["label"], part["x"], part["y"], strict=True)
    ]
