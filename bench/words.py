"""Words of messages: numbers with what they count, and the words of strangers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

LONGEST = 200  # characters of a name and the like, which stand in tables
FORMULAS = "=+-@\t\r"  # a cell of a spreadsheet that begins so is computed


def counted(number: int, thing: str, things: str = "") -> str:
    """A number with what it counts: `1 record`, `2 records`; `things` where the plural is not `thing` and an s."""
    return f"{number} {thing if number == 1 else things or f'{thing}s'}"


def printable(text: str) -> str:
    """Text of a stranger for a terminal: without control characters but newlines."""
    return "".join(each for each in text if each.isprintable() or each == "\n")


def one_line(text: str) -> str:
    """`text`, if it can stand in any table. Raises ValueError unless it is one printable line of a bounded length."""
    if not isinstance(text, str):
        raise ValueError(f"must be text, got {text!r}")
    if len(text) > LONGEST or not text.isprintable():
        raise ValueError(f"must be one line of at most {LONGEST} printable characters, got {shortened(text)}")
    return text


def check_printable(value: Any) -> None:
    """Raise ValueError where a text in nested mappings and sequences has control characters but newlines."""
    for text in texts(value):
        if printable(text) != text:
            raise ValueError(f"must have no control characters, got {shortened(text)}")


def texts(value: Any) -> Iterator[str]:
    """Every text in nested mappings and sequences, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from texts(key)
            yield from texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from texts(each)


def shortened(value: object) -> str:
    """The beginning of what a value is written as, for an error."""
    written = repr(value[:100] if isinstance(value, str | list | tuple) else value)
    return written if len(written) <= 100 else f"{written[:100]}..."


def as_cell(text: str) -> str:
    """Text for a cell of a CSV file, which no spreadsheet takes for a formula; a number stays one, and a dash too."""
    computed = len(text) > 1 and text.startswith(tuple(FORMULAS)) and not _is_number(text)
    return f"'{text}" if computed else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and text.strip() == text
