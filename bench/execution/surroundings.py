"""Where a record was made: commit, versions, machine."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.files import PACKAGE
from bench.git import git
from bench.records import Surroundings

PACKAGES = ("temper-bench", "torch", "torchvision", "numpy", "pyautoattack", "torchattacks", "scikit-learn")


def surroundings(device: str) -> Surroundings:
    """The commit of the code (and whether it was changed since), versions, device and machine."""
    return Surroundings(
        commit=_git("rev-parse", "HEAD") or None,
        dirty=_dirty(),
        versions={"python": platform.python_version()} | {name: package_version(name) for name in PACKAGES},
        device=device_name(device),
        machine=processor(),
        threads=1,
    )


def device_name(device: str) -> str:
    """`cpu`, or the GPU's own name."""
    if not device.startswith("cuda"):
        return device
    import torch

    return torch.cuda.get_device_name(device)


@cache
def processor() -> str:
    """The processor's name (or else its architecture) and the vector instructions that PyTorch uses on it: on others,
    sums are rounded otherwise, and no weight comes out the same."""
    import torch

    return f"{_model() or platform.processor() or platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"


def _model() -> str:
    """What Linux calls the processor; empty elsewhere."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _dirty() -> bool | None:
    """Whether the code differs from its commit; None outside a checkout. Teachers have hashes of their own."""
    if not _git("rev-parse", "HEAD"):
        return None
    return bool(_git("status", "--porcelain", "--", "bench", "methods", "pyproject.toml", ":!bench/teachers/weights"))


def _git(*arguments: str) -> str:
    """What git answers in the checkout this code runs from; empty outside one."""
    root = PACKAGE.parent
    return (git(root, *arguments) or "") if (root / ".git").exists() else ""


def package_version(name: str) -> str:
    """The installed version of a package, or "not installed"."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
