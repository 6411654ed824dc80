"""Run a command on every method file that a change adds, renames, copies or modifies, as the file is after the change.

python scripts/each_method.py BASE CHANGE COMMAND...      # the path of a copy of the file is appended

Only the file is taken from the change; everything else stays as it is checked out. The exit code is 1 when the command
fails for one of them, and when there is none to run: a check that checks nothing must not pass.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

FOLDER = "methods"
PLAIN = "100"  # how the modes of plain files start; links and submodules have others


def changed_methods(repository: Path, base: str, change: str) -> list[str]:
    """The Python files below `methods/` that `change` has and its last common commit with `base` has not, or not so."""
    names = ("diff", "--name-only", "--no-renames", "--diff-filter=d", "-z", f"{base}...{change}")
    found = _git(repository, *names, "--", f"{FOLDER}/*.py").decode()
    return [name for name in found.split("\0") if name]


def problem_with(repository: Path, change: str, name: str, command: Sequence[str], folder: Path) -> str:
    """Run the command on one of them; what went wrong, or nothing."""
    if not _git(repository, "ls-tree", change, "--", name).decode().startswith(PLAIN):
        return f"{name} is not a plain file"
    copy = folder / Path(name).name
    copy.write_bytes(_git(repository, "show", f"{change}:{name}"))
    code = subprocess.run([*command, str(copy)], check=False).returncode
    return f"{name}: {command[0]} ended with {code}" if code else ""


def main() -> int:
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    base, change, *command = sys.argv[1:]
    here = Path.cwd()
    try:
        names = changed_methods(here, base, change)
        with TemporaryDirectory() as folder:
            problems = [problem_with(here, change, name, command, Path(folder)) for name in names]
    except subprocess.CalledProcessError as error:
        sys.exit(f"git {error.cmd[1]} failed: {error.stderr.decode(errors='replace').strip()}")
    if not names:
        problems = [f"no Python file below {FOLDER}/ is added or changed: there is nothing to run"]
    failed = list(filter(None, problems))
    print("\n".join(failed) or f"{len(names)} of {len(names)} passed", file=sys.stderr if failed else sys.stdout)
    return bool(failed)


def _git(repository: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=repository, check=True, capture_output=True).stdout


if __name__ == "__main__":
    sys.exit(main())
