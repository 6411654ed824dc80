"""How long a run will take, roughly, before it starts: from a timed step, and from what judging took before."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F

from bench.errors import TemperError
from bench.networks import build
from bench.records import Trial, leaderboards_read, read_record, record_folders
from bench.scenario import Scenario
from bench.words import counted

PROBE = 4  # examples of the first step, which tells whether a whole batch can be timed
QUICK, SLOW = 0.05, 1.0  # seconds of that step: up to which one can, and from which not even it is timed again
REPEATS = 3  # timed steps of a whole batch, of which the fastest counts
PASSES = 3  # of a step: a forward, and a backward to the weights, which costs two
JUDGED = 5000  # passes per test example that judging takes where half of them are robust
RECORDS = 30  # at most, that are asked how long judging took
START = 10.0  # seconds that the processes of a trial take to begin


@dataclass(frozen=True)
class Estimate:
    """Seconds of one trial: to train and to judge it, on one thread or one GPU."""

    training: float
    judging: float

    def in_words(self, trials: int, jobs: int) -> str:
        """What `trials` of them take, so many at a time."""
        rounds = -(-trials // jobs)
        whole = rounds * (self.training + self.judging + START)
        each = f"training {_time(self.training)}, evaluation {_time(self.judging)} each"
        return f"{counted(trials, 'trial')}, about {_time(whole)} with --jobs {jobs} ({each})"


def estimate(scenario: Scenario, trial: Trial, leaderboards: Path | None, device: str = "cpu") -> Estimate:
    """What trials like this one take, if they cost what their tier allows. Raises what building the student raises."""
    second = _seconds_per_pass(scenario, device)
    training = scenario.passes(trial.budget) * scenario.data.split.train * second
    known = _seconds_of_judging(scenario, leaderboards)
    return Estimate(training, JUDGED * scenario.data.split.test * second if known is None else known)


def _seconds_per_pass(scenario: Scenario, device: str) -> float:
    """A forward of the student on one example, from timed steps of training on noise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng():
            student = build(scenario.student, scenario.data.shape, scenario.data.classes).to(device)
            x = torch.rand(scenario.optimiser.batch_size, *scenario.data.shape, device=device)
            first = _step(student, x[:PROBE])
            first = first if first > SLOW else _step(student, x[:PROBE])
            if first > QUICK:
                return first / (PASSES * PROBE)
            return min(_step(student, x) for _ in range(REPEATS)) / (PASSES * len(x))
    finally:
        torch.set_num_threads(threads)


def _step(student: torch.nn.Module, x: torch.Tensor) -> float:
    """Seconds of a forward and a backward on a batch."""
    started = time.perf_counter()
    F.cross_entropy(student(x), torch.zeros(len(x), dtype=torch.int64, device=x.device)).backward()
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _seconds_of_judging(scenario: Scenario, leaderboards: Path | None) -> float | None:
    """The median over recorded trials of the scenario; None where there are none."""
    seconds = []
    for root in reversed(leaderboards_read(leaderboards)):
        for folder in islice(record_folders(root, scenario.name), RECORDS):
            try:
                verdict = read_record(folder).evaluation
            except TemperError:
                continue
            seconds += [verdict.seconds] if verdict else []
    return statistics.median(seconds) if seconds else None


def told(scenario: Scenario, trials: Sequence[Trial], leaderboards: Path | None, device: str, jobs: int) -> str:
    """How many trials there are and how long they take; only how many, where that cannot be estimated."""
    try:
        return estimate(scenario, trials[0], leaderboards, device).in_words(len(trials), jobs)
    except Exception:  # a run that works must not fail for want of a forecast
        return counted(len(trials), "trial")


def _time(seconds: float) -> str:
    """A duration in at most two units."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if hours < 10 else f"{hours} h"
    return f"{round(hours / 24)} days"
