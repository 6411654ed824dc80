"""Names of strangers: one printable line each, wherever they come in, and no formula where they go out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.cli.checkpoint import spec_of
from bench.dashboard.text import escaped
from bench.errors import ContractError, TemperError
from bench.method import METHODS, Method, make_method, register
from bench.ranking.render import to_csv
from bench.ranking.words import Column, in_words
from bench.records import read_record
from bench.registry import Registry
from bench.scenario import load_scenario
from bench.words import LONGEST, as_cell, one_line

RECORD = next((Path(__file__).parent / "golden" / "records").rglob("record.json"))
ESCAPE = "\x1b]0;title\x07"  # what a terminal obeys
NAMES = [ESCAPE, "two\nlines", "right\u202eto left", "x" * (LONGEST + 1)]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_one_printable_line(name: str) -> None:
    with pytest.raises(ValueError, match="one line of at most 200 printable characters"):
        one_line(name)


PLACES = [
    ("family",),
    ("reference",),
    ("trial", "method"),
    ("trial", "version"),
    ("trial", "scenario"),
    ("trial", "hyperparameters", "adversarial_weight"),
    ("surroundings", "machine"),
]


def edited(tmp_path: Path, place: tuple[str, ...], value: Any) -> Path:
    content = json.loads(RECORD.read_text())
    table = content
    for key in place[:-1]:
        table = table[key]
    table[place[-1]] = value
    (tmp_path / "record.json").write_text(json.dumps(content))
    return tmp_path


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", NAMES)
def test_a_record_has_no_other_names(tmp_path, place, name):
    with pytest.raises(TemperError, match=rf"is not a valid record: {'.'.join(place[:2])}: .*one line") as raised:
        read_record(edited(tmp_path, place, name))
    assert "\x1b" not in str(raised.value)


def test_nor_in_the_names_of_what_it_lists(tmp_path):
    for place in (("trial", "hyperparameters"), ("training", "counts"), ("evaluation", "attacks")):
        with pytest.raises(TemperError, match="one line") as raised:
            read_record(edited(tmp_path, place, {ESCAPE: 1}))
        assert "\x1b" not in str(raised.value)


def test_nor_control_characters_in_a_longer_text(tmp_path):
    assert read_record(edited(tmp_path, ("failure",), "two\nlines")).failure == "two\nlines"
    with pytest.raises(TemperError, match="no control characters"):
        read_record(edited(tmp_path, ("failure",), f"two\nlines {ESCAPE}"))


@pytest.mark.parametrize("place", ["title", "notes", "data.name", "student.network", "teachers.robust.zoo"])
def test_a_scenario_has_no_such_names(tmp_path, place):
    file = tmp_path / "mine.toml"
    file.write_text(f'extends = "digits-linf"\n{place} = "{chr(92)}u001b[31m"\n')
    with pytest.raises(TemperError, match=rf"mine.toml: .*{place.split('.')[0]}|control"):
        load_scenario(file)


def test_a_teacher_of_a_scenario_has_no_such_name(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(f'extends = "digits-linf"\nteachers."{chr(92)}u001b[31m" = {{network = "mlp", zoo = "x"}}\n')
    with pytest.raises(TemperError, match="one line"):
        load_scenario(file)


@pytest.mark.parametrize("field", ["version", "family", "reference", "authors", "licence"])
@pytest.mark.parametrize("value", [*NAMES, 1])
def test_a_method_is_not_registered_with_them(field, value):
    facts = {"version": "1", "family": "kd", "reference": "x"} | {field: value}
    with pytest.raises(ContractError, match=f"method 'door': {field} must be"):
        register("door", **facts)(type("Door", (Method,), {}))
    assert "door" not in METHODS


def test_nor_under_one_nor_a_network():
    for kind in ("method", "network"):
        with pytest.raises(TemperError, match=f"the name of a {kind} must be one line"):
            Registry(kind).add(ESCAPE, object())


def test_nor_set_to_one():
    class Set(Method):
        kind: str = "plain"

    register("set-to", version="1", family="kd", reference="x")(Set)
    try:
        with pytest.raises(TemperError, match=r"method 'set-to'.*must be one line"):
            make_method("set-to", {"kind": ESCAPE})
    finally:
        METHODS._things.pop("set-to")


def test_nor_is_a_network_asked_for_by_one():
    for network, option in ((ESCAPE, []), ("mlp", [f"width={ESCAPE}"]), ("mlp", ["width=1000000000"])):
        with pytest.raises(TemperError, match=r"--network and --option: .*(one line|at most 10,000)"):
            spec_of(None, network, option, "", 1)


@pytest.mark.parametrize("text", ['=HYPERLINK("x")', "+1+1", "-2+3+cmd", "@SUM(A1)", "\t=1", "\r=1", "-x"])
def test_a_formula_is_text_in_a_csv_file(text):
    assert as_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-4.3", "-", "+0.5", "-1e-3", "rslad", "", "a=b", "[1, 2]"])
def test_numbers_and_plain_text_stay_in_it(text):
    assert as_cell(text) == text


def test_csv_files_hold_no_formula_and_negative_numbers():
    frame = pd.DataFrame({"method": ["=HYPERLINK(1)", "kd"], "gain": [-4.3, 1.0], "@x": ["-4.3", None]})
    assert to_csv(frame) == "method,gain,'@x\n'=HYPERLINK(1),-4.3,-4.3\nkd,1,\n"


def test_pages_and_tables_show_no_control_characters():
    frame = pd.DataFrame({"method": [f"a{ESCAPE}"]})
    frame.attrs = {"columns": [Column("method", "method")], "title": "", "caption": ESCAPE}
    assert in_words(frame)["method"].tolist() == ["a]0;title"]
    assert escaped(f"<b>{ESCAPE}") == "&lt;b&gt;]0;title"
