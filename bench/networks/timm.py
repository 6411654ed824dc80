"""A bridge to timm: any of its architectures by name, without its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from bench.errors import TemperError, unknown


def timm_factory(name: str) -> Callable[..., nn.Module]:
    """What builds timm's architecture `name`, with the options that timm takes for it (`img_size` and others).

    Raises TemperError when timm is not installed or does not know the name.
    """
    try:
        import timm
    except ImportError:
        raise TemperError(f'network "timm:{name}" needs timm: pip install "temper-bench[timm]"') from None
    if not timm.is_model(name):
        raise unknown("timm model", name, timm.list_models())

    def factory(shape: tuple[int, ...], classes: int, **options: Any) -> nn.Module:
        return timm.create_model(name, pretrained=False, num_classes=classes, in_chans=shape[0], **options)

    return factory
