"""Whatever people call a model gets the verdict of the network inside, and is left as it was."""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import bench
from bench.data import load
from bench.evaluation import Evaluation
from bench.networks.cnn import cnn
from bench.scenario import load_scenario
from bench.threat import Linf, Threat
from tests.evaluation import zoo

EPS = 0.1
FAST: dict[str, Any] = {"threat": Linf(EPS), "protocol": "screen", "diagnose": False}


@pytest.fixture(scope="module")
def some() -> tuple[Tensor, Tensor]:
    split = load(load_scenario("digits-linf").data, ("train",))["train"]
    return split.inputs()[:16], split.y[:16]


@pytest.fixture(scope="module")
def net() -> nn.Module:
    split = load(load_scenario("digits-linf").data, ("train",))["train"]
    return zoo.honest_network(split.inputs(), split.y)


@pytest.fixture(scope="module")
def verdict(net: nn.Module, some: tuple[Tensor, Tensor]) -> Evaluation:
    found = bench.evaluate(net, *some, **FAST)
    assert 0.2 < found.robust_accuracy < 0.9
    return found


class Wrapper:
    """What has a network, and is none."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def __call__(self, x: Tensor) -> Tensor:
        return self.net(x)

    def predict(self, x: Tensor) -> Tensor:
        return self.net(x)


class Halves(nn.Module):
    """Converts its input by itself."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = copy.deepcopy(net).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.double())


class Squeezed(nn.Module):
    """Loses the batch of a single example."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).squeeze()


class Writer(nn.Module):
    """Normalises in place, behind autograd's back or before its eyes."""

    def __init__(self, net: nn.Module, behind: bool) -> None:
        super().__init__()
        self.net, self.behind = net, behind

    def forward(self, x: Tensor) -> Tensor:
        (x.data if self.behind else x).sub_(0.1)
        return self.net(x)


def exported(net: nn.Module, size: int, **limits: Any) -> Any:
    shapes = ({0: torch.export.Dim("batch", **limits)},) if limits else None
    return torch.export.export(net, (torch.rand(size, 1, 8, 8),), dynamic_shapes=shapes)


def scripted(net: nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(net)


SAME: dict[str, Callable[[nn.Module], Any]] = {
    "lambda": lambda net: lambda x: net(x),
    "wrapper": Wrapper,
    "method": lambda net: Wrapper(net).predict,
    "partial": lambda net: functools.partial(lambda model, x: model(x), net),
    "script": scripted,
    "frozen script": lambda net: torch.jit.freeze(scripted(net)),
    "compiled": torch.compile,
    "compiled function": lambda net: torch.compile(lambda x: net(x)),
    "parallel": nn.DataParallel,
    "parallel and compiled": lambda net: nn.DataParallel(torch.compile(net)),
    "exported for 4": lambda net: exported(net, 4),
    "exported for 2 to 9": lambda net: exported(net, 4, min=2, max=9),
    "exported module": lambda net: exported(net, 4, min=2, max=64).module(),
    "float64": lambda net: copy.deepcopy(net).double(),
    "float64 inside": Halves,
    "squeezed": Squeezed,
    "inference weights": lambda net: in_inference_mode(lambda: copy.deepcopy(net)),
}


def in_inference_mode(make: Callable[[], Any]) -> Any:
    with torch.inference_mode():
        return make()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", SAME)
def test_the_verdict_is_that_of_the_network_inside(net, some, verdict, kind: str) -> None:
    found = bench.evaluate(SAME[kind](net), *some, **FAST)
    assert np.mean(found.outcomes == verdict.outcomes) > (0.8 if kind == "float64 inside" else 0.999)


SAID = {
    "compiled": "judged without its wrapper OptimizedModule",
    "compiled function": "before torch.compile",
    "parallel": "judged without its wrapper DataParallel",
    "exported for 4": "an exported program",
    "float64": "judged in float32: its weights are float64",
    "float64 inside": "computes in float64 itself",
    "squeezed": "fails on one example alone",
}


@pytest.mark.parametrize("kind", SAID)
def test_what_was_done_is_said(net, some, kind: str) -> None:
    notes = bench.evaluate(SAME[kind](net), *some, threat=Linf(0.0)).notes
    assert any(SAID[kind] in note for note in notes), notes


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_judged_in_float32(net, some, dtype: torch.dtype) -> None:
    half = copy.deepcopy(net).to(dtype)
    found = bench.evaluate(half, *some, **FAST)
    expected = bench.evaluate(copy.deepcopy(half).float(), *some, **FAST)
    assert np.array_equal(found.outcomes, expected.outcomes)
    assert torch.equal(found.adversarial, expected.adversarial)
    assert found.notes == (f"judged in float32: its weights are {str(dtype).removeprefix('torch.')}",)
    assert next(half.parameters()).dtype == dtype
    own = bench.evaluate(half, *some, dtype=None, **FAST)
    assert own.notes == (f"computes in {str(dtype).removeprefix('torch.')}, as its weights do",)
    assert 0 < own.robust_accuracy < 1


def test_float64_is_taken_where_it_is_asked_for(net, some) -> None:
    found = bench.evaluate(copy.deepcopy(net).double(), *some, dtype=torch.float64, **FAST)
    assert found.adversarial.dtype == torch.float64
    assert found.notes == ()


def test_logits_of_another_type_are_read(net, some, verdict) -> None:
    class Low(Wrapper, nn.Module):
        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x).bfloat16()

        __call__ = nn.Module.__call__

    found = bench.evaluate(Low(), *some, **FAST)
    assert found.notes == ("its logits are bfloat16",)
    assert abs(found.robust_accuracy - verdict.robust_accuracy) < 0.2


