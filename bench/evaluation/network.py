"""The judged network, twice: as it is, and rewritten so that it costs less. Whatever is close is asked of the first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx.experimental.optimization import fuse

from bench.task import correct, lead

NEAR_TIE = 1e-5  # of the logits' size: what is closer to a decision is computed again by the network as it is
SLOPE_TOLERANCE = 1e-2  # between the gradients of both, of their size: a ReLU at 0 may fall either way
FEW_CHANNELS = 4  # convolutions from no more channels than this have their input gradient by matrix product

ELEMENTWISE = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.SiLU, nn.GELU, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Identity)
POOLS = (nn.MaxPool2d, nn.AvgPool2d)
KNOWN = (nn.Conv2d, nn.BatchNorm2d, nn.Linear, nn.Flatten, nn.AdaptiveAvgPool2d, *ELEMENTWISE, *POOLS)


class Network:
    """A model under attack, in eval mode and with frozen weights; inputs (B, ...) to logits (B, C)."""

    def __init__(self, model: nn.Module, fast: nn.Module | None = None) -> None:
        self.model, self.fast = model, fast or model

    def __call__(self, x: Tensor) -> Tensor:
        """Logits by the cheaper of the two networks."""
        logits: Tensor = self.fast(x)
        return logits

    def value_and_gradient(self, loss: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B, C) at x (B, ...), the loss (B,) of them, and its gradient (B, ...)."""
        point = x.detach().requires_grad_()
        with torch.enable_grad():
            logits = self(point)
            value = loss(logits)
            (gradient,) = torch.autograd.grad(value.sum(), point)
        return logits.detach(), value.detach(), gradient.nan_to_num(0.0)

    def margin(self, logits: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """z_y - max over others (B,), negative where the model is wrong; near 0, and where it is not finite, by the
        network as it is."""
        value = lead(logits, y)
        close = (near_zero(value, logits) | value.isinf()).nonzero().squeeze(1)
        if len(close):
            value[close] = self.exact_margin(x[close], y[close])
        return value

    @torch.no_grad()
    def exact_margin(self, x: Tensor, y: Tensor) -> Tensor:
        """The margin by the network as it is, never 0: of a tie it has the sign that `correct` gives it."""
        logits = self.model(x)
        value = lead(logits, y)
        tiny = torch.finfo(value.dtype).tiny
        return torch.where(correct(logits, y), value.clamp_min(tiny), value.clamp_max(-tiny))


def near_zero(value: Tensor, logits: Tensor) -> Tensor:
    """Which margins (B,) are too close to 0 beside their logits (B, C) for the rewritten network to tell."""
    return value.abs() < NEAR_TIE * (1 + logits.abs().amax(1))


def make_network(model: nn.Module, x: Tensor) -> Network:
    """The model with a cheaper double where one is known to be the same: batch norm folded into convolutions, whose
    weights lie as oneDNN likes them.

    The double is made only of layers whose meaning is known, without hooks, and must give the same logits on x and the
    same gradient: tracing goes through a custom `autograd.Function` as if it were not there.
    """
    try:
        fast = simplified(model)
        if x.device.type == "cpu":
            fast = fast.to(memory_format=torch.channels_last)
        (expected, _, slope), (found, _, slope_found) = (raw_gradient(net, _mixture, x) for net in (model, fast))
    except Exception:
        return Network(model)
    same = (found.shape, found.dtype) == (expected.shape, expected.dtype)
    same = same and torch.allclose(found, expected, rtol=1e-4, atol=1e-4)
    same = same and bool((slope_found - slope).norm() <= SLOPE_TOLERANCE * slope.norm())
    return Network(model, fast if same else None)


def scaled(gradient: Tensor) -> Tensor:
    """The gradient (B, ...) with largest entry 1, however small it is; 0 where it is 0 or not finite."""
    gradient = gradient.nan_to_num(0.0, 0.0, 0.0)
    size = gradient.flatten(1).abs().amax(1).clamp_min(torch.finfo(gradient.dtype).tiny)
    return gradient / size.view(-1, *(1,) * (gradient.ndim - 1))


def raw_gradient(model: nn.Module, loss: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (B, C), losses (B,), and their gradient (B, ...): 0 where autograd sees no way back to the input."""
    point = x.detach().requires_grad_()
    with torch.enable_grad():
        logits = model(point)
        value = loss(logits)
        (gradient,) = torch.autograd.grad(value.sum(), point, allow_unused=True) if value.requires_grad else (None,)
    return logits.detach(), value.detach(), torch.zeros_like(x) if gradient is None else gradient


def _mixture(logits: Tensor) -> Tensor:
    """A mix (B,) of logits (B, C) in which no two classes weigh the same."""
    return (logits * torch.linspace(-1, 1, logits.shape[1]).to(logits)).sum(1)


def simplified(model: nn.Module) -> fx.GraphModule:
    """A traced copy of the model in which batch norm is folded. Raises when a part of the model is not known."""
    if any(_has_hooks(module) for module in model.modules()):
        raise ValueError("a model with hooks is not rewritten")
    traced = fuse(model)
    if not isinstance(traced, fx.GraphModule):
        raise ValueError("a model that cannot be traced is not rewritten")
    modules = dict(traced.named_modules())
    for node in traced.graph.nodes:
        if node.op == "call_module" and type(modules[node.target]) not in KNOWN:
            raise ValueError(f"{modules[node.target]} is not known")
        if node.op == "get_attr":
            raise ValueError(f"{node.target} is a constant")
        if node.op == "call_module" and _from_few_channels(modules[node.target]):
            traced.add_submodule(node.target, Narrow(modules[node.target]))
    for module in traced.modules():
        if getattr(module, "inplace", False):
            setattr(module, "inplace", False)  # noqa: B010
    return traced.eval().requires_grad_(False)


class Narrow(nn.Module):
    """A convolution from few channels. oneDNN's gradient to its input is slow; a matrix product is not."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        if not x.requires_grad:
            return self.layer(x)
        result: Tensor = _NarrowConvolution.apply(x, self.layer)
        return result


class _NarrowConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: nn.Conv2d) -> Tensor:
        ctx.layer, ctx.size = layer, x.shape[-2:]
        return layer._conv_forward(x, layer.weight, layer.bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        layer = ctx.layer
        columns = layer.weight.flatten(1).t() @ gradient.flatten(2)
        folded = F.fold(columns, ctx.size, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
        return folded, None


def _from_few_channels(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and module.in_channels <= FEW_CHANNELS
        and module.groups == 1
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


def _has_hooks(module: nn.Module) -> bool:
    return any(
        getattr(module, name)
        for name in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    )
