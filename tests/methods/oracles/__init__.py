"""Formulas of the methods, family by family, in explicit torch: they use nothing of `bench.losses` or `methods`."""

from importlib import import_module
from pkgutil import iter_modules

from tests.methods.setting import Golden

GOLDEN: dict[str, list[Golden]] = {}  # by method: its defaults first, then other hyper-parameters
for _module in iter_modules(__path__):
    GOLDEN |= import_module(f"{__name__}.{_module.name}").GOLDEN
