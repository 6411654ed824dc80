"""Write what is generated: `leaderboards/tables/` and the leaderboard in the README from the shipped records, and
`docs/methods.md` from the registrations.

python scripts/tables.py            # writes
python scripts/tables.py --check    # exit code 1 when a file differs from what the records give
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from pathlib import Path

from bench import leaderboard
from bench.method import METHODS
from bench.ranking.render import render
from bench.records import Trial, read_record, record_folders, shipped_leaderboards
from bench.scenario import load_scenario, shipped_scenarios

ROOT = Path(__file__).resolve().parent.parent
START, END = "<!-- leaderboard: written by scripts/tables.py -->", "<!-- end -->"
SHOWN = "digits-linf"  # in the README
DEFAULTS = {"ruleset": "compute", "budget": "s", "recipe": "plain", "track": "main"}
CATALOGUE_HEAD = """# Methods

Written by `scripts/tables.py` from the registrations. `temper methods NAME` shows one in full.

A step's cost is in passes per example: a forward of the student is 1, a backward to the input 1, one to the weights 2.
K: attack steps; r, r_N: FLOPs of the robust and the natural teacher over the student's; `double`: the measured price of
the student's double backward; other names: auxiliary networks. Of methods with a warm-up, it is the cost before its
end. The last column is what the meter counted in whole trials on the digits (K = 10, r = r_N = 8.63), per step.

| method | family | reference | needs | passes | on the digits |
|---|---|---|---|---|---|"""


def generated() -> dict[Path, str]:
    """The content of every generated file."""
    tables = ROOT / "leaderboards" / "tables"
    files = {ROOT / "docs" / "methods.md": _catalogue()}
    for scenario in shipped_scenarios():
        for fields in _boards(scenario):
            board = leaderboard(scenario, leaderboards=shipped_leaderboards(), **fields)
            name = "-".join([scenario, *(value for key, value in fields.items() if value != DEFAULTS[key])])
            for form, ending in (("markdown", "md"), ("csv", "csv")):
                files[tables / f"{name}.{ending}"] = render(board, form)
            if name == SHOWN:
                files[ROOT / "README.md"] = _readme(render(board, "markdown"))
    return files


def _boards(scenario: str) -> list[dict[str, str]]:
    """The ruleset, budget, recipe and track of every board that has records."""
    trials = [read_record(folder).trial for folder in record_folders(shipped_leaderboards(), scenario)]
    return [dict(zip(DEFAULTS, key, strict=True)) for key in sorted({tuple(_key(trial)) for trial in trials})]


def _key(trial: Trial) -> list[str]:
    return [getattr(trial, field) for field in DEFAULTS]


def _catalogue() -> str:
    """A table of all methods, and then what each follows where papers and codes differ."""
    costs = _costs()
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
        lines += [f"Version {info.version}, track {info.track}. Hyper-parameters: {fields or 'none'}.", ""]
        lines += [f"Where papers and codes differ: {info.deviations}"] if info.deviations else ["No deviation known."]
    return "\n".join(lines) + "\n"


def _costs() -> dict[str, float]:
    """Passes that one example of a step cost, as the meter counted them in the trials of the board in the README."""
    scenario = load_scenario(SHOWN)
    step = scenario.optimiser.batch_size / scenario.data.split.train  # of an epoch
    costs = {}
    for folder in record_folders(shipped_leaderboards(), SHOWN):
        record = read_record(folder)
        if record.training and tuple(_key(record.trial)) == tuple(DEFAULTS.values()) and not record.tuned:
            costs[record.trial.method] = record.training.passes / record.training.steps / step
    return costs


def _link(reference: str) -> str:
    """A reference with its arXiv number as a link."""
    return re.sub(r"arXiv:(\d{4}\.\d{5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", reference)


def _readme(table: str) -> str:
    before, rest = (ROOT / "README.md").read_text().split(START)
    return f"{before}{START}\n\n{table}\n{END}{rest.split(END, 1)[1]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = {path: text for path, text in generated().items() if not path.exists() or path.read_text() != text}
    for path, text in stale.items():
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        print(f"{path.relative_to(ROOT)} {'differs from what the records give' if check else 'written'}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
