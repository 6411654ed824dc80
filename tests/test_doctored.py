"""A record of which anything was changed: more than a thousand random changes, one at a time, and each is named."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench import leaderboard
from bench.records import read_record
from bench.stamp import record_text, write_stamped
from bench.verification import FILES, verify_folder, verify_records
from tests.recorded import SCENARIO, copied, edit
from tests.rogues.doctored import DOCTORED, METHOD, REEVALUATE, lucky_seed, retable, same_student, sixth_seed

FLIPS = 150  # of bytes, in each file
ATTESTED = {  # numbers that follow from nothing else: a change with a new stamp takes git, a release or the weights
    *("training.seconds", "training.device_seconds", "training.peak_memory", "evaluation.seconds"),
    *("surroundings.threads", "evaluation.surroundings.threads"),
    *("training.curve.*.step", "training.curve.*.progress"),  # as far as the next lines of the learning curve
}
TOLD = "value"  # of a diagnostic: only that it is on its side of the threshold, unless the outcomes give it


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The five records of a method that ship, copied."""
    return copied(tmp_path_factory.mktemp("doctored"), "rslad")


@pytest.fixture
def record(folders: list[Path]) -> Iterator[Path]:
    """The first of them; restored after a test."""
    yield folders[0]
    restore(folders)


@pytest.mark.parametrize("doctored", DOCTORED, ids=lambda each: each.cheat)
def test_the_gallery_of_doctored_records(doctored, tmp_path, monkeypatch):
    """What only the weights can tell is tested in test_verification.py."""
    monkeypatch.setenv("TEMPER_SHIPPED", str(tmp_path / "none"))
    folders = copied(tmp_path, METHOD)
    assert verify_records(tmp_path)[1] == []
    doctored.change(folders)
    found, problems = verify_records(tmp_path)
    assert found
    if doctored.check == REEVALUATE:
        assert problems == []
    else:
        assert any(doctored.words in problem for problem in problems), problems
        assert all(str(tmp_path) in problem for problem in problems)


@pytest.mark.parametrize("change", [sixth_seed, lucky_seed, same_student])
def test_a_row_with_a_hole_or_a_student_twice_is_not_ranked(change, tmp_path, monkeypatch):
    monkeypatch.setenv("TEMPER_SHIPPED", str(tmp_path / "none"))
    folders = [*copied(tmp_path, METHOD), *copied(tmp_path, "trades")]
    before = leaderboard(SCENARIO, leaderboards=tmp_path)
    assert (list(before["status"][:2]), before.attrs["problems"]) == (["ranked", "ranked"], [])
    change(folders[:5])
    after = leaderboard(SCENARIO, leaderboards=tmp_path).set_index("method")
    assert (after["status"][METHOD], after["status"]["trades"]) == ("provisional", "ranked")
    assert after["rank"][METHOD] is pd.NA
    (problem,) = after.attrs["problems"]
    assert problem.startswith(f"{METHOD} is not ranked: ")


def restore(folders: list[Path]) -> None:
    root = folders[0].parents[3]
    shutil.rmtree(root)
    copied(root, "rslad")


def named(folder: Path, name: str) -> bool:
    """Whether verify finds something, and names the record and the file in it."""
    problems = verify_folder(folder)
    assert all(str(folder) in problem for problem in problems), problems
    return any(name in problem.replace(str(folder), "") or f"{folder}/{name}" in problem for problem in problems)


def leaves(value: Any, *path: str | int) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every number, string and truth value, by the way to it."""
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(each, *path, key)
    else:
        yield path, value


def put(content: dict[str, Any], path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """A copy of the content with another value there."""
    changed = place = json.loads(json.dumps(content))
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


def other(value: Any, rng: random.Random) -> Any:
    """Nearly the same value: a number a little off, a string with another letter."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + rng.choice((-1, 1))
    if isinstance(value, float):
        return rng.choice((math.nextafter(value, 2), value * 1.001 + 1e-6, value + 0.01))
    at = rng.randrange(len(value) + 1)
    letter = rng.choice([each for each in "0123456789abcdef" if each != value[at : at + 1]])
    return value[:at] + letter + value[at + 1 :]


