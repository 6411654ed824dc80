"""Published numbers: facts with their sources, all of them, beside the right method and never in the ranking."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import pytest

from bench.method import METHODS
from bench.ranking.board import ranking
from bench.ranking.published import FILE, differences, percentage, published, read_published, sources
from bench.ranking.words import in_words
from bench.scenario import load_scenario
from tests.ranking import made

ADDED = ["registered", "paper"]
GATHERED = "04e961db26ae00eb56b61dcab6c0f65998a6088da1db9562eab591a51e07a83f"  # of the 94 numbers as they were gathered
NUMBERS = ["clean", "fgsm", "pgd20", "cw", "aa"]


@pytest.fixture(scope="module")
def file():
    return read_published()


def test_no_gathered_number_is_lost_or_changed(file):
    gathered = file.drop(columns=ADDED).head(94).to_csv(index=False, lineterminator="\n")
    assert hashlib.sha256(gathered.encode()).hexdigest() == GATHERED


def test_the_file_survives_being_read_and_written(file):
    assert file.to_csv(index=False, lineterminator="\n") == FILE.read_text()


def test_every_row_is_complete_and_every_mapped_method_registered(file):
    told = file[["method", "dataset", "threat", "eps", "teacher", "student", "paper", "source", "confidence"]]
    assert (told != "").all(axis=None)
    assert set(file["registered"]) - {""} <= set(METHODS)
    assert (file[NUMBERS] != "").any(axis=1).all()


def test_every_number_is_a_percentage(file):
    values = [percentage(text) for text in file[NUMBERS].to_numpy().ravel() if text]
    assert None not in values
    assert all(0.1 < value < 0.95 for value in values), "lowest 11.6 %, highest 93.68 %"


def test_a_cell_is_its_leading_number():
    assert [percentage(text) for text in ("47.63+-0.08", "52.73 (PGD-10)", "")] == [0.4763, 0.5273, None]


@pytest.mark.parametrize(
    ("name", "row", "expected"),
    [
        ("cifar10-linf", {}, []),
        ("cifar10-linf", {"teacher": "WRN-34-10 (TRADES; 84.92/53.08)"}, []),
        ("cifar10-linf", {"teacher": "WRN-94-16 Bartoldson"}, ["teacher"]),
        ("cifar10-linf", {"student": "PreActResNet-18"}, ["student"]),
        ("cifar10-linf", {"dataset": "CIFAR-100"}, ["dataset"]),
        ("cifar10-linf", {"threat": "L2", "eps": "0.5"}, ["threat"]),
        ("cifar10-linf-mobilenetv2", {"student": "MobileNet-V2"}, []),
        ("cifar10-jpeg75-linf", {}, ["dataset"]),
        ("digits-linf", {"teacher": "WRN-34-10"}, ["dataset", "threat", "student", "teacher"]),
    ],
)
def test_what_differs_from_a_scenario_is_named(name, row, expected):
    usual = {"dataset": "CIFAR-10", "threat": "Linf", "eps": "8/255", "student": "ResNet-18", "teacher": "-"}
    assert differences(load_scenario(name), usual | row) == expected


@pytest.fixture
def board(tmp_path):
    on = made.scenario()
    return made.board(on, *made.rows(tmp_path, on, {"pgd-at": 0.5, "rslad": 0.4, "natural": 0.0}))


def test_published_is_beside_the_measured_row_of_the_same_method(board, file):
    table = published(board, ranking(board))
    ours = file[(file["registered"] == "rslad") & (file["aa"] != "")]
    values = ours["aa"].map(percentage)
    (row,) = table[table["method"] == "rslad"].to_dict("records")
    assert (row["rank"], row["robust"], row["dataset"]) == (2, pytest.approx(0.4), "CIFAR-10")
    assert (row["published_low"], row["published_high"]) == (values.min(), values.max())
    assert (row["papers"], row["numbers"]) == (ours["paper"].nunique(), len(ours))
    assert row["papers"] < row["numbers"], "two teachers in one paper are one paper"
    assert list(table.loc[table["method"] == "pgd-at", "dataset"]) == ["CIFAR-10", "CIFAR-100"]
    (none,) = in_words(table[table["method"] == "natural"]).to_dict("records")
    assert (none["published on"], none["papers"], none["AA lowest %"]) == ("", "", "")


def test_every_source_of_the_range_is_listed(board):
    table, long = published(board, ranking(board)), sources(board, ranking(board))
    for (method, dataset), part in long.groupby(["method", "dataset"]):
        (row,) = table[(table["method"] == method) & (table["dataset"] == dataset)].to_dict("records")
        assert (row["published_low"], row["published_high"]) == (part["published_aa"].min(), part["published_aa"].max())
        assert row["numbers"] == len(part) and (part["source"] != "").all()


def test_another_setting_is_said_in_caption_and_columns(board):
    table = published(board, ranking(board))
    assert "of another setting (dataset, threat, student, teacher) than ours" in table.attrs["caption"]
    assert (table["of_this_setting"].dropna() == 0).all()
    assert "dataset" in in_words(table)["differs in"].iloc[0]


def test_published_numbers_change_no_ranking(board, monkeypatch):
    before = ranking(board)
    monkeypatch.setattr("bench.ranking.published.read_published", lambda: read_published().head(1))
    assert ranking(board).equals(before)
    assert "published" not in " ".join(before.columns)


def test_the_file_goes_into_the_wheel():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included["leaderboards/published.csv"] == "bench/_shipped/leaderboards/published.csv"
