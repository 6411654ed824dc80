"""The leaderboard as a table of HTML, in which the interval of each row is drawn on one common axis.

The same markup, style and script (`assets/`) serve the dashboard and the static export. Everything that comes from
records is escaped by the template.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from bench.dashboard.frames import COMPETING
from bench.dashboard.palette import looks
from bench.dashboard.view import PUBLISHED_ON, View
from bench.method import METHODS
from bench.ranking.words import missing

ASSETS = Path(__file__).parent / "assets"
SPARK = (64, 18)  # pixels of a sparkline


class Sort(NamedTuple):
    """An order of rows: what the reader calls it, its value in a row, and whether the largest comes first."""

    title: str
    value: Callable[[dict[str, Any]], Any]
    down: bool = True


SORTS = {
    "robust": Sort("robust accuracy", lambda row: row["robust"]),
    "method": Sort("method", lambda row: row["method"], down=False),
    "clean": Sort("clean accuracy", lambda row: row["clean"]),
    "gap": Sort("gap closed", lambda row: row["gap_closed"]),
    "passes": Sort("passes, least first", lambda row: row["passes"], down=False),
    "seconds": Sort("seconds, least first", lambda row: row["seconds"], down=False),
}


@dataclass(frozen=True)
class Selection:
    """What of a board is shown and how: families and needs (empty: all), the order, and which rows are picked."""

    families: Collection[str] = ()
    needs: Collection[str] = ()
    sort: str = "robust"
    picked: Collection[str] = ()

    def shows(self, row: dict[str, Any]) -> bool:
        """Whether a row is among those chosen; the teacher and what is withdrawn are no method's answer."""
        if not self.families and not self.needs:
            return True
        chosen = not self.families or row["family"] in self.families
        return chosen and (not self.needs or bool(set(self.needs) & set(row["needs"]))) and row["status"] in COMPETING


NOTHING_CHOSEN = Selection()


def board_html(view: View, selection: Selection = NOTHING_CHOSEN, link: Callable[[str], str] = lambda name: "") -> str:
    """The table; `link` gives the address of a method's page by the method's name ("" for none)."""
    table = view.rows
    shown = sorted((row for row in table if selection.shows(row)), key=lambda row: _place(row, selection.sort))
    looked_up = looks(row["family"] for row in table if row["status"] in COMPETING)
    guide = next((row["robust"] for row in table if row["status"] == "unranked"), None)
    return _template("board.html").render(
        rows=shown,
        sort=selection.sort,
        sorts=SORTS,
        picked=set(selection.picked),
        looks=looked_up,
        guide=guide,
        competing=COMPETING,
        link=link,
        known=METHODS,
        title=view.ranked.attrs["title"],
        caption=view.ranked.attrs["caption"],
        published_on=PUBLISHED_ON,
        has={name: any(not missing(row[name]) for row in table) for name in ("gap_closed", "seconds")},
        spark=sparkline,
        spark_size=SPARK,
        span=max((abs(a - row["robust"]) for row in table for a in row.get("accuracies", ())), default=0),
    )


def sparkline(accuracies: Sequence[float], mean: float, span: float) -> list[tuple[float, float]]:
    """Where the dots of a row's seeds stand in SPARK: about the row's mean, all rows to the scale of `span`."""
    width, height = SPARK
    step = (width - 8) / max(len(accuracies) - 1, 1)
    scale = (height / 2 - 3) / span if span else 0
    return [(4 + k * step, height / 2 - scale * (value - mean)) for k, value in enumerate(accuracies)]


def _place(row: dict[str, Any], sort: str) -> tuple[Any, ...]:
    """Sort key: competing rows first, then by the value asked for, unknown ones last."""
    order = SORTS.get(sort, SORTS["robust"])
    value = order.value(row)
    apart = row["status"] not in COMPETING
    if missing(value):
        return apart, 1, 0
    return apart, 0, -value if order.down else value


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda value, form=".1f": "" if missing(value) else f"{100 * value:{form}}"
    environment.filters["whole"] = lambda value: "" if missing(value) else f"{value:,.0f}"
    environment.tests["known"] = lambda value: not missing(value)
    return environment


def _template(name: str) -> jinja2.Template:
    return _environment().get_template(name)


def asset(name: str) -> str:
    """The text of a file in `assets/`."""
    return (ASSETS / name).read_text()
