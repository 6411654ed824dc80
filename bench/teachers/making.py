"""Making teachers: trained by a recipe through the same loop as every student, judged by the same protocol.

A teacher is three files: NAME.safetensors (weights), NAME.json (its card), NAME.parquet (its outcomes on test).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from bench.errors import TemperError
from bench.execution.job import RESULTS, SURROUNDINGS, Job
from bench.execution.pool import Pool
from bench.files import MEGABYTE, cache, copy, regular, write_text
from bench.hashing import derive, file_digest
from bench.records import EvaluationRecord, Surroundings, TrainingRecord
from bench.scenario import PGD10_EPOCH, Line, Model, NetworkSpec, Scenario, Sha256, TeacherRecipe
from bench.teachers import teacher_spec, weights_path


class TeacherCard(Model):
    """What is known of a teacher: where it comes from and what was measured."""

    scenario: Line
    name: Line
    network: NetworkSpec
    recipe: TeacherRecipe
    seed: int
    sha256: Sha256
    training: TrainingRecord
    evaluation: EvaluationRecord
    surroundings: Surroundings


def train_teacher(scenario: Scenario, name: str, into: Path | None = None, device: str = "cpu") -> TeacherCard:
    """Train and judge a teacher by its recipe, and put its files into a folder (default: the user's cache).

    Continues where an earlier call was stopped. Raises TemperError when the scenario gives no recipe.
    """
    into = into or cache() / "teachers"
    job = teacher_job(scenario, name, device)
    work = into / ".work" / f"{scenario.name}-{name}"
    recipe = _recipe(scenario, name)
    job.write(work)
    _run(name, work, ("train",))
    kept = work / f"{recipe.checkpoint}.safetensors"
    if recipe.checkpoint != "best":
        copy(kept, work / "best.safetensors")
    _run(name, work, ("evaluate",))
    spec = teacher_spec(scenario, name)
    target = into / spec.weights
    copy(kept, target)
    copy(work / "outcomes.parquet", target.with_suffix(".parquet"))
    card = TeacherCard(
        scenario=scenario.name,
        name=name,
        network=NetworkSpec(network=spec.network, options=spec.options),
        recipe=recipe,
        seed=job.seed,
        sha256=file_digest(target),
        training=TrainingRecord.model_validate_json((work / RESULTS["train"]).read_text()),
        evaluation=EvaluationRecord.model_validate_json((work / RESULTS["evaluate"]).read_text()),
        surroundings=Surroundings.model_validate_json((work / SURROUNDINGS).read_text()),
    )
    write_text(target.with_suffix(".json"), card.model_dump_json(indent=1) + "\n")
    shutil.rmtree(work)
    return card


def check_teacher(
    scenario: Scenario, name: str, device: str = "cpu", *, keep: bool = False
) -> tuple[TeacherCard, EvaluationRecord]:
    """Judge the teacher that is on this machine again: (its card, what is measured now). `keep` its outcomes."""
    card = read_card(scenario, name)
    work = cache() / "teachers" / ".work" / f"check-{scenario.name}-{name}"
    shutil.rmtree(work, ignore_errors=True)
    teacher_job(scenario, name, device).write(work)
    for checkpoint in ("best", "last"):
        copy(weights_path(scenario, name), work / f"{checkpoint}.safetensors")
    _run(name, work, ("evaluate",))
    measured = EvaluationRecord.model_validate_json((work / RESULTS["evaluate"]).read_text())
    if keep:
        copy(work / "outcomes.parquet", weights_path(scenario, name).with_suffix(".parquet"))
    shutil.rmtree(work)
    return card, measured


def judge_teacher(scenario: Scenario, name: str, device: str = "cpu") -> TeacherCard:
    """Judge the teacher that is on this machine by today's protocol, and write that into its card."""
    card, measured = check_teacher(scenario, name, device, keep=True)
    card = card.model_copy(update={"evaluation": measured})
    write_text(weights_path(scenario, name).with_suffix(".json"), card.model_dump_json(indent=1) + "\n")
    return card


def read_card(scenario: Scenario, name: str) -> TeacherCard:
    """The card beside a teacher's weights; raises TemperError when there is none."""
    path = weights_path(scenario, name).with_suffix(".json")
    if not path.is_file():
        raise TemperError(f"teacher {name!r} of {scenario.name} has no card at {path}")
    return TeacherCard.model_validate_json(regular(path, MEGABYTE).read_text())


def teacher_job(scenario: Scenario, name: str, device: str = "cpu") -> Job:
    """The job that makes a teacher: the scenario with the teacher's network as its student and no teacher."""
    spec, recipe = teacher_spec(scenario, name), _recipe(scenario, name)
    network = NetworkSpec(network=spec.network, options=spec.options)
    return Job(
        scenario=scenario.model_copy(update={"student": network, "teachers": {}}),
        method=recipe.method,
        hyperparameters=recipe.fields,
        seed=derive("teacher", scenario.name, name),
        passes=PGD10_EPOCH * recipe.epochs,
        ruleset="epochs",
        device=device,
    )


def _run(name: str, work: Path, stages: Sequence[str]) -> None:
    problems = Pool(1, stages).run([(f"teacher {name}", work)], finish=lambda folder: None)
    if problems:
        raise TemperError(problems[0])


def _recipe(scenario: Scenario, name: str) -> TeacherRecipe:
    recipe = teacher_spec(scenario, name).recipe
    if recipe is None:
        raise TemperError(f"teacher {name!r} of {scenario.name} has no recipe; it is not trained here")
    return recipe
