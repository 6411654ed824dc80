"""Words of a message that depend on numbers."""

from __future__ import annotations


def counted(number: int, thing: str, things: str = "") -> str:
    """A number with what it counts: `1 record`, `2 records`; `things` where the plural is not `thing` and an s."""
    return f"{number} {thing if number == 1 else things or f'{thing}s'}"
