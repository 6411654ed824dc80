"""Is a loaded network right? It must give finite logits, and, on labelled examples, an accuracy that is no chance."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bench.errors import TemperError
from bench.networks.normalise import Normalise
from bench.task import correct

EXAMPLES = 256  # of those given that are looked at
BETTER = 0.1  # how much more accuracy a normalisation must bring before it is spoken of
CUSTOMARY = {  # normalisations by channels: whose, means, stds
    3: (
        ("CIFAR-10's", (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
        ("CIFAR-100's", (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
        ("ImageNet's", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("the one to [-1, 1]", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ),
    1: (
        ("MNIST's", (0.1307,), (0.3081,)),
        ("Fashion-MNIST's", (0.286,), (0.353,)),
        ("the one to [-1, 1]", (0.5,), (0.5,)),
    ),
}


@torch.no_grad()
def must_be_finite(network: nn.Module, shape: Sequence[int], classes: int = 0) -> None:
    """Raise TemperError unless the network, in eval mode, gives finite logits (2, classes) to images (2, *shape) in
    [0, 1]; `classes=0` takes any number."""
    for name, tensor in network.state_dict().items():
        if not tensor.isfinite().all():
            raise TemperError(
                f"the weights hold values that are not finite, first in {name!r}: take another checkpoint"
            )
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0), device="cpu")
    try:
        logits = network.eval()(x)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        problem = (str(error).splitlines() or [type(error).__name__])[0]
        raise TemperError(f"the network does not take images {list(shape)}: {problem}") from None
    if not isinstance(logits, Tensor):
        raise TemperError(f"the network gives a {type(logits).__name__}, not a tensor of logits")
    if classes and logits.shape != (2, classes):
        raise TemperError(f"the network gives {list(logits.shape[1:])} to one image, not {classes} logits")
    if not logits.isfinite().all():
        raise TemperError("the network's logits are not finite: are these the weights of this architecture?")


def judged(
    network: nn.Module, examples: tuple[Tensor, Tensor], classes: int, others: Sequence[tuple[str, nn.Module]]
) -> tuple[float, list[str]]:
    """The clean accuracy on some of the examples (x (N, C, ...) in [0, 1], y (N,)), and what there is to say of it.

    `others` are further readings of the same weights, by the options that make them; one that is clearly more accurate
    is spoken of.
    """
    x, y = _some(*examples)
    accuracy = _accuracy(network, x, y)
    told = [f"{100 * accuracy:.1f} % of {len(y)} clean examples are classified right"]
    if at_chance(accuracy, classes, len(y)):
        told.append(
            f"WARNING: that is about chance for {classes} classes, so the weights are hardly read as they were meant; "
            "were the inputs normalised in training? then give --normalise MEANS,STDS"
        )
    found = [(_accuracy(other, x, y), options) for options, other in others if accuracy <= 1 - BETTER]
    best, options = max(found, default=(0.0, ""))
    if best >= accuracy + BETTER:
        told.append(f"WARNING: with {options} it would be {100 * best:.1f} %: give that if the network was trained so")
    return accuracy, told


def at_chance(accuracy: float, classes: int, count: int) -> bool:
    """Whether an accuracy on so many examples is not far above that of guessing: by less than 4 standard errors, or a
    tenth of the way to 1."""
    chance = 1 / classes
    return accuracy < chance + max(4 * (chance * (1 - chance) / count) ** 0.5, 0.1 * (1 - chance))


def normalised(network: nn.Module, channels: int) -> list[tuple[str, nn.Module]]:
    """The network behind each customary normalisation of images of so many channels, by the option that makes it."""
    return [
        (f"--normalise {','.join(map(str, (*mean, *std)))} ({whose})", _behind(network, channels, mean, std))
        for whose, mean, std in CUSTOMARY.get(channels, ())
    ]


def _behind(network: nn.Module, channels: int, mean: Sequence[float], std: Sequence[float]) -> nn.Module:
    layer = Normalise(channels, mean, std).to(next(network.parameters()).device)
    return nn.Sequential(layer, network).eval()


def _some(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """At most EXAMPLES of the examples, from all over."""
    picked = torch.linspace(0, len(y) - 1, min(len(y), EXAMPLES), device=y.device).round().long()
    return x[picked], y[picked]


@torch.no_grad()
def _accuracy(network: nn.Module, x: Tensor, y: Tensor) -> float:
    pairs = zip(x.split(64), y.split(64), strict=True)
    return sum(int(correct(network.eval()(inputs), labels).sum()) for inputs, labels in pairs) / len(y)
