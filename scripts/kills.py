"""Kill trials at random moments of training, judging and recording, start them again, and compare what they record with
an uninterrupted run; then run one on a disk that fills up repeatedly. Prints docs/crash-safety.md.

python scripts/kills.py [--kills 50] [--seed 0] > docs/crash-safety.md      # about 20 minutes on 2 cores
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from safetensors.torch import save_file

from bench.data import load
from bench.execution.surroundings import surroundings
from bench.method import make_method
from bench.records import make_trial, read_record, trial_folder, work_folder
from bench.scenario import load_scenario
from bench.verification import verify_records

SCENARIO = """title = "A piece of the digits"
data = { source = "tensors", path = "digits.safetensors", shape = [1, 8, 8], classes = 10, split = SPLIT }
threat = { norm = "Linf", eps = 0.15 }
attack = { step_size = 0.0375 }
student = { network = "cnn", options = { widths = [16, 16], strides = [2, 2] } }
optimiser = { learning_rate = 0.1, batch_size = 64 }
budget = { s = 40, m = 40, l = 40 }
""".replace("SPLIT", "{ train = 512, validation = 120, test = 120 }")
STAGES = {"training": "training.json", "judging": "evaluation.json"}  # and what a stage leaves at its end
ATTEMPTS = {"training": 4, "judging": 4, "recording": 2}  # kills of one trial, at most
FILES = ("best.safetensors", "last.safetensors", "outcomes.parquet", "metrics.jsonl")
# `temper` that kills its group when it changes a file for the N-th time after the judging; N < 0: that tells how often
TEMPER = """
import os, signal, sys
from pathlib import Path
moment, result, touched = int(sys.argv.pop(1)), Path(sys.argv.pop(1)), 0
def hook(event, told):
    global touched
    writes = event == "open" and isinstance(told[2], int) and told[2] & (os.O_WRONLY | os.O_RDWR)
    if (writes or event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir")) and (touched or os.path.exists(result)):
        touched += 1
        if touched == moment:
            os.killpg(0, signal.SIGKILL)
sys.addaudithook(hook)
from bench.cli.main import run
try:
    run()
finally:
    if moment < 0:
        print(touched)
"""


class Place:
    """A trial on a board of its own."""

    def __init__(self, scenario: Path, board: Path) -> None:
        self.scenario, self.board = scenario, board
        self.trial = make_trial(load_scenario(scenario), make_method("pgd-at"), 0)
        self.record, self.work = trial_folder(board, self.trial), work_folder(board, self.trial)

    def stage(self) -> str:
        """The stage that it is in."""
        return next((name for name, result in STAGES.items() if not (self.work / result).exists()), "recording")

    def command(self, moment: int = 0) -> list[str]:
        options = ["--method", "pgd-at", "--seeds", "1", "--device", "cpu", "--checkpoint-seconds", "0.2"]
        place = ["run", str(self.scenario), "--leaderboards", str(self.board)]
        return [sys.executable, "-c", TEMPER, str(moment), str(self.work / "evaluation.json"), *place, *options]

    def start(self, moment: int = 0) -> subprocess.Popen[str]:
        quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        return subprocess.Popen(self.command(moment), start_new_session=True, **quiet)

    def differences(self, whole: Place) -> list[str]:
        """What is not as in the uninterrupted run, clocks left out; and what verify finds, and what lies about."""
        differ = [name for name in FILES if (self.record / name).read_bytes() != (whole.record / name).read_bytes()]
        if read_record(self.record).repeatable() != read_record(whole.record).repeatable():
            differ.append("record.json")
        left = [path.name for path in (self.board / ".work").iterdir()]
        return differ + left + verify_records(self.board)[1]


def wait_for(file: Path, since: float, process: subprocess.Popen[str]) -> None:
    """Until a process that runs has written a file."""
    while process.poll() is None and not (file.exists() and file.stat().st_mtime >= since):
        time.sleep(0.005)


def kill(place: Place, stage: str, rng: random.Random, seconds: dict[str, float], touches: int) -> str:
    """Start it, and kill it at a random moment of a stage, or soon after; the stage that it died in, "" at none."""
    since = time.time()
    process = place.start(rng.randint(1, touches) if stage == "recording" else 0)
    if stage != "recording":
        wait_for(place.work / ("train.log" if stage == "training" else "evaluate.log"), since, process)
        time.sleep(rng.uniform(0, seconds[stage]))
        met = place.stage()
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return "recording" if stage == "recording" else met if process.returncode == -signal.SIGKILL else ""


def chain(place: Place, rng: random.Random, seconds: dict[str, float], touches: int, most: int) -> Counter[str]:
    """Kill a trial some times in every stage, and let it end: how often it died in which."""
    died: Counter[str] = Counter()
    while not place.record.exists():
        ahead = list(ATTEMPTS)[list(ATTEMPTS).index(place.stage()) :]
        stage = next((stage for stage in ahead if died[stage] < ATTEMPTS[stage]), None)
        if stage and died.total() < most:
            died[kill(place, stage, rng, seconds, touches)] += 1
        else:
            place.start().communicate()
    place.start().communicate()  # once more, which deletes what a kill after the record left
    died.pop("", None)
    return died


FULL = """mount -t tmpfs -o size=$SIZE none "$BOARD" || exit 99
until "$@" 2> "$BOARD/../said"; do
    grep -q "no space left to write" "$BOARD/../said" && ! grep -q Traceback "$BOARD/../said" || exit 98
    SIZE=$((SIZE + 48000)); echo full; mount -o remount,size=$SIZE "$BOARD"
done
cp -r "$BOARD/records" "$BOARD/.work" "$OUT"
"""


def full_disk(place: Place, out: Path) -> int:
    """Run a trial on a disk that has room for the next file only after it was full: how often it was."""
    place.board.mkdir()
    out.mkdir()
    words = os.environ | {"BOARD": str(place.board), "OUT": str(out), "SIZE": "48000"}
    command = ["unshare", "-m", "sh", "-c", FULL, "sh", *place.command()]
    answer = subprocess.run(command, env=words, capture_output=True, text=True)
    if answer.returncode:
        raise SystemExit(f"the full disk: exit code {answer.returncode}, {answer.stderr}")
    return answer.stdout.count("full")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, folder = random.Random(options.seed), Path(tempfile.mkdtemp())
    digits = load(load_scenario("digits-linf").data, ("train",))["train"]
    save_file({"x": digits.x, "y": digits.y}, folder / "digits.safetensors")
    file = folder / "small.toml"
    file.write_text(SCENARIO)

    whole = Place(file, folder / "whole")
    touches = int(whole.start(-1).communicate()[0].split()[-1])
    record = read_record(whole.record)
    assert record.training and record.evaluation
    seconds = {"training": record.training.seconds, "judging": record.evaluation.seconds}
    seconds = {stage: 3 + spent / 2 for stage, spent in seconds.items()}  # a process starts in about 3

    died: Counter[str] = Counter()
    trials, differences = 0, []
    while died.total() < options.kills:
        place = Place(file, folder / str(trials))
        here = chain(place, rng, seconds, touches, options.kills - died.total())
        died, trials = died + here, trials + 1
        differences += place.differences(whole)
        print(f"trial {trials}: {dict(here)}, {differences or 'equal'}", file=sys.stderr, flush=True)
    disk = Place(file, folder / "disk")
    full = full_disk(disk, folder / "out")
    disk.record, disk.board = folder / "out" / disk.record.relative_to(disk.board), folder / "out"
    differences += disk.differences(whole)
    report(died, trials, touches, full, differences)
    shutil.rmtree(folder)
    sys.exit(bool(differences))


def report(died: Counter[str], trials: int, touches: int, full: int, differences: list[str]) -> None:
    made = surroundings("cpu")
    stages = ", ".join(f"{died[stage]} in {stage}" for stage in ATTEMPTS)
    print(f"""# Crash safety

Written by `scripts/kills.py` at commit {made.commit}{" (and changes)" if made.dirty else ""}, on {made.machine}.

| | |
|---|---|
| `kill -9` of a trial's processes, at random moments | {died.total()}: {stages} |
| trials killed | {trials} |
| stops of one more trial by a full disk | {full} |
| differences from the uninterrupted run | {"; ".join(differences) or "none"} |

Each trial (`pgd-at` on 512 digits) was killed several times in every stage, restarted with the same command until it
was recorded, and compared with an uninterrupted run: weights, outcomes and learning curve byte for byte, and all
of `record.json` except time and memory (`bench.records.CLOCKS`) and the digest over them. Afterwards no other
files remain, and every record verifies. While recording, a trial dies at one of the {touches} times that it
changes a file. The disk is a tmpfs that grows by 48 kB each time it is full; every stop printed one line that says so.
`tests/execution/test_crashes.py` tests recording alone, at every one of these moments, on a full disk and in
read-only folders.""")


if __name__ == "__main__":
    main()
