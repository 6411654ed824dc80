"""A bridge to torchvision: any of its classifiers by name, without its weights, stems for ImageNet included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from bench.errors import TemperError, unknown


def torchvision_factory(name: str) -> Callable[..., nn.Module]:
    """What builds torchvision's classifier `name`, with the options that torchvision takes for it.

    Raises TemperError when torchvision does not know the name.
    """
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise unknown("torchvision model", name, known)

    def factory(shape: tuple[int, ...], classes: int, **options: Any) -> nn.Module:
        if shape[0] != 3:
            raise TemperError(f'network "torchvision:{name}" takes images of 3 channels, not {shape[0]}')
        return models.get_model(name, weights=None, num_classes=classes, **_quiet(name), **options)

    return factory


def _quiet(name: str) -> dict[str, Any]:
    """GoogLeNet and Inception warn, and return further logits in training, unless they are told not to."""
    return {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
