"""Inputs that do not lie in [0, 1]: a scenario of them is trained, judged, recorded and verified like any other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import bench
from bench.data import load
from bench.errors import TemperError
from bench.evaluation.columns import curve_radii
from bench.records import read_record
from bench.scenario import load_scenario
from bench.verification import verify_folder


@pytest.fixture
def wide(tmp_path: Path, tiny_text: str, digits_file: Path) -> Path:
    """The tiny scenario with its inputs in [-1, 1]."""
    data = load_file(digits_file)
    save_file({"x": 2 * data["x"] - 1, "y": data["y"]}, tmp_path / "wide.safetensors")
    text = tiny_text.replace("digits.safetensors", "wide.safetensors").replace("step_size = 0.075", "step_size = 0.15")
    path = tmp_path / "wide.toml"
    path.write_text(text.replace("eps = 0.3", "eps = 0.6\nbounds = [-1, 1]"))
    return path


def test_a_scenario_of_other_bounds_goes_all_the_way(wide, temper, tmp_path, here) -> None:
    result = temper("run", wide, "-m", "pgd-at", "--seeds", 1)
    assert result.code == 0, result.err
    (folder,) = [file.parent for file in (tmp_path / "leaderboards").rglob("record.json")]
    assert verify_folder(folder) == []
    record = read_record(folder)
    assert record.evaluation is not None
    scenario = load_scenario(wide)
    radii = tuple(radius for radius, _ in record.evaluation.curve)
    assert radii == curve_radii(scenario.threat, scenario.data.shape)
    assert radii[-1] == 1.0
    assert dict(record.evaluation.curve)[0.6] >= record.evaluation.robust
    assert set(record.evaluation.further) == {"fgsm", "pgd-20", "cw", "beyond"}
    assert record.evaluation.robust <= min(record.evaluation.further.values())

    test = load(scenario.data, ("test",))["test"]
    assert float(test.inputs().min()) == -1
    student = bench.load_student(folder, scenario=wide)
    verdict = bench.evaluate(student, test.inputs(), test.y, threat=scenario.threat)
    assert verdict.robust_accuracy == record.evaluation.robust
    told = temper("evaluate", folder / "best.safetensors", "--scenario", wide, "--json", "--minimal-norm", "--prove")
    assert told.code == 0, told.err


def test_bytes_are_scaled_to_the_bounds(wide, digits_file) -> None:
    data = load_file(digits_file)
    pixels = (255 * data["x"]).round().byte()
    save_file({"x": pixels, "y": data["y"]}, wide.parent / "wide.safetensors")
    test = load(load_scenario(wide).data, ("test",))["test"].to("cpu")
    assert test.x.dtype == torch.uint8
    torch.testing.assert_close(test.inputs(), test.x / 255 * 2 - 1)
    assert (float(test.inputs().min()), float(test.inputs().max())) == (-1, 1)


def test_floats_must_lie_inside_the_bounds(wide, digits_file) -> None:
    data = load_file(digits_file)
    save_file({"x": 4 * data["x"] - 1, "y": data["y"]}, wide.parent / "wide.safetensors")
    with pytest.raises(TemperError, match=r"run from -1 to 3: store floats in \[-1, 1\] \(threat.bounds\)"):
        load(load_scenario(wide).data, ("test",))


def test_the_bounds_are_said_once_and_agree(wide) -> None:
    scenario = load_scenario(wide)
    assert scenario.data.bounds == scenario.threat.bounds == (-1, 1)
    again = type(scenario).model_validate_json(scenario.model_dump_json())
    assert again == scenario
    wide.write_text(wide.read_text().replace("[data]", "[data]\nbounds = [0, 2]"))
    with pytest.raises(TemperError, match=r"data.bounds \(0.0, 2.0\) are not the threat.bounds \(-1.0, 1.0\)"):
        load_scenario(wide)
