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

from bench.dashboard.frames import COMPETING, GROUPS
from bench.dashboard.palette import looks
from bench.dashboard.view import PUBLISHED_ON, View
from bench.ranking.words import missing

ASSETS = Path(__file__).parent / "assets"
SPARK = (64, 18)  # pixels of a sparkline


class Sort(NamedTuple):
    """An order of rows: by a field of the ranking, the largest first or the smallest."""

    field: str
    down: bool = True


SORTS = {
    "robust": Sort("robust"),
    "clean": Sort("clean"),
    "gap closed": Sort("gap_closed"),
    "passes": Sort("passes", down=False),
    "seconds": Sort("seconds", down=False),
    "method": Sort("label", down=False),
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
    """The table; `link` gives the address of a row's page by its label ("" for none)."""
    table = view.rows
    shown = in_order([row for row in table if selection.shows(row)], selection.sort)
    looked_up = looks(row["family"] for row in table if row["status"] in COMPETING)
    guide = next((row["robust"] for row in table if row["status"] == "unranked"), None)
    return template("board.html").render(
        groups=grouped(shown),
        checkpoints=[row for row in shown if "details" in row],
        sort=selection.sort,
        sorts=SORTS,
        picked=set(selection.picked),
        looks=looked_up,
        guide=guide,
        competing=COMPETING,
        link=link,
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


def in_order(table: Sequence[dict[str, Any]], sort: str) -> list[dict[str, Any]]:
    """Rows in one of the SORTS: those that compete first, and unknown values last."""
    order = SORTS.get(sort, SORTS["robust"])
    known = [row for row in table if not missing(row[order.field])]
    known.sort(key=lambda row: row[order.field], reverse=order.down)
    unknown = [row for row in table if missing(row[order.field])]
    return sorted(known + unknown, key=lambda row: row["status"] not in COMPETING)


def grouped(table: Sequence[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """The rows of each of GROUPS that has any, in their order, with its heading."""
    parts = [(heading, [row for row in table if row["status"] in statuses]) for heading, statuses in GROUPS.items()]
    return [(heading, part) for heading, part in parts if part]


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda value, form=".1f": "" if missing(value) else f"{100 * value:z{form}}"
    environment.filters["whole"] = lambda value: "" if missing(value) else f"{value:,.0f}"
    environment.tests["known"] = lambda value: not missing(value)
    return environment


def template(name: str) -> jinja2.Template:
    """A template of `assets/`; what is put into it is escaped."""
    return _environment().get_template(name)


def asset(name: str) -> str:
    """The text of a file in `assets/`."""
    return (ASSETS / name).read_text()
