"""Files that say they hold more than a machine has, and files that are none: one line each, before they are read."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch

from bench import foreign
from bench.cli.options import use_files
from bench.data.part import location
from bench.data.sources import SOURCES
from bench.errors import TemperError
from bench.files import MEGABYTE, regular
from bench.networks.checkpoints.reading import read
from bench.networks.weights import read_weights
from bench.ranking.collect import read_curve, read_outcome_file
from bench.records import read_record
from bench.scenario import DataSpec, SplitSpec, load_scenario
from bench.submission.source import read_submission
from bench.teachers import weights_path

SKELETON = '@register("x", version="1", family="f", reference="r")\nclass X(Method):\n    "A."\n    def loss(self): '


def one_line(raised: pytest.ExceptionInfo[TemperError]) -> bool:
    return len(str(raised.value)) < 600 and "\n" not in str(raised.value)


# --- files that are none --------------------------------------------------------------------------


@pytest.fixture(params=["device", "pipe", "folder"])
def strange(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A path that leads to no file: to what has no end, to what nobody writes to, to a folder; by a link."""
    if request.param == "pipe":
        os.mkfifo(tmp_path / "target")
    elif request.param == "folder":
        (tmp_path / "target").mkdir()
    target = Path("/dev/zero") if request.param == "device" else tmp_path / "target"
    link = tmp_path / "strange"
    link.symlink_to(target)
    return link


def named(strange: Path, name: str) -> Path:
    return strange.rename(strange.with_name(name))


@pytest.mark.parametrize("opens", [regular, read, read_weights, read_outcome_file, foreign.read_table])
def test_what_is_no_file_is_not_opened(strange, opens):
    with pytest.raises(TemperError, match=r"is a (folder|device)") as raised:
        opens(strange)
    assert one_line(raised)


def test_nor_as_a_record_a_scenario_or_a_method(tmp_path, strange):
    if not strange.is_dir():
        with pytest.raises(TemperError, match="is a device"):
            read_record(strange)
    with pytest.raises(TemperError, match=r"mine.toml is a (folder|device)"):
        load_scenario(named(strange, "mine.toml"))
    with pytest.raises(TemperError, match=r"method.py does not load: .*method.py is a (folder|device)"):
        use_files([named(tmp_path / "mine.toml", "method.py")])


def test_nor_as_a_teacher_or_data(tmp_path):
    digits = load_scenario("digits-linf")
    (tmp_path / "link").symlink_to("/dev/zero")
    teacher = digits.teachers["robust"].model_copy(update={"weights": str(tmp_path / "link")})
    scenario = digits.model_copy(update={"teachers": {"robust": teacher}})
    with pytest.raises(TemperError, match="link is a device"):
        weights_path(scenario, "robust")
    for source in ("tensors", "parquet", "idx", "folder"):
        with pytest.raises(TemperError, match="link is a device"):
            SOURCES[source](spec_of(source, tmp_path / "link"))


def spec_of(source: str, path: Path) -> DataSpec:
    split = SplitSpec(train=2, validation=2, test=2)
    return DataSpec(source=source, path=path, shape=(1, 8, 8), classes=2, split=split)


def test_a_file_that_is_not_there_is_left_to_its_reader(tmp_path):
    assert regular(tmp_path / "nothing") == tmp_path / "nothing"
    with pytest.raises(TemperError, match="no data at"):
        location(spec_of("tensors", tmp_path / "nothing"))


def test_a_file_that_is_larger_than_its_kind(tmp_path):
    for name, opens in (("record.json", read_record), ("mine.toml", load_scenario), ("x.py", lambda f: use_files([f]))):
        with (tmp_path / name).open("wb") as file:
            file.truncate(MEGABYTE + 1)
        with pytest.raises(TemperError, match="has 1,048,577 bytes; at most 1,048,576") as raised:
            opens(tmp_path / name)
        assert one_line(raised)


# --- parquet --------------------------------------------------------------------------------------


