"""Blocks, shards and resume: the same outcome, whatever the order and wherever it was interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import bench
from bench.data import load
from bench.errors import TemperError
from bench.evaluation import Evaluation, engine, suite
from bench.evaluation.apgd import apgd
from bench.evaluation.engine import FastEngine
from bench.evaluation.fab import fab
from bench.evaluation.square import square
from bench.evaluation.suite import Suite
from bench.networks.cnn import cnn
from bench.scenario import load_scenario
from bench.threat import L2, Linf, Threat

THREAT = Linf(0.12)
evaluate = partial(bench.evaluate, diagnose=False)  # diagnostics have tests of their own


@pytest.fixture(scope="module", autouse=True)
def _short() -> Iterator[None]:
    """Attacks of fewer steps: which of them run, on what and in which order, is the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "apgd", partial(apgd, steps=30))
        patch.setattr(engine, "fab", partial(fab, steps=30))
        patch.setattr(engine, "square", partial(square, queries=500))
        yield


@pytest.fixture(scope="module")
def judged() -> tuple[nn.Module, Tensor, Tensor]:
    """A small net after some training, and training digits: no test may read the test split."""
    split = load(load_scenario("digits-linf").data, ("train",))["train"]
    x, y = split.inputs(), split.y
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = cnn((1, 8, 8), 10, widths=[8, 8], strides=[2, 2])
        optimiser = torch.optim.SGD(net.parameters(), 0.1, 0.9)
        for _ in range(120):
            index = torch.randint(len(x), (128,))
            noisy = (x[index] + 0.12 * (2 * torch.randint(2, x[index].shape) - 1)).clamp(0, 1)
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(noisy), y[index]).backward()
            optimiser.step()
    return net.eval(), x[:20], y[:20]


@pytest.fixture(scope="module")
def whole(judged) -> Evaluation:
    return evaluate(*judged, threat=THREAT)


def same(found: Evaluation, expected: Evaluation) -> None:
    assert found.outcomes.tolist() == expected.outcomes.tolist()
    for column in ("target", "iteration", "forwards", "backwards"):
        assert found.to_frame()[column].tolist() == expected.to_frame()[column].tolist(), column
    assert torch.allclose(found.adversarial, expected.adversarial, atol=1e-4)


@pytest.mark.parametrize("batch_size", [3, 7, 20])
def test_batches_and_order_change_nothing(judged, whole, batch_size: int) -> None:
    net, x, y = judged
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(batch_size))
    found = evaluate(net, x[order], y[order], threat=THREAT, batch_size=batch_size)
    assert found.outcomes.tolist() == whole.outcomes[order.numpy()].tolist()
    assert len(set(whole.outcomes.tolist())) >= 3


