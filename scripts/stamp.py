"""Stamp the records that were made before there were stamps (`bench.stamp`), where all else about them verifies.

python scripts/stamp.py [PATH]      # a record or a folder of records; default: leaderboards/records
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bench.records import read_record
from bench.stamp import write_stamped
from bench.verification import verify_records
from bench.words import counted

RECORDS = Path(__file__).resolve().parent.parent / "leaderboards" / "records"


def main() -> int:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else RECORDS
    folders, problems = verify_records(root)
    others = [problem for problem in problems if "is unstamped" not in problem]
    if others:
        print("\n".join([*others, "nothing was stamped"]))
        return 1
    unstamped = [folder for folder in folders if not read_record(folder).digest]
    for folder in unstamped:
        write_stamped(folder, json.loads((folder / "record.json").read_text()))
    print(f"{counted(len(unstamped), 'record')} stamped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
