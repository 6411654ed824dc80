"""The dashboard as files: the same blocks, for hosting without a server. Links work from a file, and no other host is
asked for anything."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from markupsafe import Markup
from PIL import Image
from plotly.offline import get_plotlyjs

from bench.dashboard.blocks import (
    Block,
    Chart,
    Code,
    Columns,
    Downloads,
    Formula,
    Heading,
    Html,
    Note,
    Picture,
    Pictures,
    Prose,
)
from bench.dashboard.data import EMBEDDED
from bench.dashboard.findings import damaged
from bench.dashboard.markup import to_html
from bench.dashboard.pages import about, compare, fronts, history, leaderboard, method, scenario, submit
from bench.dashboard.palette import favicon
from bench.dashboard.table import NOTHING_CHOSEN, asset, template
from bench.dashboard.text import escaped
from bench.dashboard.view import View
from bench.errors import TemperError
from bench.files import write_bytes, write_text
from bench.ranking.rows import read_boards
from bench.records import leaderboards_read
from bench.scenario import load_scenario, shipped_scenarios

MARK = "temper-site.json"  # in a folder that we wrote, and may write again
STYLES, SCRIPTS = ("page.css", "board.css", "site.css"), ("board.js", "site.js")
FILES = "files"  # to take along
COMPARED = 5  # rows of the page that compares
FOOTER = "Written by temper export-site. The temper dashboard also filters, compares any rows and attacks images live."


@dataclass(frozen=True)
class Page:
    """A page of the site: its file, place in the navigation, title, board and blocks."""

    file: str
    place: str
    title: str
    blocks: Sequence[Block]
    board: str = ""


@dataclass
class Written:
    """What turning blocks into HTML needs beside it: files to download, and whether there are charts."""

    downloads: dict[str, Callable[[], bytes]] = field(default_factory=dict)
    charts: bool = False


def export(folder: Path, leaderboards: Path | None = None) -> list[Path]:
    """Write the site into `folder`; returns its pages. Raises TemperError for a folder with other things in it."""
    _clear(folder)
    views = [View.of(b) for name in shipped_scenarios() for b in read_boards(load_scenario(name), leaderboards)]
    views = sorted(views, key=lambda view: (view.board.scenario.name != EMBEDDED, len(view.board.stem)))
    boards = [view.board.stem for view in views]
    pages = list(_pages(views, leaderboards))
    for page in pages:
        _write(folder, page, boards)
    write_text(folder / "assets" / "site.css", "\n".join(map(asset, STYLES)))
    write_text(folder / "assets" / "site.js", "\n".join(map(asset, SCRIPTS)))
    write_text(folder / "assets" / "plotly.min.js", get_plotlyjs())
    write_text(folder / MARK, json.dumps({"pages": [page.file for page in pages]}, indent=1) + "\n")
    return [folder / page.file for page in pages]


def _pages(views: Sequence[View], leaderboards: Path | None) -> Iterator[Page]:
    """Every page: those of each board, then the others."""
    for view in views:
        stem, files = view.board.stem, _row_files(view)
        ranked = [*damaged(view.board.problems), *leaderboard.blocks(view, NOTHING_CHOSEN, files.__getitem__)]
        yield Page(f"{stem}.html", "Leaderboard", leaderboard.TITLE, ranked, stem)
        if view is views[0]:
            yield Page("index.html", "Leaderboard", leaderboard.TITLE, ranked, stem)
        if not view.labels:
            yield from _without_methods(stem)
            continue
        methodical = [each for each in views if each.labels]
        yield Page(f"{stem}.fronts.html", "Fronts", "Fronts", fronts.blocks(view, methodical), stem)
        yield Page(f"{stem}.compare.html", "Compare", "The most robust rows compared", _compared(view), stem)
        releases, problems = history.read_releases(stem, leaderboards_read(leaderboards))
        past = [*damaged(problems), *history.blocks(view, releases)]
        yield Page(f"{stem}.history.html", "History", "History", past, stem)
        for label, file in files.items():
            yield Page(file, "Method", label, method.blocks(view, label), stem)
    if not views:
        yield Page("index.html", "Scenarios", "Scenarios and rules", _scenarios())
    for name in shipped_scenarios():
        yield Page(f"scenario.{name}.html", "Scenarios", name, scenario.blocks(load_scenario(name)))
    yield Page("scenarios.html", "Scenarios", "Scenarios and rules", _scenarios())
    yield Page("submit.html", "Submit", "Submit a method", submit.blocks())
    yield Page("about.html", "About", "About Temper", about.blocks())


def _without_methods(stem: str) -> Iterator[Page]:
    """The other pages of a board that has checkpoints from elsewhere, and no record of a method."""
    for title in ("Fronts", "Compare", "History"):
        yield Page(f"{stem}.{title.lower()}.html", title, title, [Note(leaderboard.NO_METHOD)], stem)


def _row_files(view: View) -> dict[str, str]:
    """The file of each row's page, by its label, of which letters and digits are kept."""
    met: Counter[str] = Counter()
    files = {}
    for label in view.labels:
        slug = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")
        met[slug] += 1
        files[label] = f"{view.board.stem}.method.{slug}{f'-{met[slug]}' if met[slug] > 1 else ''}.html"
    return files