def test_a_callable_is_put_into_eval_mode_and_back(some) -> None:
    inside = cnn((1, 8, 8), 10, widths=[8, 8], strides=[2, 2]).train()
    found = bench.evaluate(lambda x: inside(x), *some, threat=Linf(0.0))
    expected = bench.evaluate(inside, *some, threat=Linf(0.0))
    assert np.array_equal(found.predictions, expected.predictions)
    assert inside.training


def test_a_teacher_is_put_into_eval_mode_and_back(net, some) -> None:
    teacher = cnn((1, 8, 8), 10, widths=[8, 8], strides=[2, 2])
    options = {"threat": Linf(EPS), "protocol": "screen"}
    found = [bench.evaluate(net, *some, teacher=teacher.train(mode), **options) for mode in (True, False)]
    assert found[0].diagnostics["transfer"] == found[1].diagnostics["transfer"]
    before = teacher.train()[1].running_mean.clone()
    bench.evaluate(net, *some, teacher=teacher, **options)
    assert teacher.training
    assert torch.equal(teacher[1].running_mean, before)


def test_other_stateless_models_do_not_share_what_was_saved(net, some, tmp_path) -> None:
    other = copy.deepcopy(net)
    other[0].weight.data.neg_()
    weights = [net.state_dict(), other.state_dict()]
    models = [lambda x, w=w: torch.func.functional_call(net, w, (x,)) for w in weights]
    expected = [bench.evaluate(model, *some, **FAST).outcomes for model in models]
    found = [bench.evaluate(model, *some, folder=str(tmp_path), **FAST).outcomes for model in models]
    assert not np.array_equal(*expected)
    assert all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))


# --- models that write into their input -----------------------------------------------------------


@pytest.mark.parametrize("behind", [True, False])
def test_a_model_that_writes_into_its_input_gets_copies(net, some, behind: bool) -> None:
    class Shifted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return net(x - 0.1)

    x, y = some
    before = x.clone()
    found = bench.evaluate(Writer(net, behind), x, y, threat=Linf(EPS))
    assert torch.equal(x, before)
    assert np.array_equal(found.outcomes, bench.evaluate(Shifted(), x, y, threat=Linf(EPS)).outcomes)
    assert found.notes == ("the model writes into its input: it is given copies",)
    assert found.diagnostics["side_effects"]["words"] == "A pass changes its input."
    assert found.diagnostics["side_effects"]["verdict"] == "fail"


# --- examples -------------------------------------------------------------------------------------