def test_a_table_of_four_hundred_million_rows(tmp_path):
    path = tmp_path / "outcomes.parquet"
    rows = pa.table({"outcome": pa.array([255], pa.uint8()).take(pa.array([0] * 10**6))})
    with pq.ParquetWriter(path, rows.schema, compression="zstd") as writer:
        for _ in range(400):
            writer.write_table(rows)
    assert path.stat().st_size < 6 * MEGABYTE
    for opens in (read_outcome_file, lambda file: foreign.open_parquet(file, 10**7)):
        with pytest.raises(TemperError, match=r"says that it has 400,000,000 rows; at most 10?,000,000") as raised:
            opens(path)
        assert one_line(raised)
    path.rename(tmp_path / "train-0.parquet")
    (tmp_path / "test-0.parquet").write_bytes(b"")
    with pytest.raises(TemperError, match="400,000,000 rows"):
        SOURCES["parquet"](spec_of("parquet", tmp_path))


def test_a_table_of_many_columns_of_lists_and_of_long_texts(tmp_path):
    path = tmp_path / "outcomes.parquet"
    long = pa.array(["x" * MEGABYTE]).take(pa.array([0] * 1000))
    for table, says in (
        ({f"c{number}": [1] for number in range(300)}, "300 columns"),
        ({"outcome": [[1, 2]]}, "a column of list<"),
        ({"broken_by": long}, "a text of over 200 characters in the column 'broken_by'"),
    ):
        pq.write_table(pa.table(table), path)
        with pytest.raises(TemperError, match=says) as raised:
            read_outcome_file(path)
        assert one_line(raised)


def test_examples_that_do_not_fit_into_memory(tmp_path):
    rows = {"image": pa.array([b""] * 10**5, pa.binary()), "label": pa.array([0] * 10**5)}
    for part in ("train", "test"):
        pq.write_table(pa.table(rows), tmp_path / f"{part}.parquet")
    large = spec_of("parquet", tmp_path).model_copy(update={"shape": (3, 10_000, 10_000)})
    with pytest.raises(TemperError, match="says that it has 100,000 examples of"):
        SOURCES["parquet"](large)


# --- weights --------------------------------------------------------------------------------------


def header(path: Path, content: object, size: int | None = None) -> Path:
    raw = json.dumps(content).encode()
    path.write_bytes((size or len(raw)).to_bytes(8, "little") + raw)
    return path


EMPTY = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({f"t{number}": EMPTY for number in range(100_000)}, "says that it has 100,000 tensors; at most 20,000"),
        ({f"t{number}": EMPTY for number in range(300_000)}, "has a header of .* bytes; at most"),
        ({"t": EMPTY | {"shape": [0, 2**62, 2**62]}}, "a tensor 't' of a shape that no tensor can have"),
        ({"t": EMPTY | {"shape": [0] * 1000}}, "a tensor 't' of a shape that no tensor can have"),
        ({"t": EMPTY | {"shape": [-1]}}, "a tensor 't' of a shape"),
        ({"t": [1]}, "a tensor 't' of a shape"),
        ([[]], "not a safetensors file"),
    ],
)
def test_a_header_that_no_weights_have(tmp_path, content, says):
    path = header(tmp_path / "x.safetensors", content)
    with pytest.raises(TemperError, match=says) as raised:
        read_weights(path)
    assert one_line(raised)


@pytest.mark.parametrize("opens", [read, lambda path: SOURCES["tensors"](spec_of("tensors", path))])
def test_no_reader_of_safetensors_takes_it(tmp_path, opens):
    path = header(tmp_path / "x.safetensors", {f"t{number}": EMPTY for number in range(30_000)})
    with pytest.raises(TemperError, match="30,000 tensors"):
        opens(path)


def test_a_header_longer_than_its_file_or_nested_without_end(tmp_path):
    with pytest.raises(TemperError, match="not a safetensors file, or is cut short"):
        read_weights(header(tmp_path / "x.safetensors", {}, size=10**12))
    path = tmp_path / "y.safetensors"
    path.write_bytes((200_000).to_bytes(8, "little") + b"[" * 200_000)
    with pytest.raises(TemperError, match="not a safetensors file"):
        read_weights(path)


