"""What may stand in a checkpoint beside its tensors: the few classes that cannot run code, and stand-ins for others.

`torch.load(weights_only=True)` makes objects only of classes that it is given by name. Those here make numbers, arrays,
times, paths and mappings; a configuration's class is never imported: an empty thing takes its place.
"""

from __future__ import annotations

import argparse
import datetime
import pathlib
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

MAPPINGS = (  # dictionaries, whose entries stay
    *("easydict.EasyDict", "yacs.config.CfgNode", "addict.addict.Dict", "munch.Munch", "attrdict.dictionary.AttrDict"),
    *(f"{place}.utilities.data.AttributeDict" for place in ("lightning.fabric", "lightning_fabric")),
    *(f"{place}.utilities.parsing.AttributeDict" for place in ("lightning.pytorch", "pytorch_lightning")),
)
CONFIGURATIONS = (
    *("omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig"),
    *("omegaconf.base.ContainerMetadata", "omegaconf.base.Metadata"),
    *(f"omegaconf.nodes.{kind}Node" for kind in ("Any", "Boolean", "Float", "Integer", "String")),
    *("ml_collections.config_dict.config_dict.ConfigDict", "ml_collections.config_dict.config_dict.FieldReference"),
    *("typing.Any", "typing.Union", "typing.Dict", "typing.List"),
)
NUMBERS = (
    *("Bool", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64"),
    *("Float16", "Float32", "Float64", "Str", "Bytes"),
)


class Nothing:
    """What stands in for an object of a configuration: it takes whatever it is given, and keeps none of it."""

    def __new__(cls, *_: Any, **__: Any) -> Nothing:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Forget the state."""


def harmless() -> list[Any]:
    """For `torch.serialization.safe_globals`: things, or pairs of a thing and the name that it stands in for."""
    return [*_numpy(), *_plain(), *((OrderedDict, name) for name in MAPPINGS), *((Nothing, n) for n in CONFIGURATIONS)]


def _numpy() -> Iterator[Any]:
    """Arrays, numbers and dtypes, by their names in NumPy 1 and 2; no arrays of objects."""
    yield from (np.dtype, np.ndarray, np.bool_)
    yield from (type(np.dtype(number)) for number in (np.float32, np.float64, np.int32, np.int64))
    yield from (getattr(np.dtypes, f"{number}DType") for number in NUMBERS)
    for name in ("scalar", "_reconstruct"):
        made = getattr(np._core.multiarray, name)  # type: ignore[attr-defined]
        yield from ((made, f"numpy.{core}.multiarray.{name}") for core in ("core", "_core"))


def _plain() -> list[Any]:
    """Namespaces, paths of any system, times, mappings with a default, versions, and the names of plain types."""
    named: dict[str, Callable[..., Any]] = {
        "pathlib.PosixPath": pathlib.PurePosixPath,
        "pathlib.WindowsPath": pathlib.PureWindowsPath,
        "pathlib._local.PosixPath": pathlib.PurePosixPath,
        "pathlib._local.WindowsPath": pathlib.PureWindowsPath,
        "collections.defaultdict": _mapping,
    }
    kinds = [argparse.Namespace, types.SimpleNamespace, datetime.datetime, datetime.date, datetime.timedelta]
    plain = [(kind, f"builtins.{kind.__name__}") for kind in (list, dict, int, float, str, bool, tuple)]
    return [*kinds, torch.torch_version.TorchVersion, *plain, *((made, name) for name, made in named.items())]


def _mapping(*_: Any) -> OrderedDict[Any, Any]:
    """An empty mapping, without the default that it would have had."""
    return OrderedDict()
