"""What a method file does that no method needs: a line of words each. Few general rules, on the syntax tree alone."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from types import FunctionType, ModuleType

from bench.submission.reach import beyond, reached

BUILTINS = {  # what a method may use of Python's own names, besides exceptions
    *("abs", "all", "any", "bool", "bytes", "callable", "classmethod", "complex", "dict", "divmod", "enumerate"),
    *("filter", "float", "frozenset", "int", "isinstance", "issubclass", "iter", "len", "list", "map", "max", "min"),
    *("next", "object", "pow", "print", "property", "range", "repr", "reversed", "round", "set", "slice", "sorted"),
    *("staticmethod", "str", "sum", "super", "tuple", "zip", "Ellipsis", "NotImplemented", "__name__"),
}
OWN = {"self", "cls", "batch"}  # a method may set attributes of these, and have private ones
PUBLIC = {"__name__", "_asdict", "_replace"}  # attributes with an underscore that are for all
REACHING = {  # attributes that lead to frames, memory, files, weights, other attributes, the meter
    *("ag_frame", "cr_frame", "gi_frame", "tb_frame", "ctypes", "data_ptr", "dump", "from_file", "tofile"),
    *("parse_file", "parse_raw", "grad_fn", "format", "format_map", "on_add", "on_double", "on_pretrain"),
    *("info", "model_json_schema", "schema", "schema_json"),  # the prose of the file, which `information` leaves out
}
GIVEN = {"student", "average", "teacher", "natural_teacher"}  # networks that are not the method's own
BITS = 64  # of one integer


def needless(tree: ast.Module) -> Iterator[str]:
    """All that is wrong with a file, in no order."""
    plain = _with_attributes(tree)
    imported = imports(plain)
    handed = {id(node) for node in _handed_on(plain, imported)}
    inner = {id(node.value) for node in ast.walk(plain) if isinstance(node, ast.Attribute)}
    top = {id(node) for each in plain.body for node in (each, *(each.body if isinstance(each, ast.If) else []))}
    added = _added(plain)
    for node in ast.walk(plain):
        found = [*_does(node), *_rebinds(node, imported)]
        if isinstance(node, ast.Import | ast.ImportFrom):
            found += _imports_beyond(node, id(node) in top)
        if isinstance(node, ast.Name | ast.Attribute) and id(node) not in inner:
            found += _reaches(full_name(node, imported))
        if _is_network(node, added) and id(node) not in handed:
            found.append(f"uses {ast.unparse(node)}: a method only returns it, or gives it to a function of bench")
        if isinstance(node, ast.ClassDef):
            kinds = [field.annotation for field in node.body if isinstance(field, ast.AnnAssign)]
            found += [words for kind in kinds for words in _computed(kind, imported)]
        yield from (f"line {getattr(node, 'lineno', 0)}: {words}" for words in found)


def imports(tree: ast.AST) -> dict[str, str]:
    """What each imported name stands for, such as F for torch.nn.functional."""
    return dict(pair for node in ast.walk(tree) for pair in _names(node))


def _names(node: ast.AST) -> Iterator[tuple[str, str]]:
    """(local name, what it stands for) of an import."""
    if isinstance(node, ast.Import):
        for each in node.names:
            start = each.name.partition(".")[0]
            yield each.asname or start, each.name if each.asname else start
    elif isinstance(node, ast.ImportFrom):
        for each in node.names:
            yield each.asname or each.name, f"{'.' * node.level}{node.module or ''}.{each.name}"


def _imports_beyond(node: ast.Import | ast.ImportFrom, at_top: bool) -> Iterator[str]:
    whole = [each.name for each in node.names] if isinstance(node, ast.Import) else [name for _, name in _names(node)]
    yield from (f"imports {name}, which no method needs" for name in whole if beyond(name))
    if not at_top:
        yield "imports inside something else: imports belong at the top of the file"


def _reaches(name: str) -> Iterator[str]:
    """What is wrong with the use of an imported name."""
    if not name:
        return
    if found := beyond(name):
        yield f"uses {found}"
    elif isinstance(reached(name), ModuleType):
        yield f"uses the module {name} as a value"


def _rebinds(node: ast.AST, imported: dict[str, str]) -> Iterator[str]:
    """Names that get another meaning than they have for who reads the file."""
    match node:
        case ast.Import() | ast.ImportFrom():
            bound = [name for name, stands_for in _names(node) if imported[name] != stands_for]
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            bound = [name] if name in imported or name in {*OWN, "nets"} else []
        case ast.arg(arg=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            bound = [name] if name in imported else []
        case ast.ExceptHandler(name=name) | ast.MatchAs(name=name) | ast.MatchStar(name=name):
            bound = [name] if name in imported or name in {*OWN, "nets"} else []
        case _:
            bound = []
    yield from (f"gives {name} another meaning" for name in bound)


def _does(node: ast.AST) -> Iterator[str]:
    """What one node of the tree does that no method needs."""
    match node:
        case ast.Name(id=name) if not _may_be_named(name):
            yield f"uses {name}"
        case ast.Attribute(attr=name) if name.startswith("_") and name not in PUBLIC and not _private(node):
            yield f"reaches for {name}"
        case ast.Attribute(attr=name) if name in REACHING and not _named(node.value, "batch"):
            yield f"reaches for {name}"
        case ast.Attribute(attr="forward", value=called) if not _owned(called):
            yield f"uses {ast.unparse(node)}: call the network itself, the meter hangs on that"
        case ast.Attribute(attr=name) if name.startswith("register_") and not _owned(node.value):
            yield f"uses {ast.unparse(node)}: networks stay as they are built"
        case ast.Attribute(ctx=ast.Store() | ast.Del()) if not _owned(node.value):
            yield f"sets {ast.unparse(node)}, which is not its own"
        case ast.Constant(value=int() as number) if number.bit_length() > BITS:
            yield f"holds a number of {number.bit_length():,} bits; at most {BITS}: data do not belong in a method"
        case ast.MatchClass():
            yield "matches by class, which reads attributes"


def _may_be_named(name: str) -> bool:
    meaning = getattr(builtins, name, None)
    if isinstance(meaning, type) and issubclass(meaning, BaseException):
        return True
    return name in BUILTINS or not (hasattr(builtins, name) or name.startswith("__"))


def _private(node: ast.Attribute) -> bool:
    """Whether an attribute with an underscore is the method's own."""
    return _owned(node.value) and (node.attr == "__init__" or not node.attr.startswith("__"))


