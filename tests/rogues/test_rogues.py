"""Every rogue is caught twice: by its source, and by the next line with the source's rules left out."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import bench
from bench.data import load
from bench.errors import Refused
from bench.execution.judge import beside, load_network
from bench.hashing import tensor_digest
from bench.networks.cnn import cnn
from bench.records import RunRecord, read_record, record_folders, shipped_leaderboards
from bench.scenario import Scenario, load_scenario
from bench.submission import desk
from bench.submission.audits import compute_audit, gap_audit
from bench.submission.entry import Entry
from bench.submission.sandbox import isolation_problem
from bench.submission.source import _needless, read_source, read_submission
from bench.threat import Linf
from bench.training.selection import measure
from tests.evaluation import zoo
from tests.evaluation.masks import masked_by_rounding, offset
from tests.rogues.gallery import METHODS, PAGE, ROGUES, Rogue, page
from tests.rogues.ground import LIMITS, checked, of, open_desk, raw, trained

SHIPPED_METHODS = sorted(Path(bench.__file__).parents[1].glob("methods/[a-z]*.py"))
sandboxed = pytest.mark.skipif(bool(isolation_problem()), reason=f"no sandbox: {isolation_problem()}")


def staged(*stages: str) -> list[pytest.ParameterSet]:
    return [pytest.param(rogue, id=rogue.file) for rogue in ROGUES if rogue.stage in stages]


def test_every_file_hangs_in_the_gallery():
    assert len(ROGUES) >= 25
    assert sorted(rogue.file for rogue in ROGUES) == sorted(file.stem for file in METHODS.glob("*.py"))
    assert page() == PAGE.read_text(), "run `python -m tests.rogues.gallery`"


@pytest.mark.parametrize("rogue", staged("raw", "desk", "check", "train", "its own"))
def test_its_source_is_refused_or_looks_honest(rogue: Rogue):
    problems = read_submission(rogue.content).problems
    assert any(rogue.rule in each for each in problems) if rogue.rule else problems == []


@sandboxed
@pytest.mark.parametrize("rogue", staged("raw"))
def test_it_fails_in_the_sandbox(rogue: Rogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("A_SECRET_TOKEN", "hunter2")
    limits = replace(LIMITS, seconds=1) if rogue.file == "sleeps" else LIMITS
    assert rogue.words in raw(rogue, tmp_path, limits)


@sandboxed
@pytest.mark.parametrize("rogue", staged("desk"))
@pytest.mark.usefixtures("quick")
def test_what_it_leaves_cannot_be_taken(rogue: Rogue, ground: Scenario, tmp_path: Path):
    limits = replace(LIMITS, seconds=1) if rogue.file == "never_sends" else LIMITS
    assert rogue.words in raw(rogue, tmp_path, limits, open_desk(rogue, ground, tmp_path))


@sandboxed
@pytest.mark.slow
@pytest.mark.parametrize("rogue", staged("train"))
@pytest.mark.usefixtures("quick")
def test_what_it_trained_cannot_be_taken(rogue: Rogue, ground: Scenario, tmp_path: Path):
    with pytest.raises(Refused, match=rogue.words):
        trained(rogue, ground, tmp_path)


@sandboxed
@pytest.mark.slow
def test_the_suite_notices(ground: Scenario, tmp_path: Path):
    rogues = [rogue for rogue in ROGUES if rogue.stage == "check"]
    late = [of("saturates"), of("returns_teacher")]  # nothing that the suite looks at
    found = checked([*rogues, *late], ground, tmp_path)
    missed = {each.file: found[each.file] for each in rogues if each.words not in found[each.file]}
    assert missed == {}
    assert [found[each.file] for each in late] == ["", ""]


@sandboxed
@pytest.mark.slow
def test_printing_success_is_no_success(ground: Scenario, tmp_path: Path):
    rogue = of("fakes_success")
    (tmp_path / "method.py").write_bytes(rogue.content)
    with pytest.raises(Refused, match=rogue.words):
        Entry(read_source(rogue.content), ground, tmp_path).checked()


@sandboxed
def test_nothing_of_a_sandbox_is_on_the_machine_afterwards(tmp_path: Path):
    assert raw(of("leaves_setuid"), tmp_path) == ""
    assert {file.name for file in tmp_path.rglob("*")} == {"method.py"}


@sandboxed
@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_another_eps_in_its_own_process_changes_no_judgement(ground: Scenario, tmp_path: Path):
    rogue = of("shrinks_eps")
    own = rogue.content.replace(b'object.__setattr__(nets.threat, "eps", 0.001)', b"pass").replace(
        b"return against_labels(nets, batch)", b"return against_labels(nets, batch)._replace(eps=0.001)"
    )
    students = []
    for name, content in (("rogue", rogue.content), ("honest", own)):
        (tmp_path / name).mkdir()
        students.append(trained(rogue, ground, tmp_path / name, content))
    ours, theirs = (each.selection for each in students)
    assert ours.curve == theirs.curve
    assert tensor_digest(ours.best_weights) == tensor_digest(theirs.best_weights)


@pytest.mark.slow
def test_saturated_logits_gain_nothing_and_are_noticed():
    scenario = load_scenario("digits-linf")
    splits = load(scenario.data, ("train", "test"))
    x, y = splits["test"].inputs(slice(0, 40)), splits["test"].y[:40]
    honest = zoo.honest_network(splits["train"].inputs(), splits["train"].y)
    saturated = copy.deepcopy(honest)
    for weight in saturated[-1].parameters():  # type: ignore[index]
        weight.mul_(1000)
    plain, masked = (bench.evaluate(each, x, y, threat=Linf(0.15)) for each in (honest, saturated))
    assert masked.robust_accuracy <= plain.robust_accuracy
    assert masked.diagnostics[of("saturates").words]["verdict"] != "pass"


@pytest.mark.slow
@pytest.mark.parametrize("file", ["masks_by_rounding", "offsets_logits"])
def test_what_float32_rounds_away_gains_nothing(file: str):
    """On a student that ships: doctored on all training images, and judged on some test images."""
    scenario = load_scenario("digits-linf")
    splits = load(scenario.data, ("train", "test"))
    x, y = splits["test"].inputs(slice(0, 60)), splits["test"].y[:60]
    folder = next(shipped_leaderboards().glob("records/digits-linf/pgd-at/*/best.safetensors"))
    honest = cast(nn.Sequential, load_network(scenario, folder))
    doctor = {
        "masks_by_rounding": lambda: masked_by_rounding(honest, splits["train"].inputs()),
        "offsets_logits": lambda: offset(honest),
    }
    plain, masked = (bench.evaluate(each, x, y, threat=Linf(0.15)) for each in (honest, doctor[file]()))
    assert plain.diagnostics["precision"]["verdict"] == "pass"
    assert masked.diagnostics[of(file).words]["verdict"] == "warn"
    assert masked.clean_accuracy == plain.clean_accuracy
    assert masked.robust_accuracy <= plain.robust_accuracy


@pytest.mark.slow
def test_who_has_seen_the_test_split_is_better_there():
    scenario = load_scenario("digits-linf")
    splits = load(scenario.data, ("validation", "test"))
    x, y = splits["test"].inputs(), splits["test"].y
    with torch.random.fork_rng():
        torch.manual_seed(0)
        student = cnn((1, 8, 8), 10, widths=[16, 16], strides=[2, 2])
        optimiser = torch.optim.SGD(student.parameters(), 0.1, 0.9)
        for _ in range(300):
            index = torch.randint(len(x), (128,))
            point = x[index].clone().requires_grad_()
            (gradient,) = torch.autograd.grad(F.cross_entropy(student.eval()(point), y[index]), point)
            loss = F.cross_entropy(student.train()((x[index] + 0.15 * gradient.sign()).clamp(0, 1)), y[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    best = measure(student.eval(), splits["validation"], scenario, 300, 1.0)
    seen = {name: float(right.mean()) for name, right in beside(student, splits["test"], scenario).items()}
    training, verdict = SimpleNamespace(best=best), SimpleNamespace(clean=seen["clean"], further=seen)
    audit = gap_audit([cast(RunRecord, SimpleNamespace(training=training, evaluation=verdict))], scenario)
    assert audit.verdict == "fail", audit.words


@pytest.mark.parametrize("file", SHIPPED_METHODS, ids=lambda file: file.stem)
def test_no_honest_source_is_accused(file: Path):
    content = file.read_bytes()
    assert read_source(content).problems == []
    assert list(_needless(content)) == []


def test_no_honest_record_is_accused():
    records = [read_record(folder) for folder in record_folders(shipped_leaderboards())]
    whole = [(record, record.training) for record in records if record.training]
    needed = {
        (record.trial.scenario, record.trial.budget, record.trial.seed_index): training.device_seconds
        for record, training in whole
        if record.trial.method == "pgd-at"
    }
    assert len(whole) > 50
    for record, training in whole:
        trial = record.trial
        gap = gap_audit([record], load_scenario(trial.scenario))
        assert gap.verdict == "pass", (trial.method, gap)
        expected = needed.get((trial.scenario, trial.budget, trial.seed_index))
        if expected and trial.ruleset == "compute":
            share = training.passes / training.allowed
            audit = compute_audit(training.device_seconds, desk.START + expected * share, desk.FACTOR)
            assert audit.verdict == "pass", (trial.method, audit)