def _compared(view: View) -> list[Block]:
    if len(view.labels) < 2:
        return [Note("This board has one row; a comparison needs two.")]
    words = "These are the most robust rows. To compare any two: `temper leaderboard SCENARIO --explain A B`."
    images = compare.image_blocks(view, view.labels[:2], 0)
    return [*compare.blocks(view, view.labels[:COMPARED]), Heading(compare.IMAGES), *images, Prose(words)]


def _scenarios() -> list[Block]:
    known = {name: load_scenario(name) for name in shipped_scenarios()}
    links = "\n".join(f"- [{name}](scenario.{name}.html)" for name in known)
    return [*scenario.rules(), Heading("Scenarios"), Prose(links)]


def _write(folder: Path, page: Page, boards: Sequence[str]) -> None:
    written = Written()
    content = "\n".join(_html(block, written) for block in page.blocks)
    stem = page.board or (boards[0] if boards else "")
    for name, make in written.downloads.items():
        write_bytes(folder / FILES / name, make())
    text = template("site.html").render(
        title=page.title,
        place=page.place,
        board=page.board,
        content=Markup(content),
        charts=written.charts,
        places=list(_places(stem)),
        boards=[(name, f"{name}.html") for name in boards],
        footer=FOOTER,
        icon=_png(np.asarray(favicon())),
    )
    write_text(folder / page.file, text)


def _places(stem: str) -> Iterator[tuple[str, str]]:
    if stem:
        yield "Leaderboard", f"{stem}.html"
        yield from ((name.title(), f"{stem}.{name}.html") for name in ("fronts", "compare", "history"))
    yield from ((name.title(), f"{name}.html") for name in ("scenarios", "submit", "about"))


def _html(block: Block, written: Written) -> str:
    match block:
        case Heading(text):
            return f"<h2>{escaped(text)}</h2>"
        case Html(markup):
            return markup
        case Chart(figure, alt):
            written.charts = True
            data = figure.to_json().replace("<", "\\u003c")
            label = f'role="img" aria-label="{escaped(alt)}"'
            height = f"min-height:{figure.layout.height}px"
            return f'<div class="chart" {label} style="{height}"><script type="application/json">{data}</script></div>'
        case Prose(markdown):
            return f'<div class="prose">{MarkdownIt("commonmark", {"html": False}).render(markdown)}</div>'
        case Code(text):
            return f"<pre><code>{escaped(text)}</code></pre>"
        case Formula(latex):
            return f'<div class="formula">{convert(latex, display="block")}</div>'
        case Note(text, points):
            listed = "".join(f"<li><code>{escaped(point)}</code></li>" for point in points)
            return f'<div class="note"><p>{escaped(text)}</p>{f"<ul>{listed}</ul>" if listed else ""}</div>'
        case Pictures(groups):
            return f'<div class="pictures">{"".join(map(_group, groups))}</div>'
        case Downloads(files):
            written.downloads |= {file.name: file.make for file in files}
            links = (f'<a href="{FILES}/{escaped(f.name)}" download>{escaped(f.label)}</a>' for f in files)
            return f'<p class="downloads">{"".join(links)}</p>'
        case Columns(columns):
            inside = ("".join(_html(each, written) for each in column) for column in columns)
            return f'<div class="columns">{"".join(f"<div>{each}</div>" for each in inside)}</div>'
    return to_html(block)


def _group(group: Sequence[Picture]) -> str:
    shown = (
        f'<figure><img alt="{escaped(each.caption)}" src="data:image/png;base64,{_png(each.pixels)}">'
        f"<figcaption>{escaped(each.caption)}</figcaption></figure>"
        for each in group
    )
    return f"<div>{''.join(shown)}</div>"


def _png(pixels: np.ndarray) -> str:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _clear(folder: Path) -> None:
    """Remove the pages of an earlier export."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    try:
        pages = json.loads((folder / MARK).read_text())["pages"]
    except (OSError, ValueError, KeyError, TypeError):
        raise TemperError(f"{folder} holds other files than an exported site: give an empty folder") from None
    for name in pages:
        if isinstance(name, str) and name == Path(name).name:
            (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / FILES, ignore_errors=True)
