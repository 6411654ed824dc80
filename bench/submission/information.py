"""How much a method file holds, and in which characters: what Python reads must be what a person reads.

The limits go by information, not by characters: they bound what any encoding can hide, a student's weights above all.
"""

from __future__ import annotations

import ast
import re
import zlib
from collections.abc import Iterator

from bench.submission.rules import full_name

BYTES = 32_000  # of the file: what is parsed at all
CODE = 2_400  # compressed bytes of what the program can use; of the methods that ship, the largest has 1,289
WHOLE = 4_800  # compressed bytes of the file, prose and comments too; of the methods that ship, the largest has 2,373
REGISTER = ("bench.register", "bench.method.register")
COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=]")  # PEP 263


def unreadable(content: bytes) -> Iterator[str]:
    """What Python and a person could read in two ways: anything but printable ASCII, spaces and newlines."""
    if len(content) > BYTES:
        yield f"the file has {len(content):,} bytes; a method has at most {BYTES:,}"
    for number, line in enumerate(content.split(b"\n"), 1):
        if number <= 2 and COOKIE.match(line):
            yield f"line {number}: declares an encoding: a method is plain ASCII"
        text = line.removesuffix(b"\r").decode(errors="surrogateescape")
        if odd := next((each for each in text if not " " <= each <= "~"), ""):
            code = ord(odd) & 0xFF if "\udc80" <= odd <= "\udcff" else ord(odd)  # a byte that is no UTF-8
            yield f"line {number}: contains the character U+{code:04X}: a method is printable ASCII and newlines"


def too_much(content: bytes, imported: dict[str, str]) -> Iterator[str]:
    """Whether the file, or what its program can use, holds more information than a method needs."""
    code, whole = _compressed(_program(content, imported).encode()), _compressed(content)
    if code > CODE:
        yield f"the code holds {code:,} bytes of information; a method has at most {CODE:,}: data do not belong in it"
    if whole > WHOLE:
        yield f"the file holds {whole:,} bytes of information; a method has at most {WHOLE:,}: data do not belong in it"


def _compressed(text: bytes) -> int:
    return len(zlib.compress(text, 9))


def _program(content: bytes, imported: dict[str, str]) -> str:
    """The source without comments and layout, and without the prose that the rules keep from it: docstrings, and the
    texts of its registration."""
    tree = ast.parse(content)
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str()) as prose):
                prose.value = ""
            case ast.ClassDef(decorator_list=decorators):
                calls = [each for each in decorators if isinstance(each, ast.Call)]
                ours = [each for each in calls if full_name(each.func, imported) in REGISTER]
                for keyword in (keyword for each in ours for keyword in each.keywords):
                    if isinstance(keyword.value, ast.Constant):
                        keyword.value.value = ""
    return ast.unparse(tree)
