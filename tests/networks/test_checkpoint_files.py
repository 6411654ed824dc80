"""Checkpoints as people have them: every customary layout gives the logits that it gave at home, or is refused."""

from __future__ import annotations

import argparse
import collections
import datetime
import pathlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.errors import TemperError
from bench.networks import build, save_weights
from bench.networks.checkpoints import LoadedCheckpoint, load_checkpoint, load_into
from bench.scenario import NetworkSpec
from tests.networks.customary import (
    Inside,
    MobileNetV2,
    Normalisation,
    PreActResNet,
    ResNet,
    Unheard,
    WideResNet,
    shown,
    used,
)

SHAPE = (3, 16, 16)
CIFAR = {"mean": [0.4914, 0.4822, 0.4465], "std": [0.2471, 0.2435, 0.2616]}
State = dict[str, Tensor]


def spec(network: str, **options: Any) -> NetworkSpec:
    return NetworkSpec(network=network, options=options)


def state_of(network: nn.Module) -> State:
    return dict(network.state_dict())


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def saved(path: Path, contents: Any, **options: Any) -> Path:
    torch.save(contents, path, **options)
    return path


def loaded(
    path: Path, contents: Any, network: str = "resnet18", key: str = "", examples: Any = None, **options: Any
) -> LoadedCheckpoint:
    file = saved(path / "net.pt", contents)
    return load_checkpoint(file, spec(network, **(options or {"width": 4})), SHAPE, 10, key=key, examples=examples)


@torch.no_grad()
def agrees(network: nn.Module, other: nn.Module, tolerance: float = 1e-5) -> None:
    x, logits = shown(network)
    assert not other.training
    torch.testing.assert_close(other(x), logits, atol=tolerance, rtol=0)
    assert logits.std() > 100 * tolerance