def _owned(node: ast.expr) -> bool:
    """Whether attributes of an expression may be set: of `self`, of the batch, and of what they alone hold."""
    if isinstance(node, ast.Call):
        return _named(node.func, "super")
    return _named(node, *OWN)


def _named(node: ast.AST, *names: str) -> bool:
    return isinstance(node, ast.Name) and node.id in names


def full_name(node: ast.expr, imported: dict[str, str]) -> str:
    """`torch.hub.load` for T.hub.load after `import torch as T`; empty for what was not imported."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    start = imported.get(node.id, "") if isinstance(node, ast.Name) else ""
    return ".".join([start, *reversed(parts)]) if start else ""


def _is_network(node: ast.AST, added: set[str]) -> bool:
    """Whether an expression is a bare network, whose layers and weights are the harness's."""
    match node:
        case ast.Attribute(attr="module", value=ast.Attribute(attr=name, value=ast.Name(id="nets"))):
            return name not in added
        case ast.Attribute(attr="module" | "deliver") | ast.Call(func=ast.Attribute(attr="deliver")):
            return True
    return False


def _handed_on(tree: ast.AST, imported: dict[str, str]) -> Iterator[ast.AST]:
    """What methods `deliver` return, what functions of bench are given, and `deliver` itself where it is called."""
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(body=body):
                for item in body:
                    if isinstance(item, ast.FunctionDef) and item.name == "deliver":
                        yield from _returned(item.body)
            case ast.Call(func=ast.Attribute(attr="deliver") as called):
                yield called
            case ast.Call(func=called, args=given):
                name = full_name(called, imported)
                yield from given if name.startswith("bench.") and isinstance(reached(name), FunctionType) else []


def _returned(body: list[ast.stmt]) -> Iterator[ast.expr]:
    """What statements return, those of functions inside them left out."""
    for each in body:
        if isinstance(each, ast.Return) and each.value:
            yield from [each.value.body, each.value.orelse] if isinstance(each.value, ast.IfExp) else [each.value]
        elif isinstance(each, ast.If):
            yield from _returned([*each.body, *each.orelse])


def _added(tree: ast.AST) -> set[str]:
    """The names of the networks that a method adds, as far as they are written out."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    first = [call.args[0] for call in calls if call.args and call.func.attr in ("add", "add_student")]  # type: ignore[attr-defined]
    return {str(each.value) for each in first if isinstance(each, ast.Constant)} - GIVEN


def _computed(kind: ast.AST, imported: dict[str, str]) -> Iterator[str]:
    """What in the type of a field is more than a type: pydantic evaluates it, and texts in it too."""
    match kind:
        case ast.Subscript(value=value, slice=inside):
            literal = full_name(value, imported) == "typing.Literal"
            parts = [value] if literal else [value, inside]
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            parts = [left, right]
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            pass
        case ast.Constant(value=str() as text):
            try:
                parts = [ast.parse(text, mode="eval").body]
            except (SyntaxError, ValueError):
                parts = []
        case ast.Constant():
            parts = []
        case ast.Name(id=name) if name in imported or name in BUILTINS:
            parts = []
        case ast.Attribute() if full_name(kind, imported):
            parts = []
        case ast.Call(func=called) if full_name(called, imported).startswith("pydantic."):
            parts = []
        case _:
            yield f"computes the type of a field: {ast.unparse(kind)}"
            return
    for part in parts:
        yield from _computed(part, imported)


class _Spelled(ast.NodeTransformer):
    """Writes getattr(x, "name") and hasattr(x, "name") as x.name."""

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        match node:
            case ast.Call(
                func=ast.Name(id="getattr" | "hasattr"), args=[value, ast.Constant(value=str() as name), *rest]
            ):
                spelled = ast.Attribute(value, name, ast.Load())
                return ast.copy_location(ast.Tuple([spelled, *rest], ast.Load()) if rest else spelled, node)
        return node


def _with_attributes(tree: ast.Module) -> ast.Module:
    return ast.fix_missing_locations(_Spelled().visit(tree))
