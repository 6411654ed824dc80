"""`temper regress` and `reproduce`: what they call equal, close enough or broken; and the real faults they catch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import t as student_t

from bench.errors import TemperError
from bench.evaluation import evaluate
from bench.evaluation.summary import outcome_hashes, summarise
from bench.execution import judge, trials
from bench.losses import kl
from bench.method import METHODS, make_method
from bench.ranking import reproduction
from bench.ranking.collect import Entry
from bench.ranking.reproduction import judged_again, reproduced, same_class, trained_again
from bench.ranking.rows import read_board
from bench.records import Surroundings, read_record, work_folder
from bench.regression import _begin, chosen, fits
from bench.scenario import load_scenario

GOLDEN = Path(__file__).parent / "golden"
SCENARIO = GOLDEN / "golden.toml"
Table = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """The golden records as local ones."""
    shutil.copytree(GOLDEN / "records", tmp_path / "leaderboards" / "records")
    return tmp_path / "leaderboards"


@pytest.fixture
def entries(board: Path) -> list[Entry]:
    """Those of all five seeds."""
    (row,) = read_board(load_scenario(SCENARIO), board, ruleset="epochs").rows
    assert len(row) == 5
    return row


def altered(entry: Entry, folder: Path, change: Table, **evaluation: Any) -> Entry:
    """A second record of the same trial, with another table of outcomes."""
    folder.mkdir(parents=True)
    frame = change(pd.read_parquet(entry.folder / "outcomes.parquet"))
    frame.to_parquet(folder / "outcomes.parquet", index=False)
    verdict = entry.record.evaluation.model_copy(
        update={"outcomes": outcome_hashes(frame), "robust": summarise(frame)["robust"], **evaluation}
    )
    record = entry.record.model_copy(update={"evaluation": verdict})
    return Entry(record, folder, frame["outcome"].to_numpy())


def fallen(count: int, attack: int = 2) -> Table:
    """The first robust examples are broken by the second attack."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        first = np.flatnonzero(frame["outcome"] == 255)[:count]
        outcome = frame["outcome"].to_numpy(copy=True)
        outcome[first] = attack
        return frame.assign(outcome=outcome)

    return change


def elsewhere(entry: Entry) -> Entry:
    """As if it were of a machine whose instructions nobody wrote down."""
    record = entry.record
    there = record.surroundings.model_copy(update={"machine": "AMD EPYC"})
    verdict = record.evaluation and record.evaluation.model_copy(update={"surroundings": there})
    return replace(entry, record=record.model_copy(update={"surroundings": there, "evaluation": verdict}))


def other_weights(entry: Entry, robust: np.ndarray) -> Entry:
    """As if its weights had come out otherwise, and this robust."""
    weights = entry.record.weights
    moved = {name: each.model_copy(update={"sha256": "0" * 64}) for name, each in weights.items()}
    return replace(entry, record=entry.record.model_copy(update={"weights": moved}), outcomes=np.where(robust, 255, 1))


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"machine": "AMD EPYC, AVX512"}, False),
        ({"machine": "Intel Xeon, AVX2"}, False),
        ({"device": "NVIDIA H100"}, False),
        ({"versions": {"torch": "2.13.0", "numpy": "2.0"}}, False),
        ({"versions": {"torch": "2.14.1", "numpy": "2.1"}, "commit": "b", "dirty": True}, True),
    ],
)
def test_the_class_of_a_machine_is_processor_instructions_device_and_torch(change, same):
    here = Surroundings(
        commit="a",
        dirty=False,
        versions={"torch": "2.14.1", "numpy": "2.0"},
        device="cpu",
        machine="AMD EPYC, AVX2",
        threads=1,
    )
    assert same_class(here, here.model_copy(update=change)) is same


def test_a_record_without_instructions_is_of_no_known_class(entries):
    old = elsewhere(entries[0]).record.surroundings
    assert not same_class(old, old)
    assert not same_class(None, None)


@pytest.mark.parametrize(("count", "holds"), [(0, True), (1, False)])
def test_on_the_same_class_of_machine_every_outcome_must_be_equal(entries, tmp_path, count, holds):
    assert judged_again(entries[0], altered(entries[0], tmp_path / "again", fallen(count))).holds is holds


@pytest.mark.parametrize(("count", "holds"), [(3, True), (4, False)])
def test_elsewhere_99_percent_of_the_robust_verdicts_must_be(entries, tmp_path, count, holds):
    again = altered(entries[0], tmp_path / "again", fallen(count))
    check = judged_again(elsewhere(entries[0]), again)
    assert check.holds is holds
    assert f"{300 - count} of 300 robust verdicts equal" in check.words


