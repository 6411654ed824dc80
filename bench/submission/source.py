"""A method file as a syntax tree: what it registers, and what it does that no method needs. Nothing of it is run.

`rules`, `reach` and `information` catch honest mistakes and lazy cheats early. The security boundary is the sandbox.
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
from bench.submission.information import too_much, unreadable
from bench.submission.rules import imports, needless
from bench.words import LONGEST, counted, one_line

REQUIRED = ("version", "family", "reference")
CREDITS = ("authors", "licence")  # required of a submission too
KNOWN = [*REQUIRED, *sorted(set(MethodInfo.__dataclass_fields__) - {"name", *REQUIRED})]

DEPTH = 100  # of the syntax tree


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
        tree = ast.parse(content)
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
    if problems := list(unreadable(content)):
        return Source(content, [], None, problems)
    source = read_source(content)
    problems = list(source.problems)
    if not problems:
        if len(source.names) > 1:
            problems.append(f"the file registers {counted(len(source.names), 'method')}; submit one file a method")
        assert source.info is not None
        written = (*REQUIRED, *CREDITS)
        problems += [f"@register needs {name}=, as text" for name in written if not getattr(source.info, name)]
        problems += [each for name in written for each in _not_in_a_line(name, getattr(source.info, name))]
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


def _not_in_a_line(name: str, text: str) -> list[str]:
    try:
        one_line(text)
    except ValueError as error:
        return [f"{name} {error}"]
    return []


def _info(node: ast.ClassDef, call: ast.Call) -> MethodInfo:
    """The registration, as far as it is written out."""
    given: dict[str, object] = {}
    for keyword in call.keywords:
        try:
            given[str(keyword.arg)] = ast.literal_eval(keyword.value)
        except (ValueError, TypeError):
            continue  # computed: it is known once the file runs
    texts = {key: value for key, value in given.items() if isinstance(value, str)}
    return MethodInfo(str(ast.literal_eval(call.args[0])), **({"version": "", "family": "", "reference": ""} | texts))  # type: ignore[arg-type]


def _needless(content: bytes) -> Iterator[str]:
    """What the file does that no method needs, a line each."""
    if problems := list(unreadable(content)):
        yield from problems
        return
    try:
        tree = ast.parse(content)
        yield from needless(tree)
        yield from too_much(content, imports(tree))
    except (RecursionError, ValueError):
        yield "the file is nested too deeply, or holds a number that is too long"
