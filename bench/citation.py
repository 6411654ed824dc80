"""The paper of a method as BibTeX: an entry of `references.bib` in the method's package."""

from __future__ import annotations

import re
import sys
from importlib.resources import files

from bench.errors import TemperError
from bench.method import Method

FILE = "references.bib"
START = re.compile(r"^[ \t]*@\w+\s*\{\s*([^\s,{}]+)\s*,", re.MULTILINE)  # of an entry, and its key
BRACE = re.compile(r"[{}]")


def bibtex(method: type[Method]) -> str:
    """The entry of a registered method's paper; "" where there is none.

    Its key is the registered version, or `version-name` where two papers share a version.
    """
    package = getattr(sys.modules.get(method.__module__), "__package__", None)
    if not package or not (file := files(package) / FILE).is_file():
        return ""
    found, info = entries(file.read_text(encoding="utf-8")), method.info
    return found.get(f"{info.version}-{info.name}") or found.get(info.version, "")


def entries(text: str) -> dict[str, str]:
    """The entries of a BibTeX file by key, each from its @ to the brace that closes it. TemperError where none does."""
    found: dict[str, str] = {}
    at = 0
    while start := START.search(text, at):
        at = _end(text, start)
        found[start[1]] = text[start.start() : at].strip()
    return found


def _end(text: str, start: re.Match[str]) -> int:
    """Where the entry ends that starts here. As for BibTeX, a brace counts after a backslash too."""
    depth = 0
    for brace in BRACE.finditer(text, start.start()):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            return brace.end()
    raise TemperError(f"the BibTeX entry {start[1]!r} lacks a closing brace")