def test_elsewhere_another_attack_may_break_an_example(entries, tmp_path):
    again = altered(entries[0], tmp_path / "again", lambda f: f.assign(outcome=f["outcome"].replace(1, 2)))
    assert judged_again(elsewhere(entries[0]), again).holds
    assert not judged_again(entries[0], again).holds


def test_it_names_the_example_and_the_attack(entries, tmp_path):
    first = int(np.flatnonzero(entries[0].robust)[0])

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[first, "cw"] = False
        return fallen(1)(frame)

    assert frame_of(entries[0])["cw"].iloc[first]
    assert judged_again(entries[0], altered(entries[0], tmp_path / "again", change)).changes == [
        f"test example {first}: was robust, now broken by apgd-t",
        f"test example {first}: was right under cw, now wrong",
    ]


def frame_of(entry: Entry) -> pd.DataFrame:
    return pd.read_parquet(entry.folder / "outcomes.parquet")


def test_a_retrained_student_must_lie_in_the_prediction_interval(entries):
    """t s sqrt(1 + 1/n) about the mean, one image inside and one image outside; on the same class it is not enough."""
    accuracies = [entry.accuracy for entry in entries]
    half = student_t.ppf(0.975, 4) * np.std(accuracies, ddof=1) * np.sqrt(1 + 1 / 5)
    variance = float(np.var(accuracies, ddof=1))
    lowest = int(np.ceil(300 * (np.mean(accuracies) - half)))
    for count, inside in ((lowest, True), (lowest - 1, False)):
        again = other_weights(entries[0], np.arange(300) < count)
        check = trained_again(elsewhere(entries[0]), again, entries, variance, 4)
        assert check.holds is inside
        assert ("OUTSIDE" in check.words) is not inside
        assert not trained_again(entries[0], again, entries, variance, 4).holds


def test_equal_weights_and_outcomes_are_bit_for_bit_on_any_machine(entries, tmp_path):
    for stored in (entries[0], elsewhere(entries[0])):
        assert trained_again(stored, entries[0], entries, np.nan, np.nan).words == "bit for bit"
    again = altered(entries[0], tmp_path / "again", fallen(1))
    check = trained_again(entries[0], again, entries, np.nan, np.nan)
    assert not check.holds
    assert check.words.startswith("same weights")
    assert reproduced(entries, {again.record.trial_id: again}, np.nan, np.nan) == {0: check.words}


def test_one_seed_without_a_board_gives_no_interval_and_does_not_hold(entries):
    again = other_weights(entries[0], entries[0].robust)
    check = trained_again(elsewhere(entries[0]), again, entries[:1], np.nan, np.nan)
    assert not check.holds
    assert "too few seeds" in check.words


def failed(entry: Entry) -> Entry:
    changes = {"status": "failed", "failure": "loss is not finite", "weights": {}, "evaluation": None, "training": None}
    return replace(entry, record=entry.record.model_copy(update=changes), outcomes=None)


def test_a_trial_that_fails_now_does_not_hold_and_one_that_failed_before_does(entries):
    variance = float(np.var([entry.accuracy for entry in entries], ddof=1))
    assert "0.0 %, OUTSIDE" in trained_again(elsewhere(entries[0]), failed(entries[0]), entries, variance, 4).words
    assert trained_again(failed(entries[0]), failed(entries[0]), entries, variance, 4).holds
    assert not judged_again(entries[0], failed(entries[0])).holds


def test_what_is_checked_is_a_sample_of_rows_or_what_is_named():
    rows = [[f"{method}{seed}" for seed in range(2)] for method in "abcde"]
    fake = SimpleNamespace(
        rows=[
            [SimpleNamespace(name=name, record=SimpleNamespace(trial=SimpleNamespace(method=name[0]))) for name in row]
            for row in rows
        ],
        setting="somewhere",
        scenario=SimpleNamespace(name="s"),
    )

    def names(*arguments: Any) -> list[str]:
        return [entry.name for entry in chosen(fake, *arguments)]

    assert names((), 1, 3) == ["a0", "c0", "e0"]
    assert names((), 2, 1) == ["a0", "a1"]
    assert names(("d", "b")) == ["b0", "d0"]
    with pytest.raises(TemperError, match="no records of f on somewhere; there are records of a, b, c, d, e"):
        names(("f",))


