"""Runs a method file in a sandbox as far as `setup`, with nothing in place of PyTorch: most rogues need none.

`python raw.py FILE [STAGE]`. What a rogue imports of the harness that needs no PyTorch is the real thing.
"""

import sys
from importlib.util import find_spec
from types import ModuleType


class Nothing:
    """Takes every call and has every attribute."""

    def __call__(self, *args: object, **fields: object) -> "Nothing":
        return self

    def __getattr__(self, name: str) -> "Nothing":
        return self


class Register(list[type]):
    """Stands in for `bench.register`: keeps the class."""

    def __call__(self, *args: object, **info: object) -> object:
        return self.append


def main(file: str) -> None:
    """Run the file, and `setup` of the method in it."""
    places = find_spec("bench").submodule_search_locations  # type: ignore[union-attr]
    registered = Register()
    for name in ("torch", "bench", "bench.inner", "bench.losses"):
        module = sys.modules[name] = ModuleType(name)
        module.__getattr__ = lambda name: Nothing()  # type: ignore[method-assign]
    bench = sys.modules["bench"]
    bench.__dict__.update(Method=object, register=registered, __path__=places)
    with open(file, "rb") as source:  # noqa: PTH123
        exec(compile(source.read(), file, "exec"), {"__name__": "rogue"})
    registered[0]().setup(Nothing())


if __name__ == "__main__":
    main(sys.argv[1])
