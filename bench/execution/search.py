"""Add seeds to two methods until a test decides which is more robust."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.errors import TemperError
from bench.execution.estimate import told
from bench.execution.trials import Runner
from bench.ranking.rows import FIELDS, read_board
from bench.ranking.sequential import Look, look, nominal_levels
from bench.records import Trial, find_record
from bench.words import counted


@dataclass
class Search:
    """The result: the looks, their trials, and failures."""

    looks: list[Look] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def until_decided(runner: Runner, trials: Callable[[int], list[Trial]], seeds: Sequence[int]) -> Search:
    """Look at two methods after each number of `seeds`, until they differ significantly or the seeds are used up.

    `trials(n)` gives the first n seeds of both, in pairs. Recorded trials, local or shipped, are not run again;
    an interrupted or repeated search takes the same looks.
    """
    found = Search()
    for number, level in zip(seeds, nominal_levels(seeds), strict=True):
        found.trials = trials(number)
        new = [trial for trial in found.trials if not find_record(trial, runner.leaderboards)]
        found.problems = runner.run(new) + runner.failures(found.trials)
        if found.problems:
            break
        found.looks.append(_look(runner, found.trials[:2], number, float(level)))
        if found.looks[-1].decided:
            break
    return found


def run_missing(runner: Runner, trials: list[Trial]) -> list[str]:
    """Run missing, re-judge outdated, return failures."""
    runner.tidy(trials)
    missing, outdated = runner.missing(trials), runner.outdated(trials)
    if len(missing) < len(trials):
        print(f"{len(trials) - len(missing)} of {counted(len(trials), 'trial')} recorded already", file=sys.stderr)
    if outdated:
        print(f"{counted(len(outdated), 'trial')} judged by an earlier protocol: judging again", file=sys.stderr)
    if len(missing) > 1:
        print(told(runner.scenario, missing, runner.leaderboards, runner.device, runner.jobs), file=sys.stderr)
    return runner.run(missing + outdated) + runner.failures(trials)


def _look(runner: Runner, pair: list[Trial], seeds: int, level: float) -> Look:
    """The look at the rows of two trials on their board."""
    fields = [{name: getattr(trial, name) for name in FIELDS} for trial in pair]
    if fields[0] != fields[1]:
        raise TemperError(f"{pair[0].method} and {pair[1].method} are in different tracks: they have no common board")
    board = read_board(runner.scenario, runner.leaderboards, **fields[0])
    rows = [entries[0].record.trial.row for entries in board.rows]
    first, second = (rows.index(trial.row) for trial in pair)
    return look(board.robust, first, second, seeds, level)