def test_what_another_code_left_is_not_continued(entries, tmp_path):
    work = work_folder(tmp_path, entries[0].record.trial)
    for before, now, kept in (("one", "one", True), ("one", "two", False), ("one", None, False)):
        _begin(entries[0], "training", tmp_path, before)
        (work / "checkpoint.safetensors").write_text("half way")
        _begin(entries[0], "training", tmp_path, now)
        assert (work / "checkpoint.safetensors").exists() is kept


@pytest.mark.parametrize(
    ("where", "change", "says"),
    [
        ("trial", {"version": "old"}, "the record is of version 'old'"),
        ("trial", {"method": "rslat"}, "method 'rslat' is not registered here"),
        ("trial", {"train_fingerprint": "0" * 64}, "was trained on another golden"),
        ("evaluation", {"protocol_fingerprint": "0" * 64}, "judged by another protocol"),
    ],
)
def test_what_is_not_the_records_is_refused_in_words(entries, where, change, says):
    part = getattr(entries[0].record, where).model_copy(update=change)
    with pytest.raises(TemperError, match=says):
        fits(entries[0].record.model_copy(update={where: part}), load_scenario(SCENARIO))


class Played:
    """In place of the processes: what they would leave, taken from the golden records and changed."""

    change: Table = staticmethod(lambda frame: frame)
    broken = False

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def run(self, folders: Sequence[tuple[str, Path]], finish: Callable[[Path], None]) -> list[str]:
        if self.broken:
            return [f"{title}: no space left" for title, _ in folders]
        for _, folder in folders:
            stored = next(GOLDEN.glob(f"records/*/*/{folder.name.rpartition('-')[2]}"))
            record = read_record(stored)
            frame = self.change(pd.read_parquet(stored / "outcomes.parquet"))
            frame.to_parquet(folder / "outcomes.parquet", index=False)
            again = record.evaluation.model_copy(update={**summarise(frame), "outcomes": outcome_hashes(frame)})
            (folder / "evaluation.json").write_text(again.model_dump_json())
            (folder / "training.json").write_text(record.training.model_dump_json())
            (folder / "surroundings.json").write_text(record.surroundings.model_dump_json())
            for name in ("best.safetensors", "last.safetensors", "metrics.jsonl"):
                shutil.copyfile(stored / name, folder / name)
            finish(folder)
        return []


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> type[Played]:
    monkeypatch.setattr(trials, "Pool", Played)
    monkeypatch.setattr(Played, "change", staticmethod(lambda frame: frame))
    monkeypatch.setattr(Played, "broken", False)
    return Played


def test_regress_checks_both_and_leaves_the_records_alone(board, temper, played):
    before = {path: path.read_bytes() for path in board.rglob("*") if path.is_file()}
    result = temper("regress", SCENARIO, "--ruleset", "epochs", "--json")
    assert result.code == 0, result.err
    checks = json.loads(result.out)["checks"]
    assert [(each["what"], each["words"]) for each in checks] == [
        ("evaluator", "outcomes exactly equal"),
        ("training", "bit for bit"),
    ]
    assert {path: path.read_bytes() for path in before} == before


def test_regress_exits_with_1_and_prints_what_changed(board, temper, played):
    played.change = staticmethod(fallen(7))
    result = temper("regress", SCENARIO, "--ruleset", "epochs", "--reevaluate")
    assert result.code == 1
    assert "NO" in result.out
    assert "was robust, now broken by apgd-t" in result.out
    assert "and 2 more" in result.out


@pytest.mark.parametrize("which", ["--reevaluate", "--retrain"])
def test_a_trial_that_did_not_run_is_no_pass(board, temper, played, which):
    played.broken = True
    result = temper("regress", SCENARIO, "--ruleset", "epochs", which, "--json")
    assert result.code == 1
    assert json.loads(result.out) == {"checks": [], "problems": ["rslad seed 0: no space left"]}


def test_weights_that_lie_elsewhere_are_left_out_aloud(board, temper, played):
    for file in board.rglob("*.safetensors"):
        file.unlink()
    result = temper("regress", SCENARIO, "--ruleset", "epochs", "--reevaluate")
    assert "its weights are not stored here" in result.err
    assert result.code == 1


def test_reproduce_takes_an_id_a_folder_or_a_file(board, temper, played):
    folder = next(path.parent for path in board.rglob("best.safetensors"))
    for name in (folder.name, folder, folder / "record.json"):
        result = temper("reproduce", name, "--scenario", SCENARIO, "--json")
        assert result.code == 0, result.err
        assert json.loads(result.out)["words"] == "bit for bit"
    played.change = staticmethod(fallen(7))
    assert temper("reproduce", folder, "--scenario", SCENARIO).code == 1
    result = temper("reproduce", "0123", "--scenario", SCENARIO)
    assert (result.code, "there is no record '0123'" in result.err) == (2, True)


