"""What a user types: results on standard output, one clear line and exit code 2 for a mistake."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from bench.networks import build, save_weights
from bench.scenario import load_scenario


def mistakes(tiny):
    """(arguments, what the one line must say)"""
    return {
        "scenario": (["run", "digit-linf"], "unknown scenario 'digit-linf'; did you mean digits-linf"),
        "scenario file": (["run", tiny.with_name("none.toml")], "no scenario file at"),
        "method": (["run", tiny, "-m", "rslda"], "unknown method 'rslda'; did you mean rslad"),
        "field": (["run", tiny, "-m", "kd", "--set", "temprature=2"], "method 'kd', field 'temprature'"),
        "value": (["run", tiny, "-m", "kd", "--set", "temperature=hot"], "field 'temperature'"),
        "set": (["run", tiny, "-m", "kd", "--set", "temperature"], "--set takes field=value, got 'temperature'"),
        "device": (["run", tiny, "-m", "natural", "--device", "tpu"], "unknown device 'tpu'"),
        "teacher": (["teacher", "train", "digits-linf", "--name", "robst"], "did you mean robust"),
        "recipe": (["teacher", "train", tiny, "--name", "robust"], "unknown teacher of tiny 'robust'"),
        "network": (["evaluate", "w.safetensors", "--scenario", tiny, "--network", "resnet"], "did you mean resnet18"),
        "weights": (["evaluate", "w.safetensors", "--scenario", tiny], "no weights at w.safetensors"),
        "method name": (["methods", "trade"], "did you mean trades"),
        "verify": (["verify", tiny.with_name("nowhere")], "nothing found at"),
    }


@pytest.mark.parametrize("case", mistakes(Path("x.toml")))
def test_a_mistake_is_one_line_and_exit_code_2(case, tiny, temper):
    arguments, says = mistakes(tiny)[case]
    result = temper(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert says in result.err
    assert len(result.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("eps = 0.3", "eps = 8", "so 8/255 is 0.03137, not 8"),
        ("eps = 0.3", "eps = -0.1", "threat.eps"),
        ("eps = 0.3", 'eps = "8/0"', "threat.eps"),
        ('norm = "Linf"', 'norm = "L1"', "threat.norm"),
        ("learning_rate = 0.1", "learning_rte = 0.1", "optimiser.learning_r"),
        ("batch_size = 64", "batch_size = 512", "batch size 512 is more than the 256 training examples"),
        ("train = 256", "train = 25600", "ask for fewer"),
        ('network = "cnn"', 'network = "resnet8"', "did you mean resnet18"),
        ("widths = [8, 8]", "withs = [8, 8]", "has no option 'withs'"),
        ('source = "tensors"', 'source = "tensor"', "did you mean tensors"),
        ("digits.safetensors", "absent.safetensors", "--data"),
        ("classes = 10", "classes = 5", "data.classes = 5 allows 0 to 4"),
        ("[threat]", "[threat", "is not valid TOML"),
        ("split = {", f"sha256 = {{ train = '{'0' * 64}' }}\nsplit = {{", "the train split is not the one"),
    ],
)
def test_a_scenario_with_a_mistake_says_where(old, new, says, tiny, temper, here):
    tiny.write_text(tiny.read_text().replace(old, new))
    result = temper("run", tiny, "-m", "natural", "--seeds", 1)
    assert result.code in (1, 2)
    assert says in " ".join(result.err.split())
    assert "Traceback" not in result.err


def test_a_method_that_needs_a_teacher_says_so_where_there_is_none(tiny, temper):
    result = temper("run", tiny, "-m", "rslad", "--seeds", 1)
    assert result.code == 2
    assert "method 'rslad' needs a teacher, and scenario 'tiny' has none" in " ".join(result.err.split())


@pytest.fixture
def student(tiny):
    """The student of `tiny`, untrained, and a file of its weights."""
    scenario = load_scenario(tiny)
    torch.manual_seed(0)
    module = build(scenario.student, scenario.data.shape, scenario.data.classes)
    path = tiny.with_name("student.safetensors")
    save_weights(path, module.state_dict())
    return module, path


def test_evaluate_judges_a_checkpoint(tiny, student, temper):
    result = temper("evaluate", student[1], "--scenario", tiny, "--json")
    assert result.code == 0, result.err
    verdict = json.loads(result.out)
    assert verdict["examples"] == 40
    assert 0 <= verdict["robust"] <= verdict["clean"] <= 1
    assert set(verdict["attacks"]) == {"apgd-ce", "apgd-t", "fab-t", "square"}


def test_a_checkpoint_that_does_not_fit_is_refused(tiny, student, temper):
    module, path = student
    wide = build(load_scenario("digits-linf").student, (1, 8, 8), 10)
    save_weights(path, wide.state_dict())
    assert "do not fit the network" in temper("evaluate", path, "--scenario", tiny).err

    save_weights(path, module.state_dict())
    path.write_bytes(path.read_bytes()[:-100])
    assert "cut short" in temper("evaluate", path, "--scenario", tiny).err

    torch.save(module, path)
    refused = temper("evaluate", path, "--scenario", tiny)
    assert refused.code == 2
    assert "pickle" in refused.err


METHOD_KEYS = {"name", "version", "family", "needs", "reference", "formula", "deviations", "passes"}
SCENARIO_KEYS = {"name", "fingerprint", "data", "threat", "student", "teachers", "budget"}
ROW_KEYS = {
    *("rank", "rank_low", "rank_high", "tie_group", "method", "version", "family", "ruleset", "budget", "recipe"),
    *("track", "seeds", "trials", "hyperparameters", "tuned", "clean", "robust", "robust_low", "robust_high"),
    *("gap_closed", "passes", "status", "train_fingerprint", "protocol_fingerprint"),
}


def test_listings_in_json(temper):
    methods = json.loads(temper("methods", "--json").out)
    assert {"natural", "pgd-at", "trades", "kd", "ard", "rslad", "gkd-logit"} <= {row["name"] for row in methods}
    assert all(row.keys() >= METHOD_KEYS for row in methods)
    scenarios = {row["name"]: row for row in json.loads(temper("scenarios", "--json").out)}
    assert all(row.keys() >= SCENARIO_KEYS for row in scenarios.values())
    digits = load_scenario("digits-linf")
    assert scenarios["digits-linf"]["fingerprint"] == digits.train_fingerprint()
    assert scenarios["digits-linf"]["train_fingerprint"] == digits.train_fingerprint()
    assert scenarios["digits-linf"]["protocol_fingerprint"] == digits.protocol_fingerprint()
    sheet = temper("scenarios", "digits-linf").out
    assert digits.train_fingerprint() in sheet and digits.protocol_fingerprint() in sheet
    one = json.loads(temper("scenarios", "digits-linf", "--json").out)
    assert 8 <= one["robust_r"] <= 16
    facts = json.loads(temper("doctor", "--json").out)
    assert facts["versions"]["torch"] == torch.__version__.split("+")[0]
    teachers = json.loads(temper("teacher", "list", "digits-linf", "--json").out)
    assert {row["teacher"]: row["here"] for row in teachers} == {"robust": "yes", "natural": "yes"}


def test_leaderboard_in_every_format(temper):
    rows = json.loads(temper("leaderboard", "digits-linf", "--json").out)
    assert rows and all(row.keys() >= ROW_KEYS for row in rows)
    ranked = [row for row in rows if row["rank"] is not None]
    assert [row["rank"] for row in ranked] == list(range(1, len(ranked) + 1))
    assert all(row["rank_low"] <= row["rank"] <= row["rank_high"] for row in ranked)
    best = ranked[0]
    csv = temper("leaderboard", "digits-linf", "--format", "csv").out.splitlines()
    assert len(csv) == len(rows) + 1
    markdown = temper("leaderboard", "digits-linf", "--format", "markdown").out
    assert f"| 1 | {best['method']} |" in markdown
    latex = temper("leaderboard", "digits-linf", "--format", "latex").out
    assert latex.startswith(r"\begin{tabular}")
    assert f"{100 * best['robust']:.1f}" in temper("leaderboard", "digits-linf").out


def test_an_empty_board_says_what_makes_records(tiny, temper):
    result = temper("leaderboard", tiny)
    assert (result.code, result.out) == (0, "")
    assert "temper run" in result.err


def test_help_is_quick_and_names_every_command():
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "bench.cli.main", "--help"], capture_output=True, text=True)
    seconds = time.perf_counter() - started
    commands = ("run", "evaluate", "leaderboard", "verify", "methods", "scenarios", "teacher", "dashboard", "doctor")
    assert all(re.search(rf"\b{command}\b", done.stdout) for command in commands)
    heavy = "import sys, bench.cli.main; print([m for m in ('torch', 'pandas', 'streamlit') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True).stdout
    assert loaded.strip() == "[]"
    assert seconds < 5, "far over the second that an idle machine needs"


def test_a_new_method_passes_the_suite_from_its_file(temper, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = temper("methods", "new", "my-idea")
    assert made.code == 0 and "temper methods check my-idea --file my_idea.py" in made.out
    assert "class MyIdea(Method)" in (tmp_path / "my_idea.py").read_text()
    checked = temper("methods", "check", "my-idea", "--file", "my_idea.py")
    assert checked.code == 0, checked.err
    assert "stays inside the ball" in checked.out
    again = temper("methods", "new", "my-idea")
    assert again.code == 2 and "choose another name" in again.err
    (tmp_path / "other_idea.py").touch()
    assert "is there already; it was left as it is" in temper("methods", "new", "other-idea").err


def test_a_method_of_ones_own_runs_from_its_file(tiny, temper, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from bench import Method, register\n"
        "from bench.losses import cross_entropy\n"
        "@register('mine', version='1', family='test', reference='none')\n"
        "class Mine(Method):\n"
        "    def loss(self, nets, batch):\n"
        "        return cross_entropy(nets.student(batch.x), batch.y)\n"
    )
    result = temper("run", tiny, "--method", "mine", "--file", file, "--seeds", 1)
    assert result.code == 0, result.err
    assert "mine" in result.out


def test_a_method_that_breaks_the_contract_fails_the_check(temper, tmp_path):
    file = tmp_path / "broken.py"
    file.write_text(
        "from bench import Method, register\n"
        "@register('broken', version='1', family='test', reference='none')\n"
        "class Broken(Method):\n"
        "    def loss(self, nets, batch):\n"
        "        return nets.student(batch.x).square().sum(1) / 0\n"
    )
    result = temper("methods", "check", "broken", "--file", file)
    assert result.code == 1
    assert "method 'broken'" in result.out and "loss 'student' is not finite" in result.out
    file.write_text("import nothing_of_this_name\n")
    result = temper("methods", "check", "broken", "--file", file)
    assert result.code == 2
    assert "broken.py does not load: ModuleNotFoundError" in result.err


def test_a_cache_that_cannot_be_written_is_one_line_that_says_what_to_do(tiny, student, temper, monkeypatch):
    place = tiny.with_name("file")
    place.write_text("in the place of the cache")
    monkeypatch.setenv("TEMPER_CACHE", str(place))
    refused = temper("evaluate", student[1], "--scenario", tiny)
    assert refused.code == 2
    assert "--state FOLDER or TEMPER_CACHE=FOLDER chooses another place than" in refused.err
    assert str(place) in refused.err and "Traceback" not in refused.err
