"""The plug-in for pytest: judged by the interval, compared example by example, baselines written and read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import beta, binom
from torch import nn

from bench import assertion, pytest_plugin
from bench.assertion import Verdict, fell, judge, too_low
from bench.errors import TemperError
from bench.pytest_plugin import BASELINE, assert_robust

pytest_plugins = ["pytester"]

EXAMPLE = Path(__file__).parent.parent / "examples" / "robust-classifier"
PLUGIN = "bench.pytest_plugin"
INSTALLED = any(point.value == PLUGIN for point in entry_points(group="pytest11"))
LOADED = [] if INSTALLED else ["-p", PLUGIN]

MODEL = """
import torch
from torch import nn

class Model(nn.Module):
    '''Its `outcomes` are what the evaluation, replaced for this test, finds.'''
    def __init__(self, robust, broken):
        super().__init__()
        self.outcomes = [255] * robust + [2] * broken
"""


def verdict(robust: int, broken: int = 0, misclassified: int = 0) -> Verdict:
    outcomes = np.array([255] * robust + [2] * broken + [0] * misclassified, dtype=np.uint8)
    return Verdict(outcomes, ("apgd-ce", "apgd-t"), "same")


@pytest.mark.parametrize(("robust", "count"), [(0, 20), (1, 20), (137, 300), (20, 20)])
def test_the_interval_is_clopper_and_pearsons(robust, count):
    low, high = verdict(robust, count - robust).interval()
    assert low == pytest.approx(beta.ppf(0.025, robust, count - robust + 1) if robust else 0)
    assert high == pytest.approx(beta.ppf(0.975, robust + 1, count - robust) if robust < count else 1)


def test_it_fails_only_where_the_whole_interval_lies_below():
    """91 of 200 are 45.5%, their interval ends at 52.7%: a bound of 50% is not refuted, one of 53% is."""
    found = verdict(91, 89, 20)
    assert found.interval()[1] == pytest.approx(0.527, abs=0.001)
    assert too_low(found, 0.50) == ""
    words = too_low(found, 0.53)
    assert "45.5 % (95% interval 38.5 to 52.7 %) of 200 examples" in words
    assert "20 misclassified, 89 broken by apgd-t" in words
    with pytest.raises(TemperError, match="at_least is a fraction in"):
        too_low(found, 45)


@pytest.mark.parametrize(("lost", "won"), [(4, 0), (5, 0), (9, 2), (8, 2), (2, 9), (0, 0), (40, 27), (40, 25)])
def test_a_fall_is_a_one_sided_exact_test_of_the_examples_that_changed(lost, won):
    before = Verdict(np.array([255] * lost + [1] * won + [255] * 50, dtype=np.uint8), ("apgd-ce",), "same")
    now = Verdict(np.array([1] * lost + [255] * won + [255] * 50, dtype=np.uint8), ("apgd-ce",), "same")
    p = binom.sf(lost - 1, lost + won, 0.5)
    problem = fell(before, now)
    assert bool(problem) is bool(p < 0.05)
    if problem:
        assert f"{lost} examples robust no more, {won} became robust" in problem
        assert "test example 0: was robust, now broken by apgd-ce" in problem


def test_other_conditions_are_not_compared():
    with pytest.raises(TemperError, match="judged on other examples"):
        fell(verdict(3), Verdict(verdict(3).outcomes, ("apgd-ce",), "other"))


def test_a_verdict_comes_back_from_the_file_as_it_was():
    found = verdict(3, 2, 1)
    again = Verdict.from_json(json.loads(json.dumps(found.to_json())))
    assert (again.outcomes.tolist(), again.attacks, again.conditions) == (
        [255] * 3 + [2] * 2 + [0],
        found.attacks,
        "same",
    )
    for damage in ({"outcomes": "RXR"}, {"outcomes": None}, {"conditions": ...}):
        stored = found.to_json() | damage
        stored = {key: value for key, value in stored.items() if value is not ...}
        with pytest.raises(TemperError, match="the baseline is damaged"):
            Verdict.from_json(stored)


def constant(label: int) -> nn.Module:
    """Says the same of every image, with no gradient that leads anywhere."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.copy_(5 * nn.functional.one_hot(torch.tensor(label), 10))
    return model


def first_labels(tiny: Path, count: int) -> list[int]:
    return assertion._examples(assertion.load_scenario(tiny), count).y.tolist()


def test_a_real_model_is_judged_on_the_first_test_examples(tiny):
    labels = first_labels(tiny, 5)
    absent = next(label for label in range(10) if label not in labels)
    found = judge(constant(labels[1]), tiny, examples=5, protocol="screen")
    assert found.outcomes.tolist() == [255 if label == labels[1] else 0 for label in labels]
    assert found.attacks == ("apgd-ce", "apgd-t")
    how: dict[str, Any] = {"examples": 5, "protocol": "screen"}
    others = [how | {"batch_size": 2}, how | {"examples": 4}, how | {"protocol": "standard"}]
    same = [judge(constant(absent), tiny, **each).conditions == found.conditions for each in others]
    assert same == [True, False, False]
    with pytest.raises(TemperError, match="examples must be 1 to 40"):
        judge(constant(3), tiny, examples=41)


