"""`temper doctor`: what is installed, which device there is, what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.cli.options import AsJson, print_json

OPTIONAL = {
    "tensorboard": 'temper run --tensorboard; pip install "temper-bench[tensorboard]"',
    "timm": 'networks timm:NAME; pip install "temper-bench[timm]"',
    "robustbench": "teachers of the zoo; see docs/teachers.md",
}


def doctor(json: AsJson = False) -> None:
    """Show what is installed, which device is used, and what is missing."""
    facts = _facts()
    if json:
        print_json(facts)
        return
    for name, value in facts.items():
        print(f"{name:>14}  {value if not isinstance(value, dict) else ''}")
        if isinstance(value, dict):
            for key, each in value.items():
                print(f"{'':>14}  {key}: {each}")


def _facts() -> dict[str, Any]:
    import os

    import torch

    from bench.execution.surroundings import PACKAGES, device_name, package_version, processor
    from bench.files import SHIPPED, cache
    from bench.method import METHODS
    from bench.records import local_leaderboards, record_folders, shipped_leaderboards
    from bench.scenario import shipped_scenarios
    from bench.submission.sandbox import isolation_problem

    device = "cuda" if torch.cuda.is_available() else "cpu"
    fashion = Path("/usr/share/datasets/fashion-mnist")
    return {
        "versions": {name: package_version(name) for name in (*PACKAGES, "streamlit", "pandas", "pydantic")},
        "device": device_name(device),
        "processor": f"{processor()}, {os.cpu_count()} threads",
        "installed in": str(SHIPPED),
        "methods": f"{len(METHODS)} registered" + (f", broken: {METHODS.broken}" if METHODS.broken else ""),
        "scenarios": ", ".join(shipped_scenarios()),
        "leaderboards": str(local_leaderboards().resolve()),
        "shipped records": len(list(record_folders(shipped_leaderboards()))),
        "cache": str(cache()),
        "missing": {name: hint for name, hint in OPTIONAL.items() if package_version(name) == "not installed"}
        | ({} if fashion.is_dir() else {"Fashion-MNIST": "apt-get install dataset-fashion-mnist, or --data FOLDER"})
        | ({"a sandbox": f"temper submit; {why}"} if (why := isolation_problem()) else {}),
    }
