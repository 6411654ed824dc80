"""Write what is generated: `leaderboards/tables/` and the leaderboard in the README from the shipped records, and
`docs/methods.md` from the registrations.

python scripts/tables.py            # writes
python scripts/tables.py --check    # exit code 1 when a file differs from what the records give
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import sys
from collections import defaultdict
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bench.method import METHODS
from bench.ranking.across import across
from bench.ranking.render import Format, render, to_markdown
from bench.ranking.rows import Board, read_boards
from bench.ranking.tables import build_all
from bench.records import shipped_leaderboards
from bench.scenario import load_scenario, shipped_scenarios

ROOT = Path(__file__).resolve().parent.parent
START, END = "<!-- leaderboard: written by scripts/tables.py -->", "<!-- end -->"
SHOWN, FIRST = "digits-linf", 10  # the board in the README, and how many ranks of it
TABLES = Path("leaderboards/tables")
RANKED, ACROSS = "ranking", "across"  # tables
FORMS: dict[Format, str] = {"csv": "csv", "parquet": "parquet", "json": "json", "latex": "tex"}
CATALOGUE_HEAD = r"""# Methods

Written by `scripts/tables.py` from the registrations. `temper methods NAME` shows all details of one method.

The cost of a step is in passes per example: a forward of the student is 1, a backward to the input 1, to the weights 2.
K: attack steps; r, r_N: FLOPs of the robust and the natural teacher over the student's; `double`: the measured price of
the student's double backward; other names: auxiliary networks. For methods with a warm-up, it is the cost during
warm-up. The last column is the metered cost per step of whole trials on the digits (K = 10, r = r_N = 8.63).

In the formulas, $f$ are the logits of a network, $p$ their softmax $\sigma(f)$, $p^\tau$ the softmax at temperature
$\tau$, and $h$ features. Networks: student $S$, robust teacher $T$, natural teacher $N$, jointly trained network $P$,
discriminator $D$, generator $G$. $\theta$ are the student's weights and $\bar\theta$ their average. Each loss trains
only the network of its index. $x$ is a clean input with label $y$ (one-hot $e_y$), and $x'$ an adversarial one in the
ball $B(x)$. $C$: number of classes; $t$: fraction of the budget that is spent; $H$: entropy; sg: stop gradient;
$[a]_+$: the larger of $a$ and 0.

