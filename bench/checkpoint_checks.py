"""`verify` on checkpoints from elsewhere: whether each says what its outcomes say, and is what was saved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from bench.checkpoints import FILE, FOLDER, CheckpointRecord, checkpoint_folder, read_checkpoint
from bench.consistency import answers, verdict_problems
from bench.errors import TemperError
from bench.ranking.collect import read_outcomes
from bench.scenario import Scenario, load_scenario, shipped_scenarios
from bench.stamp import file_stamps, stamp_problems
from bench.verification import is_leaderboards, outcome_problems, strays

OUTCOMES = "outcomes.parquet"


def verify_checkpoints(root: Path) -> tuple[list[Path], list[str]]:
    """The folders of all checkpoints below `root` (a `leaderboards` folder, or anything in one), and all that is wrong
    with them and, in a `leaderboards` folder, beside them."""
    below = root / FOLDER if is_leaderboards(root) else root
    folders = [file.parent for file in sorted(below.rglob(FILE))]
    problems = [problem for folder in folders for problem in verify_checkpoint(folder)]
    if below != root:
        problems += [f"{path}: belongs to no checkpoint" for path in strays(below, set(folders))]
    return folders, problems


def verify_checkpoint(folder: Path) -> list[str]:
    """All that is wrong with the checkpoint in `folder`; empty when everything that can be checked agrees."""
    try:
        record = read_checkpoint(folder)
    except TemperError as error:
        return [str(error)]
    checks: list[Callable[[CheckpointRecord, Path], Iterator[str]]] = [_stamp, _place, _files, _content, _results]
    problems = [problem for check in checks for problem in answers(check(record, folder))]
    return [problem if str(folder) in problem else f"{folder}: {problem}" for problem in problems]


def _stamp(record: CheckpointRecord, folder: Path) -> Iterator[str]:
    if record.digest is None:
        yield f"{FILE} is unstamped: judge the checkpoint again"
    else:
        yield from stamp_problems((folder / FILE).read_bytes(), FILE)
    here = file_stamps(folder)
    for name in sorted({*record.files, *here}):
        if here.get(name) != record.files.get(name):
            yield f"{name} has SHA-256 {here.get(name)}, the record says {record.files.get(name)}"


def _place(record: CheckpointRecord, folder: Path) -> Iterator[str]:
    place = checkpoint_folder(Path(), record.scenario, record.name).parts
    if folder.resolve().parts[-3:] != place:
        yield f"lies in the wrong place, belongs in {'/'.join(place)}"


def _files(record: CheckpointRecord, folder: Path) -> Iterator[str]:
    """What has no business there."""
    for path in sorted(folder.iterdir()):
        if path.name not in (FILE, OUTCOMES):
            yield f"{path.name} does not belong to a checkpoint"
        elif path.is_symlink() or not path.is_file():
            yield f"{path.name} is a link or a folder, and should be a file"


def _content(record: CheckpointRecord, _: Path) -> Iterator[str]:
    """What a record says that cannot be."""
    verdict = record.evaluation
    if verdict.surroundings is None:
        yield "evaluation.surroundings: it does not say where it was judged"
    if verdict.last:
        yield "evaluation.last: a checkpoint from elsewhere has one file of weights"
    yield from verdict_problems(verdict, _same_scenario(record))


def _results(record: CheckpointRecord, folder: Path) -> Iterator[str]:
    """Accuracies and hashes, recomputed from the outcomes."""
    if not (folder / OUTCOMES).is_file():
        yield f"{OUTCOMES} is missing"
        return
    yield from outcome_problems(read_outcomes(folder), record.evaluation, _same_scenario(record), teacher=False)


def _same_scenario(record: CheckpointRecord) -> Scenario | None:
    """The scenario it was judged on, where it ships, is known without its data, and is still the same."""
    scenario = load_scenario(record.scenario) if record.scenario in shipped_scenarios() else None
    same = scenario and scenario.pinned and scenario.train_fingerprint() == record.train_fingerprint
    return scenario if same else None
