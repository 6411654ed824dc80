"""The names that customary codes give to the layers of our networks, as a table of patterns.

A pattern must match the whole name of a layer (a tensor's name without its last part, such as `.weight`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from torch import Tensor

Rule = tuple[str, str | Callable[[re.Match[str]], str]]
HEAD: Rule = (r"linear|fc|head|classifier|logits|output|last_linear|head\.fc|fc\.0|classifier\.[01]", "head.2")
LAST_NORM: Rule = (r"bn|bn1|bn_last|last_bn|final_bn|bn_final|norm", "norm.0")
UNUSED = re.compile(r"(^|\.)sub_block1\.")  # TRADES' WideResNet and its heirs keep a stage that no forward goes through
DEEPMIND = re.compile(r"(^|\.)(batchnorm_[01]|conv_2d_1)\.")
PADDED = (
    "its names are those of DeepMind's network (Gowal et al. 2020, also Rade and Moosavi 2021, Wang et al. 2023), "
    "which pads strided convolutions on two sides only and mostly has Swish for ReLU: ours would give other logits"
)


class Layout(NamedTuple):
    """Whose names they are, and the rules that turn them into ours."""

    whose: str
    rules: tuple[Rule, ...]


def _stage(match: re.Match[str]) -> str:
    """Stages and blocks, counted from 0 as ours: `layer1.0.conv2` is `stages.0.0.conv2`."""
    return f"stages.{int(match['stage']) - 1}.{match['block']}.{match['layer']}"


def _downsample(match: re.Match[str]) -> str:
    """The shortcut of a ResNet: convolution and norm."""
    return f"stages.{int(match['stage']) - 1}.{match['block']}.downsample.{match['part']}"


def _shortcut(match: re.Match[str]) -> str:
    """The shortcut of a pre-activation block: a convolution alone."""
    return f"stages.{int(match['stage']) - 1}.{match['block']}.shortcut"


def _residual(match: re.Match[str]) -> str:
    """A residual branch as one sequence: convolution, norm, ReLU, convolution, norm."""
    layer = {"0": "conv1", "1": "bn1", "3": "conv2", "4": "bn2"}[match["place"]]
    return f"stages.{int(match['stage']) - 2}.{match['block']}.{layer}"


def _x_downsample(match: re.Match[str]) -> str:
    return f"stages.{int(match['stage']) - 2}.{match['block']}.downsample.{match['part']}"


def _inverted(match: re.Match[str]) -> str:
    kind = {"conv": 0, "bn": 1}[match["kind"]]
    return f"features.{int(match['block']) + 1}.residual.{int(match['place']) - 1}.{kind}"


def _inverted_shortcut(match: re.Match[str]) -> str:
    return f"features.{int(match['block']) + 1}.shortcut.{match['part']}"


_BLOCK = r"(?:layer|stage)(?P<stage>[1-4])\.(?P<block>\d+)"
_LAYERS = r"(?P<layer>conv[12]|bn[12])"
_SHORTCUT = r"(?:shortcut|downsample|skip|identity_downsample)"
_X = r"conv(?P<stage>[2-5])_x\.(?P<block>\d+)"

LAYOUTS = (
    Layout(
        "a ResNet of pytorch-cifar, RSLAD, torchvision or timm",
        (
            (r"conv1|stem", "stem.0"),
            (r"bn1|norm1", "stem.1"),
            (rf"{_BLOCK}\.{_LAYERS}", _stage),
            (rf"{_BLOCK}\.{_SHORTCUT}\.(?P<part>[01])", _downsample),
            HEAD,
        ),
    ),
    Layout(
        "a ResNet of pytorch-cifar100",
        (
            (r"conv1\.0", "stem.0"),
            (r"conv1\.1", "stem.1"),
            (rf"{_X}\.residual_function\.(?P<place>[0134])", _residual),
            (rf"{_X}\.shortcut\.(?P<part>[01])", _x_downsample),
            HEAD,
        ),
    ),
    Layout(
        "a PreActResNet of pytorch-cifar, Rice et al. or RobustBench",
        (
            (r"conv1|stem", "stem"),
            (rf"{_BLOCK}\.{_LAYERS}", _stage),
            (rf"{_BLOCK}\.{_SHORTCUT}(?:\.0)?", _shortcut),
            LAST_NORM,
            HEAD,
        ),
    ),
    Layout(
        "a WideResNet of TRADES, RSLAD or RobustBench",
        (
            (r"conv1|stem_conv", "stem"),
            (rf"block(?P<stage>[1-3])\.layer\.(?P<block>\d+)\.{_LAYERS}", _stage),
            (r"block(?P<stage>[1-3])\.layer\.(?P<block>\d+)\.(?:convShortcut|shortcut)", _shortcut),
            LAST_NORM,
            HEAD,
        ),
    ),
    Layout(
        "a MobileNetV2 of pytorch-cifar, RSLAD or AdaAD",
        (
            (r"conv1", "features.0.0"),
            (r"bn1", "features.0.1"),
            (r"layers\.(?P<block>\d+)\.(?P<kind>conv|bn)(?P<place>[123])", _inverted),
            (r"layers\.(?P<block>\d+)\.shortcut\.(?P<part>[01])", _inverted_shortcut),
            (r"conv2", "features.18.0"),
            (r"bn2", "features.18.1"),
            HEAD,
        ),
    ),
)


def renamed(tensors: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    """The tensors under our names; those of no rule keep theirs."""
    compiled = [(re.compile(pattern), to) for pattern, to in layout.rules]
    return {_new(name, compiled): tensor for name, tensor in tensors.items()}


def look_alike(names: Iterable[str]) -> str:
    """Why a network with these names is none of ours though its shapes agree; empty where nothing speaks against it."""
    return PADDED if any(DEEPMIND.search(name) for name in names) else ""


def _new(name: str, rules: Iterable[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]]) -> str:
    layer, dot, field = name.rpartition(".")
    for pattern, to in rules:
        match = pattern.fullmatch(layer)
        if match:
            return (match.expand(to) if isinstance(to, str) else to(match)) + dot + field
    return name
