"""The examples of public docstrings are run."""

from __future__ import annotations

import doctest
from typing import Any

import pytest

import bench
from bench.pytest_plugin import assert_robust

SHOWN = {
    "evaluate": bench.evaluate,
    "Linf": bench.Linf,
    "leaderboard": bench.leaderboard,
    "register": bench.register,
    "assert_robust": assert_robust,
}


@pytest.mark.parametrize("name", SHOWN)
def test_the_example_says_what_it_gives(name: str) -> None:
    shown: Any = SHOWN[name]
    (example,) = doctest.DocTestFinder(recurse=False).find(shown, name, globs={})
    assert example.examples, "there is one"
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    assert runner.run(example, out=report.append).failed == 0, "".join(report)
