"""What only a GPU can show; skipped, all of it, where there is none."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

import bench
from bench.data import Split, load
from bench.evaluation.windows import Changes
from bench.execution.train import make_deterministic
from bench.method import METHODS
from bench.records import read_record, record_folders
from bench.scenario import load_scenario
from bench.teachers import load_teacher
from bench.testing import Subject, repeats_itself, resumes_exactly
from bench.threat import Threat
from bench.verification import verify_folder

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")

DIGITS = load_scenario("digits-linf")
SOME = 128  # test images


@pytest.fixture(autouse=True)
def _as_trials_run() -> Iterator[None]:
    make_deterministic()
    yield
    torch.set_deterministic_debug_mode("default")


def judged(device: str, **options: object) -> np.ndarray:
    """The outcomes of the robust digits teacher on the first test images."""
    test = load(DIGITS.data, ("test",))["test"]
    x, y = test.inputs()[:SOME].to(device), test.y[:SOME].to(device)
    teacher = load_teacher(DIGITS, "robust").to(device)
    return bench.evaluate(teacher, x, y, diagnose=False, **({"threat": DIGITS.threat} | options)).outcomes


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_method_repeats_itself_and_resumes(name):
    subject = Subject(name, {}, DIGITS, device="cuda")
    repeats_itself(subject)
    resumes_exactly(subject)


@pytest.mark.parametrize("threat", [DIGITS.threat, Threat(norm="L2", eps=0.6)], ids=lambda threat: threat.norm)
def test_a_verdict_is_that_of_a_cpu(threat):
    here, there = judged("cuda", threat=threat), judged("cpu", threat=threat)
    assert (here == 255).any() and (here != 255).any()
    assert ((here == 255) == (there == 255)).mean() >= 0.99


@pytest.mark.parametrize("threat", [DIGITS.threat, Threat(norm="L2", eps=0.6)], ids=lambda threat: threat.norm)
def test_outcomes_are_those_of_the_reference(threat):
    ours = judged("cuda", threat=threat, randomness="compat")
    assert (ours != judged("cuda", threat=threat, engine="reference")).mean() <= 0.01


def test_pixels_and_changed_images_are_those_of_a_cpu():
    grey = Split(torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8), torch.zeros(4, dtype=torch.int64))
    images = grey.to("cuda").inputs()
    assert torch.equal(images.cpu(), grey.inputs())
    stream = torch.Generator().manual_seed(0)
    index, top, left = (torch.randint(high, (500,), generator=stream) for high in (4, 6, 6))
    changes = index, top, left, torch.rand(500, 1, 3, 3, generator=stream)
    there = Changes(*(part.cuda() for part in changes)).onto(images)
    assert torch.equal(there.cpu(), Changes(*changes).onto(grey.inputs()))


def test_targets_together_change_no_outcome():
    """On a GPU all targets of an attack run in one batch; in small batches other sums are rounded otherwise."""
    assert (judged("cuda") != judged("cuda", batch_size=SOME // 2)).mean() <= 0.01


@pytest.mark.usefixtures("here")
def test_a_trial_is_recorded_with_the_card(temper, tiny, tmp_path):
    where = ("--device", "cuda", "--leaderboards", tmp_path / "lb")
    said = temper("run", tiny, "--method", "pgd-at", "--seeds", 1, *where)
    assert said.code == 0, said.err
    (folder,) = record_folders(tmp_path / "lb")
    assert verify_folder(folder) == []
    record = read_record(folder)
    assert record.surroundings.device == record.evaluation.surroundings.device == torch.cuda.get_device_name()
    assert record.training.peak_memory > 0
