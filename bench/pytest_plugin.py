"""Robust accuracy as an assertion of pytest: the fixture `assert_robust`, and the option `--temper-update`.

It comes with the installation (entry point `pytest11`). Nothing heavy is imported before the first assertion.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from torch import Tensor

    from bench.assertion import Protocol, Verdict
    from bench.scenario import Scenario

BASELINE = "temper-baseline.json"  # beside the tests
UPDATE = "--temper-update"


def assert_robust(
    model: Callable[[Tensor], Tensor],
    scenario: str | Path | Scenario,
    at_least: float,
    *,
    examples: int | None = None,
    protocol: Protocol = "standard",
    batch_size: int | None = None,
) -> Verdict:
    """Fail if the robust accuracy of `model` on a scenario's test split is significantly below `at_least` in [0, 1]: if
    the upper end of its 95% interval is below it. Returns the verdict.

    The interval is Clopper and Pearson's over test images, for this one model; another seed is another model. `screen`
    (APGD-CE and APGD-T) is about 5 times cheaper than AutoAttack, `standard`. `examples` uses only the first ones.

    >>> import torch
    >>> from bench.pytest_plugin import assert_robust
    >>> untrained = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    >>> assert_robust(untrained, "digits-linf", at_least=0.7, examples=50, protocol="screen")
    Traceback (most recent call last):
    AssertionError: robust accuracy lies below at_least = 70.0 %: ...
    """
    __tracebackhide__ = True
    from bench.assertion import judge, too_low

    verdict = judge(model, scenario, examples=examples, protocol=protocol, batch_size=batch_size)
    if problem := too_low(verdict, at_least):
        raise AssertionError(problem)
    return verdict


class AssertRobust:
    """The fixture: `assert_robust(model, scenario, at_least=0.45)`, or without a bound, against the baseline file."""

    def __init__(self, file: Path, test: str, update: bool) -> None:
        self.file, self.test, self.update = file, test, update
        self.used: set[str] = set()

    def __call__(
        self,
        model: Callable[[Tensor], Tensor],
        scenario: str | Path | Scenario,
        at_least: float | None = None,
        *,
        name: str = "",
        **how: Any,
    ) -> Verdict:
        """As the function `assert_robust`; without `at_least`, fail when the robust accuracy fell significantly since
        the baseline, or where there is none. A test with several baselines gives each a `name`."""
        __tracebackhide__ = True
        if at_least is not None:
            return assert_robust(model, scenario, at_least, **how)
        from bench.assertion import Verdict, fell, judge

        key = self._key(name)
        stored = {} if self.update else read_baselines(self.file)
        if not self.update and key not in stored:
            raise AssertionError(f"{self.file} has no baseline of {key}: run `pytest {UPDATE}`, and commit the file")
        verdict = judge(model, scenario, **how)
        if self.update:
            write_baseline(self.file, key, verdict.to_json())
        elif problem := fell(Verdict.from_json(stored[key]), verdict):
            raise AssertionError(f"{problem}\nwhere that is meant: `pytest {UPDATE}`, and commit {self.file.name}")
        return verdict

    def _key(self, name: str) -> str:
        from bench.errors import TemperError

        key = f"{self.test} {name}".strip()
        if key in self.used:
            raise TemperError(f"{key} has two baselines: tell them apart, assert_robust(..., name='student')")
        self.used.add(key)
        return key


def read_baselines(file: Path) -> dict[str, Any]:
    """The baselines of a file by test; none where there is no file. Raises TemperError when it is damaged."""
    from bench.errors import TemperError

    if not file.exists():
        return {}
    try:
        return dict(json.loads(file.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise TemperError(f"cannot read {file} ({error}): delete it, then `pytest {UPDATE}`") from None


def write_baseline(file: Path, key: str, baseline: dict[str, Any]) -> None:
    """Put one baseline into a file, beside what others (processes, too) put there."""
    from filelock import FileLock

    from bench.files import write_text
    from bench.hashing import digest

    with FileLock(Path(tempfile.gettempdir()) / f"temper-{digest(str(file.resolve()))[:16]}.lock"):
        content = read_baselines(file) | {key: baseline}
        write_text(file, json.dumps(content, sort_keys=True, indent=1) + "\n")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--temper-update`."""
    parser.getgroup("temper").addoption(
        UPDATE, action="store_true", help=f"write what assert_robust finds into {BASELINE} instead of comparing with it"
    )


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Says that baselines are written."""
    return [f"temper: {BASELINE} is rewritten, nothing is compared with it"] if config.getoption(UPDATE) else []


@pytest.fixture(name="assert_robust")
def _assert_robust(request: pytest.FixtureRequest) -> AssertRobust:
    """assert_robust(model, scenario, at_least=0.45), or without at_least against temper-baseline.json."""
    test = f"{request.path.name}::{request.node.nodeid.partition('::')[2]}"
    return AssertRobust(request.path.with_name(BASELINE), test, request.config.getoption(UPDATE))
