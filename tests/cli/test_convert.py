"""`temper convert`, and `temper evaluate` of checkpoints that are not ours."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.cli.options import parse_fields, parse_normalise
from bench.errors import TemperError
from bench.networks import build, load_weights
from bench.scenario import NetworkSpec, load_scenario
from tests.networks.customary import Normalisation, PreActResNet, ResNet, Unheard, shown, used

OWN = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.flat = nn.Flatten()
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        return self.fc(self.flat(x))

def wrong():
    return 3

def broken():
    raise ValueError("no GPU here")
"""


def as_typed(line: str) -> NetworkSpec:
    """The spec that the options in the last line of `temper convert` make."""
    words = shlex.split(line.partition(": ")[2])
    pairs = list(zip(words[::2], words[1::2], strict=True))
    options = parse_fields([value for name, value in pairs if name == "--option"])
    for name, value in pairs:
        options |= parse_normalise(value, 3) if name == "--normalise" else {}
    return NetworkSpec(network=dict(pairs)["--network"], options=options)


@pytest.mark.parametrize(
    ("make", "network"),
    [
        (lambda: nn.Sequential(Normalisation(("mean", "std"), (1, 3, 1, 1)), ResNet()), "resnet18"),
        (PreActResNet, "preactresnet18"),
    ],
)
def test_what_convert_writes_is_what_it_says_to_type(make, network, tmp_path, temper):
    module = used(make)
    torch.save(
        {"state_dict": {f"module.{name}": tensor for name, tensor in module.state_dict().items()}}, tmp_path / "a.pt"
    )
    written = tmp_path / "out" / "a.safetensors"
    result = temper("convert", tmp_path / "a.pt", "--network", network, "--option", "width=4", "--output", written)
    assert result.code == 0, result.err
    again = build(as_typed(result.out.splitlines()[-1]), (3, 32, 32), 10)
    load_weights(again, written)
    x, logits = shown(module, side=32)
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(x), logits, atol=1e-5, rtol=0)
    assert "under 'state_dict'" in result.out
    assert ("--normalise 0.4914,0.4822,0.4465,0.2471,0.2435,0.2616" in result.out) == (network == "resnet18")


def test_convert_takes_the_scenarios_student(tiny, tmp_path, temper):
    module = used(Unheard)
    torch.save(module.state_dict(), tmp_path / "a.pt")
    result = temper("convert", tmp_path / "a.pt", "--scenario", tiny, "--output", tmp_path / "a.safetensors")
    assert result.code == 0, result.err
    assert "by order alone" in result.out
    scenario = load_scenario(tiny)
    again = build(scenario.student, scenario.data.shape, scenario.data.classes).eval()
    load_weights(again, tmp_path / "a.safetensors")
    x, logits = shown(module, 1, 8)
    with torch.no_grad():
        torch.testing.assert_close(again(x), logits, atol=1e-5, rtol=0)
    refused = temper(
        "convert", tmp_path / "a.pt", "--scenario", tiny, "--check", "--output", tmp_path / "b.safetensors"
    )
    assert refused.code == 2
    assert "about chance" in refused.err
    assert not (tmp_path / "b.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name the --network that the weights are for, or a --scenario"),
        (["--network", "resnet18", "--shape", "3x32"], "--shape takes channels, height and width"),
        (["--network", "resnet18", "--check"], "name the --scenario"),
        (["--network", "resnet18", "--key", "ema"], "has no 'ema'; it has tensors without a key"),
        (["--network", "resnet18"], "it fits --network resnet18 --option width=4"),
        (["--network", "resnet18", "--normalise", "0.5"], "--normalise takes a mean and a std"),
        (["--network", "resnet18", "--option", "width=4", "--output", "/proc/x/y"], "cannot write /proc/x/y"),
    ],
)
def test_a_mistake_with_convert_is_one_line(arguments, says, tmp_path, temper):
    torch.save(ResNet().state_dict(), tmp_path / "a.pt")
    result = temper("convert", tmp_path / "a.pt", "--output", tmp_path / "a.safetensors", *arguments)
    assert result.code == 2
    assert says in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert not (tmp_path / "a.safetensors").exists()


