"""Networks: student and teacher architectures by name, what they cost, and their weights on disk."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.errors import TemperError
from bench.networks.normalise import Normalise
from bench.networks.timm import timm_factory
from bench.networks.torchvision import torchvision_factory
from bench.networks.weights import load_weights, read_weights, save_weights
from bench.registry import Registry
from bench.scenario import NetworkSpec

__all__ = [
    "NETWORKS",
    "Normalise",
    "build",
    "copied",
    "counted_flops",
    "double_backward_flops",
    "flops",
    "load_weights",
    "parameters",
    "read_weights",
    "save_weights",
]

Factory = Callable[..., nn.Module]  # called with (shape, classes, **options)

NETWORKS: Registry[Factory] = Registry("network", group="temper.networks")
NETWORKS.add("cnn", "bench.networks.cnn:cnn")
NETWORKS.add("mlp", "bench.networks.mlp:mlp")
NETWORKS.add("mobilenetv2", "bench.networks.mobilenetv2:mobilenetv2")  # torchvision takes seconds to import
NETWORKS.add("preactresnet18", "bench.networks.resnet:preactresnet18")
NETWORKS.add("resnet18", "bench.networks.resnet:resnet18")
NETWORKS.add("wideresnet", "bench.networks.resnet:wideresnet")
NETWORKS.add("wrn-28-10", "bench.networks.resnet:wrn_28_10")
NETWORKS.add("wrn-34-10", "bench.networks.resnet:wrn_34_10")


def build(spec: NetworkSpec, shape: tuple[int, ...], classes: int) -> nn.Module:
    """The network that `spec` names, in training mode: inputs (B, *shape) in [0, 1] to logits (B, classes).

    `timm:NAME` is an architecture of timm, `torchvision:NAME` one of torchvision. Every network takes the options
    `mean` and `std` (one number per channel): it then normalises its inputs itself, in a first layer. Raises
    TemperError for an unknown network or option, for a value that an option cannot have, and when one example does
    not go through.
    """
    factory, options = _factory(spec.network), dict(spec.options)
    constants = {name: options.pop(name) for name in ("mean", "std") if name in options}
    _known(spec.network, factory, options)
    try:
        network = factory(shape, classes, **options)
        if constants:
            network = nn.Sequential(Normalise(shape[0], **constants), network)
        logits = _tried(network, shape)
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        problem = (str(error).splitlines() or [type(error).__name__])[0]
        raise TemperError(
            f"network {spec.network!r} cannot be built for inputs {list(shape)} with options {spec.options}: {problem}"
        ) from None
    if logits.shape != (1, classes):
        raise TemperError(f"network {spec.network!r} gives {list(logits.shape[1:])}, not {classes} logits")
    return network.train()


def flops(module: nn.Module, shape: tuple[int, ...]) -> int:
    """FLOPs of one forward on one example of this shape, in eval mode; a multiply-accumulate is two.

    Attention is counted as the matrix products it stands for, whichever kernel the device would take.
    """
    with _plain_attention(), FlopCounterMode(display=False) as counter:
        _tried(copied(module), shape)
    return counter.get_total_flops()


def double_backward_flops(module: nn.Module, shape: tuple[int, ...]) -> int:
    """FLOPs, on one example of this shape in eval mode, of a forward, a backward to the input, and the backward of that
    gradient to the weights (Drucker and Le Cun 1992)."""
    module = copied(module).eval().requires_grad_(True)
    point = next(module.parameters()).new_zeros(1, *shape).requires_grad_()
    with _plain_attention(), counted_flops() as counter, torch.enable_grad():
        logits = module(point * 1)
        (gradient,) = torch.autograd.grad(logits.logsumexp(1).sum(), point, create_graph=True)
        torch.autograd.grad(gradient.square().sum(), list(module.parameters()), allow_unused=True)
    return counter.get_total_flops()


def copied(module: nn.Module) -> nn.Module:
    """A copy without hooks, whose calls nobody counts."""
    module = copy.deepcopy(module)
    for layer in module.modules():
        layer._forward_hooks.clear()
        layer._forward_pre_hooks.clear()
    return module


def counted_flops() -> FlopCounterMode:
    """FlopCounterMode with a right formula for grouped convolutions: its own forgets `groups` in the gradient of the
    weights, which overstates the backward of a depthwise convolution about tenfold (torch 2.14)."""
    return FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution_backward: _convolution_backward})


def _convolution_backward(gradient: list[int], x: list[int], weight: list[int], *rest: Any, **_: Any) -> int:
    """As many FLOPs as forward for each of the two gradients that are asked for."""
    to_input, to_weight = rest[7][:2]
    return 2 * math.prod(gradient) * math.prod(weight[1:]) * (int(to_input) + int(to_weight))


def parameters(module: nn.Module) -> int:
    """How many numbers the module learns."""
    return sum(parameter.numel() for parameter in module.parameters())


@torch.no_grad()
def _tried(module: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """What the module, put in eval mode, says to one example of zeros: (1, classes)."""
    like = next(module.parameters(), torch.zeros(()))
    return module.eval()(like.new_zeros(1, *shape))


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Inside, attention is made of products that FlopCounterMode sees; it misses some of the fused kernels."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _factory(name: str) -> Factory:
    library, colon, model = name.partition(":")
    bridges = {"timm": timm_factory, "torchvision": torchvision_factory}
    return bridges[library](model) if colon and library in bridges else NETWORKS[name]


def _known(name: str, factory: Factory, options: dict[str, Any]) -> None:
    """Raise TemperError for an option that the network does not have."""
    known = list(inspect.signature(factory).parameters.values())[2:]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in known):
        return
    names = [*(parameter.name for parameter in known), "mean", "std"]
    for option in options:
        if option not in names:
            raise TemperError(f"network {name!r} has no option {option!r}; it has {', '.join(names)}")
