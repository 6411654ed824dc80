"""What a reader drops on the Submit page, looked at and never run: a record as JSON, a method as a syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

import numpy as np
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bench.dashboard.frames import methods
from bench.dashboard.view import View
from bench.method import METHODS, MethodInfo
from bench.ranking.collect import Entry
from bench.ranking.statistics import prediction_interval
from bench.records import RunRecord
from bench.scenario import Scenario

LIMIT = 1  # megabytes of an upload
REQUIRED = ("version", "family", "reference")
OPTIONAL = sorted(set(MethodInfo.__dataclass_fields__) - {"name", *REQUIRED})


def read_upload(content: bytes) -> tuple[RunRecord | None, list[str]]:
    """The record in a `record.json`; None where it is no record, with all that is wrong with it."""
    try:
        return RunRecord.model_validate_json(content), []
    except ValidationError as error:
        return None, [_problem(each) for each in error.errors(include_url=False, include_input=False)]


def misplaced(record: RunRecord, scenario: Scenario) -> str:
    """Why a record has no place among the present rows of its scenario; "" where it has one."""
    if not scenario.pinned:
        return f"The data of {scenario.name} are not pinned, so nothing can be said of its place here."
    if record.trial.train_fingerprint != scenario.train_fingerprint():
        return "It was made under another version of the scenario, and is not compared with its present rows."
    if record.evaluation and record.evaluation.protocol_fingerprint != scenario.protocol_fingerprint():
        return "It was judged by another protocol, and is not compared with the present rows."
    return f"It is {record.withdrawn}, and counts no longer." if record.withdrawn else ""


def landing(record: RunRecord, view: View) -> str:
    """Where a record would stand on its board, in words."""
    robust = record.evaluation.robust if record.evaluation else 0.0
    entries = next((row for row in view.board.rows if row[0].record.trial.row == record.trial.row), [])
    known = next((entry for entry in entries if entry.record.trial_id == record.trial_id), None)
    if known is not None:
        words = f"This trial is recorded already, at {100 * known.accuracy:.1f} %; a second run of it, at"
        return f"{words} {100 * robust:.1f} %, is shown and never averaged. {_expected(robust, entries, view)}"
    mean = float(np.mean([robust, *(entry.accuracy for entry in entries)]))
    others = methods(view.ranked)
    others = others[(others["status"] == "ranked") & ~others["trials"].map(lambda ids: _shares(ids, entries))]
    above, below = int((others["robust"] > mean).sum()), int((others["robust"] <= mean).sum())
    place = f"below {above} and above {below} of the other ranked rows, by means alone"
    if not entries:
        return f"{100 * robust:.1f} %: a row of its own, provisional, {place}."
    seeds = len(entries) + 1
    return f"With its {100 * robust:.1f} %, the row has {100 * mean:.1f} % over {seeds} seeds: {place}. " + _expected(
        robust, entries, view
    )


def _shares(ids: Sequence[str], entries: Sequence[Entry]) -> bool:
    return any(entry.record.trial_id in ids for entry in entries)


def _expected(robust: float, entries: Sequence[Entry], view: View) -> str:
    """What the stored seeds of a row lead one to expect of another run."""
    place = next(k for k, row in enumerate(view.board.rows) if row is entries)
    comparisons = view.comparisons
    stored = np.array([entry.accuracy for entry in entries])
    expected = prediction_interval(stored, comparisons.variance[place], comparisons.df[place])
    if np.isnan(expected.low):
        return "So few seeds lead one to expect nothing in particular."
    inside = "inside" if expected.low <= robust <= expected.high else "OUTSIDE"
    ends = f"{100 * expected.low:.1f} to {100 * expected.high:.1f} %"
    return f"It is {inside} what the stored seeds lead one to expect, {ends}."


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


def _problem(error: ErrorDetails) -> str:
    where = ".".join(map(str, error["loc"]))
    return f"{where or 'the file'}: {error['msg']}"


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
    if plain and "loss" not in defined:
        yield "the class defines no loss(self, nets, batch)"
    if not ast.get_docstring(node):
        yield "the class has no docstring: say what is new, in a sentence"
