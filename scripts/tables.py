"""Write what is generated from the shipped records: `leaderboards/tables/` and the leaderboard in the README.

python scripts/tables.py            # writes
python scripts/tables.py --check    # exit code 1 when a file differs from what the records give
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench import leaderboard
from bench.ranking.render import render
from bench.records import shipped_leaderboards
from bench.scenario import shipped_scenarios

ROOT = Path(__file__).resolve().parent.parent
START, END = "<!-- leaderboard: written by scripts/tables.py -->", "<!-- end -->"
SHOWN = "digits-linf"  # in the README


def generated() -> dict[Path, str]:
    """The content of every generated file."""
    files = {}
    for scenario in shipped_scenarios():
        if not (shipped_leaderboards() / "records" / scenario).is_dir():
            continue
        board = leaderboard(scenario, leaderboards=shipped_leaderboards())
        for form, ending in (("markdown", "md"), ("csv", "csv")):
            files[ROOT / "leaderboards" / "tables" / f"{scenario}.{ending}"] = render(board, form)
        if scenario == SHOWN:
            files[ROOT / "README.md"] = _readme(render(board, "markdown"))
    return files


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