LABELS: dict[str, Callable[[Tensor], Any]] = {
    "uint8": Tensor.byte,
    "int32": Tensor.int,
    "array": Tensor.numpy,
    "uint16 array": lambda y: y.numpy().astype(np.uint16),
    "big endian": lambda y: y.numpy().astype(">i4"),
    "list": Tensor.tolist,
}
INPUTS: dict[str, Callable[[Tensor], Any]] = {
    "array": Tensor.numpy,
    "float64 array": lambda x: x.double().numpy(),
    "list": Tensor.tolist,
    "turned twice": lambda x: x.numpy()[:, :, ::-1][:, :, ::-1],
    "read only": lambda x: np.broadcast_to(x.numpy(), x.shape),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_any_whole_numbers(net, some, verdict, kind: str) -> None:
    assert np.array_equal(bench.evaluate(net, some[0], LABELS[kind](some[1]), **FAST).outcomes, verdict.outcomes)


@pytest.mark.parametrize("kind", INPUTS)
def test_inputs_as_arrays_and_lists(net, some, verdict, kind: str) -> None:
    found = bench.evaluate(net, INPUTS[kind](some[0]), some[1], **FAST)
    assert np.array_equal(found.outcomes, verdict.outcomes)
    assert torch.equal(found.adversarial, verdict.adversarial)


@pytest.mark.parametrize("inputs_too", [True, False])
def test_inside_inference_mode(net, some, verdict, inputs_too: bool) -> None:
    with torch.inference_mode():
        x = some[0].clone() if inputs_too else some[0]
        found = bench.evaluate(net, x, some[1], **FAST)
    assert np.array_equal(found.outcomes, verdict.outcomes)


def test_rounding_outside_the_bounds_is_clipped_and_said(net, some, verdict) -> None:
    x = some[0].clone()
    x[0, 0, 0, 0], x[1, 0, 0, 0] = -9e-7, 1 + 9e-7
    before = x.clone()
    found = bench.evaluate(net, x, some[1], **FAST)
    assert found.notes == ("clipped 2 numbers of x, outside [0, 1] by rounding",)
    assert 0 <= found.adversarial.min() <= found.adversarial.max() <= 1
    assert torch.equal(x, before)
    x[0, 0, 0, 0] = -2e-6
    with pytest.raises(bench.TemperError, match=r"inputs must lie in \[0, 1\], got -2e-06"):
        bench.evaluate(net, x, some[1], **FAST)


# --- other bounds ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (-0.5, 2.0)])
def test_other_bounds_give_the_same_verdict(net, some, verdict, bounds: tuple[float, float]) -> None:
    low, high = bounds
    threat = Threat(norm="Linf", eps=EPS * (high - low), bounds=bounds)
    x = some[0] * (high - low) + low
    found = bench.evaluate(lambda z: net((z - low) / (high - low)), x, some[1], **FAST | {"threat": threat})
    assert np.mean(found.outcomes == verdict.outcomes) > 0.9, "but for rounding"
    assert threat.contains(x, found.adversarial).all()


# --- without a gradient ---------------------------------------------------------------------------


def dynamic(net: nn.Module) -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(copy.deepcopy(net), {nn.Linear}, dtype=torch.qint8)


def static(net: nn.Module) -> nn.Module:
    stubs = torch.ao.quantization.QuantStub(), torch.ao.quantization.DeQuantStub()
    model = nn.Sequential(stubs[0], copy.deepcopy(net), stubs[1]).eval()
    model.qconfig = torch.ao.quantization.default_qconfig
    torch.ao.quantization.prepare(model, inplace=True)
    model(torch.rand(64, 1, 8, 8))
    return torch.ao.quantization.convert(model, inplace=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("quantise", [dynamic, static, lambda net: scripted(dynamic(net))])
def test_a_quantised_model_is_judged_without_gradients_and_never_by_autoattack(net, some, quantise) -> None:
    found = bench.evaluate(quantise(net), *some, threat=Linf(EPS))
    assert (found.protocol, found.attacks) == ("black-box", ("square",))
    assert found.deviations == ("square alone: no AutoAttack, which needs a gradient",)
    assert set(found.outcomes.tolist()) <= {0, 1, 255}
    assert "zero_gradients" not in found.diagnostics
    more = bench.evaluate(quantise(net), *some, threat=Linf(EPS), teacher=net)
    assert more.attacks == ("square", "transfer")
    assert (more.to_frame()["broken_by"] == "transfer").any()
    assert more.robust_accuracy < found.robust_accuracy
    assert more.to_frame()["verified"].sum() == ((more.outcomes > 0) & (more.outcomes < 255)).sum()


def test_a_model_that_only_hides_its_gradient_is_refused_unless_asked(net, some) -> None:
    def hidden(x: Tensor) -> Tensor:
        with torch.no_grad():
            return net(x)

    with pytest.raises(bench.TemperError, match=r"carry no gradient to its input .*protocol='black-box'"):
        bench.evaluate(hidden, *some, threat=Linf(EPS))
    assert bench.evaluate(hidden, *some, threat=Linf(EPS), protocol="black-box").attacks == ("square",)


# --- what cannot be judged, and what fails on the way ---------------------------------------------


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (nn.Linear, r"is the class Linear: give an instance"),
        ({"weight": torch.zeros(1)}, "the model is a state dict"),
        ("student.pt", "got str; for a file use `temper evaluate FILE`"),
        (None, "got NoneType"),
        (lambda x, y: x, r"fails on a batch \(16, 1, 8, 8\): TypeError: .*missing 1 required"),
        (nn.Conv2d(3, 1, 3), r"fails on a batch \(16, 1, 8, 8\): RuntimeError: .*3 channels"),
    ],
)
def test_what_is_no_model_gets_one_line(some, model: Any, problem: str) -> None:
    with pytest.raises(bench.TemperError, match=problem) as caught:
        bench.evaluate(model, *some, **FAST)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (lambda y: y.float(), "labels are whole numbers, got torch.float32"),
        (lambda y: nn.functional.one_hot(y, 10), r"not one-hot: y.argmax\(1\)"),
        (lambda y: ["a"] * len(y), "y is no array of numbers"),
    ],
)
def test_what_are_no_labels_gets_one_line(net, some, labels: Callable[[Tensor], Any], problem: str) -> None:
    with pytest.raises(bench.TemperError, match=problem):
        bench.evaluate(net, some[0], labels(some[1]), **FAST)