LAYOUTS: dict[str, tuple[Callable[[], nn.Module], NetworkSpec, str]] = {
    "pytorch-cifar ResNet": (ResNet, spec("resnet18", width=4), "a ResNet of"),
    "timm ResNet": (lambda: ResNet(side="downsample", head="fc"), spec("resnet18", width=4), "a ResNet of"),
    "ResNet with a classifier": (lambda: ResNet(head="classifier"), spec("resnet18", width=4), "a ResNet of"),
    "pytorch-cifar PreActResNet": (PreActResNet, spec("preactresnet18", width=4), "norm=false"),
    "Rice PreActResNet": (lambda: PreActResNet(norm="bn"), spec("preactresnet18", width=4), "a PreActResNet"),
    "Wong PreActResNet": (
        lambda: PreActResNet(norm="bn", activated=False),
        spec("preactresnet18", width=4, activated=False),
        "a PreActResNet",
    ),
    "TRADES WideResNet": (WideResNet, spec("wideresnet", depth=10, width=2), "sub_block1"),
    "WideResNet": (lambda: WideResNet(16, unused=False), spec("wideresnet", depth=16, width=2), "a WideResNet"),
    "no last bias": (lambda: WideResNet(bias=False), spec("wideresnet", depth=10, width=2), "counts as 0"),
    "RSLAD MobileNetV2": (MobileNetV2, spec("mobilenetv2", width=0.25), "a MobileNetV2"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_customary_layouts_keep_their_logits(layout: str, tmp_path: Path) -> None:
    make, wanted, says = LAYOUTS[layout]
    network = used(make)
    state = {name: tensor for name, tensor in state_of(network).items() if "num_batches" not in name}
    torch.save({"state_dict": prefixed(state, "module."), "epoch": 3}, tmp_path / "net.pth.tar")
    found = load_checkpoint(tmp_path / "net.pth.tar", wanted, SHAPE, 10)
    agrees(network, found.network)
    assert any(says in line for line in found.told)
    assert found.told[0].startswith("read ")
    assert found.told[0].endswith("under 'state_dict', without the prefix 'module.'")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_returned_is_what_build_makes_of_the_spec(layout: str, tmp_path: Path) -> None:
    make, wanted, _ = LAYOUTS[layout]
    network = used(make)
    found = load_checkpoint(saved(tmp_path / "net.pt", state_of(network)), wanted, SHAPE, 10)
    again = build(found.spec, SHAPE, 10)
    again.load_state_dict(found.network.state_dict())
    agrees(network, again.eval())


@pytest.mark.parametrize("prefix", ["", "model.", "module.model.", "_orig_mod.module.", "net.backbone.", "0."])
@pytest.mark.parametrize("key", ["", "model_state_dict", "model", "net", "student", "params", "whatever"])
def test_any_key_and_prefix_is_found(prefix: str, key: str, tmp_path: Path) -> None:
    network = used(ResNet)
    state = prefixed(state_of(network), prefix)
    optimiser = {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}
    agrees(network, loaded(tmp_path, {key: state, "optimizer": optimiser, "acc": 93.1} if key else state).network)


def test_wrappers_inside_of_names_are_taken_out(tmp_path: Path) -> None:
    network = used(ResNet)
    state = {name.replace("layer1.", "layer1._orig_mod."): tensor for name, tensor in state_of(network).items()}
    agrees(network, loaded(tmp_path, state).network)


def test_a_plain_network_is_taken_before_its_average_unless_the_key_says_otherwise(tmp_path: Path) -> None:
    plain, average = used(ResNet), used(ResNet, seed=1)
    contents = {"ema": state_of(average), "state_dict": state_of(plain)}
    found = loaded(tmp_path, contents)
    agrees(plain, found.network)
    assert any("also 'ema'" in line for line in found.told)
    chosen = loaded(tmp_path, contents, key="ema")
    agrees(average, chosen.network)
    assert any("also 'state_dict'" in line for line in chosen.told)
    with pytest.raises(TemperError, match=r"has no 'swa'; it has 'ema', 'state_dict'"):
        loaded(tmp_path, contents, key="swa")


def test_of_lightnings_networks_the_one_that_fits_is_taken(tmp_path: Path) -> None:
    student, teacher = used(ResNet), used(WideResNet)
    state = prefixed(state_of(teacher), "teacher.") | prefixed(state_of(student), "model.")
    found = loaded(tmp_path, {"state_dict": state, "pytorch-lightning_version": "2.0"})
    agrees(student, found.network)
    assert any("left out 'teacher'" in line for line in found.told)
    agrees(teacher, loaded(tmp_path, {"state_dict": state}, "wideresnet", depth=10, width=2).network)


def test_a_student_is_taken_before_a_teacher_of_the_same_architecture(tmp_path: Path) -> None:
    student, teacher = used(ResNet), used(ResNet, seed=1)
    state = prefixed(state_of(teacher), "teacher.") | prefixed(state_of(student), "student.")
    agrees(student, loaded(tmp_path, state).network)
    agrees(teacher, loaded(tmp_path, state, key="teacher").network)


def test_what_is_left_out_and_unknown_is_warned_of(tmp_path: Path) -> None:
    state = {"0.weight": torch.rand(3, 3, 1, 1), **prefixed(state_of(used(ResNet)), "1.")}
    told = loaded(tmp_path, state).told
    assert "left out '0' (1 tensor)" in told
    assert any(line.startswith("WARNING: something unknown was left out") for line in told)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_the_networks(dtype: torch.dtype, tmp_path: Path) -> None:
    network = used(ResNet).to(dtype)
    found = loaded(tmp_path, state_of(network))
    agrees(network.float(), found.network)
    assert all(parameter.dtype == torch.float32 for parameter in found.network.parameters())
    assert f"turned {str(dtype)[6:]} into float32" in found.told


@pytest.mark.parametrize("shape", [(3,), (3, 1, 1), (1, 3, 1, 1)])
@pytest.mark.parametrize("names", [("mean", "std"), ("mu", "sigma"), ("new_mean", "new_std")])
def test_a_normalisation_outside_comes_in_front(names: tuple[str, str], shape: tuple[int, ...], tmp_path: Path) -> None:
    network = nn.Sequential(Normalisation(names, shape), used(ResNet)).eval()
    found = loaded(tmp_path, prefixed(state_of(network), "module."))
    agrees(network, found.network)
    assert {name: found.spec.options[name] for name in CIFAR} == CIFAR
    assert any(f"put the normalisation '0.{names[0]}'" in line.replace("module.", "") for line in found.told)


def test_a_normalisation_inside_comes_in_front_and_ones_own_wins(tmp_path: Path) -> None:
    network = used(Inside)
    assert isinstance(network, Inside)
    agrees(network, loaded(tmp_path, state_of(network)).network)
    own = loaded(tmp_path, state_of(network), width=4, mean=[0.0] * 3, std=[1.0] * 3)
    x, logits = shown(network)
    with torch.no_grad():
        torch.testing.assert_close(own.network((x - network.mu) / network.sigma), logits, atol=1e-5, rtol=0)
    assert any("left out the normalisation 'mu'" in line and "yours is used" in line for line in own.told)


def test_constants_of_pixels_up_to_255_are_divided(tmp_path: Path) -> None:
    state = state_of(used(ResNet)) | {"mean": torch.tensor([127.5] * 3), "std": torch.tensor([63.75] * 3)}
    assert loaded(tmp_path, state).spec.options == {"width": 4, "mean": [0.5] * 3, "std": [0.25] * 3}


def test_our_own_files_are_read_as_before(tmp_path: Path) -> None:
    own = used(lambda: build(spec("resnet18", width=4, **CIFAR), SHAPE, 10))
    save_weights(tmp_path / "own.safetensors", own.state_dict())
    found = load_checkpoint(tmp_path / "own.safetensors", spec("resnet18", width=4, **CIFAR), SHAPE, 10)
    agrees(own, found.network, tolerance=1e-7)
    assert found.told[1] == "mapped by name"


def test_safetensors_and_the_old_format_are_read_under_any_suffix(tmp_path: Path) -> None:
    network = used(ResNet)
    state = prefixed(state_of(network), "module.")
    save_file(state, tmp_path / "a.bin")
    saved(tmp_path / "b.safetensors", state)
    saved(tmp_path / "c.pkl", state, _use_new_zipfile_serialization=False)
    for name in ("a.bin", "b.safetensors", "c.pkl"):
        agrees(network, load_checkpoint(tmp_path / name, spec("resnet18", width=4), SHAPE, 10).network)


def test_harmless_extras_do_not_stop_it(tmp_path: Path) -> None:
    network = used(ResNet)
    lists: collections.defaultdict[str, list[float]] = collections.defaultdict(list)
    lists["loss"].append(0.5)
    extras = {
        "acc": np.float64(93.1),
        "accs": np.zeros(3, dtype="f4"),
        "best": np.int64(3),
        "args": argparse.Namespace(lr=0.1, out=pathlib.PosixPath("out")),
        "when": datetime.datetime(2024, 1, 1),
        "torch": torch.__version__,
        "history": lists,
        "rng": torch.get_rng_state(),
    }
    agrees(network, loaded(tmp_path, {"net": state_of(network), **extras}).network)


def test_a_network_under_other_names_is_mapped_by_order_and_told(tmp_path: Path) -> None:
    network = used(Unheard)
    path = saved(tmp_path / "net.pt", state_of(network))
    found = load_checkpoint(path, spec("cnn", widths=[8, 8], strides=[2, 2]), (1, 8, 8), 10)
    x, logits = shown(network, 1, 8)
    with torch.no_grad():
        torch.testing.assert_close(found.network(x), logits, atol=1e-6, rtol=0)
    assert any("by order alone ('first' is '0'" in line for line in found.told)
    assert any(line.startswith("WARNING: nothing but order") for line in found.told)


@torch.no_grad()
def test_by_order_at_chance_is_refused_and_by_name_warned(tmp_path: Path) -> None:
    network, x = used(Unheard), torch.rand(200, 1, 8, 8)
    y = network(x).argmax(1)
    wanted, path = spec("cnn", widths=[8, 8], strides=[2, 2]), saved(tmp_path / "net.pt", state_of(network))
    found = load_checkpoint(path, wanted, (1, 8, 8), 10, examples=(x, y))
    assert found.accuracy == 1
    assert "100.0 % of 200 clean examples are classified right" in found.told
    wrong = (x, (y + 1) % 10)
    with pytest.raises(TemperError, match=r"by order alone .* only 0\.0 % .*--normalise"):
        load_checkpoint(path, wanted, (1, 8, 8), 10, examples=wrong)
    save_weights(tmp_path / "own.safetensors", found.network.state_dict())
    named = load_checkpoint(tmp_path / "own.safetensors", wanted, (1, 8, 8), 10, examples=wrong)
    assert any("about chance for 10 classes" in line and "--normalise" in line for line in named.told)


@torch.no_grad()
def labelled(network: Any, mean: float = 0, std: float = 1) -> tuple[Tensor, Tensor]:
    """Images of many colours, with the network's own classes of them, normalised so, as labels. Its last bias is set
    so that these are of all kinds."""
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(256, *SHAPE, generator=generator) * 0.2 + torch.rand(256, 3, 1, 1, generator=generator) * 0.8
    network.linear.bias -= network((x - mean) / std).mean(0)
    return x, network((x - mean) / std).argmax(1)


def test_a_normalisation_that_would_help_is_spoken_of(tmp_path: Path) -> None:
    network = used(ResNet)
    examples = labelled(network, 0.5, 0.5)
    found = loaded(tmp_path, state_of(network), examples=examples)
    assert found.accuracy is not None
    assert found.accuracy < 0.9
    assert any("with --normalise 0.5,0.5,0.5,0.5,0.5,0.5 (the" in line and "100.0 %" in line for line in found.told)


def test_another_reading_of_the_same_names_is_spoken_of(tmp_path: Path) -> None:
    network = used(lambda: PreActResNet(norm="bn", activated=False))
    examples = labelled(network)
    found = loaded(tmp_path, state_of(network), "preactresnet18", examples=examples)
    assert found.accuracy is not None
    assert found.accuracy < 0.9
    assert any("--option activated=false" in line and "100.0 %" in line for line in found.told)


SUGGESTIONS: dict[str, tuple[Callable[[], nn.Module], NetworkSpec, str]] = {
    "WideResNet": (WideResNet, spec("resnet18"), "it fits --network wideresnet --option depth=10 --option width=2"),
    "WideResNet-16": (lambda: WideResNet(16, 1), spec("wideresnet", depth=10), "--option depth=16 --option width=1"),
    "MobileNetV2": (MobileNetV2, spec("resnet18", width=4), "it fits --network mobilenetv2 --option width=0.25"),
    "PreActResNet": (PreActResNet, spec("resnet18"), "--network preactresnet18 --option width=4 --option norm=false"),
    "ResNet": (ResNet, spec("mobilenetv2", width=0.5), "it fits --network resnet18 --option width=4"),
    "width": (lambda: ResNet(width=8), spec("resnet18", width=4), "it fits --network resnet18 --option width=8"),
    "classes": (lambda: ResNet(classes=100), spec("resnet18", width=4), "--option width=4 for 100 classes, not 10"),
}


@pytest.mark.parametrize("case", SUGGESTIONS)
def test_what_does_not_fit_names_the_difference_and_what_does(case: str, tmp_path: Path) -> None:
    make, wanted, says = SUGGESTIONS[case]
    path = saved(tmp_path / "net.pt", prefixed(state_of(make()), "module."))
    with pytest.raises(
        TemperError, match=r"do not fit the network '\w+': .*(shape|missing|no tensor|stands)"
    ) as refused:
        load_checkpoint(path, wanted, SHAPE, 10)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_first_difference_has_the_names_of_the_file(tmp_path: Path) -> None:
    state = state_of(ResNet())
    state["layer2.0.conv1.weight"] = torch.zeros(8, 4, 5, 5)
    with pytest.raises(
        TemperError, match=r"'layer2.0.conv1.weight' has shape \[8, 4, 5, 5\], the network's 'stages.1.0"
    ):
        loaded(tmp_path, state)
    state = state_of(ResNet()) | {"extra.weight": torch.zeros(3)}
    with pytest.raises(TemperError, match=r"the network has no tensor 'extra.weight'.*--model"):
        loaded(tmp_path, state)


def test_deepminds_networks_are_not_taken_for_ours(tmp_path: Path) -> None:
    ours = build(spec("wideresnet", depth=10, width=1), SHAPE, 10)
    theirs = {name.replace(".bn1.", ".batchnorm_0."): tensor for name, tensor in ours.state_dict().items()}
    with pytest.raises(TemperError, match=r"DeepMind's network.*pads strided convolutions"):
        loaded(tmp_path, theirs, "wideresnet", depth=10, width=1)


@pytest.mark.parametrize(
    ("name", "tensor", "says"),
    [
        ("linear.bias", torch.tensor([float("nan")] * 10), "not finite, first in 'head.2.bias'"),
        ("linear.bias", torch.zeros(10, dtype=torch.int8), "holds int8 where the network has float32"),
        ("linear.bias", torch.zeros(10, dtype=torch.complex64), "holds complex64"),
        ("linear.bias", torch.empty(10, device="meta"), "has no values"),
        ("conv1.weight", torch.zeros(4, 3, 3, 3).to_sparse(), "values in the file: write plain tensors"),
    ],
)
def test_values_that_are_no_weights_are_refused(name: str, tensor: Tensor, says: str, tmp_path: Path) -> None:
    with pytest.raises(TemperError, match=says):
        loaded(tmp_path, state_of(used(ResNet)) | {name: tensor})


def test_load_into_fills_a_module_of_ones_own(tmp_path: Path) -> None:
    network, blank = used(Inside), used(Inside, seed=1)
    told = load_into(blank, saved(tmp_path / "a.pt", {"model": prefixed(state_of(network), "module.")}))
    agrees(network, blank)
    assert told[0].endswith("under 'model', without the prefix 'module.'")
    told = load_into(used(ResNet, seed=1), tmp_path / "a.pt")
    assert any("left out the normalisation 'mu'" in line and "--normalise 0.5,0.4,0.3" in line for line in told)
    with pytest.raises(TemperError, match="do not fit WideResNet"):
        load_into(WideResNet(), tmp_path / "a.pt")


def test_load_into_keeps_a_normalisation_that_the_file_lacks(tmp_path: Path) -> None:
    def around(seed: int) -> nn.Module:
        return nn.Sequential(Normalisation(("mean", "std"), (3,)), used(ResNet, seed)).eval()

    module = around(1)
    told = load_into(module, saved(tmp_path / "b.pt", state_of(used(ResNet))))
    agrees(around(0), module)
    assert "the module keeps its own normalisation" in told


def test_torchvisions_networks_go_by_their_own_names(tmp_path: Path) -> None:
    from torchvision.models import squeezenet1_1

    network = used(lambda: squeezenet1_1(num_classes=10))
    path = saved(tmp_path / "net.pt", {"state_dict": prefixed(state_of(network), "module.")})
    found = load_checkpoint(path, spec("torchvision:squeezenet1_1"), (3, 32, 32), 10)
    x, logits = shown(network, side=32)
    with torch.no_grad():
        torch.testing.assert_close(found.network(x), logits, atol=1e-5, rtol=0)
    with pytest.raises(TemperError, match="unknown torchvision model 'resnet19'; did you mean"):
        build(spec("torchvision:resnet19"), SHAPE, 10)


@pytest.mark.parametrize("kind", [torch.tensor, list])
def test_a_normalisation_beside_the_state_dict_is_used(kind: Callable[[Any], Any], tmp_path: Path) -> None:
    network = used(Inside)
    state = {name: tensor for name, tensor in state_of(network).items() if name not in ("mu", "sigma")}
    found = loaded(tmp_path, {"net": state, "mean": kind([0.5, 0.4, 0.3]), "std": kind([0.2, 0.3, 0.25])})
    agrees(network, found.network)


def test_a_head_beside_its_backbone_is_one_network(tmp_path: Path) -> None:
    network = used(ResNet)
    state = {name if "linear" in name else f"backbone.{name}": tensor for name, tensor in state_of(network).items()}
    agrees(network, loaded(tmp_path, prefixed(state, "module.")).network)


def test_a_layer_without_weights_before_the_network_is_warned_of(tmp_path: Path) -> None:
    state = prefixed(state_of(used(ResNet)), "1.")
    says = "a layer without weights stands before the network"
    assert any(says in line for line in loaded(tmp_path, state).told)
    assert not any(says in line for line in loaded(tmp_path, state, width=4, mean=[0.5] * 3, std=[0.5] * 3).told)


@pytest.mark.parametrize("mean", [torch.empty(3, device="meta"), torch.rand(3).to_sparse(), torch.rand(2)])
def test_a_mean_that_is_none_is_an_unknown_tensor(mean: Tensor, tmp_path: Path) -> None:
    with pytest.raises(TemperError, match="the network has no tensor 'mean'"):
        loaded(tmp_path, state_of(used(ResNet)) | {"mean": mean, "std": torch.rand(3)})