@pytest.fixture
def plainly(here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials run in this process, so that a test can break the code, and without what is shown beside the outcomes."""
    monkeypatch.setattr(judge, "evaluate", partial(evaluate, diagnose=False))
    monkeypatch.setattr(judge, "accuracy_curve", lambda *given, **options: SimpleNamespace(accuracy={}))
    monkeypatch.setattr(judge, "_proved", lambda *given: None)


def wrong_sign(method: type, monkeypatch: pytest.MonkeyPatch) -> None:
    right = method.loss
    monkeypatch.setattr(method, "loss", lambda self, nets, batch: -right(self, nets, batch))


def detached(method: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """No gradient from the adversarial half of the loss."""

    def loss(self: Any, nets: Any, batch: Any) -> torch.Tensor:
        batch.student_logits = nets.student(batch.x_adv)
        adversarial = kl(batch.target, batch.student_logits.detach())
        clean = kl(batch.target, nets.student(batch.x))
        return self.adversarial_weight * adversarial + (1 - self.adversarial_weight) * clean

    monkeypatch.setattr(method, "loss", loss)


def half_eps(method: type, monkeypatch: pytest.MonkeyPatch) -> None:
    right = method.attack
    monkeypatch.setattr(
        method, "attack", lambda self, nets, batch: right(self, nets, batch)._replace(eps=nets.threat.eps / 2)
    )


@pytest.mark.slow
@pytest.mark.parametrize("fault", [wrong_sign, detached, half_eps])
def test_a_broken_loss_is_caught_on_any_machine(board, temper, plainly, monkeypatch, fault):
    """By the interval alone: as if nothing were known of the machine. Two attacks of four break less, if anything."""
    fault(METHODS["rslad"], monkeypatch)
    monkeypatch.setattr(judge, "evaluate", partial(evaluate, protocol="screen", diagnose=False))
    monkeypatch.setattr(reproduction, "same_class", lambda one, other: False)
    result = temper("regress", SCENARIO, "--ruleset", "epochs", "--retrain", "--json")
    assert result.code == 1
    (check,) = json.loads(result.out)["checks"]
    assert "OUTSIDE" in check["words"]


@pytest.mark.slow
def test_a_broken_evaluator_is_caught_on_any_machine(board, temper, plainly, monkeypatch):
    def weaker(*given: Any, threat: Any, **options: Any) -> Any:
        weak = threat.model_copy(update={"eps": threat.eps / 2})
        return evaluate(*given, threat=weak, diagnose=False, **options)

    monkeypatch.setattr(judge, "evaluate", weaker)
    monkeypatch.setattr(reproduction, "same_class", lambda one, other: False)
    result = temper("regress", SCENARIO, "--ruleset", "epochs", "--reevaluate", "--json")
    assert result.code == 1
    (check,) = json.loads(result.out)["checks"]
    assert any("was broken by apgd-ce, now robust" in line for line in check["changes"])


@pytest.mark.slow
def test_the_golden_student_is_judged_as_before(board, temper, plainly):
    """Every outcome where it was made; on another machine 99% of the verdicts."""
    result = temper("regress", SCENARIO, "--ruleset", "epochs", "--reevaluate")
    assert result.code == 0, result.out + result.err


@pytest.mark.slow
def test_the_golden_student_is_trained_as_before_by_the_commands_own_processes(board, temper):
    """Bit for bit where it was made; on another machine by the interval."""
    result = temper("regress", SCENARIO, "--ruleset", "epochs", "--retrain")
    assert result.code == 0, result.out + result.err


def test_a_trial_of_ones_own_is_reproduced_bit_for_bit(tiny, temper, plainly, tmp_path):
    assert temper("run", tiny, "--method", "natural", "--seeds", 1).code == 0
    (folder,) = (path.parent for path in (tmp_path / "leaderboards" / "records").rglob("record.json"))
    result = temper("reproduce", folder, "--scenario", tiny)
    assert result.code == 0, result.out + result.err
    assert "bit for bit" in result.out
    tiny.write_text(tiny.read_text().replace("batch_size = 64", "batch_size = 32"))
    result = temper("reproduce", folder, "--scenario", tiny)
    assert (result.code, "was trained on another tiny" in result.err) == (2, True)


def test_the_golden_scenario_still_is_the_one_of_its_records(entries):
    make_method("rslad", entries[0].record.trial.hyperparameters)
    for entry in entries:
        fits(entry.record, load_scenario(SCENARIO))