@pytest.mark.parametrize("broken", ["_passes", "_pgd", "_zero_gradients", "_large_eps", "_logit_scaling"])
def test_a_diagnostic_that_cannot_run_says_so_and_loses_nothing(net, some, verdict, monkeypatch, broken: str) -> None:
    from bench.evaluation import diagnostics

    def fails(*_: object, **__: object) -> None:
        raise AttributeError("no such thing")

    fails.__name__ = broken
    monkeypatch.setattr(diagnostics, broken, fails)
    found = bench.evaluate(net, *some, **FAST | {"diagnose": True})
    assert np.array_equal(found.outcomes, verdict.outcomes)
    names = diagnostics.SEVERAL.get(broken.strip("_"), (broken.strip("_"),))
    for name in names:
        assert found.diagnostics[name]["verdict"] == "not run"
        assert found.diagnostics[name]["words"] == "Could not run: AttributeError: no such thing"


def test_an_attack_that_a_diagnostic_calls_for_and_that_cannot_run_says_so(net, some, verdict, monkeypatch) -> None:
    from bench.evaluation import adaptive, diagnostics

    def fails(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(adaptive, "_runs", fails)
    monkeypatch.setattr(diagnostics, "_large_eps", lambda case: [diagnostics._sign("large_eps", 1.0, 0.0, "Yes.")])
    found = bench.evaluate(net, *some, **FAST | {"diagnose": True})
    assert np.array_equal(found.outcomes, verdict.outcomes)
    assert found.diagnostics["adaptive_black-box"]["verdict"] == "not run"
    assert found.adaptive == {}


def test_scripts_keep_their_diagnostics(net, some) -> None:
    found = bench.evaluate(scripted(net), *some, threat=Linf(EPS))
    expected = bench.evaluate(net, *some, threat=Linf(EPS))
    told = [{name: sign["verdict"] for name, sign in each.diagnostics.items()} for each in (found, expected)]
    assert told[0] == told[1]
