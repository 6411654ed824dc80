"""An image of the reader's choice, under attack: the perturbation, the logits, and which methods hold."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
import torch
from torch import Tensor, nn

from bench.dashboard import live
from bench.dashboard.blocks import Block, Chart, Finding, Heading, Note, Picture, Pictures, Table
from bench.dashboard.components import drawing_pad
from bench.dashboard.draw import draw
from bench.dashboard.figures import bars_chart
from bench.dashboard.live import Struck
from bench.dashboard.text import listed, shortened
from bench.dashboard.view import View
from bench.dashboard.widgets import choose_board, choose_number, choose_one
from bench.errors import TemperError
from bench.task import NO_ANSWER
from bench.threat import Threat

LEVELS = 15  # of ink, one hexadecimal digit a pixel
WIDEST = 2.0  # the largest radius, in those of the scenario
TEST, DRAWN = "a test image", "my own drawing"


def blocks(view: View, x: Tensor, label: int | None, chosen: str, eps: float) -> list[Block]:
    """An image (C, H, W) under attack with radius `eps`: first the student of the row `chosen`, then one of each row.

    `label` is the true class where it is known. What a student says of the unchanged image is what is attacked.
    """
    students, missing = _students(view)
    left_out = [Note("Rows without weights here are left out.", missing, "warning")] if missing else []
    if chosen not in students:
        return [*left_out, Note(f"{chosen} is one of them.")]
    threat = view.board.scenario.threat.with_eps(eps)
    struck = {name: live.strike(module, x, threat) for name, module in students.items()}
    own = struck[chosen]
    return [
        Finding(strike_finding(chosen, own, eps)),
        _pictures(x, own, label, threat),
        Chart(_logits(own), "Bars of the logits under attack, with those of the unchanged image as marks.", "logits"),
        Heading("Which methods resist"),
        Finding(holding_finding(struck)),
        Table(holding(struck, label)),
        Note(f"One student per row, the first whose weights are here. PGD-{live.STEPS} on the margin: not AutoAttack."),
        *left_out,
    ]


def strike_finding(name: str, struck: Struck, eps: float) -> str:
    """What became of a student's answer."""
    before, after = live.answer(struck.before), live.answer(struck.after)
    if not eps:
        return f"{name} predicts {before}. At eps = 0 the image is unchanged."
    held = (
        f"{name} predicts {before}, also under attack"
        if struck.held
        else f"{name} predicts {before}, and {after} under attack"
    )
    return f"{held} (eps = {eps:.3g})."


def holding_finding(struck: Mapping[str, Struck]) -> str:
    """How many rows keep their answer."""
    kept = [name for name, each in struck.items() if each.held]
    if len(kept) == len(struck):
        return f"All {len(struck)} keep their prediction." if len(struck) > 1 else f"{kept[0]} keeps its prediction."
    names = f": {listed([shortened(name, 24) for name in kept])}" if 0 < len(kept) <= 8 else ""
    return f"{len(kept)} of {len(struck)} keep their prediction{names}."


def holding(struck: Mapping[str, Struck], label: int | None) -> pd.DataFrame:
    """What each row says before and under attack, and by what margin."""
    table = []
    for name, each in struck.items():
        right = {} if label is None else {"right at first": "yes" if each.before == label else "no"}
        says = {"row": name, "says": each.before, **right, "under attack": each.after}
        table.append(says | {"holds": "yes" if each.held else "no"})
    return pd.DataFrame(table).replace(NO_ANSWER, "no class")


def from_ink(ink: str, shape: tuple[int, ...]) -> Tensor:
    """An image (1, H, W) in [0, 1] from one hexadecimal digit a pixel; what is no digit, or is missing, is black."""
    pixels = shape[1] * shape[2]
    levels = [int(digit, 16) if digit in "0123456789abcdef" else 0 for digit in ink[:pixels].ljust(pixels, "0")]
    return torch.tensor(levels, dtype=torch.float32).view(1, *shape[1:]) / LEVELS


def page() -> None:
    """Draw the page."""
    st.title("Try it", anchor=False)
    view = choose_board()
    if view is None:
        return
    try:
        x, y = live.images(view.board.scenario.name)
    except TemperError as error:
        draw([Note("The data of this scenario are not on this machine.", [str(error)], "warning")])
        return
    left, right = st.columns([1, 2.4], gap="large")
    with left:
        image, label = _image(view, x, y)
        eps = _radius(view)
        chosen = choose_one("Student", "student", view.labels, fixed=False)
    with right:
        if (image != image.min()).any():
            draw(blocks(view, image, label, chosen, eps))
        else:
            st.info("Draw something to see every student's prediction.")


def _image(view: View, x: Tensor, y: Tensor) -> tuple[Tensor, int | None]:
    """The image that the reader chose or drew, and its label where it has one."""
    grey = view.board.scenario.data.shape[0] == 1
    source = choose_one("Image", "image", [TEST, DRAWN] if grey else [TEST])
    if source == DRAWN:
        ink = drawing_pad(view.board.scenario.data.shape)
        low, high = view.board.scenario.threat.bounds
        return low + (high - low) * from_ink(ink, view.board.scenario.data.shape), None
    number = int(choose_number("Number", "number", 0, len(x) - 1, 0))
    return x[number], int(y[number])


def _radius(view: View) -> float:
    radius = view.board.scenario.threat.eps
    words = f"1 is {view.board.scenario.threat.norm} {radius:.4g}, at which the board is judged."
    times = choose_number("eps, in that of the scenario", "times", 0.0, WIDEST, 1.0, step=0.05, help=words)
    return times * radius


def _students(view: View) -> tuple[dict[str, nn.Module], list[str]]:
    """Of each row that competes, the first student whose weights are here and sound; and why others are not."""
    found, missing = {}, []
    for name, row in zip(view.labels, view.board.rows, strict=True):
        problem = f"{name}: every trial failed"
        for entry in row:
            try:
                found[name] = live.student(entry.folder)
                break
            except TemperError as error:
                problem = f"{name}: {error}"
        if name not in found:
            missing.append(problem)
    return found, missing


def _pictures(x: Tensor, own: Struck, label: int | None, threat: Threat) -> Pictures:
    return Pictures(
        [
            [
                Picture(live.pixels(x, threat.bounds), "the image" if label is None else f"the image: {label}"),
                Picture(live.pixels(own.image, threat.bounds), f"under attack: {live.answer(own.after)}"),
                Picture(live.difference(x, own.image, threat.eps), "the change"),
            ]
        ]
    )


def _logits(own: Struck) -> go.Figure:
    after = pd.Series(own.attacked.numpy(), name="under attack")
    return bars_chart(after, "class", "logit", pd.Series(own.clean.numpy(), name="unchanged"))
