"""What a dotted name of a method file reaches, looked up in the real modules. Nothing is called."""

from __future__ import annotations

import sys
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from types import BuiltinFunctionType, FunctionType, ModuleType

WHOLE = {  # modules that a method may use, but for REFUSED; modules in them that are not here are out of reach
    *("collections.abc", "itertools", "math", "methods", "numpy", "numpy.fft", "numpy.linalg", "numpy.typing"),
    *("operator", "torch", "torch.amp", "torch.autograd", "torch.autograd.functional", "torch.distributions"),
    *("torch.fft", "torch.func", "torch.linalg", "torch.nn", "torch.nn.functional", "torch.nn.init"),
    *(
        "torch.nn.parameter",
        "torch.nn.utils",
        "torch.nn.utils.parametrizations",
        "torch.optim",
        "torch.optim.lr_scheduler",
    ),
    *("torch.special", "torch.types"),
    *("bench.inner", "bench.losses", "bench.tally", "bench.task", "bench.threat"),
    *("bench.networks.cnn", "bench.networks.discriminators", "bench.networks.features"),
    *("bench.networks.generators", "bench.networks.mlp", "bench.networks.normalise", "bench.networks.resnet"),
}
PARTS = {  # modules of which a method may use some names
    "__future__": "annotations",
    "abc": "ABC abstractmethod",
    "bench": "Attack Batch L2 Linf Losses Method Nets Share Threat register",
    "bench.method": "Attack Averaging Batch Losses Method Nets Share register",
    "bench.networks": "Normalise copied double_backward_flops flops parameters",
    "collections": "ChainMap Counter OrderedDict defaultdict deque namedtuple",
    "copy": "copy deepcopy",
    "dataclasses": "KW_ONLY asdict astuple dataclass field fields is_dataclass replace",
    "functools": "cache cached_property lru_cache partial reduce",
    "pydantic": "ConfigDict Field NegativeFloat NegativeInt NonNegativeFloat NonNegativeInt NonPositiveFloat "
    "NonPositiveInt PositiveFloat PositiveInt ValidationError computed_field field_validator model_validator",
    "typing": "Annotated Any Callable ClassVar Final Generic Iterable Iterator Literal Mapping NamedTuple Optional "
    "Protocol Self Sequence TYPE_CHECKING TypeAlias TypeVar TypedDict Union cast overload",
}
REFUSED = (  # of the modules in WHOLE: what reaches files, other code, or states that are not the method's
    *("torch.load", "torch.save", "torch.compile", "torch.from_file", "torch.get_file_path", "torch.import_*"),
    *("torch.parse_*", "torch.PyTorchFile*", "torch.*Script*", "torch.*Storage*", "torch.CompilationUnit"),
    *("torch.*seed", "torch.*_rng_state", "torch.default_generator", "torch.set_*", "torch.init_*"),
    *("torch.get_device_module", "torch.FileCheck", "torch.fork", "torch.*LoggerBase", "torch.nn.DataParallel"),
    *("numpy.load*", "numpy.save*", "numpy.*txt", "numpy.*file*", "numpy.memmap", "numpy.fromregex", "numpy.set*"),
    *("numpy.test", "numpy.show_*", "operator.attrgetter", "operator.methodcaller"),
)


def beyond(name: str) -> str:
    """The start of a dotted name with which it leaves what a method may use; "" where it does not."""
    return _followed(name)[1]


def reached(name: str) -> object:
    """What a dotted name stands for, as far as modules lead; None where that is unknown."""
    return _followed(name)[0]


@cache
def _load() -> set[str]:
    """Import all modules that a method may use, so that names can be looked up; returns their names."""
    for name in (*WHOLE, *PARTS):
        import_module(name)
    return {*WHOLE, *PARTS, *(name for name in sys.modules if name.startswith("methods."))}


def _followed(name: str) -> tuple[object, str]:
    """What a dotted name stands for, as far as modules lead; and the start of it that is out of bounds, or ""."""
    modules, (root, *parts) = _load(), name.split(".")
    if root not in modules:
        return None, root or name
    found: object = sys.modules[root]
    for part in parts:
        if not isinstance(found, ModuleType):
            return found, ""  # attributes of classes and functions
        home, root = found.__name__, f"{root}.{part}"
        inside = vars(found).get(part, sys.modules.get(f"{home}.{part}"))
        if isinstance(inside, ModuleType):
            allowed = inside.__name__ in modules
        elif home in PARTS:
            allowed = part in PARTS[home].split()
        else:
            allowed = part in vars(found) and _is_open(f"{home}.{part}", inside, modules)
        if not allowed:
            return None, root
        found = inside
    return found, ""


def _is_open(name: str, found: object, modules: set[str]) -> bool:
    """Whether what a module holds under this name is for methods: nothing private, refused, or of a foreign module."""
    if name.rpartition(".")[2].startswith("_") or any(fnmatchcase(name, each) for each in REFUSED):
        return False
    if not isinstance(found, FunctionType | BuiltinFunctionType | type) or not isinstance(found.__module__, str):
        return True
    home = found.__module__
    package = home.partition(".")[0].lstrip("_")
    if package in ("bench", "methods"):
        return home in modules
    return package in {each.partition(".")[0] for each in modules}