def test_the_function_works_without_the_fixture(tiny):
    absent = next(label for label in range(10) if label not in first_labels(tiny, 5))
    assert assert_robust(constant(absent), tiny, 0.5, examples=5, protocol="screen").accuracy == 0  # up to 52.2 %
    with pytest.raises(AssertionError, match=r"lies below at_least = 55\.0 %"):
        assert_robust(constant(absent), tiny, 0.55, examples=5, protocol="screen")


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project of tests, in which a model brings its outcomes along."""

    def found(model: Any, x: torch.Tensor, y: torch.Tensor, **how: Any) -> Any:
        return SimpleNamespace(outcomes=np.array(model.outcomes, dtype=np.uint8), attacks=("apgd-ce", "apgd-t"))

    monkeypatch.setattr(assertion, "evaluate", found)
    pytester.makepyfile(model=MODEL)
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess(*LOADED, "-p", "no:cacheprovider", *arguments)


def write(project: pytest.Pytester, robust: int, broken: int) -> None:
    project.makepyfile(
        test_model=f"""
        import pytest
        from model import Model

        @pytest.mark.parametrize("which", ["best", "last"])
        def test_as_robust_as_before(assert_robust, which):
            assert_robust(Model({robust}, {broken}), "digits-linf", examples=50)
        """
    )


def test_a_baseline_is_missing_then_written_then_compared_with(project):
    write(project, 40, 10)
    result = run(project)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*has no baseline of test_model.py::test_as_robust_as_before?best?*--temper-update*"])
    assert not (project.path / BASELINE).exists()

    result = run(project, "--temper-update")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines([f"temper: {BASELINE} is rewritten*"])
    content = json.loads((project.path / BASELINE).read_text())
    assert sorted(content) == [f"test_model.py::test_as_robust_as_before[{each}]" for each in ("best", "last")]
    run(project).assert_outcomes(passed=2)

    write(project, 36, 14)
    run(project).assert_outcomes(passed=2)  # 4 of 4: p = 0.0625
    write(project, 35, 15)
    result = run(project)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        ["*robust accuracy fell from 80.0 %*", "*example 35: was robust, now broken by apgd-t*"]
    )

    run(project, "--temper-update", "-k", "best").assert_outcomes(passed=1, deselected=1)
    run(project).assert_outcomes(passed=1, failed=1)


def test_a_bound_needs_no_file_and_the_same_key_twice_is_refused(project):
    project.makepyfile(
        test_model="""
        from model import Model

        def test_bound(assert_robust):
            assert_robust(Model(40, 10), "digits-linf", at_least=0.8, examples=50)

        def test_low(assert_robust):
            assert_robust(Model(10, 40), "digits-linf", at_least=0.8, examples=50)

        def test_twice(assert_robust):
            assert_robust(Model(40, 10), "digits-linf", name="a", examples=50)
            assert_robust(Model(40, 10), "digits-linf", name="b", examples=50)
            assert_robust(Model(40, 10), "digits-linf", name="b", examples=50)
        """
    )
    result = run(project, "--temper-update")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["*lies below at_least = 80.0 %: 20.0 %*", "*test_twice b has two baselines*"])


def test_a_file_that_is_no_baseline_says_so(project):
    write(project, 40, 10)
    (project.path / BASELINE).write_text("half a fi")
    result = run(project)
    result.stdout.fnmatch_lines([f"*cannot read *{BASELINE}*--temper-update*"])


def test_the_plug_in_imports_nothing_heavy():
    code = (
        f"import sys, {PLUGIN}; print([name for name in ('torch', 'numpy', 'pandas', 'scipy') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_writers_do_not_lose_each_others_baselines(tmp_path):
    """Twenty at a time, in four processes: without the lock, some would overwrite what others had just written."""
    file = tmp_path / BASELINE
    code = "import sys; from pathlib import Path; from bench.pytest_plugin import write_baseline\n"
    code += "for k in range(20): write_baseline(Path(sys.argv[1]), f'{sys.argv[2]}-{k}', {})"
    processes = [subprocess.Popen([sys.executable, "-c", code, str(file), str(k)]) for k in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert len(pytest_plugin.read_baselines(file)) == 80


@pytest.mark.slow
def test_the_example_project_guards_its_classifier(tmp_path):
    """Its tests pass, in parallel, too; and they fail on weights that are less robust."""
    project = tmp_path / "project"
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
    assert subprocess_run(project, "-n", "2").returncode == 0
    code = "import classifier, safetensors.torch as s, bench.data as d, bench;"
    code += "classifier.EPS, classifier.EPOCHS = 0.05, 20;"
    code += "t = d.load(bench.load_scenario('digits-linf').data, ('train',))['train'];"
    code += "s.save_file(classifier.train(t.inputs(), t.y).state_dict(), classifier.WEIGHTS)"
    subprocess.run([sys.executable, "-c", code], cwd=project, check=True)
    broken = subprocess_run(project)
    assert broken.returncode == 1
    assert "lies below at_least = 50.0 %" in broken.stdout
    assert "robust accuracy fell from" in broken.stdout
    assert "was robust, now broken by apgd-" in broken.stdout


def subprocess_run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", *LOADED, *arguments]
    return subprocess.run(
        command, cwd=project, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
