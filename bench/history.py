"""`verify --against`: the records here beside those of an earlier commit. A score changes only in sight.

Needs git and the earlier commit; where there is none (a download, a shallow clone), that is told and nothing fails.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.errors import TemperError
from bench.git import git
from bench.records import MARKS, read_record
from bench.verification import Findings, records_folder

AUTO = "auto"  # the commit where this branch left origin/main, or the one before where that is this very commit
JUDGED = {"record.json", "outcomes.parquet"}  # what changes when stored weights are judged again
SHOWN = 3  # differences of a record that are named


def against(root: Path, ref: str) -> Findings:
    """Compare the records below `root` with those that git has of them at `ref` (a commit, or `auto`).

    A problem is: a record that is gone; a mark that was removed; any other change, unless the record is superseded
    or retracted now, or its same weights were judged by another protocol, or it was stamped, or its score fell to the
    minimum that its outcomes give, which is reported; and a changed file of a release. New records are fine. Raises
    TemperError for a `ref` that is not a commit, if the whole history is there.
    """
    records = records_folder(root)
    commit = _commit(records, ref)
    changed = None if commit is None else _changed(records, commit)
    if commit is None or changed is None:
        return Findings(told=[f"not compared with {ref}: {_why_not(records)}"])
    found = Findings(told=[f"compared with commit {commit[:12]}"])
    for folder, names in sorted(_by_folder(changed).items()):
        found += _compare(records, commit, folder, names)
    if records.name == "records":
        released = _changed(records.parent, commit, "releases", "--diff-filter=MD") or []
        found.problems += [
            f"{records.parent / path}: is changed or missing; a release never changes" for path in released
        ]
    return found


def _changed(folder: Path, commit: str, below: str = ".", *options: str) -> list[str] | None:
    """The files in `folder` that differ from a commit, relative to it; those that git does not know are left out."""
    fixed = ("--name-only", "-z", "--no-renames", "--relative")
    answer = git(folder, "diff", *fixed, *options, commit, "--", below)
    return None if answer is None else [path for path in answer.split("\0") if path]


def _commit(records: Path, ref: str) -> str | None:
    """The commit to compare with; None where git cannot say."""
    if ref == AUTO:
        head, base = git(records, "rev-parse", "HEAD"), git(records, "merge-base", "HEAD", "origin/main")
        return base if base and base != head else _resolve(records, "HEAD~1")
    commit = _resolve(records, ref)
    if commit is None and git(records, "rev-parse", "--is-shallow-repository") == "false":
        raise TemperError(f"git knows no commit {ref!r}: name a commit, a branch or a tag, or say {AUTO}")
    return commit


def _resolve(records: Path, ref: str) -> str | None:
    return git(records, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")


def _why_not(records: Path) -> str:
    shallow = git(records, "rev-parse", "--is-shallow-repository")
    if shallow is None:
        return "there is no git, or no checkout of it here"
    return "a shallow clone has no earlier commit" if shallow == "true" else "there is no earlier commit"


def _by_folder(changed: list[str]) -> dict[str, set[str]]:
    """The names of changed files by their folder."""
    folders: defaultdict[str, set[str]] = defaultdict(set)
    for path in changed:
        folder, _, name = path.rpartition("/")
        folders[folder or "."].add(name)
    return folders


def _compare(records: Path, commit: str, name: str, files: set[str]) -> Findings:
    """What became of the record in the folder `name`, of which these files differ."""
    folder = records / name
    before = git(records, "show", f"{commit}:./{name}/record.json")
    if before is None:
        return Findings()  # a new one
    if not (folder / "record.json").exists():
        return Findings([f"{folder}: is missing; records are retracted, never deleted"])
    try:
        read_record(folder)
    except TemperError as error:
        return Findings([f"{folder}: changed: {error}"])
    old, new = json.loads(before), json.loads((folder / "record.json").read_text())
    taken_back = [mark for mark in MARKS if old.get(mark) and new.get(mark) != old[mark]]
    if taken_back:
        return Findings([f"{folder}: {taken_back[0]} was {old[taken_back[0]]!r} and is changed; a mark stays"])
    return _judge_change(folder, old, new, files)


def _judge_change(folder: Path, old: dict[str, Any], new: dict[str, Any], files: set[str]) -> Findings:
    """Whether a change is allowed, and if so what it was."""
    matters_not = {*MARKS, "digest"} | (set() if "digest" in old else {"files"})
    before, after = ({key: value for key, value in each.items() if key not in matters_not} for each in (old, new))
    differences = list(_differences(before, after))
    what = "; ".join(differences[:SHOWN]) or ("" if files == {"record.json"} else ", ".join(sorted(files)))
    if new.get("retracted"):
        return Findings(told=[f"{folder}: retracted: {new['retracted']}{what and f' (changed: {what})'}"])
    if new.get("superseded_by"):
        return Findings(told=[f"{folder}: superseded by {new['superseded_by']}{what and f' (changed: {what})'}"])
    if _judged_again(old, new) and files <= JUDGED:
        scores = [f"{100 * each['evaluation']['robust']:.2f}" for each in (old, new)]
        return Findings(told=[f"{folder}: judged again by another protocol, robust {' -> '.join(scores)} %"])
    if files == {"record.json"} and _lowered(old, new, differences):
        scores = [f"{100 * each['evaluation']['robust']:.2f}" for each in (old, new)]
        return Findings(told=[f"{folder}: the attacks beside the protocol count now, robust {' -> '.join(scores)} %"])
    if not what and "digest" in new and "digest" not in old:
        return Findings(told=[f"{folder}: stamped"])
    return Findings([f"{folder}: changed: {what or ', '.join(sorted(files))}"])


def _judged_again(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether the protocol, and nothing that was trained, is another."""
    same = all(old.get(field) == new.get(field) for field in ("trial", "training", "weights", "status"))
    protocols = [(each.get("evaluation") or {}).get("protocol_fingerprint") for each in (old, new)]
    return same and None not in protocols and protocols[0] != protocols[1]


def _lowered(old: dict[str, Any], new: dict[str, Any], differences: list[str]) -> bool:
    """Whether the score fell, with what follows from it, while outcomes and hashes and all else are the same."""
    follows = ("evaluation.robust ", "evaluation.worst_class.")
    scores = [(each.get("evaluation") or {}).get("robust", 0.0) for each in (old, new)]
    return scores[1] < scores[0] and all(each.startswith(follows) for each in differences)


def _differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """Every field that differs, with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old | new):
            yield from _differences(old.get(key), new.get(key), f"{where}.{key}" if where else key)
    elif old != new:
        yield f"{where} {_short(old)} -> {_short(new)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