@pytest.mark.parametrize(
    ("text", "channels", "mean", "std"),
    [
        ("0.5,0.25", 3, [0.5] * 3, [0.25] * 3),
        ("0.1307 0.3081", 1, [0.1307], [0.3081]),
        ("0.1, 0.2, 0.3, 0.4, 0.5, 0.6", 3, [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]),
    ],
)
def test_a_normalisation_is_two_numbers_or_two_per_channel(text, channels, mean, std):
    assert parse_normalise(text, channels) == {"mean": mean, "std": std}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0.5", "3 means and then 3 stds"),
        ("0.5,0.5,0.5,0.5", "got '0.5,0.5,0.5,0.5'"),
        ("a,b", "got 'a,b'"),
        ("nan,1", "got 'nan,1'"),
        ("0.5,0", "stds above 0"),
        ("125.3,63.0", "divide all by 255"),
    ],
)
def test_a_wrong_normalisation_is_refused(text, says):
    with pytest.raises(TemperError, match=says):
        parse_normalise(text, 3)


@pytest.fixture
def own(tmp_path, monkeypatch) -> Path:
    """A folder with an architecture of one's own, in which the user is, and its weights."""
    folder = tmp_path / "project"
    (folder / "ours").mkdir(parents=True)
    (folder / "ours" / "nets.py").write_text(OWN)
    torch.manual_seed(0)
    linear = nn.Linear(64, 10)
    torch.save(
        {"net": {f"module.fc.{name}": tensor for name, tensor in linear.state_dict().items()}}, folder / "net.pth"
    )
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(tmp_path))  # what --model puts into the path is gone after the test
    return folder


@pytest.mark.parametrize("place", ["ours.nets", "ours/nets.py"])
def test_evaluate_judges_an_architecture_of_ones_own(place, own, tiny, temper):
    arguments = ("evaluate", "net.pth", "--scenario", tiny, "--protocol", "screen", "--json", "--model", f"{place}:Net")
    result = temper(*arguments)
    assert result.code == 0, result.err
    verdict = json.loads(result.out)
    assert verdict["checkpoint"][0] == "read 2 tensors under 'net', without the prefix 'module.'"
    assert verdict["checkpoint"][0] in result.err
    weights = torch.load("net.pth", weights_only=True)["net"]
    assert verdict["clean"] == pytest.approx(accuracy(weights, tiny, 0.0))
    shifted = json.loads(temper(*arguments, "--normalise", "0.5,0.5").out)
    assert shifted["clean"] == pytest.approx(accuracy(weights, tiny, 0.5))
    assert shifted["clean"] != verdict["clean"]


def accuracy(weights, scenario, mean: float) -> float:
    """What a plain product says of the scenario's test images, normalised so."""
    from bench.data import load

    test = load(load_scenario(scenario).data, ("test",))["test"]
    x = test.inputs().flatten(1)
    x = (x - mean) / mean if mean else x
    logits = x @ weights["module.fc.weight"].T + weights["module.fc.bias"]
    return float((logits.argmax(1) == test.y).float().mean())


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("ours.nets", "--model takes package.module:function"),
        ("ours.none:Net", "does not import: ModuleNotFoundError"),
        ("ours.nets:Nett", "has no 'Nett'"),
        ("ours.nets:wrong", "returns a int, not an nn.Module"),
        ("ours.nets:broken", "fails with ValueError: no GPU here"),
    ],
)
def test_a_mistake_with_a_model_of_ones_own_is_one_line(model, says, own, tiny, temper):
    result = temper("evaluate", "net.pth", "--scenario", tiny, "--model", model)
    assert result.code == 2
    assert says in result.err
    assert len(result.err.strip().splitlines()) == 1


def test_evaluate_reads_a_pickle_of_tensors_as_it_reads_our_own(tiny, tmp_path, temper):
    scenario = load_scenario(tiny)
    torch.manual_seed(0)
    module = build(scenario.student, scenario.data.shape, scenario.data.classes)
    torch.save({"model_state_dict": module.half().state_dict(), "epoch": 7}, tmp_path / "a.pt")
    result = temper("evaluate", tmp_path / "a.pt", "--scenario", tiny, "--protocol", "screen", "--json")
    assert result.code == 0, result.err
    assert "turned float16 into float32" in json.loads(result.out)["checkpoint"]
