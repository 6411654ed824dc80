"""Networks: the published sizes, hand-counted FLOPs, small inputs, and options."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from bench.errors import TemperError
from bench.networks import NETWORKS, build, double_backward_flops, flops, parameters
from bench.networks.features import feature_channels, feature_map
from bench.scenario import NetworkSpec

SMALL: dict[str, dict[str, Any]] = {
    "cnn": {},
    "mlp": {"widths": [8]},
    "mobilenetv2": {"width": 0.25},
    "preactresnet18": {"width": 4},
    "resnet18": {"width": 4},
    "wideresnet": {"depth": 10, "width": 1},
}


def made(network: str, shape: tuple[int, ...], **options: Any) -> nn.Module:
    return build(NetworkSpec(network=network, options=options), shape, 10)


@pytest.mark.parametrize(
    ("network", "published"),
    [
        ("resnet18", 11_173_962),
        ("preactresnet18", 11_172_170),
        ("mobilenetv2", 2_296_922),
        ("wrn-28-10", 36_479_194),
        ("wrn-34-10", 46_160_474),
    ],
)
def test_parameters_are_as_many_as_published_for_cifar(network: str, published: int) -> None:
    with torch.device("meta"):
        assert parameters(made(network, (3, 32, 32))) == published


def test_flops_of_the_cnn_equal_the_hand_count() -> None:
    convolutions = 8 * 8 * 16 * 9 * 1 + 4 * 4 * 32 * 9 * 16 + 4 * 4 * 32 * 9 * 32
    assert flops(made("cnn", (1, 8, 8)), (1, 8, 8)) == 2 * (convolutions + 4 * 4 * 32 * 10)


def test_flops_of_attention_are_counted_whatever_the_kernel() -> None:
    length, width, hidden = 10, 32, 64
    layer = nn.TransformerEncoderLayer(width, 4, hidden, batch_first=True)
    projections, products, feedforward = 4 * length * width**2, 2 * length**2 * width, 2 * length * width * hidden
    assert flops(layer, (length, width)) == 2 * (projections + products + feedforward)
    assert torch.backends.mha.get_fastpath_enabled()


def test_counting_flops_leaves_the_network_as_it_was() -> None:
    network = made("cnn", (1, 8, 8))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    flops(network, (1, 8, 8))
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (3, 33, 20)])
@pytest.mark.parametrize("network", SMALL)
def test_every_architecture_takes_grey_and_small_images_and_learns_everywhere(
    network: str, shape: tuple[int, ...]
) -> None:
    module = made(network, shape, **SMALL[network])
    assert module.training
    logits = module(torch.rand(4, *shape))
    assert logits.shape == (4, 10)
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("network", SMALL)
def test_every_architecture_casts(network: str, dtype: torch.dtype) -> None:
    module = made(network, (1, 8, 8), **SMALL[network], mean=[0.5], std=[0.25]).to(dtype)
    logits = module(torch.rand(4, 1, 8, 8, dtype=dtype))
    assert logits.dtype == dtype
    assert logits.isfinite().all()
    assert flops(module, (1, 8, 8)) > 0


def test_all_names_are_covered_here() -> None:
    assert {*SMALL, "wrn-28-10", "wrn-34-10"} <= set(NETWORKS)


def test_the_same_random_state_gives_the_same_weights() -> None:
    states: list[Mapping[str, torch.Tensor]] = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(made("cnn", (1, 8, 8)).state_dict())
    assert torch.equal(states[0]["0.weight"], states[1]["0.weight"])
    assert not torch.equal(states[0]["0.weight"], states[2]["0.weight"])


def test_normalisation_is_a_layer_of_its_own_and_no_weight() -> None:
    mean, std = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]
    module = made("cnn", (3, 8, 8), mean=mean, std=std).eval()
    inner, x = module[1], torch.rand(2, 3, 8, 8)  # type: ignore[index]
    by_hand = torch.stack([(x[:, c] - mean[c]) / std[c] for c in range(3)], dim=1)
    torch.testing.assert_close(module(x), inner(by_hand))
    assert not any("mean" in name.split(".") for name in module.state_dict())
    assert parameters(module) == parameters(inner)


def test_mlp_flattens_what_is_no_image() -> None:
    module = made("mlp", (4, 5), widths=[7])
    assert module(torch.rand(3, 4, 5)).shape == (3, 10)
    assert flops(module, (4, 5)) == 2 * (20 * 7 + 7 * 10)


@pytest.mark.parametrize(
    ("network", "shape", "options", "message"),
    [
        ("cnn", (1, 8, 8), {"width": 3}, "'cnn' has no option 'width'; it has widths, strides, mean, std"),
        ("cnn", (1, 8, 8), {"widths": [8]}, "a stride per width"),
        ("cnn", (1, 8, 8), {"widths": 3}, "'cnn' cannot be built .* {'widths': 3}"),
        ("cnn", (1, 8, 8), {"mean": [0.5]}, "missing 1 required positional argument: 'std'"),
        ("cnn", (1, 8, 8), {"mean": [0.5, 0.5], "std": [1.0, 1.0]}, "mean has 2 numbers for 1 channels"),
        ("cnn", (1, 8, 8), {"mean": [0.5], "std": [0.0]}, "std must be positive"),
        ("resnet18", (40,), {}, r"'resnet18' cannot be built for inputs \[40\]"),
        ("wideresnet", (3, 8, 8), {"depth": 11}, "depth is 6 n \\+ 4, .* got 11"),
        ("wrn-34-10", (3, 8, 8), {"depth": 10}, "'wrn-34-10' has no option 'depth'"),
        ("resnet19", (3, 8, 8), {}, "unknown network 'resnet19'; did you mean resnet18"),
    ],
)
def test_wrong_options_are_named(network: str, shape: tuple[int, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(TemperError, match=message):
        made(network, shape, **options)


def test_a_network_without_a_logit_per_class_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NETWORKS, "_things", {"wrong": lambda shape, classes: nn.Flatten()})
    with pytest.raises(TemperError, match=r"'wrong' gives \[64\], not 10 logits"):
        made("wrong", (1, 8, 8))


def test_timm_is_asked_for_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def without_timm(
        name: str,
        variables: Mapping[str, object] | None = None,
        inside: Mapping[str, object] | None = None,
        names: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        if name == "timm":
            raise ImportError(name)
        return load(name, variables, inside, names, level)

    monkeypatch.setattr(builtins, "__import__", without_timm)
    with pytest.raises(TemperError, match=r'"timm:resnet18" needs timm: pip install "temper-bench\[timm\]"'):
        made("timm:resnet18", (3, 32, 32))


def test_timm_builds_for_our_shape_without_its_weights() -> None:
    pytest.importorskip("timm", reason="the optional extra `timm` is not installed")
    module = made("timm:resnet18", (1, 32, 32), mean=[0.5], std=[0.25])
    assert parameters(module) == 11_689_512 - 2 * 3136 - 513_000 + 5_130
    with pytest.raises(TemperError, match="unknown timm model 'resnet17'; did you mean resnet1"):
        made("timm:resnet17", (3, 32, 32))
    with pytest.raises(TemperError, match=r"cannot be built .* 'pretrained'"):
        made("timm:resnet18", (3, 32, 32), pretrained=True)
    with pytest.raises(TemperError, match=r"Input height \(32\) doesn't match model \(224\)"):
        made("timm:vit_tiny_patch16_224", (3, 32, 32))


@pytest.mark.parametrize(
    ("network", "channels", "size"), [("cnn", 32, (8, 8)), ("mlp", 8, (1, 1)), ("resnet18", 32, (2, 2))]
)
def test_features_are_what_the_last_layers_read(network: str, channels: int, size: tuple[int, int]) -> None:
    """Seen once a call, also by copies of the network that are priced meanwhile; the logits follow from them."""
    module = made(network, (1, 16, 16), **SMALL[network]).eval()
    assert feature_channels(module, (1, 16, 16)) == channels
    x = torch.rand(3, 1, 16, 16)
    with feature_map(module) as seen:
        module.register_forward_hook(lambda *_: flops(module, (1, 16, 16)) and None)
        logits = module(x)
    (features,) = seen
    assert features.shape == (3, channels, *size)
    (slope,) = torch.autograd.grad(logits.sum(), features)
    assert slope.norm() > 0
    assert torch.equal(module(x), logits)


def test_a_double_backward_is_counted_in_full() -> None:
    """Of a linear network Wx the gradient is (softmax - onehot) W: forward and its backward to the input, and for the
    gradient's own gradient the product with W again and the two that form dW."""
    linear = nn.Sequential(nn.Flatten(), nn.Linear(16, 10, bias=False))
    once = 2 * 16 * 10
    assert flops(linear, (1, 4, 4)) == once
    assert double_backward_flops(linear, (1, 4, 4)) == 5 * once
