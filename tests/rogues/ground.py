"""Where rogues run in tests: a small scenario with a teacher, and sandboxes with tight limits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save_file

from bench.data import load
from bench.errors import Refused
from bench.execution.job import Job
from bench.networks import build, save_weights
from bench.records import Audit
from bench.scenario import Scenario, load_scenario
from bench.submission.confinement import _inside, _Listener, _training_split, replayed, run_confined
from bench.submission.desk import AUDITS, Desk
from bench.submission.sandbox import Limits, Read, Sandbox
from bench.teachers import weights_path
from tests.rogues.gallery import ROGUES, Rogue

HERE = Path(__file__).parent
LIMITS = Limits(cpu_seconds=2, seconds=30, memory=2**30, threads=40, disk=2**27, files=5000, output=2**22)
SCENARIO = """
title = "A piece of the digits, with a teacher"
seeds = 2
[data]
source = "tensors"
path = "digits.safetensors"
shape = [1, 8, 8]
classes = 10
split = { train = 256, validation = 60, test = 40 }
[threat]
norm = "Linf"
eps = 0.15
[attack]
step_size = 0.0375
[student]
network = "cnn"
options = { widths = [16, 32, 32], strides = [1, 2, 1] }
[teachers.robust]
network = "cnn"
options = { widths = [48, 96, 96], strides = [1, 2, 1] }
weights = "digits-linf-robust.safetensors"
[optimiser]
learning_rate = 0.1
batch_size = 64
[budget]
s = 3
m = 4
l = 5
"""


def make_ground(folder: Path) -> Scenario:
    """The scenario, in a folder with its data."""
    train = load(load_scenario("digits-linf").data, ("train",))["train"]
    save_file({"x": train.x, "y": train.y}, folder / "digits.safetensors")
    path = folder / "ground.toml"
    path.write_text(SCENARIO)
    return load_scenario(path)


def job_of(method: str, scenario: Scenario) -> Job:
    """The first trial of a method."""
    return Job(scenario=scenario, method=method, seed=scenario.seed(0), passes=scenario.passes("s"), confined=True)


def of(file: str) -> Rogue:
    """The rogue in a file."""
    return next(rogue for rogue in ROGUES if rogue.file == file)


def name_of(rogue: Rogue) -> str:
    """What a rogue registers."""
    return f"rogue-{rogue.file.replace('_', '-')}"


def raw(rogue: Rogue, folder: Path, limits: Limits = LIMITS, desk: Desk | None = None) -> str:
    """What stops a rogue whose `setup` runs without PyTorch: the refusal, or the last line of its traceback."""
    given = {"raw.py": HERE / "raw.py", "method.py": folder / "method.py"}
    given |= {file.name: file for file in folder.glob("*.safetensors")}
    (folder / "method.py").write_bytes(rogue.content)
    listener = _Listener(desk)
    try:
        code, errors = Sandbox(given, limits).run(["/given/raw.py", "/given/method.py"], listener)
        if desk and not code:
            desk.finish(1.0, {})
    except Refused as refusal:
        return str(refusal)
    return listener.error or (errors.strip().splitlines() or [""])[-1]


def open_desk(rogue: Rogue, scenario: Scenario, folder: Path) -> Desk:
    """A desk for a rogue; two students lie beside it."""
    for name in ("student", "other"):
        network = build(scenario.student, scenario.data.shape, scenario.data.classes)
        save_weights(folder / f"{name}.safetensors", network.state_dict())
    return Desk.open(job_of(name_of(rogue), scenario), folder)


def trained(rogue: Rogue, scenario: Scenario, folder: Path, content: bytes = b"") -> Desk:
    """The desk after a confined training, perhaps of another file, whose audits pass. Raises Refused."""
    (folder / "method.py").write_bytes(content or rogue.content)
    job = job_of(name_of(rogue), scenario)
    desk = Desk.open(job, folder)
    run_confined("train", job, folder, desk)
    desk.finish(1.0, {window: replayed(job, folder, desk, window) for window in set(desk.trail.windows.values())})
    audits = {name: Audit.model_validate(each) for name, each in json.loads((folder / AUDITS).read_text()).items()}
    if failed := [f"{name}: {audit.words}" for name, audit in audits.items() if audit.verdict == "fail"]:
        raise Refused("; ".join(failed))
    return desk


def checked(rogues: list[Rogue], scenario: Scenario, folder: Path) -> dict[str, str]:
    """What the conformance suite, confined, says of each: the refusal, or the last line of a traceback, or nothing.

    One process imports PyTorch, and forks for each.
    """
    given = {"batch.py": HERE / "batch.py"}
    for rogue in rogues:
        given[f"{rogue.file}.py"] = folder / f"{rogue.file}.py"
        given[f"{rogue.file}.py"].write_bytes(rogue.content)
        job = job_of(name_of(rogue), scenario)
        _inside(job).write(folder / rogue.file)
        given[f"{rogue.file}/job.json"] = folder / rogue.file / "job.json"
    given["train.safetensors"] = _training_split(job, folder)
    given["robust"] = weights_path(scenario, "robust")
    found: dict[str, str] = {}

    def hear(line: bytes, read: Read) -> None:
        told = json.loads(line)
        listener = _Listener(None)
        for each in told["said"].splitlines():
            listener(each.encode(), read)
        found[told["rogue"]] = listener.error or (told["errors"].strip().splitlines() or [""])[-1]

    limits = replace(LIMITS, cpu_seconds=200, seconds=600, memory=2**32, processes=40)
    code, errors = Sandbox(given, limits).run(["/given/batch.py", "check"], hear)
    assert code == 0, errors
    return found
