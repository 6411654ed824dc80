"""Questions to git."""

from __future__ import annotations

import subprocess
from pathlib import Path


def git(folder: Path, *arguments: str) -> str | None:
    """What git answers in `folder`, without the newline at its end; None where it fails, or is not there.

    Raises OSError where no process can be started, which says nothing of the checkout.
    """
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
    except (FileNotFoundError, PermissionError, subprocess.CalledProcessError, UnicodeDecodeError):
        return None
    return answer.stdout.rstrip("\n")