| method | family | reference | needs | passes | on the digits |
|---|---|---|---|---|---|"""


def generated() -> dict[Path, bytes]:
    """The content of every generated file, by its path below the root of the repository."""
    scenarios = [load_scenario(name) for name in shipped_scenarios()]
    read = [board for each in scenarios for board in read_boards(each, shipped_leaderboards())]
    boards = [replace(board, checkpoints=[]) for board in read if board.rows]  # those of a checkout are its owner's
    tables = {board.stem: build_all(board) for board in boards}
    shown = next(board for board in boards if board.stem == SHOWN)
    settings: defaultdict[str, list[Board]] = defaultdict(list)
    for board in boards:
        settings[board.named(ACROSS)].append(board)
    files = {Path("docs/methods.md"): _catalogue(shown)}
    files |= {Path("README.md"): _readme(tables[SHOWN][RANKED], [name for name in tables if name != SHOWN])}
    compared = {name: table for name, several in settings.items() if not (table := across(several)).empty}
    files |= {TABLES / f"{name}.md": to_markdown(table) for name, table in compared.items()}
    written = {path: text.encode() for path, text in files.items()}
    written |= {TABLES / f"{name}.csv": render(table, "csv") for name, table in compared.items()}
    for name, frames in tables.items():
        written |= _files(name, frames)
    return written


def _files(name: str, tables: dict[str, pd.DataFrame]) -> dict[Path, bytes]:
    """The files of a board: the ranking in every format, the other tables as CSV, all of them on one page."""
    page = "\n".join(f"## {frame.attrs['title']}\n\n{to_markdown(frame)}" for frame in tables.values())
    files = {TABLES / f"{name}.md": f"# {name}\n\n{page}".encode()}
    files |= {TABLES / f"{name}.{ending}": render(tables[RANKED], form) for form, ending in FORMS.items()}
    others = {table: frame for table, frame in tables.items() if table != RANKED}
    return files | {TABLES / f"{name}.{table}.csv": render(frame, "csv") for table, frame in others.items()}


def _catalogue(board: Board) -> str:
    """A table of all methods, and then what each follows where papers and codes differ."""
    costs = _costs(board)
    lines = [CATALOGUE_HEAD]
    for name in METHODS:
        info = METHODS[name].info
        needs = ", ".join(sorted(METHODS[name].needs)).replace("_", " ") or "-"
        cost = f"{costs[name]:.1f}" if name in costs else "-"
        lines.append(
            f"| `{name}` | {info.family} | {_link(info.reference)} | {needs} | {info.passes or 'measured'} | {cost} |"
        )
    for name in METHODS:
        method, info = METHODS[name], METHODS[name].info
        fields = ", ".join(f"`{field} = {spec.default!r}`" for field, spec in method.model_fields.items())
        lines += ["", f"## {name}", "", inspect.cleandoc(method.__doc__ or ""), ""]
        lines += ["$$", info.formula, "$$", ""] if info.formula else []
        lines += [f"Version {info.version}, track {info.track}. Hyper-parameters: {fields or 'none'}.", ""]
        lines += [f"Where papers and codes differ: {info.deviations}"] if info.deviations else ["No deviation known."]
    return "\n".join(lines) + "\n"


def _costs(board: Board) -> dict[str, float]:
    """Passes that one example of a step costs a method with its defaults, as the meter counted them on a board."""
    step = board.scenario.optimiser.batch_size / board.scenario.data.split.train  # of an epoch
    costs = {}
    for row in board.rows:
        record = row[0].record
        name, settings = record.trial.method, record.trial.hyperparameters
        default = name in METHODS and settings == METHODS[name]().model_dump(mode="json") and not record.tuned
        if record.training and default:
            costs[name] = record.training.passes / record.training.steps / step
    return costs


def _link(reference: str) -> str:
    """A reference with its arXiv number as a link."""
    return re.sub(r"arXiv:(\d{4}\.\d{5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", reference)


def _readme(ranking: pd.DataFrame, others: list[str]) -> str:
    """The README with the first ranks of a board, the teacher, and where the rest and the other boards are."""
    before, rest = (ROOT / "README.md").read_text().split(START)
    table = to_markdown(ranking[(ranking["rank"] <= FIRST) | (ranking["family"] == "teacher")])
    more = f"The first {FIRST} of {ranking['rank'].count()} methods; [the others]({TABLES}/{SHOWN}.md)."
    more += f"\nOther boards: {', '.join(f'[{name}]({TABLES}/{name}.md)' for name in others)}."
    return f"{before}{START}\n\n{table}\n{more}\n\n{END}{rest.split(END, 1)[1]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    files = generated()
    wrong = {path: content for path, content in files.items() if not _same(ROOT / path, content)}
    stale = {path.relative_to(ROOT) for path in (ROOT / TABLES).glob("*")} - set(files)
    for path, content in wrong.items():
        if not check:
            (ROOT / path).parent.mkdir(exist_ok=True)
            (ROOT / path).write_bytes(content)
        print(f"{path} {'differs from what the records give' if check else 'written'}")
    for path in sorted(stale):
        if not check:
            (ROOT / path).unlink()
        print(f"{path} {'is there, and no record gives it' if check else 'removed'}")
    return int(check and bool(wrong or stale))


def _same(path: Path, content: bytes) -> bool:
    """Whether a file has that content, byte for byte. Parquet holds the versions of its writer: where another one wrote
    the file, its table is compared, types and caption included."""
    if not path.exists():
        return False
    found = path.read_bytes()
    if found == content or path.suffix != ".parquet":
        return found == content
    try:
        (writer, table, words), (now, expected, caption) = _parquet(found), _parquet(content)
    except (pa.ArrowException, OSError, KeyError):  # damaged; which it is depends on the byte
        return False
    return writer != now and table.equals(expected) and words == caption


def _parquet(content: bytes) -> tuple[list[str], pa.Table, bytes]:
    """The versions of pyarrow and pandas that wrote a file, its table, and its title and caption."""
    table = pq.read_table(BytesIO(content))
    metadata = table.schema.metadata
    writer = [pq.read_metadata(BytesIO(content)).created_by, json.loads(metadata[b"pandas"])["pandas_version"]]
    return writer, table, metadata[b"PANDAS_ATTRS"]


if __name__ == "__main__":
    sys.exit(main())
