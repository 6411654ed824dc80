"""A method file as a syntax tree: what it registers, and what it does that no method needs. Nothing of it is run.

These rules catch honest mistakes and lazy cheats early. The security boundary is the sandbox.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import get_args

from bench.method import METHODS, MethodInfo
from bench.registry import file_of
from bench.scenario import Track
from bench.skeleton import NAME
from bench.words import counted

REQUIRED = ("version", "family", "reference")
CREDITS = ("authors", "licence")  # required of a submission too
KNOWN = [*REQUIRED, *sorted(set(MethodInfo.__dataclass_fields__) - {"name", *REQUIRED})]

ALLOWED = {  # modules that a method may import, with all below them
    *("__future__", "abc", "collections", "copy", "dataclasses", "enum", "functools", "itertools", "math", "operator"),
    *("typing", "numpy", "pydantic", "torch", "methods"),
    *("bench.inner", "bench.losses", "bench.method", "bench.networks", "bench.tally", "bench.task", "bench.threat"),
    *("bench.Attack", "bench.Batch", "bench.Losses", "bench.Method", "bench.Nets", "bench.Share"),
    *("bench.register", "bench.L2", "bench.Linf", "bench.Threat"),
}
FORBIDDEN = {  # of those, what reaches files, other processes, other code or random states that are not the method's
    *("torch.load", "torch.save", "torch.hub", "torch.multiprocessing", "torch.distributed", "torch.package"),
    *("torch.serialization", "torch.utils.cpp_extension", "torch.ops", "torch.jit", "torch.classes"),
    *("numpy.load", "numpy.save", "numpy.memmap", "numpy.fromfile", "numpy.genfromtxt", "numpy.loadtxt"),
    *("numpy.ctypeslib", "numpy.f2py", "bench.networks.weights"),
    *(
        "torch.manual_seed",
        "torch.seed",
        "torch.random",
        "torch.set_rng_state",
        "torch.set_num_threads",
        "numpy.random",
    ),
}
BUILTINS = {*("open", "eval", "exec", "compile", "__import__", "input", "breakpoint", "globals", "locals", "vars")} | {
    *("setattr", "delattr", "memoryview")
}
OWN = {"self", "cls", "batch"}  # a method may set attributes of these
DUNDERS = {"__init__", "__name__"}
BYTES, NUMBERS, TEXT = 32_000, 400, 12_000  # the most that a file, its numbers, and its texts may come to
LONGEST = 200  # characters of a name, a version, a reference, ...: they stand in tables
DEPTH = 100  # of the syntax tree
BITS = 64  # of one integer


@dataclass(frozen=True)
class Source:
    """A method file: its bytes, the names that it registers, what it says of the first, and all that is wrong."""

    content: bytes
    names: list[str]
    info: MethodInfo | None
    problems: list[str]

    @property
    def sha256(self) -> str:
        """Of the file: what is frozen before the confirming seed is drawn."""
        return sha256(self.content).hexdigest()


def read_source(content: bytes) -> Source:
    """What a file registers, and what is wrong with that."""
    try:
        tree = ast.parse(content.decode())
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return Source(content, [], None, [f"this is not a Python file that can be read: {error}"])
    if _deep(tree):
        return Source(content, [], None, [f"the file nests more than {DEPTH} expressions or statements in each other"])
    found = [(node, call) for node in tree.body if isinstance(node, ast.ClassDef) for call in _registrations(node)]
    if not found:
        example = '@register("my-method", version=..., family=..., reference=...)'
        return Source(content, [], None, [f"no class of the file has the decorator {example}"])
    names, problems = [], []
    for node, call in found:
        name = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
        names.append(str(name or node.name))
        problems += [f"line {call.lineno}, {node.name}: {each}" for each in _class_problems(node, call, name, content)]
    return Source(content, names, None if problems else _info(*found[0]), problems)


def read_submission(content: bytes) -> Source:
    """`read_source` of a file that is submitted: one method, with its credits, that keeps to what methods need."""
    source = read_source(content)
    problems = list(source.problems)
    if not problems:
        if len(source.names) > 1:
            problems.append(f"the file registers {counted(len(source.names), 'method')}; submit one file a method")
        assert source.info is not None
        written = (*REQUIRED, *CREDITS)
        problems += [f"@register needs {name}=, as text" for name in written if not getattr(source.info, name)]
        long = [name for name in written if not _in_a_line(getattr(source.info, name))]
        problems += [f"{name} must be one line of at most {LONGEST} characters" for name in long]
        problems += sorted(set(_needless(content)))
    return Source(content, source.names, source.info, problems)


def _deep(tree: ast.AST) -> bool:
    """Whether a tree is so deep that walking it could exhaust the stack."""
    level: list[ast.AST] = [tree]
    for _ in range(DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return bool(level)


def _registrations(node: ast.ClassDef) -> Iterator[ast.Call]:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call):
            called = decorator.func
            if (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")) == "register":
                yield decorator


def _class_problems(node: ast.ClassDef, call: ast.Call, name: object, content: bytes) -> Iterator[str]:
    given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    if not isinstance(name, str) or not name:
        yield "the first argument of @register must be the name, as a string"
    elif not re.fullmatch(NAME, name) or len(name) > LONGEST:
        yield f"a method is named like my-method (a-z, 0-9 and single hyphens), got {name!r}"
    elif name in METHODS and not _is_file_of(name, content):
        yield f"there is a method {name!r} already; choose another name"
    for field in REQUIRED:
        value = given.get(field)
        if value is None:
            yield f"@register needs {field}="
        elif isinstance(value, ast.Constant) and not (isinstance(value.value, str) and value.value.strip()):
            yield f"{field} must be text"
    track = given.get("track")
    if track is not None and not (isinstance(track, ast.Constant) and track.value in get_args(Track)):
        yield f"track must be one of {', '.join(get_args(Track))}, written out"
    for field in given.keys() - set(KNOWN):
        yield f"@register knows no {field}; it knows {', '.join(KNOWN)}"
    if not node.bases:
        yield "the class must derive from bench.Method, or from a method"
    defined = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
    plain = any(getattr(base, "id", getattr(base, "attr", "")) == "Method" for base in node.bases)
    if plain and "loss" not in defined:
        yield "the class defines no loss(self, nets, batch)"
    if not ast.get_docstring(node):
        yield "the class has no docstring: say what is new, in a sentence"


def _is_file_of(name: str, content: bytes) -> bool:
    """Whether the method that is registered under this name comes from this very file."""
    return file_of(METHODS[name]).read_bytes() == content


def _in_a_line(text: str) -> bool:
    return len(text) <= LONGEST and text.isprintable()


def _info(node: ast.ClassDef, call: ast.Call) -> MethodInfo:
    """The registration, as far as it is written out."""
    given: dict[str, object] = {}
    for keyword in call.keywords:
        try:
            given[str(keyword.arg)] = ast.literal_eval(keyword.value)
        except ValueError:
            continue  # computed: it is known once the file runs
    texts = {key: value for key, value in given.items() if isinstance(value, str)}
    return MethodInfo(str(ast.literal_eval(call.args[0])), **({"version": "", "family": "", "reference": ""} | texts))  # type: ignore[arg-type]


def _needless(content: bytes) -> Iterator[str]:
    """What the file does that no method needs, a line each."""
    if len(content) > BYTES:
        yield f"the file has {len(content):,} bytes; a method has at most {BYTES:,}"
    tree = ast.parse(content.decode())
    imports = list(_imports(tree))
    names = {local: stands_for for local, stands_for, _, _ in imports}
    for _, _, name, line in imports:
        if name != "bench" and (not _below(name, ALLOWED) or _below(name, FORBIDDEN)):
            yield f"line {line}: imports {name}, which no method needs"
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        for words in _does(node, names):
            yield f"line {line}: {words}"
    constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    numbers = sum(type(each) in (int, float, complex) for each in constants)
    if numbers > NUMBERS:
        yield f"the file holds {numbers:,} numbers; a method has at most {NUMBERS}: data do not belong in it"
    texts = sum(len(each) for each in constants if isinstance(each, str | bytes))
    if texts > TEXT:
        yield f"the file holds {texts:,} characters of text; a method has at most {TEXT:,}: data do not belong in it"


def _does(node: ast.AST, imported: dict[str, str]) -> Iterator[str]:
    """What one node of the tree does that no method needs."""
    match node:
        case ast.Name(id=name) if name in BUILTINS or (name.startswith("__") and name not in DUNDERS):
            yield f"uses {name}"
        case ast.Attribute(attr=name) if name.startswith("__") and name not in DUNDERS:
            yield f"reaches for {name}"
        case ast.Attribute(attr="forward", value=called) if not _owned(called):
            yield f"uses {ast.unparse(node)}: call the network itself, the meter hangs on that"
        case ast.Attribute(attr=name) if name.startswith("register_") and not _owned(node.value):
            yield f"uses {ast.unparse(node)}: networks stay as they are built"
        case ast.Attribute(ctx=ast.Store() | ast.Del()) if not _owned(node.value):
            yield f"sets {ast.unparse(node)}, which is not its own"
        case ast.Constant(value=int() as number) if number.bit_length() > BITS:
            yield f"holds a number of {number.bit_length():,} bits; at most {BITS}: data do not belong in a method"
    if isinstance(node, ast.Attribute | ast.Name):
        name = _full_name(node, imported)
        if found := _below(name, FORBIDDEN):
            yield f"uses {found}"
        elif name.startswith("bench.") and not _below(name, ALLOWED):
            yield f"uses {'.'.join(name.split('.')[:2])}"


def _imports(tree: ast.AST) -> Iterator[tuple[str, str, str, int]]:
    """(local name, what it stands for, what was imported, line) of every import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                start = each.name.partition(".")[0]
                yield each.asname or start, each.name if each.asname else start, each.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            for each in node.names:
                start = "." * node.level + (node.module or "")
                yield each.asname or each.name, f"{start}.{each.name}", f"{start}.{each.name}", node.lineno


def _below(name: str, modules: set[str]) -> str:
    """Which of the modules a name is, or lies below; "" for none."""
    parts = name.split(".")
    starts = (".".join(parts[: k + 1]) for k in range(len(parts)))
    return next((start for start in starts if start in modules), "")


def _full_name(node: ast.expr, imported: dict[str, str]) -> str:
    """`torch.hub.load` for T.hub.load after `import torch as T`; empty for what was not imported."""
    if isinstance(node, ast.Name):
        return imported.get(node.id, "")
    start = _full_name(node.value, imported) if isinstance(node, ast.Attribute) else ""
    return f"{start}.{node.attr}" if start and isinstance(node, ast.Attribute) else ""


def _owned(node: ast.expr) -> bool:
    """Whether attributes of an expression may be set: of `self`, of the batch, and of what they alone hold."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "super"
    return isinstance(node, ast.Name) and node.id in OWN
