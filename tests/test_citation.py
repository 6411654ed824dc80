"""References: every published method has the BibTeX entry of its paper, and whole entries are found."""

from __future__ import annotations

import re
import sys
from importlib.resources import files

import pytest

from bench.citation import bibtex, entries
from bench.errors import TemperError
from bench.method import METHODS, Method, register

SHIPPED = [name for name in METHODS if METHODS[name].__module__.startswith("methods.")]
TEXT = (files("methods") / "references.bib").read_text()
ENTRIES = entries(TEXT)
UNPUBLISHED = ("Temper", "empirical risk minimisation")
UNKNOWN = {"cgard"}  # its title and authors are not known to us


def field(entry: str, name: str) -> str:
    """What a field of an entry holds; "" without it."""
    found = re.search(rf"^  {name} = \{{(.*?)\}},?$", entry, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


@pytest.mark.parametrize("name", SHIPPED)
def test_a_published_method_has_the_entry_of_its_paper(name: str) -> None:
    reference, entry = METHODS[name].info.reference, bibtex(METHODS[name])
    assert bool(entry) == (not reference.startswith(UNPUBLISHED) and name not in UNKNOWN)
    if number := re.match(r"arXiv:(\S+)", reference):
        assert (field(entry, "eprint"), field(entry, "archivePrefix")) == (number[1], "arXiv")
    if forum := re.match(r"openreview:(\w+)", reference):
        assert field(entry, "url") == f"https://openreview.net/forum?id={forum[1]}"
    if paper := re.match(r"(\w+) et al\., .* (\d{4})$", reference):
        assert field(entry, "author").startswith(f"{paper[1]}, ")
        assert field(entry, "year") == paper[2]


@pytest.mark.parametrize("key", ENTRIES)
def test_an_entry_says_who_wrote_what_and_when(key: str) -> None:
    entry = ENTRIES[key]
    family, year = re.match(r"([a-z]+)(\d{4})", key).groups()  # type: ignore[union-attr]
    assert field(entry, "title")
    assert field(entry, "author").lower().startswith(f"{family}, ")
    assert all(author.count(",") == 1 for author in re.split(r"\s+and\s+", field(entry, "author")))
    assert field(entry, "year") == year
    assert any(field(entry, where) for where in ("booktitle", "journal", "eprint"))


def test_every_entry_is_found_once_and_is_of_a_shipped_method() -> None:
    assert len(ENTRIES) == TEXT.count("\n@")
    assert list(ENTRIES) == sorted(ENTRIES)
    assert set(ENTRIES.values()) == {bibtex(METHODS[name]) for name in SHIPPED} - {""}


def test_two_papers_may_share_a_version() -> None:
    absld, b_mtard = METHODS["absld"], METHODS["b-mtard"]
    assert absld.info.version == b_mtard.info.version
    assert "Fairness" in bibtex(absld)
    assert "Multi-Teacher" in bibtex(b_mtard)


def test_entries_end_where_their_braces_do() -> None:
    one = "@misc{one,\n  title = {A {B} \\{c\\} @misc{x, d}}\n}"
    two = "@Article {two, title = {An\n@misc{inner, e} in a title}}"
    assert entries(f"% a {{ comment\n{one} and more\n\n  {two}@string{{a = {{b}}}}\n") == {"one": one, "two": two}
    assert entries("") == {}
    with pytest.raises(TemperError, match="the BibTeX entry 'one' lacks a closing brace"):
        entries(one[:-1])


def test_a_method_outside_of_a_package_has_no_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METHODS, "_things", dict(METHODS._things))

    @register("mine", version="zi2021", family="test", reference="none")
    class Mine(Method):
        pass

    for module in ("methods.mine", "json.decoder"):  # not imported; of a package without references
        Mine.__module__ = module
        assert bibtex(Mine) == ""
    monkeypatch.setitem(sys.modules, "methods.mine", sys.modules["methods.rslad"])
    Mine.__module__ = "methods.mine"
    assert bibtex(Mine) == bibtex(METHODS["rslad"])
