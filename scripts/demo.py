"""`make demo`: train one method of each family, judge them, and set them beside the records that ship.

Runs `kd`, `rslad` and `gkd-logit` on the digits for one seed, into the scratch folder `demo/leaderboards`.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

from rich.console import Console

from bench import leaderboard, load_scenario
from bench.execution.trials import Runner
from bench.method import make_method
from bench.ranking.render import to_table
from bench.records import make_trial

SCENARIO = "digits-linf"
METHODS = ("kd", "rslad", "gkd-logit")
SCRATCH = Path("demo/leaderboards")


def main() -> int:
    started = time.monotonic()
    out = Console(width=None if sys.stdout.isatty() else 160)
    shutil.rmtree(SCRATCH / "records", ignore_errors=True)
    scenario = load_scenario(SCENARIO)
    trials = [make_trial(scenario, make_method(name), seed_index=0) for name in METHODS]
    out.print(f"Training and judging {', '.join(METHODS)} on {scenario.title}, seed 0; some minutes on two cores.")
    problems = Runner(scenario, SCRATCH, jobs=min(2, os.cpu_count() or 1)).run(trials)

    board = leaderboard(SCENARIO, leaderboards=SCRATCH)
    out.print(to_table(board))
    for row in board.to_dict("records"):
        if isinstance(row["reproduced"], dict) and row["reproduced"]:
            verdicts = ", ".join(row["reproduced"].values())
            out.print(f"  {row['method']} against its shipped record: [bold]{verdicts}[/]")
    out.print(f"\nThat took {time.monotonic() - started:.0f} seconds. To see it in a browser:")
    out.print(f"  .venv/bin/temper dashboard --leaderboards {SCRATCH}", highlight=False)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
