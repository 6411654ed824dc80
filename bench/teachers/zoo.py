"""Bridges to outside zoos of teachers, each an optional extra."""

from __future__ import annotations

from torch import nn

from bench.errors import TemperError
from bench.files import UNWRITABLE, cache, cannot_write
from bench.threat import Threat


def load_from_zoo(name: str, threat: Threat) -> nn.Module:
    """The model that `name` asks for, `robustbench:MODEL[@DATASET]` (default cifar10): inputs in [0, 1] to logits.

    RobustBench downloads the weights at first use. Raises TemperError when it is not installed or has no such model.
    """
    zoo, _, model = name.partition(":")
    if zoo != "robustbench" or not model:
        raise TemperError(f"unknown zoo in {name!r}; write robustbench:MODEL or robustbench:MODEL@DATASET")
    try:
        from robustbench.utils import load_model
    except ImportError:
        raise TemperError("teachers of RobustBench need `pip install robustbench`; see docs/teachers.md") from None
    model, _, dataset = model.partition("@")
    try:
        return load_model(
            model_name=model,
            dataset=dataset or "cifar10",
            threat_model=threat.norm,
            model_dir=str(cache() / "robustbench"),
        )
    except (KeyError, ValueError) as error:
        raise TemperError(f"RobustBench has no model {model!r} for {dataset or 'cifar10'}, {threat.norm}") from error
    except OSError as error:
        if error.errno in UNWRITABLE:
            raise cannot_write(cache() / "robustbench", error) from None
        raise TemperError(f"the weights of {name} could not be downloaded: {error}") from None
