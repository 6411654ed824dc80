"""A confined training: the bits of an unconfined one for honest methods, and nothing taken that does not fit."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import nn

from bench.errors import Refused
from bench.execution.job import FAILURE, RESULTS, Job
from bench.execution.train import train
from bench.hashing import tensor_digest
from bench.networks import read_weights
from bench.networks.weights import weights_bytes
from bench.scenario import load_scenario
from bench.submission.audits import trail_audit
from bench.submission.confinement import _Listener, train_confined
from bench.submission.desk import AUDITS, Desk
from bench.submission.sandbox import isolation_problem
from bench.training import checkpoint
from bench.training.loop import initial_student
from bench.training.schedule import learning_rate
from tests.submission.files import PLAIN, written

pytestmark = pytest.mark.skipif(bool(isolation_problem()), reason=isolation_problem())


@pytest.fixture
def job(tiny: Path) -> Job:
    scenario = load_scenario(tiny)
    return Job(scenario=scenario, method="plain", seed=scenario.seed(0), passes=scenario.passes("s"), confined=True)


@pytest.fixture
def folder(tmp_path: Path, job: Job) -> Path:
    place = tmp_path / "work"
    place.mkdir()
    (place / "method.py").write_text(PLAIN)
    job.write(place)
    return place


def test_an_honest_method_gets_the_very_bits_of_an_unconfined_run(job: Job, folder: Path, tmp_path: Path) -> None:
    train_confined(job, folder)
    plain = tmp_path / "plain"
    job.model_copy(update={"method": "pgd-at"}).write(plain)
    train(Job.read(plain), plain)
    for name in ("best.safetensors", "last.safetensors"):
        assert (folder / name).read_bytes() == (plain / name).read_bytes()
    confined, free = (json.loads((place / RESULTS["train"]).read_text()) for place in (folder, plain))
    for field in ("curve", "best", "passes", "steps", "counts", "collapsed", "allowed"):
        assert confined[field] == free[field], field
    audits = json.loads((folder / AUDITS).read_text())
    assert {name: audit["verdict"] for name, audit in audits.items()} == dict.fromkeys(audits, "pass")
    assert set(audits) == {"compute", "replay", "trail"}
    assert len(read_weights(folder / "train.safetensors")["y"]) == job.scenario.data.split.train


def test_a_method_that_diverges_has_failed(job: Job, folder: Path) -> None:
    written(folder, PLAIN).rename(folder / "method.py")
    (folder / "method.py").write_text(PLAIN.replace("self.weight *", "float('nan') *"))
    train_confined(job, folder)
    assert "is not finite at step 0" in (folder / FAILURE).read_text()


# --- the desk ---------------------------------------------------------------------------------------


@pytest.fixture
def desk(job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr("bench.submission.desk._expected", lambda job, splits: 1.0)
    return Desk.open(job, folder)


def offer(desk: Desk, step: int = 1, content: bytes | None = None, **more: Any) -> bytes:
    content = weights_bytes(weights(desk)) if content is None else content
    return desk.judge({"offer": "", "step": step, "progress": 0.6} | more, content)


def weights(desk: Desk) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in desk.network.state_dict().items()}


def test_a_candidate_is_judged_outside(desk: Desk, folder: Path) -> None:
    said = json.loads(offer(desk))
    assert set(said) == {"step", "progress", "robust", "clean", "top_class"}
    assert len(desk.selection.curve) == 1


def test_a_self_teacher_is_judged_and_not_kept(desk: Desk, folder: Path) -> None:
    offer(desk, offer="first")
    assert desk.selection.curve == []


def test_the_desk_goes_on_where_it_was(desk: Desk, job: Job, folder: Path) -> None:
    offer(desk)
    desk.before = (7.0, 0)
    offer(desk, step=2)
    again = Desk.open(job, folder)
    assert again.selection.curve == desk.selection.curve
    assert (again.spent, again.offers) == (7.0, 2)
    assert again.limits.cpu_seconds == desk.limits.cpu_seconds


def test_a_desk_that_goes_on_knows_what_was_offered_last(desk: Desk, job: Job, folder: Path) -> None:
    last = {name: tensor + 1 for name, tensor in weights(desk).items()}
    offer(desk, content=weights_bytes(last))
    assert tensor_digest(dict(Desk.open(job, folder).network.state_dict())) == tensor_digest(last)


def test_weights_that_are_no_numbers_are_a_candidate_and_never_a_result(desk: Desk) -> None:
    """A training that has diverged says so after its next step, and has failed; one that does not is refused."""
    broken = {k: v * float("nan") if v.is_floating_point() else v for k, v in weights(desk).items()}
    assert json.loads(offer(desk, content=weights_bytes(broken)))["robust"] == 0
    with pytest.raises(Refused, match="of its last weights is not finite"):
        desk.finish(1.0, {})


def state(student: nn.Module) -> bytes:
    return checkpoint.as_bytes({"trainer": {"networks": {"student": student.state_dict()}}})


def point(desk: Desk, student: nn.Module, step: int, progress: float) -> None:
    desk.take("point", {"point": step, "progress": progress}, state(student))


def test_the_trail_is_how_fast_weights_move_by_their_learning_rates(desk: Desk, job: Job) -> None:
    student = initial_student(job.scenario, job.seed)
    weights = [parameter.data for parameter in student.parameters()]
    norm = torch.cat([each.flatten() for each in weights]).norm()
    rate = partial(learning_rate, job.scenario.optimiser)
    weights[0] += 1
    moved = weights[0].numel() ** 0.5 / float(norm)
    point(desk, student, 1, 0.3)
    assert desk.trail.first == pytest.approx(moved / rate(0.0))
    norm = torch.cat([each.flatten() for each in weights]).norm()
    weights[0] -= 1
    moved = weights[0].numel() ** 0.5 / float(norm)
    point(desk, student, 2, 0.31)
    point(desk, student, 10**9, 0.4)
    way = 0.01 * (rate(0.3) + rate(0.31)) / 2
    assert desk.trail.speeds == pytest.approx([moved / way, 0])
    assert desk.trail.windows["drawn"].start in (1, 2)
    assert "state-1000000000.safetensors" in {file.name for file in desk.folder.glob("state-*")}


def test_states_come_in_order_and_hold_a_student(desk: Desk, job: Job) -> None:
    student = initial_student(job.scenario, job.seed)
    with pytest.raises(Refused, match="the first state that it handed over is that of step 2"):
        point(desk, student, 2, 0.1)
    point(desk, student, 1, 0.1)
    point(desk, student, 3, 0.2)
    with pytest.raises(Refused, match="no state between steps 3 and 5"):
        point(desk, student, 5, 0.5)
    with pytest.raises(Refused, match="the state of step 2 after that of step 3"):
        point(desk, student, 2, 0.5)
    with pytest.raises(Refused, match="holds no student"):
        desk.take("point", {"point": 4, "progress": 0.25}, checkpoint.as_bytes({"trainer": []}))
    with pytest.raises(Refused, match="no state of a training"):
        desk.take("point", {"point": 4, "progress": 1.6}, state(student))
    next(student.parameters()).data.fill_(float("nan"))
    point(desk, student, 4, 0.25)
    assert trail_audit(desk.trail.first, desk.trail.speeds).verdict == "fail", (
        "unless its next step says that it diverged"
    )


def test_no_more_states_are_taken_than_there_are(desk: Desk, job: Job) -> None:
    student = initial_student(job.scenario, job.seed)
    with pytest.raises(Refused, match="more than 102 states"):
        for step in range(1, 200):
            point(desk, student, step, step / 200)


def test_a_candidate_comes_with_its_state(desk: Desk, job: Job) -> None:
    point(desk, initial_student(job.scenario, job.seed), 1, 0.1)
    offer(desk, step=5)
    with pytest.raises(Refused, match="a candidate at step 5 and handed over no state of it"):
        point(desk, initial_student(job.scenario, job.seed), 6, 0.7)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w | {"extra": torch.zeros(1)}, "has no tensor 'extra'"),
        (lambda w: dict(list(w.items())[1:]), "is missing"),
        (lambda w: {k: torch.zeros(2) for k in w}, "has shape [2]"),
        (lambda w: {k: v.half() if v.is_floating_point() else v for k, v in w.items()}, "has dtype"),
    ],
)
def test_weights_that_do_not_fit_are_refused(desk: Desk, folder: Path, change: Any, words: str) -> None:
    with pytest.raises(Refused) as refusal:
        offer(desk, content=save(change(weights(desk))))
    assert words in str(refusal.value)
    assert str(folder) not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "not a safetensors file"), (b"PK\x03\x04", "is a pickle"), (b"\xff" * 100, "not a safetensors file")],
)
def test_bytes_that_are_no_weights_are_refused(desk: Desk, content: bytes, words: str) -> None:
    with pytest.raises(Refused, match=words):
        offer(desk, content=content)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"offer": "", "bytes": 10**9}, "the offer that it hands over has more than"),
        ({"offer": "", "bytes": -1}, "the offer that it hands over has more than"),
        ({"file": "training.json", "bytes": 1.5}, "the file that it hands over has more than"),
        ({"file": "training.json", "bytes": True}, "the file that it hands over has more than"),
        ({"file": "training.json", "bytes": 100}, "it ended in the middle of the file"),
        ({"secret": "", "bytes": 3}, "something over that nobody asked for"),
    ],
)
def test_bytes_are_taken_that_were_asked_for_and_can_be(desk: Desk, event: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused, match=words):
        _Listener(desk)(json.dumps(event).encode(), lambda size: b"few")


@pytest.mark.parametrize("event", [{}, {"step": "1"}, {"step": 1.5}, {"progress": None}, {"offer": 3}])
def test_offers_that_are_none_are_refused(desk: Desk, folder: Path, event: dict[str, Any]) -> None:
    said = {"offer": "", "step": 1, "progress": 0.5} | event if event else {"offer": ""}
    with pytest.raises(Refused, match="not a candidate"):
        desk.judge(said, weights_bytes(weights(desk)))


def test_no_more_candidates_are_taken_than_the_scenario_has(desk: Desk, folder: Path) -> None:
    with pytest.raises(Refused, match="more than 21 candidates"):
        for step in range(100):
            offer(desk, step=step)


def test_self_teachers_are_no_oracle(desk: Desk, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.submission.desk.OFFERS", 1)
    with pytest.raises(Refused, match="more than 21 verdicts on validation"):
        for step in range(1000):
            offer(desk, step=step, offer="first")


def test_an_optimiser_of_its_own_replaces_nothing() -> None:
    """PyTorch wraps `step` of a class of optimisers when the first one is made."""
    code = (
        "import torch; from bench.submission.confined import _unchanged, harness_code\n"
        "before = harness_code()\n"
        "for kind in (torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adagrad):\n"
        "    kind([torch.zeros(1, requires_grad=True)])\n"
        "_unchanged(before, 'honest')\n"
        "torch.optim.Adam.step = lambda self: None\n"
        "_unchanged(before, 'rogue')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "method 'rogue' breaks the contract: it replaced torch.optim" in run.stderr