def test_the_records_are_sound(folders):
    assert [problem for folder in folders for problem in verify_folder(folder)] == []


def test_every_value_of_a_record_that_is_changed_is_named(record):
    rng, file = random.Random(0), record / "record.json"
    content = json.loads(file.read_text())
    values = [(path, value) for path, value in leaves(content) if value is not None]
    assert len(values) > 250
    for path, value in values:
        file.write_text(json.dumps(put(content, path, other(value, rng)), sort_keys=True, indent=1) + "\n")
        assert named(record, "record.json") or named(record, str(path[0])), path


def test_every_number_that_follows_from_another_is_named_under_a_new_stamp_too(record):
    """By whoever computes the digest anew. What is not named is attested, and known."""
    file = record / "record.json"
    content = json.loads(file.read_text())
    numbers = [(path, value) for path, value in leaves(content) if type(value) in (int, float)]
    unnamed = set()
    for path, value in numbers:
        step = 1 if isinstance(value, int) else 1e-3 if value < 0.5 else -1e-3
        file.write_text(record_text(put(content, path, value + step)))
        if not verify_folder(record):
            unnamed.add(".".join("*" if isinstance(key, int) else key for key in path))
    assert {each for each in unnamed if not each.endswith(TOLD)} == ATTESTED
    assert len(numbers) > 150


@pytest.mark.parametrize("name", FILES)
def test_every_byte_that_is_flipped_is_named(record, name):
    rng, file = random.Random(name), record / name
    raw = file.read_bytes()
    for _ in range(FLIPS):
        at = rng.randrange(len(raw))
        flipped = raw[at] ^ (1 << rng.randrange(8))
        file.write_bytes(raw[:at] + bytes([flipped]) + raw[at + 1 :])
        assert named(record, name), (at, flipped)


CONTENTS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda raw: b"",
    "cut": lambda raw: raw[:-1],
    "longer": lambda raw: raw + b"\n",
    "twice": lambda raw: raw + raw,
    "garbage": lambda raw: random.Random(0).randbytes(1000),
    "no text": lambda raw: b"\xff\xfe" + raw,
    "deep": lambda raw: b"[" * 100_000,
    "deep objects": lambda raw: b'{"a":' * 900 + b"1" + b"}" * 900,
    "large": lambda raw: b"1" * 5000,
    "null": lambda raw: b"null",
    "magic": lambda raw: b"PAR1PAR1",
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", CONTENTS)
def test_other_content_is_named(record, name, change):
    file = record / name
    file.write_bytes(CONTENTS[change](file.read_bytes()))
    assert named(record, name)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_none_or_anothers_is_named(record, folders, name, tmp_path):
    file, elsewhere = record / name, folders[1] / name
    honest = file.read_bytes()
    file.write_bytes(elsewhere.read_bytes())
    assert verify_folder(record)
    file.unlink()
    assert named(record, name)
    file.mkdir()
    assert named(record, name)
    file.rmdir()
    os.mkfifo(file)
    assert named(record, name)
    file.unlink()
    (tmp_path / "same").write_bytes(honest)
    for target in (tmp_path / "same", elsewhere, tmp_path / "nowhere", Path("/dev/zero"), Path(name)):
        file.symlink_to(target)
        assert named(record, name), target
        file.unlink()


def test_files_that_were_swapped_and_records_in_anothers_place_are_named(record, folders):
    (record / "best.safetensors").rename(record / "kept")
    (record / "last.safetensors").rename(record / "best.safetensors")
    (record / "kept").rename(record / "last.safetensors")
    assert named(record, "best.safetensors") and named(record, "last.safetensors")
    restore(folders)
    record.rename(record.with_name("kept"))
    folders[1].rename(record)
    record.with_name("kept").rename(folders[1])
    assert all("wrong place" in " ".join(verify_folder(folder)) for folder in folders[:2])


