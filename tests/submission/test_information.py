"""The limits of what a file may hold: above every honest method, and below a student's weights in any encoding."""

from __future__ import annotations

import ast
import base64
import random
from collections.abc import Callable
from pathlib import Path

import pytest

import methods
from bench.networks import build, parameters
from bench.scenario import load_scenario
from bench.submission.information import CODE, WHOLE, _compressed, _program
from bench.submission.rules import imports
from bench.submission.source import read_submission
from tests.submission.files import PLAIN

SHIPPED = sorted(path for path in Path(methods.__path__[0]).glob("*.py") if path.stem != "__init__")


def numbers(data: bytes) -> str:
    return f"x = {[int.from_bytes(data[k : k + 7], 'big') for k in range(0, len(data), 7)]}"


def names(data: bytes) -> str:
    texts = (base64.b32encode(data[k : k + 25]).decode().rstrip("=") for k in range(0, len(data), 25))
    return "\n".join(f"def _{text}(): 0" for text in texts)


def signs(data: bytes) -> str:
    lines = (data[k : k + 20] for k in range(0, len(data), 20))
    return "\n".join(f"x = {''.join('-+'[byte >> k & 1] for byte in line for k in range(8))}0" for line in lines)


ENCODINGS: dict[str, Callable[[bytes], str]] = {
    "CJK": lambda data: f"x = {''.join(chr(0x3400 + byte) for byte in data)!r}",
    "base85": lambda data: f"x = {base64.b85encode(data).decode()!r}",
    "hex": lambda data: f"x = {data.hex()!r}",
    "numbers": numbers,
    "names": names,
    "signs": signs,
}


@pytest.mark.parametrize("bits", [7, 4, 2, 1])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_student_does_not_fit(encoding: str, bits: int) -> None:
    scenario = load_scenario("digits-linf")
    weights = parameters(build(scenario.student, scenario.data.shape, scenario.data.classes))
    text = ENCODINGS[encoding](random.Random(0).randbytes(weights * bits // 8))
    problems = read_submission(f"{PLAIN}\n\n{text}\n".encode()).problems
    assert any(words in each for each in problems for words in ("bytes", "U+", "nests")), problems


def test_prose_is_not_code_unless_the_file_can_read_it() -> None:
    text = base64.b85encode(random.Random(0).randbytes(CODE)).decode()
    for before, after in (
        ("Cross entropy on adversarial inputs.", text),
        ('licence="MIT"', f'licence="MIT", deviations={text!r}'),
    ):
        assert read_submission(PLAIN.replace(before, after).encode()).problems == []
    for after in (f"deviations=(x := {text!r})", f"deviations=str({text!r})", f"deviations={text!r} + ''"):
        problems = read_submission(PLAIN.replace('licence="MIT"', f'licence="MIT", {after}').encode()).problems
        assert any("the code holds" in each for each in problems)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_all_that_ships_keeps_a_distance(path: Path) -> None:
    """Even `gkd.py`, which registers five methods; a submission is one."""
    content = path.read_bytes()
    code = _compressed(_program(content, imports(ast.parse(content))).encode())
    assert max(code / CODE, _compressed(content) / WHOLE) < 0.75