def test_honest_weights_are_read(tmp_path):
    safetensors.torch.save_file({"a": torch.ones(2, 3), "b": torch.ones(())}, tmp_path / "x", {"k": "v"})
    assert {name: tensor.shape for name, tensor in read_weights(tmp_path / "x").items()} == {"a": (2, 3), "b": ()}


def test_a_zip_bomb_of_torch_save(tmp_path):
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"")
        with archive.open("x/data/0", "w") as file:
            for _ in range(300):
                file.write(bytes(MEGABYTE))
    with pytest.raises(TemperError, match=r"would unpack to 314,572,800 bytes") as raised:
        read(path)
    assert one_line(raised)


# --- texts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "expression",
    [
        "self" + ".a" * 1200,
        "self" + "[0]" * 3000,
        "(" * 10**5 + ")" * 10**5,
        "-" * 10**5 + "1",
        "not " * 10**5 + "1",
        "+".join("1" * 10**5),
        "lambda:" * 10**4 + "1",
        "x" + "()" * 10**4,
    ],
)
def test_a_method_file_that_nests_without_end(expression):
    read = read_submission(f"{SKELETON}return {expression}\n".encode())
    assert len(read.problems) == 1
    said = ("nests more than 100", "cannot be read", "can be read", "a method has at most")
    assert any(words in read.problems[0] for words in said)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("seeds = 1_000_000_000", "seeds: .*less than or equal to 1000"),
        (f"seeds = {'9' * 5000}", "is not valid TOML"),
        (f"notes = {'[' * 10**5}", "is not valid TOML"),
        ("data.split.train = 10_000_000_000_000", "data.split.train: .*less than"),
        ("data.split.test = 2_000_000", "data.split.test: .*less than"),
        ("data.shape = [1, 8, 1_000_000_000]", "data.shape.2: .*less than"),
        ("data.classes = 1_000_000_000", "data.classes: .*less than"),
        ("optimiser.batch_size = 1_000_000_000", "optimiser.batch_size: .*less than"),
        ("optimiser.learning_rate = inf", "optimiser.learning_rate: .*"),
        ("evaluation.batch_size = 1_000_000_000", "evaluation.batch_size: .*less than"),
        ("evaluation.seed = 1_000_000_000_000_000_000_000", "evaluation.seed: .*less than"),
        ("attack.steps = 1_000_000_000", "attack.steps: .*less than"),
        ("attack.step_size = '1e999999999'", "attack.step_size: .*a radius is a number"),
        ("selection.candidates = 1_000_000_000", "selection.candidates: .*less than"),
        ("budget.l = 1e300", "budget.l: .*less than"),
        ("student.options.width = 1_000_000_000", "student.options: .*width must be at most 10,000"),
        (f"student.options.widths = [{'1,' * 2000}]", "student.options: .*a list of at most 1000"),
        (f"student.options = {{{','.join(f'a{k} = 1' for k in range(200))}}}", "at most 100 options"),
        (f"optimiser.milestones = [{'0.5,' * 200}]", "optimiser.milestones: .*at most 100"),
        (f"title = '{'x' * 5000}'", "title: must be one line of at most 200"),
        (f"extends_no = '{'x' * 5000}'", "extends_no: .*not permitted"),
    ],
)
def test_a_scenario_with_numbers_that_no_machine_has(tmp_path, line, says):
    path = tmp_path / "mine.toml"
    path.write_text(f'extends = "digits-linf"\n{line}\n')
    with pytest.raises(TemperError, match=says) as raised:
        load_scenario(path)
    assert one_line(raised)


def test_a_scenario_that_extends_itself_by_another_path(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(f'extends = "../{tmp_path.name}/mine.toml"\n')
    with pytest.raises(TemperError, match="extends takes the name or the file of another scenario"):
        load_scenario(path)


def test_a_learning_curve_that_nests_without_end(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("[" * 10**5)
    assert read_curve(tmp_path).empty
