"""`scripts/tables.py`: what it writes is what `--check` accepts, and nothing else is."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.ranking.collect import CheckpointEntry
from bench.ranking.rows import read_boards
from bench.scenario import load_scenario
from tests.checkpoints.made import record
from tests.ranking.made import outcomes

SCRIPT = Path(__file__).parents[2] / "scripts" / "tables.py"
PARQUET = Path("leaderboards/tables/digits-linf.parquet")


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("tables_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def files(script):
    return script.generated()


@pytest.fixture
def run(script, files, tmp_path, monkeypatch):
    """`scripts/tables.py [--check]` in a root of its own, where all is written."""
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr(script, "generated", lambda: files)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["tables.py", *arguments])
        return script.main()

    (tmp_path / "docs").mkdir()
    (tmp_path / "leaderboards").mkdir()
    assert call() == 0
    return call


def test_a_board_has_its_ranking_in_every_format_and_its_other_tables(files):
    names = {path.name for path in files if path.parent.name == "tables" and path.name.startswith("digits-linf.")}
    endings = {"md", "csv", "parquet", "json", "tex"}
    others = {"attacks", "classes", "checkpoints", "cost", "published", "sources"}
    assert names == {f"digits-linf.{end}" for end in endings} | {f"digits-linf.{name}.csv" for name in others}
    page = files[Path("leaderboards/tables/digits-linf.md")].decode()
    assert page.count("\n## ") == 7
    rows = json.loads(files[Path("leaderboards/tables/digits-linf.json")])
    assert min(row["rank"] for row in rows if row["rank"]) == 1, "rows without all seeds have none"


def test_checkpoints_of_a_checkout_are_its_owners(script, files, monkeypatch):
    entry = CheckpointEntry(record(load_scenario("digits-linf"), "mine", outcomes(0.5, 0)), Path(), np.zeros(600))

    def with_mine(scenario, root):
        return (replace(board, checkpoints=[entry]) for board in read_boards(scenario, root))

    monkeypatch.setattr(script, "read_boards", with_mine)
    assert script.generated() == files


def test_what_was_just_written_is_accepted(run, capsys):
    capsys.readouterr()
    assert run("--check") == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["digits-linf.csv", "digits-linf.parquet", "digits-linf.tex"])
def test_one_other_byte_is_refused_and_mended(name, run, tmp_path, capsys):
    path = tmp_path / "leaderboards" / "tables" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert run("--check") == 1
    assert f"{name} differs from what the records give" in capsys.readouterr().out
    assert run() == 0 and run("--check") == 0


def test_a_missing_file_is_refused(run, tmp_path, capsys):
    (tmp_path / "leaderboards" / "tables" / "across.md").unlink()
    assert run("--check") == 1
    assert "across.md differs" in capsys.readouterr().out


def test_a_file_that_nothing_gives_is_refused_and_removed(run, tmp_path, capsys):
    stale = tmp_path / "leaderboards" / "tables" / "gone-linf.csv"
    stale.write_text("x")
    assert run("--check") == 1 and stale.exists()
    assert "gone-linf.csv is there, and no record gives it" in capsys.readouterr().out
    assert run() == 0 and not stale.exists()


@pytest.mark.parametrize(("change", "accepted"), [(0.0, True), (1e-4, False)])
def test_parquet_of_another_writer_is_compared_by_content(change, accepted, run, tmp_path):
    """As if another version of pandas had written it: other bytes, and the same table or not."""
    path = tmp_path / PARQUET
    table = pq.read_table(path)
    metadata = dict(table.schema.metadata)
    metadata[b"pandas"] = json.dumps(json.loads(metadata[b"pandas"]) | {"pandas_version": "2.2.0"}).encode()
    robust = table.schema.get_field_index("robust")
    values = [value + change for value in table["robust"].to_pylist()]
    table = table.set_column(robust, table.schema.field(robust), pa.array(values))
    pq.write_table(table.replace_schema_metadata(metadata), path)
    before = path.read_bytes()
    assert (run("--check") == 0) is accepted
    assert run() == 0 and (path.read_bytes() == before) is accepted


def test_the_same_writer_must_give_the_same_bytes(run, tmp_path):
    pq.write_table(pq.read_table(tmp_path / PARQUET), tmp_path / PARQUET, compression="gzip")
    assert run("--check") == 1


def test_the_readme_shows_the_ranking(files):
    readme = files[Path("README.md")].decode()
    assert readme.count("leaderboard: written by scripts/tables.py") == 1
    assert "minimum detectable difference" in readme and "| pgd-at |" in readme
    assert "| 10 |" in readme and "| 11 |" not in readme and "(leaderboards/tables/digits-linf.md)" in readme
