"""Temper: the benchmark of distillation methods that make small classifiers robust.

The names below are public and stable. They are imported at first use, so that `import bench` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.errors import TemperError
    from bench.evaluation import Evaluation, evaluate
    from bench.method import Attack, Batch, Losses, Method, Nets, Share, register
    from bench.ranking import leaderboard, load_student
    from bench.scenario import Scenario, load_scenario
    from bench.threat import L2, Linf, Threat

_HOMES = {
    "Attack": "bench.method",
    "Batch": "bench.method",
    "Losses": "bench.method",
    "Method": "bench.method",
    "Nets": "bench.method",
    "Share": "bench.method",
    "register": "bench.method",
    "TemperError": "bench.errors",
    "Evaluation": "bench.evaluation",
    "evaluate": "bench.evaluation",
    "leaderboard": "bench.ranking",
    "load_student": "bench.ranking",
    "Scenario": "bench.scenario",
    "load_scenario": "bench.scenario",
    "L2": "bench.threat",
    "Linf": "bench.threat",
    "Threat": "bench.threat",
}

__all__ = [
    "L2",
    "Attack",
    "Batch",
    "Evaluation",
    "Linf",
    "Losses",
    "Method",
    "Nets",
    "Scenario",
    "Share",
    "TemperError",
    "Threat",
    "evaluate",
    "leaderboard",
    "load_scenario",
    "load_student",
    "losses",
    "register",
    "testing",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in ("losses", "testing"):
        return import_module(f"bench.{name}")
    raise AttributeError(f"module 'bench' has no attribute {name!r}")
