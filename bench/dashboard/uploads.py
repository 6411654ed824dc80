"""What a reader drops on the Submit page, looked at and never run: a record as JSON, a method as a syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import numpy as np
from pydantic import ValidationError

from bench.dashboard.frames import methods
from bench.dashboard.view import View
from bench.method import METHODS, MethodInfo
from bench.ranking.statistics import moderated_variance, prediction_interval
from bench.records import RunRecord
from bench.verification import content_problems

LIMIT = 1  # megabytes of an upload
REQUIRED = ("version", "family", "reference")
OPTIONAL = sorted(set(MethodInfo.__dataclass_fields__) - {"name", *REQUIRED})
HOOKS = ("loss",)  # that a method must define, itself or by a parent


def read_upload(content: bytes) -> tuple[RunRecord | None, list[str]]:
    """The record in a `record.json`, and all that is wrong with it; None where it is no record."""
    try:
        record = RunRecord.model_validate_json(content)
    except ValidationError as error:
        return None, [_problem(each) for each in error.errors(include_url=False, include_input=False)]
    return record, list(content_problems(record))


def landing(record: RunRecord, view: View) -> str:
    """Where a record's robust accuracy would stand among the ranked rows of its board, in words."""
    if record.evaluation is None:
        return "This trial failed: it would count as 0."
    robust, board = record.evaluation.robust, methods(view.ranked)
    ranked = board[board["status"] == "ranked"]
    above = int((ranked["robust"] > robust).sum())
    words = f"{100 * robust:.1f} % would stand between place {above} and {above + 1} of {len(ranked)} ranked rows"
    row = next((row for row in view.board.rows if row[0].record.trial.row == record.trial.row), None)
    if row is None:
        return f"{words}, as the first seed of a row of its own."
    variance, df = moderated_variance([np.array([e.accuracy for e in each]) for each in view.board.rows])
    place = view.board.rows.index(row)
    expected = prediction_interval(np.array([e.accuracy for e in row]), variance[place], df[place])
    if np.isnan(expected.low):
        return f"{words}, beside {len(row)} seed of the same row."
    inside = expected.low <= robust <= expected.high
    return (
        f"{words}; the {len(row)} seeds of its row here lead one to expect {100 * expected.low:.1f} to "
        f"{100 * expected.high:.1f} %, and it is {'inside' if inside else 'OUTSIDE'}."
    )


def read_source(content: bytes) -> tuple[list[str], list[str]]:
    """The names of the methods that a file registers, and all that is wrong with it. The file is parsed, never run."""
    try:
        tree = ast.parse(content.decode())
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return [], [f"this is not a Python file that can be read: {error}"]
    found = [(node, call) for node in tree.body if isinstance(node, ast.ClassDef) for call in _registrations(node)]
    if not found:
        return [], [
            'no class of the file has the decorator @register("my-method", version=..., family=..., reference=...)'
        ]
    names, problems = [], []
    for node, call in found:
        name = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
        names.append(str(name or node.name))
        problems += [f"line {call.lineno}, {node.name}: {each}" for each in _class_problems(node, call, name)]
    return names, problems


def _problem(error: object) -> str:
    where = ".".join(map(str, error["loc"]))  # type: ignore[index]
    return f"{where or 'the file'}: {error['msg']}"  # type: ignore[index]


def _registrations(node: ast.ClassDef) -> Iterator[ast.Call]:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call):
            name = (
                decorator.func.attr if isinstance(decorator.func, ast.Attribute) else getattr(decorator.func, "id", "")
            )
            if name == "register":
                yield decorator


def _class_problems(node: ast.ClassDef, call: ast.Call, name: object) -> Iterator[str]:
    given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    if not isinstance(name, str) or not name:
        yield "the first argument of @register must be the name, as a string"
    elif name in METHODS:
        yield f"there is a method {name!r} already; choose another name"
    for field in REQUIRED:
        value = given.get(field)
        if value is None:
            yield f"@register needs {field}="
        elif isinstance(value, ast.Constant) and not (isinstance(value.value, str) and value.value.strip()):
            yield f"{field} must be text"
    for field in given.keys() - {*REQUIRED, *OPTIONAL}:
        yield f"@register knows no {field}; it knows {', '.join([*REQUIRED, *OPTIONAL])}"
    if not node.bases:
        yield "the class must derive from bench.Method, or from a method"
    defined = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
    plain = any(getattr(base, "id", getattr(base, "attr", "")) == "Method" for base in node.bases)
    for hook in HOOKS:
        if plain and hook not in defined:
            yield f"the class defines no {hook}(self, nets, batch)"
    if not ast.get_docstring(node):
        yield "the class has no docstring: say what is new, in a sentence"
