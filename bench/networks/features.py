"""The features of a network: what its last linear layer reads, before it is pooled or flattened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

POOLING = (nn.AdaptiveAvgPool2d, nn.Flatten)


@contextmanager
def feature_map(module: nn.Module) -> Iterator[list[Tensor]]:
    """Inside, every forward of `module` appends its features to the list: (B, D, H, W), with H = W = 1 for a network
    without maps. Works for any network that ends in a linear layer, whoever wrote it."""
    seen: list[Tensor] = []

    def note(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        features = inputs[0]
        seen.append(features if features.ndim == 4 else features.flatten(1)[:, :, None, None])
        return (seen[-1].view_as(features),)  # so that the logits depend on what was noted

    handle = _head(module).register_forward_pre_hook(note)
    try:
        yield seen
    finally:
        handle.remove()


@torch.no_grad()
def feature_channels(module: nn.Module, shape: tuple[int, ...]) -> int:
    """D of the features of a module whose inputs have this shape; modes and statistics stay as they are."""
    was_training = module.training
    with feature_map(module.eval()) as seen:
        module(next(module.parameters()).new_zeros(1, *shape))
    module.train(was_training)
    return seen[-1].shape[1]


def _head(module: nn.Module) -> nn.Module:
    """The first of the layers that end the network: a pooling or flattening right before the last linear layer."""
    leaves = [leaf for leaf in module.modules() if not list(leaf.children())]
    last = max(k for k, leaf in enumerate(leaves) if isinstance(leaf, nn.Linear))
    first = last
    while first > 1 and isinstance(leaves[first - 1], POOLING):
        first -= 1
    return leaves[first]
