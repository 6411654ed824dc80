"""Charts: pure functions from a board to a Plotly figure. Backgrounds are clear, so light and dark pages both work."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from bench.dashboard.palette import NEUTRAL, Look, looks
from bench.dashboard.tables import labels, methods, teacher
from bench.dashboard.text import escaped, shortened

ROW = 42  # pixels a method
FRAME = 120  # pixels for legend and axis
LABEL = 18  # characters of a method's name beside its row
CLEAR = "rgba(0,0,0,0)"
GRID = "rgba(128,128,128,0.2)"


def interval_chart(frame: pd.DataFrame) -> go.Figure:
    """Robust accuracy of every method with its 95% interval, best at the top; clean accuracy hollow, teacher dashed."""
    board = methods(frame)
    figure = go.Figure()
    for family, look in looks(board["family"]).items():
        rows = [k for k, name in enumerate(board["family"]) if name == family]
        figure.add_trace(_robust(board, rows, family, look))
    figure.add_trace(_clean(board))
    _add_teacher(figure, frame, len(board))
    return _laid_out(figure, board)


def _robust(board: pd.DataFrame, rows: list[int], family: str, look: Look) -> go.Scatter:
    """The markers and intervals of one family."""
    part = board.iloc[rows]
    robust = part["robust"].astype(float)
    low, high = part["robust_low"].astype(float), part["robust_high"].astype(float)
    error = {
        "type": "data",
        "symmetric": False,
        "array": 100 * (high - robust).fillna(0),
        "arrayminus": 100 * (robust - low).fillna(0),
        "thickness": 2,
        "width": 5,
        "color": look.colour,
    }
    return go.Scatter(
        x=100 * robust,
        y=rows,
        name=escaped(shortened(family, LABEL)),
        mode="markers",
        marker={"color": look.colour, "symbol": look.symbol, "size": 8},
        error_x=error,
        hoverinfo="text",
        hovertext=_hover(part),
    )


def _clean(board: pd.DataFrame) -> go.Scatter:
    return go.Scatter(
        x=100 * board["clean"].astype(float),
        y=list(range(len(board))),
        name="clean accuracy",
        mode="markers",
        marker={"symbol": "circle-open", "size": 8, "color": NEUTRAL, "line": {"width": 1.5}},
        hoverinfo="text",
        hovertext=_hover(board),
    )


def _hover(board: pd.DataFrame) -> list[str]:
    return [_words(label, row) for label, (_, row) in zip(labels(board), board.iterrows(), strict=True)]


def _words(label: str, row: pd.Series) -> str:
    """What a reader sees over a marker."""
    lines = [f"<b>{escaped(shortened(label, 60))}</b>", f"robust {100 * row['robust']:.1f} %"]
    if pd.notna(row["robust_low"]):
        lines.append(f"95% interval {100 * row['robust_low']:.1f} to {100 * row['robust_high']:.1f}")
    if pd.notna(row["tie_group"]):
        lines.append(f"tie group {escaped(str(row['tie_group']))}")
    lines.append(f"clean {100 * row['clean']:.1f} %")
    return "<br>".join([*lines, *([] if row["status"] == "ranked" else [escaped(str(row["status"]))])])


def _add_teacher(figure: go.Figure, frame: pd.DataFrame, rows: int) -> None:
    """The teacher's robust accuracy as a dashed line over all rows, named at its upper end."""
    guide = teacher(frame)
    if guide is None:
        return
    x = 100 * float(guide["robust"])
    line = {"color": NEUTRAL, "dash": "dash", "width": 1.5}
    figure.add_shape(type="line", x0=x, x1=x, y0=-0.5, y1=rows - 0.5, line=line, layer="below")
    figure.add_annotation(
        x=x,
        y=-0.5,
        text=f"teacher {x:.1f}",
        showarrow=False,
        yanchor="bottom",
        font={"color": NEUTRAL, "size": 13},
    )


def _laid_out(figure: go.Figure, board: pd.DataFrame) -> go.Figure:
    rows = len(board)
    ticks = [_tick(label, status) for label, status in zip(labels(board), board["status"], strict=True)]
    shared = {"zeroline": False, "tickfont": {"size": 14}}
    figure.update_yaxes(
        tickvals=list(range(rows)), ticktext=ticks, range=[rows - 0.5, -0.5], showgrid=False, ticklen=8, **shared
    )
    figure.update_xaxes(
        title="accuracy on the test split, %",
        range=[-2, 102],
        tickvals=list(range(0, 101, 20)),
        showgrid=True,
        gridcolor=GRID,
        **shared,
    )
    figure.update_layout(
        height=ROW * rows + FRAME,
        margin={"l": 8, "r": 8, "t": 24, "b": 8},
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        dragmode=False,
        hovermode="closest",
        legend={
            "orientation": "h",
            "font": {"size": 13},
            "y": -60 / (ROW * rows),
            "yanchor": "top",
            "x": 0,
            "itemclick": False,
        },
    )
    return figure


def _tick(label: str, status: str) -> str:
    """A method's name beside its row, and below it what keeps it out of the ranking."""
    name = escaped(shortened(label, LABEL))
    return name if status == "ranked" else f"{name}<br><span style='font-size:0.8em'>{escaped(status)}</span>"