def test_what_lies_about_is_named(record, folders, tmp_path):
    records = record.parents[2]
    (record / ".hidden").write_text("")
    (record.parent / f".{record.name}").mkdir()
    (record.parent / f".{record.name}" / "best.safetensors").write_text("")
    shutil.move(folders[1], tmp_path / "moved")
    folders[1].symlink_to(tmp_path / "moved")
    (records / "linked").symlink_to(records / "digits-linf")
    (records / "broken").symlink_to(tmp_path / "nowhere")
    found, problems = verify_records(records)
    assert len(found) == 4
    strays = [".hidden", f".{record.name}/best.safetensors", folders[1].name, "linked", "broken"]
    assert len(problems) == len(strays)
    assert all(any(stray in problem for problem in problems) for stray in strays)


BIG, LONG = 10**300, "x" * 100_000
HOSTILE: list[tuple[tuple[str | int, ...], Any]] = [
    *((("trial", "hyperparameters"), value) for value in ({"a": BIG}, {"a": float("nan")}, {LONG: LONG}, {"": None})),
    *((("evaluation", "diagnostics"), value) for value in ({"a": 1}, {"a": {}}, {"a": {"value": "x", "threshold": 1}})),
    (("evaluation", "diagnostics", "transfer", "value"), BIG),
    *((("training", "counts"), value) for value in ({}, {"student": 1}, {"a/b/c": 1}, {"nobody/forward": 1})),
    *((("training", "prices"), value) for value in ({}, {"student": 1e308, "teacher": 1e308}, {"student": -1.0})),
    *((("training", "curve"), value) for value in ([], [{}], "x")),
    *((("evaluation", "curve"), value) for value in ([[0, 2]], [[1e308, 0.5]], [[]])),
    (("evaluation", "attacks"), {}),
    (("evaluation", "outcomes"), {}),
    (("evaluation", "worst_class"), {"label": 1e308, "robust": 0}),
    *((("trial", field), value) for field in ("seed", "seed_index") for value in (BIG, -1, 2**63 - 1, 0.5, None)),
    *((("trial", field), value) for field in ("scenario", "method") for value in ("", "../..", "\0", LONG, "\x1b[2J")),
    *((("superseded_by",), value) for value in ("..", "*", LONG, "\0", "ä" * 16)),
    *((("retracted",), value) for value in ("\x1b[2J", "\u202e", "\n")),
    *((("weights", "best", "bytes"), value) for value in (BIG, -1)),
    *((("files",), value) for value in ({}, {"../../x": "0" * 64}, {"outcomes.parquet": ""})),
    (("digest",), None),
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_content_under_a_new_stamp_is_named_and_never_a_traceback(record, number):
    path, value = HOSTILE[number]
    content = put(json.loads((record / "record.json").read_text()), path, value)
    (record / "record.json").write_text(record_text(content))
    if path != ("retracted",) or not value.strip():
        assert verify_folder(record) or path == ("digest",)


FRAMES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "no rows": lambda f: f.iloc[:0],
    "no columns": lambda f: f[[]],
    "no labels": lambda f: f.drop(columns="label"),
    "words": lambda f: f.assign(label="seven"),
    "fractions": lambda f: f.assign(prediction=f["prediction"] + 0.5),
    "large labels": lambda f: f.assign(label=np.int64(2**62)),
    "unproved": lambda f: f.assign(proved="yes"),
    "lists": lambda f: f.assign(label=[[1, 2]] * len(f)),
    "missing": lambda f: f.assign(label=f["label"].astype("Int64").where(f["label"] > 3)),
    "another attack": lambda f: f.assign(mine=True),
}


