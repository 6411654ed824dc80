"""A job: what the processes that train and evaluate are told, as a file in the folder they work in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from bench.errors import Busy
from bench.files import cannot_write, write_text
from bench.scenario import Line, Model, Recipe, Ruleset, Scenario, Track, Values

STAGES = ("train", "evaluate")
RESULTS = {"train": "training.json", "evaluate": "evaluation.json"}  # a stage is done when its result is there
SURROUNDINGS = "surroundings.json"  # where training ran, written when it starts
FAILURE = "failure.txt"  # why a trial ended without a network to judge


class Job(Model):
    """One network to train and judge; a trial, or a teacher in the making."""

    scenario: Scenario
    method: Line
    hyperparameters: Values = {}
    seed: int
    passes: float  # per training example
    ruleset: Ruleset = "compute"
    recipe: Recipe = "plain"
    track: Track = "main"
    confined: bool = False  # the method is a file in the folder, and runs in a sandbox
    device: str = "cpu"
    checkpoint_seconds: float = 30
    tensorboard: Path | None = None

    def write(self, folder: Path) -> None:
        """Put the job into its folder."""
        write_text(folder / "job.json", self.model_dump_json())

    @classmethod
    def read(cls, folder: Path) -> Job:
        """The job of a folder."""
        return cls.model_validate_json((folder / "job.json").read_text())


def done(folder: Path, stage: str) -> bool:
    """Whether a stage has left its result (or the trial has failed, and there is nothing more to do)."""
    return (folder / RESULTS[stage]).exists() or (folder / FAILURE).exists()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Inside, nobody else works in `folder`; raises Busy when somebody does. The lock dies with its process."""
    lock = FileLock(folder / "lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        raise Busy(f"another process is working on this trial ({folder}); wait for it, or stop it first") from None
    except OSError as error:
        raise cannot_write(folder, error) from None
    try:
        yield
    finally:
        lock.release()