@pytest.mark.parametrize("threat", [THREAT, L2(0.6)])
def test_all_targets_in_one_batch_change_nothing(judged, threat: Threat, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: the same first attack, target, iteration and point; margins may be smaller, since more is tried."""
    apart = evaluate(*judged, threat=threat)
    monkeypatch.setattr(suite, "Suite", lambda *given: Suite(*given[:6], True, *given[7:]))
    together = evaluate(*judged, threat=threat)
    assert {1, 2, 3} & set(apart.outcomes.tolist()) and together.outcomes.tolist() == apart.outcomes.tolist()
    for column in ("target", "iteration"):
        assert together.to_frame()[column].tolist() == apart.to_frame()[column].tolist(), column
    assert torch.allclose(together.adversarial, apart.adversarial, atol=1e-4)
    assert (together.to_frame()["forwards"] >= apart.to_frame()["forwards"]).all()


def test_shards_are_parts_of_the_whole(judged, whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [evaluate(*judged, threat=THREAT, batch_size=3, folder=tmp_path, shard=(i, 3)) for i in (3, 1, 2)]
    assert sorted(np.concatenate([part.index for part in parts]).tolist()) == list(range(20))
    for part in parts:
        assert part.outcomes.tolist() == whole.outcomes[part.index].tolist()
    monkeypatch.setattr(FastEngine, "run", None)
    same(evaluate(*judged, threat=THREAT, batch_size=3, folder=tmp_path), whole)


@pytest.mark.parametrize("randomness", ["stable", pytest.param("compat", marks=pytest.mark.slow)])
@pytest.mark.parametrize("threat", [Linf(0.08), pytest.param(L2(0.5), marks=pytest.mark.slow)], ids=repr)
def test_every_unit_of_work_is_kept(judged, tmp_path: Path, randomness, threat: Threat, monkeypatch) -> None:
    """Stopped after every unit in turn, the same call goes on to the same verdict, and does no unit twice."""
    net, x, y = judged[0], judged[1][:8], judged[2][:8]
    expected = evaluate(net, x, y, threat=threat, randomness=randomness, batch_size=5)
    run, units = FastEngine.run, []

    def one(self, attack, rank, *rest):
        units.append((attack, rank, tuple(rest[0].shape)))
        if len(units) % 2 == 0:
            raise KeyboardInterrupt
        return run(self, attack, rank, *rest)

    monkeypatch.setattr(FastEngine, "run", one)
    for _ in range(80):
        try:
            found = evaluate(
                net, x, y, threat=threat, randomness=randomness, batch_size=5, folder=tmp_path, protocol="standard"
            )
            break
        except KeyboardInterrupt:
            continue
    same(found, expected)
    assert len(units) > 20


def test_other_weights_data_or_protocols_start_anew(judged, tmp_path: Path) -> None:
    net, x, y = judged[0], judged[1][:4], judged[2][:4]
    arguments = {"threat": THREAT, "folder": tmp_path, "protocol": "screen"}
    evaluate(net, x, y, **arguments)
    folders = 1
    other = cnn((1, 8, 8), 10, widths=[8, 8], strides=[2, 2])
    for changed in (
        lambda: evaluate(other, x, y, **arguments),
        lambda: evaluate(net, x.flip(0), y.flip(0), **arguments),
        lambda: evaluate(net, x, y, **arguments | {"threat": Linf(0.121)}),
        lambda: evaluate(net, x, y, **arguments, seed=1),
        lambda: evaluate(net, x, y, **arguments, randomness="compat"),
    ):
        changed()
        folders += 1
        assert len(list(tmp_path.iterdir())) == folders


def test_protocols_do_not_share_their_work(judged, tmp_path: Path) -> None:
    net, x, y = judged[0], judged[1][:6], judged[2][:6]
    for protocol in ("screen", "standard", "screen"):
        found = evaluate(net, x, y, threat=Linf(0.05), folder=tmp_path, protocol=protocol)
        expected = evaluate(net, x, y, threat=Linf(0.05), protocol=protocol)
        same(found, expected)
        assert set(found.outcomes.tolist()) <= {0, 255, *range(1, len(found.attacks) + 1)}


def test_a_shard_without_examples_is_refused(judged) -> None:
    with pytest.raises(TemperError, match="shard 3/3 is empty"):
        evaluate(*judged, threat=THREAT, shard=(3, 3))


@pytest.mark.slow
def test_killed_at_any_time_it_goes_on(judged, tmp_path: Path) -> None:
    torch.save(judged, tmp_path / "judged.pt")
    script = (
        "import sys, torch, bench; from pathlib import Path; torch.set_num_threads(1);"
        f"net, x, y = torch.load({str(tmp_path / 'judged.pt')!r}, weights_only=False);"
        f"v = bench.evaluate(net, x, y, threat=bench.Linf({THREAT.eps}), folder=Path(sys.argv[1]));"
        "print(v.outcomes.tolist())"
    )

    def start(folder: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", script, str(tmp_path / folder)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    kills = 0
    for wait in (4.0, 5.0, 6.0, 7.0):
        process = start("state")
        time.sleep(wait)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.communicate()
    told = start("state").communicate()[0]
    assert told == start("whole").communicate()[0] != ""
    assert kills
    assert list((tmp_path / "state").glob("*/*.safetensors"))


@pytest.mark.parametrize("shard", [(0, 2), (3, 2), (1, 0)])
def test_impossible_shards_are_refused(judged, shard) -> None:
    with pytest.raises(TemperError, match="a shard is i/n"):
        evaluate(*judged, threat=THREAT, shard=shard)


def test_shards_need_stable_randomness(judged) -> None:
    with pytest.raises(TemperError, match="stable"):
        evaluate(*judged, threat=THREAT, shard=(1, 2), randomness="compat")


# --- few classes, small images, other bounds --------------------------------------------------------


@pytest.mark.parametrize(("classes", "targets"), [(2, 1), (3, 2), (5, 4)])
def test_few_classes_are_attacked_and_labelled(classes: int, targets: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, classes)).eval()
        x = torch.rand(6, 1, 8, 8)
    y = net(x).argmax(1)
    found = evaluate(net, x, y, threat=Linf(0.01))
    notes = [f"{targets} target{'s' * (targets > 1)} instead of 9, of {classes} classes"]
    if classes < 4:
        notes.append("margin instead of the targeted DLR loss, which needs 4 classes")
    assert found.deviations == tuple(notes)
    weights, logits = net[1].weight, net(x)
    for k in range(6):  # a linear model: what is reachable is known, and interior inputs are not cut by the bounds
        gaps = logits[k, y[k]] - logits[k]
        reach = 0.01 * (weights - weights[y[k]]).abs().sum(1)
        lost = bool(((gaps < reach - 1e-4) & (torch.arange(classes) != y[k])).any())
        safe = bool(((gaps > reach + 1e-4) | (torch.arange(classes) == y[k])).all())
        assert lost or safe
        assert (found.outcomes[k] != 255) == lost


@pytest.mark.parametrize(("size", "clipped"), [(8, True), (12, True), (16, False), (28, False)])
def test_the_first_tiling_of_square_is_clipped_and_labelled(size: int, clipped: bool) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(size * size, 10)).eval()
    x = torch.rand(2, 1, size, size)
    found = evaluate(net, x, net(x).argmax(1), threat=L2(1e-4))
    words = f"Square's first tiling clipped at the edge of {size}x{size} images"
    assert found.deviations == ((words,) if clipped else ())
    assert (found.to_frame()["margin_square"].notna()).all()


def test_other_bounds_are_the_same_problem(judged, whole) -> None:
    net, x, y = judged

    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, z: Tensor) -> Tensor:
            return self.net((z + 1) / 2)

    threat = Threat(norm="Linf", eps=2 * THREAT.eps, bounds=(-1, 1))
    found = evaluate(Shifted(), 2 * x - 1, y, threat=threat)
    assert np.mean(found.outcomes == whole.outcomes) >= 0.9
    assert threat.contains(2 * x - 1, found.adversarial, tolerance=1e-5).all()
    assert found.diagnostics["fooling_no_more"]["value"] == 0


def test_inputs_that_are_no_images_are_refused() -> None:
    net = nn.Linear(5, 10)
    with pytest.raises(TemperError, match=r"needs images \(N, C, H, W\)"):
        evaluate(net, torch.rand(3, 5), torch.zeros(3, dtype=torch.long), threat=Linf(0.1))


def test_a_model_in_pieces_is_refused() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10, device="meta"))
    with pytest.raises(TemperError, match="one real device"):
        evaluate(net, torch.rand(3, 1, 8, 8), torch.zeros(3, dtype=torch.long), threat=Linf(0.1))