@pytest.mark.parametrize("change", FRAMES)
def test_hostile_outcomes_under_a_new_stamp_are_named_and_never_a_traceback(record, change):
    FRAMES[change](pd.read_parquet(record / "outcomes.parquet")).to_parquet(record / "outcomes.parquet")
    write_stamped(record, json.loads((record / "record.json").read_text()))
    assert verify_folder(record)


def where(frame: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The table with other values where the first attack broke an example."""
    broken = frame["outcome"] == 1
    return frame.assign(**{name: frame[name].mask(broken, value) for name, value in values.items()})


COLUMNS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "`broken_by` is not the outcome": lambda f: f.assign(broken_by="robust"),
    "`margin` is not that of the outcome": lambda f: f.assign(margin=-f["margin"]),
    "`margin_apgd-ce` is positive where apgd-ce broke": lambda f: where(f, **{"margin_apgd-ce": np.float32(1)}),
    "`margin_apgd-t` is a number where apgd-t did not run": lambda f: where(f, **{"margin_apgd-t": np.float32(1)}),
    "`margin_square` is not positive where": lambda f: f.assign(margin_square=-f["margin_square"]),
    "`margin_apgd-t` is not positive where": lambda f: f.assign(**{"margin_apgd-t": f["margin_apgd-t"] * np.nan}),
    "`target` is no class that": lambda f: where(f, target=np.int16(3)),
    "`target` is no class:": lambda f: f.assign(target=np.int16(99)),
    "`iteration` is none that": lambda f: where(f, iteration=np.int16(101)),
    "`verified` is true where nothing broke": lambda f: f.assign(verified=True),
    "`distance` is not 0 where": lambda f: f.assign(distance=np.float32(0.1)),
    "`distance` is no distance": lambda f: where(f, distance=np.float32(np.nan)),
    "`distance` exceeds eps = 0.15": lambda f: where(f, distance=np.float32(0.1501)),
    "`prediction` is no class": lambda f: f.assign(prediction=f["prediction"].replace(3, 10)),
    "`forwards` cannot be those": lambda f: f.assign(forwards=np.int32(0), backwards=np.int32(0)),
    "`backwards` exceed `forwards`": lambda f: f.assign(backwards=f["forwards"] + np.int32(1)),
    "`backwards` are not those of a whole": lambda f: where(f, backwards=np.int32(5000), forwards=np.int32(5000)),
    "`cw` is true where the clean input is wrong": lambda f: f.assign(cw=True),
    "`proved` is true where an attack broke": lambda f: f.assign(proved=True),
    "`proved` is true where a further attack broke": lambda f: f.assign(fgsm=False, proved=f["outcome"] == 255),
    "the labels are not those of the test split": lambda f: f.assign(label=f["label"].replace(3, 4)),
    "has no columns iteration": lambda f: f.drop(columns="iteration"),
    "the column verified holds": lambda f: f.assign(verified=1.0),
}


@pytest.mark.parametrize("says", COLUMNS)
def test_columns_that_contradict_each_other_are_named(record, says):
    retable(record, COLUMNS[says])
    problems = verify_folder(record)
    assert any(says in problem for problem in problems), problems


SIGNS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "transfer is missing": lambda signs: signs.pop("transfer"),
    "'mine' is none that": lambda signs: signs.update(mine=signs["transfer"]),
    "transfer is no diagnostic": lambda signs: signs["transfer"].pop("words"),
    "more_steps is no diagnostic": lambda signs: signs["more_steps"].update(name="cw"),
    "transfer.threshold is 0.1, it must be 0.01": lambda signs: signs["transfer"].update(threshold=0.1),
    "transfer says pass for 0.5": lambda signs: signs["transfer"].update(value=0.5),
    "transfer.value is 0.001, which is not a number of 600": lambda signs: signs["transfer"].update(value=0.001),
    "side_effects.value is 0.5": lambda signs: signs["side_effects"].update(value=0.5, verdict="fail"),
    "side_effects says warn": lambda signs: signs["side_effects"].update(value=1, verdict="warn"),
    "square_gain.value is": lambda signs: signs["square_gain"].update(value=0.01),
    "call for the stronger attacks pgd-1000, and": lambda signs: signs["more_steps"].update(value=0.5, verdict="warn"),
    "is there only for an attack that could not run": lambda signs: signs.update(
        adaptive_eot=signs["transfer"] | {"name": "adaptive_eot"}
    ),
    "make 2, the outcomes have 0": lambda signs: signs["outside_the_ball"].update(value=2, verdict="fail"),
}


@pytest.mark.parametrize("says", SIGNS)
def test_diagnostics_that_cannot_be_are_named(record, says):
    edit(record, lambda content: SIGNS[says](content["evaluation"]["diagnostics"]))
    problems = verify_folder(record)
    assert any(says in problem for problem in problems), problems


def test_a_prediction_that_is_none_counts_as_not_finite(record):
    """By the diagnostic, which is newer than the records that ship."""
    frame = pd.read_parquet(record / "outcomes.parquet")
    wrong = (frame["outcome"] == 0).to_numpy()
    sign = {"value": int(wrong.sum()), "threshold": 0, "verdict": "fail", "words": "They get no finite logits."}
    retable(record, lambda frame: frame.assign(prediction=frame["prediction"].mask(wrong, -1)))
    assert any(f"non_finite: 0, and {wrong.sum()} predictions are none" in each for each in verify_folder(record))
    edit(record, lambda content: content["evaluation"]["diagnostics"].update(non_finite=sign))
    assert verify_folder(record) == []


def test_a_diagnostic_that_could_not_run_calls_for_its_attacks(record):
    sign = {"value": 1.0, "threshold": 0.0, "verdict": "not run", "words": "Could not run: ValueError"}
    edit(record, lambda content: content["evaluation"]["diagnostics"].update(more_steps=sign | {"name": "more_steps"}))
    (problem,) = verify_folder(record)
    assert "call for the stronger attacks pgd-1000, and those that ran are none" in problem
    stopped = sign | {"name": "adaptive_pgd-1000"}
    edit(record, lambda content: content["evaluation"]["diagnostics"].update({"adaptive_pgd-1000": stopped}))
    assert verify_folder(record) == []


@pytest.mark.parametrize(
    "line", ['{"step": 1e999}', "[]", "1", '{"step": "x"}', "NaN", '{"step": {}, "progress": [], "passes": null}']
)
def test_a_hostile_learning_curve_is_named_and_never_a_traceback(record, line):
    with (record / "metrics.jsonl").open("a") as file:
        file.write(line + "\n")
    write_stamped(record, json.loads((record / "record.json").read_text()))
    assert any("metrics.jsonl" in problem for problem in verify_folder(record))


def test_the_command_prints_hostile_names_as_text(record, temper):
    (record / "\x1b[2J\u202e").write_text("")
    (record / os.fsdecode(b"\xff")).write_text("")
    result = temper("verify", record)
    assert result.code == 1
    assert r"\x1b[2J\u202e does not belong" in result.out
    assert r"\udcff does not belong" in result.out
    assert temper("verify", record, "--json").code == 1


def test_an_unstamped_record_is_read_and_named(record, temper):
    before = read_record(record)
    content = json.loads((record / "record.json").read_text())
    content = {key: value for key, value in content.items() if key not in ("digest", "files")}
    (record / "record.json").write_text(json.dumps(content, sort_keys=True, indent=1) + "\n")
    assert read_record(record) == before.model_copy(update={"digest": None, "files": {}})
    (problem,) = verify_folder(record)
    assert "record.json is unstamped" in problem
    write_stamped(record, content)
    assert read_record(record) == before
    assert verify_folder(record) == []
