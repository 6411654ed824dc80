"""The tables of a board against numbers worked out from its outcomes by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bench.errors import TemperError
from bench.protocol import ATTACKS, ROBUST
from bench.ranking import collect as collecting
from bench.ranking.across import across
from bench.ranking.board import ranking
from bench.ranking.cost import cost
from bench.ranking.rows import read_board, read_boards
from bench.ranking.tables import TABLES, attacks, build, build_all, checkpoints, classes
from bench.ranking.words import in_words
from bench.scenario import load_scenario
from tests.ranking import made


def test_attacks_leave_what_their_outcomes_say(tmp_path):
    on = made.scenario()
    frames = [made.outcomes(0.4, seed) for seed in range(2)]
    row = [made.entry(tmp_path, on, "pgd-at", seed, frame) for seed, frame in enumerate(frames)]
    board = made.board(on, row)
    table = attacks(board, ranking(board)).iloc[0]
    for k, name in enumerate(ATTACKS, 1):
        left = np.mean([(frame["outcome"] > k).mean() for frame in frames])
        assert table[f"after_{name.replace('-', '_')}"] == pytest.approx(left)
    assert table["after_square"] == pytest.approx(ranking(board).iloc[0]["robust"]) == pytest.approx(0.4)
    assert table["cw"] == pytest.approx(np.mean([frame["cw"].mean() for frame in frames]))
    assert table["clean"] == pytest.approx(np.mean([(frame["outcome"] > 0).mean() for frame in frames]))
    assert table["proved"] is None or np.isnan(table["proved"])


def test_a_failed_trial_counts_as_0_in_every_accuracy(tmp_path):
    on, frame = made.scenario(), made.outcomes(0.4, 0)
    row = [made.entry(tmp_path, on, "pgd-at", 0, frame), made.entry(tmp_path, on, "pgd-at", 1, None)]
    board = made.board(on, row)
    ranked, table = ranking(board).iloc[0], attacks(board, ranking(board)).iloc[0]
    assert ranked["robust"] == table["after_square"] == pytest.approx(0.2)
    assert ranked["pgd_20"] == table["pgd_20"] == pytest.approx(frame["pgd-20"].mean() / 2)


def test_classes_are_averaged_over_seeds_before_the_worst_is_chosen(tmp_path):
    on = made.scenario(classes=4)
    frames = [made.outcomes(0.5, seed, classes=3) for seed in range(2)]  # no image of class 3
    for frame, lost in zip(frames, (0, 1), strict=True):  # one seed loses class 0, the other class 1
        frame["outcome"] = np.where(frame["label"] == lost, 1, ROBUST).astype(np.uint8)
    board = made.board(on, [made.entry(tmp_path, on, "kd", seed, frame) for seed, frame in enumerate(frames)])
    table = classes(board, ranking(board)).iloc[0]
    assert [table[f"class_{label}"] for label in range(3)] == pytest.approx([0.5, 0.5, 1.0])
    assert np.isnan(table["class_3"])
    assert (table["worst"], table["worst_label"], table["worst_of_seed"]) == (0.5, 0, 0)


def test_a_hundred_classes_are_data_and_not_headings(tmp_path):
    on = made.scenario(classes=100)
    board = made.board(on, *made.rows(tmp_path, on, {"kd": 0.5}))
    table = classes(board, ranking(board))
    assert "class_99" in table and len(in_words(table).columns) == 6


def test_the_drop_is_what_the_last_checkpoint_lost(tmp_path):
    on = made.scenario()
    row = []
    for seed, lost in enumerate((0.1, -0.02)):
        frame = made.outcomes(0.4, seed)
        last = {"clean": 0.9, "pgd-20": float(frame["pgd-20"].mean()) - lost}
        row.append(made.entry(tmp_path, on, "trades", seed, frame, last=last))
    table = checkpoints(made.board(on, row), ranking(made.board(on, row))).iloc[0]
    assert [table[name] for name in ("drop", "drop_low", "drop_high")] == pytest.approx([0.04, -0.02, 0.1])
    assert table["drop"] == pytest.approx(table["pgd_20"] - table["last_pgd_20"])
    assert (table["last_clean"], table["chosen_at"]) == (0.9, 0.75)


def test_cost_shares_are_what_the_meter_would_price(tmp_path):
    on = made.scenario()
    examples = on.data.split.train
    counts = {"student/forward": 3, "student/input": 2, "student/weights": 1, "teacher/forward": 2, "critic/weights": 1}
    counts = {key: n * examples for key, n in counts.items()}
    prices = {"student": 1.0, "teacher": 4.0, "critic": 0.5}
    training = {"counts": counts, "prices": prices, "passes": 16.0}  # 3 + 2 + 2 + 2 x 4 + 2 x 0.5
    board = made.board(on, [made.entry(tmp_path, on, "ard", 0, made.outcomes(0.5, 0), training=training)])
    table = cost(board, ranking(board)).iloc[0]
    assert (table["teacher_share"], table["other_share"]) == pytest.approx((8 / 16, 1 / 16))
    assert [table[name] for name in ("forwards", "input_backwards", "weight_backwards")] == pytest.approx([5, 2, 2])
    assert table["robust_per_kilopass"] == pytest.approx(0.5 / 16 * 1000)
    assert (table["peak_megabytes"], table["judging_seconds"]) == (2.0, 7.0)


def test_every_table_has_the_rows_of_the_ranking_and_a_caption():
    board = read_board(load_scenario("digits-linf"))
    tables = build_all(board)
    order = list(tables["ranking"]["method"])
    for name, table in tables.items():
        assert [method for method in order if method in set(table["method"])] == list(dict.fromkeys(table["method"]))
        assert "digits-linf, ruleset compute, budget s" in table.attrs["caption"], name
        assert (in_words(table) != "").any(axis=None)
    assert list(tables["attacks"]["method"]) == list(tables["classes"]["method"]) == order
    shares = tables["cost"].set_index("method")["teacher_share"]
    assert shares["pgd-at"] == 0 and shares["kd"] > 0.7
    by_class = tables["classes"].set_index("method").filter(like="class_").loc["rslad"]
    assert 0 < by_class.min() == tables["classes"].set_index("method").loc["rslad", "worst"]


def test_every_table_of_a_board_without_rows_is_empty():
    board = made.board(made.scenario())
    assert all(table.empty and in_words(table).empty for table in build_all(board).values())


def test_an_unknown_table_is_named_with_the_nearest():
    with pytest.raises(TemperError, match="unknown table 'atacks'; did you mean attacks"):
        build(made.board(made.scenario()), "atacks")
    assert next(iter(TABLES)) == "ranking"


def test_across_is_the_distance_from_pgd_at_on_each_scenario(tmp_path):
    chances = [{"pgd-at": 0.5, "ard": 0.6, "kd": 0.1}, {"pgd-at": 0.6, "ard": 0.5}]
    boards = []
    for name, robust in zip(("one", "two"), chances, strict=True):
        on = made.scenario(name)
        boards.append(made.board(on, *made.rows(tmp_path, on, robust)))
    table = across(boards).set_index("method")
    assert table.loc["ard", ["one", "two", "mean"]].tolist() == pytest.approx([0.1, -0.1, 0.0])
    assert table.loc["kd", "one"] == pytest.approx(-0.4)
    assert table.loc["kd", ["two", "mean", "interquartile_mean", "above"]].isna().all()
    assert table.loc[["ard", "pgd-at"], "above"].tolist() == [0.5, 0.0]
    assert set(table.index[:2]) == {"pgd-at", "ard"} and table.index[2] == "kd"
    assert "mean" not in across(boards[:1])


def test_across_trims_a_quarter_from_both_ends(tmp_path):
    boards = []
    for k, above in enumerate((0.4, 0.1, 0.2, -0.4)):
        on = made.scenario(f"s{k}")
        boards.append(made.board(on, *made.rows(tmp_path, on, {"pgd-at": 0.5, "ard": 0.5 + above})))
    row = across(boards).set_index("method").loc["ard"]
    assert row["interquartile_mean"] == pytest.approx(0.15) and row["mean"] == pytest.approx(0.075)


def test_across_leaves_out_what_is_not_ranked(tmp_path):
    on = made.scenario(seeds=3)
    provisional = made.rows(tmp_path, on, {"pgd-at": 0.5, "ard": 0.4})
    assert across([made.board(on, *provisional)]).empty


def test_across_is_one_row_for_settings_that_were_tuned_on_each_scenario(tmp_path):
    boards = []
    for k, name in enumerate(("one", "two")):
        on = made.scenario(name)
        pgd = made.rows(tmp_path, on, {"pgd-at": 0.5})
        settings = {"temperature": 2.0 + k}
        tuned = [
            made.entry(tmp_path, on, "ard", s, made.outcomes(0.4, s), hyperparameters=settings, tuned=True)
            for s in (0, 1)
        ]
        boards.append(made.board(on, *pgd, tuned))
    assert list(across(boards)["method"]) == ["pgd-at", "ard"]
    assert across(boards)["mean"].notna().all()


def test_all_boards_of_a_scenario_come_from_one_reading(tmp_path, monkeypatch):
    on = made.scenario()
    made.rows(tmp_path / "records", on, {"pgd-at": 0.5, "kd": 0.3})
    other = made.rows(tmp_path / "epochs", on, {"ard": 0.4})
    for row in other:
        for each in row:
            trial = each.record.trial.model_copy(update={"ruleset": "epochs"})
            folder = tmp_path / "records" / on.name / "ard" / trial.id
            folder.mkdir(parents=True)
            each.record.model_copy(update={"trial": trial, "trial_id": trial.id}).save(folder)
            (folder / "outcomes.parquet").write_bytes((each.folder / "outcomes.parquet").read_bytes())
    monkeypatch.setenv("TEMPER_SHIPPED", str(tmp_path / "none"))
    read: list[object] = []
    reader = collecting.read_record
    monkeypatch.setattr(collecting, "read_record", lambda path: read.append(path) or reader(path))
    boards = {board.fields["ruleset"]: board for board in read_boards(on, tmp_path)}
    assert {ruleset: len(board.rows) for ruleset, board in boards.items()} == {"compute": 2, "epochs": 1}
    assert len(read) == len(set(read)) == 6
