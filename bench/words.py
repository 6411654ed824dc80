"""Words of messages: numbers with what they count, and the words of strangers."""

from __future__ import annotations


def counted(number: int, thing: str, things: str = "") -> str:
    """A number with what it counts: `1 record`, `2 records`; `things` where the plural is not `thing` and an s."""
    return f"{number} {thing if number == 1 else things or f'{thing}s'}"


def printable(text: str) -> str:
    """Text of a stranger for a terminal: without control characters but newlines."""
    return "".join(each for each in text if each.isprintable() or each == "\n")
