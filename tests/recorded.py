"""Records to handle roughly: copies of those that ship, and others made from them; and a git to commit them to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.records import Trial, read_record, shipped_leaderboards, trial_folder
from bench.stamp import record_text

Git = Callable[..., str]

SCENARIO = "digits-linf"
SHIPPED = shipped_leaderboards()  # whatever a test says of them later
MAIN = {"ruleset": "compute", "budget": "s", "recipe": "plain"}


def copied(root: Path, *methods: str) -> list[Path]:
    """The shipped digits records of these methods in the main ranking, copied below `root`: their new folders, by
    method and then by seed."""
    folders = []
    for method in methods:
        found = [(read_record(folder).trial, folder) for folder in (SHIPPED / "records" / SCENARIO / method).iterdir()]
        main = [each for each in found if MAIN.items() <= each[0].model_dump().items()]
        for trial, folder in sorted(main, key=lambda each: each[0].seed_index):
            folders.append(trial_folder(root, trial))
            shutil.copytree(folder, folders[-1])
    return folders


def another(root: Path, folder: Path, **changes: Any) -> Path:
    """The record in `folder` once more, as if it were of a trial that differs in these fields: its new folder."""
    trial = read_record(folder).trial.model_copy(update=changes)
    trial = Trial.model_validate(trial.model_dump())
    place = trial_folder(root, trial)
    shutil.copytree(folder, place)
    edit(place, lambda content: content.update(trial=trial.model_dump(mode="json"), trial_id=trial.id))
    return place


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the content of a record.json behind everybody's back, and stamp it anew."""
    file = folder / "record.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(record_text(content))


def private_git(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """`git ARGUMENTS` in `folder`, where a new checkout begins, whatever a hook has told this process."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(folder.parent))
    folder.mkdir(exist_ok=True)

    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=A", "-c", "user.email=a@localhost", *arguments]
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout

    git("init", "-q", "-b", "main")
    return git


def commit(git: Git) -> str:
    """All that is there, committed: the new commit."""
    git("add", ".")
    git("commit", "-q", "--allow-empty", "-m", "x")
    return git("rev-parse", "HEAD").strip()
