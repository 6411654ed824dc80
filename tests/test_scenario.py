"""Scenarios: the files that ship are valid, wrong files say where, and fingerprints change with what they stand for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from bench.data import load
from bench.data.zoo import DEBIAN
from bench.errors import TemperError
from bench.hashing import label_digest
from bench.networks import build
from bench.scenario import PGD10_EPOCH, Scenario, SelectionSpec, load_scenario, shipped_scenarios
from bench.teachers import teacher_spec

DIGITS = 'extends = "digits-linf"\n'
Write = Callable[..., Scenario]


@pytest.fixture
def written(tmp_path: Path) -> Write:
    """Write a scenario file and load it."""

    def write(text: str, name: str = "mine.toml") -> Scenario:
        path = tmp_path / name
        path.write_text(text)
        return load_scenario(path)

    return write


@pytest.fixture
def changed(written: Write) -> Write:
    """The digits with some changes, and with teachers that are known by hash alone."""

    def change(text: str = "") -> Scenario:
        scenario = written(DIGITS + text)
        pinned = {
            name: teacher if f"teachers.{name}.sha256" in text else teacher.model_copy(update={"sha256": "a" * 64})
            for name, teacher in scenario.teachers.items()
        }
        return scenario.model_copy(update={"teachers": pinned})

    return change


# --- the files that ship --------------------------------------------------------------------------


@pytest.mark.parametrize("name", shipped_scenarios())
def test_every_scenario_that_ships_is_valid(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.name == name
    assert scenario.title
    assert set(scenario.teachers) == {"robust", "natural"}
    assert scenario.data.path is None
    assert scenario.passes("s") < scenario.passes("m") < scenario.passes("l")
    assert scenario.optimiser.batch_size <= scenario.data.split.train
    radius = scenario.threat.eps
    assert radius / scenario.attack.steps < scenario.attack.step_size <= radius
    assert Scenario.model_validate(scenario.model_dump()) == scenario
    assert Scenario.model_validate_json(scenario.model_dump_json()) == scenario


@pytest.mark.parametrize("name", ["digits-linf", "fashion-mnist-linf", "fashion-mnist-small-linf"])
def test_the_labels_that_are_pinned_are_those_of_the_test_split(name: str) -> None:
    scenario = load_scenario(name)
    if scenario.data.source == "idx" and not DEBIAN.is_dir():
        pytest.skip("needs Debian's Fashion-MNIST")
    assert label_digest(load(scenario.data, ("test",))["test"].y) == scenario.data.labels


def test_the_scenarios_of_the_issue_ship() -> None:
    wanted = {"digits-linf", "fashion-mnist-linf", "cifar10-linf", "cifar100-linf", "cifar10-l2", "cifar10-jpeg75-linf"}
    assert wanted <= set(shipped_scenarios())
    assert load_scenario("cifar10-linf").threat.eps == pytest.approx(8 / 255)
    assert load_scenario("cifar100-linf").attack.step_size == pytest.approx(2 / 255)
    assert (load_scenario("cifar10-l2").threat.norm, load_scenario("cifar10-l2").threat.eps) == ("L2", 0.5)


def test_the_digits_are_complete_and_the_teacher_has_8_to_16_times_the_flops() -> None:
    from bench.networks import flops

    scenario = load_scenario("digits-linf")
    assert scenario.seeds == 5
    assert set(scenario.data.sha256) == {"train", "validation", "test"}
    shape, classes = scenario.data.shape, scenario.data.classes
    student = flops(build(scenario.student, shape, classes), shape)
    assert 8 <= flops(build(scenario.teachers["robust"], shape, classes), shape) / student <= 16


def test_scenarios_with_other_data_or_threats_have_other_fingerprints() -> None:
    pins = {"train": "1" * 64, "validation": "2" * 64, "test": "3" * 64}
    prints = {}
    for name in shipped_scenarios():
        scenario = load_scenario(name)
        pinned = {k: t.model_copy(update={"sha256": "a" * 64}) for k, t in scenario.teachers.items()}
        data = scenario.data.model_copy(update={"sha256": scenario.data.sha256 or pins})
        prints[name] = scenario.model_copy(update={"teachers": pinned, "data": data}).train_fingerprint()
    assert len(set(prints.values())) == len(prints)


def test_a_budget_is_counted_in_epochs_of_pgd_10() -> None:
    scenario = load_scenario("digits-linf")
    assert PGD10_EPOCH == 10 * (1 + 1) + 1 + 2
    assert scenario.passes("m") == 23 * scenario.budget.m


def test_candidates_are_due_between_the_start_and_the_end() -> None:
    thresholds = SelectionSpec().thresholds()
    assert len(thresholds) == 20
    assert (thresholds[0], thresholds[-1]) == (0.525, pytest.approx(1.0))
    assert thresholds[10] - thresholds[9] == pytest.approx(0.025)
    assert SelectionSpec(candidates=1).thresholds() == [0.525]


# --- files of one's own ---------------------------------------------------------------------------


def test_a_file_takes_its_name_and_may_extend_another(written: Write) -> None:
    shipped = load_scenario("digits-linf")
    mine = written(DIGITS + 'title = "mine"\nthreat.eps = 0.1\n[optimiser]\nmomentum = 0.8\n')
    assert (mine.name, mine.title) == ("mine", "mine")
    assert mine.threat == shipped.threat.with_eps(0.1)
    assert mine.optimiser == shipped.optimiser.model_copy(update={"momentum": 0.8})
    rest = {"name", "title", "threat", "optimiser"}
    assert mine.model_dump(exclude=rest) == shipped.model_dump(exclude=rest)


def test_extensions_chain(written: Write, tmp_path: Path) -> None:
    written(DIGITS + "threat.eps = 0.1\nseeds = 7\n", "first.toml")
    second = written(f'extends = "{tmp_path}/first.toml"\nseeds = 8\n', "second.toml")
    assert (second.name, second.seeds, second.threat.eps) == ("second", 8, 0.1)


def test_options_of_a_network_are_taken_whole(written: Write) -> None:
    student = written(DIGITS + '[student]\nnetwork = "mlp"\noptions = { widths = [8] }\n').student
    assert (student.network, student.options) == ("mlp", {"widths": [8]})


def test_data_paths_are_relative_to_the_file(written: Write, tmp_path: Path) -> None:
    assert written(DIGITS + 'data.path = "digits/x"\n').data.path == tmp_path / "digits" / "x"
    assert written(DIGITS + 'data.path = "/somewhere/x"\n').data.path == Path("/somewhere/x")
    assert written(DIGITS).data.path is None
    scenario = load_scenario("digits-linf")
    assert scenario.with_data(Path("here")).data.path == Path("here")
    assert scenario.with_data(None) is scenario


def test_radii_may_be_fractions(written: Write) -> None:
    scenario = written(DIGITS + 'threat.eps = "8/255"\nattack.step_size = "2/255"\n')
    assert (scenario.threat.eps, scenario.attack.step_size) == (8 / 255, 2 / 255)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (DIGITS + "optimiser.lr = 1\n", "optimiser.lr: .*not permitted .got 1."),
        (DIGITS + "epochs = 3\n", "epochs: .*not permitted"),
        (DIGITS + 'optimiser.batch_size = "many"\n', "optimiser.batch_size: .*got 'many'"),
        (DIGITS + "optimiser.learning_rate = nan\n", "optimiser.learning_rate: .*got nan"),
        (DIGITS + "optimiser.momentum = 1.0\n", "optimiser.momentum: .*less than 1"),
        (DIGITS + 'optimiser.decay = "step"\n', "optimiser.decay: .*'linear', 'cosine' or 'steps'"),
        (DIGITS + "threat.eps = 8\n", "threat: eps = 8.0 covers the whole input range .*8/255"),
        (DIGITS + "threat.eps = -0.1\n", "threat.eps: .*got -0.1"),
        (DIGITS + 'threat.eps = "8/2x"\n', "threat.eps: .*'8/2x'"),
        (DIGITS + 'threat.norm = "L1"\n', "threat.norm: "),
        (DIGITS + "data.split.train = 0\n", "data.split.train: .*greater than 0"),
        (DIGITS + "data.classes = 1\n", "data.classes: "),
        (DIGITS + "data.shape = [64]\n", r"images \(C, H, W\); data.shape = \[64\]"),
        (DIGITS + 'data.sha256.train = "abc"\n', "data.sha256.train: "),
        (DIGITS + f'data.sha256.dev = "{"0" * 64}"\n', "data.sha256.dev"),
        (DIGITS + '[teachers.third]\nnetwork = "cnn"\n', "teacher 'third' needs either `weights` or `zoo`"),
        (DIGITS + 'teachers.robust.zoo = "robustbench:X"\n', "teacher 'robust' needs either `weights` or `zoo`"),
        (DIGITS + "teachers.robust.recipe.lr = 1\n", "teachers.robust.recipe.lr: .*not permitted"),
        (DIGITS + "selection.start = 1.5\n", "selection.start: "),
        (DIGITS + 'evaluation.protocol = "quick"\n', "evaluation.protocol: "),
        (DIGITS + "budget.xl = 3\n", "budget.xl: "),
        ('title = "empty"\n', "data: Field required"),
        ("title = \n", "is not valid TOML: .*line 1"),
        ('extends = "digits-lnf"\n', "unknown scenario 'digits-lnf'; did you mean digits-linf"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_the_field(written: Write, text: str, message: str) -> None:
    with pytest.raises(TemperError, match=message) as caught:
        written(text)
    assert "\n" not in str(caught.value)


def test_the_file_itself_may_be_wrong(written: Write, tmp_path: Path) -> None:
    with pytest.raises(TemperError, match=r"My Scenario.toml: name: .*pattern"):
        written(DIGITS, "My Scenario.toml")
    with pytest.raises(TemperError, match=f"no scenario file at {tmp_path}/none.toml"):
        load_scenario(tmp_path / "none.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(TemperError, match=r"folder.toml is a folder, not a file"):
        load_scenario(tmp_path / "folder.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(TemperError, match=r"bytes.toml is not valid TOML"):
        load_scenario(tmp_path / "bytes.toml")


@pytest.mark.parametrize("name", ["digits", "../scenarios/digits-linf", "", "digits-linf.tml"])
def test_unknown_scenarios_are_named(name: str) -> None:
    with pytest.raises(TemperError, match=f"unknown scenario '{name}'; "):
        load_scenario(name)


def test_unknown_networks_and_teachers_suggest_the_right_ones(written: Write) -> None:
    scenario = written(DIGITS + '[student]\nnetwork = "resnet19"\noptions = {}\n')
    with pytest.raises(TemperError, match="unknown network 'resnet19'; did you mean resnet18"):
        build(scenario.student, scenario.data.shape, scenario.data.classes)
    with pytest.raises(TemperError, match="unknown teacher of mine 'robst'; did you mean robust"):
        teacher_spec(scenario, "robst")


def test_a_radius_over_nothing_is_one_line(written: Write) -> None:
    with pytest.raises(TemperError, match=r"threat\.eps"):
        written(DIGITS + 'threat.eps = "8/0"\n')


def test_extending_something_strange_is_one_line(written: Write) -> None:
    with pytest.raises(TemperError, match="extends"):
        written("extends = 3\n")


def test_extending_oneself_is_one_line(written: Write, tmp_path: Path) -> None:
    with pytest.raises(TemperError, match="extends"):
        written(f'extends = "{tmp_path}/mine.toml"\n')


def test_extended_files_are_relative_to_the_file(written: Write) -> None:
    written(DIGITS + "seeds = 7\n", "first.toml")
    assert written('extends = "first.toml"\n', "second.toml").seeds == 7


def test_scenarios_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_scenario("digits-linf").seeds = 1  # type: ignore[misc]


# --- fingerprints ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        'title = "another"\n',
        'notes = "another"\n',
        'name = "another"\n',
        "seeds = 9\n",
        'data.path = "/somewhere"\n',
        'data.name = "another"\n',
        'data.source = "tensors"\n',  # the hashes of the splits say what they hold, wherever they came from
        "budget.s = 1\nbudget.l = 9999\n",
        f'data.labels = "{"b" * 64}"\n',
        "evaluation.seed = 3\nevaluation.batch_size = 8\n",
        "teachers.robust.recipe.epochs = 3\n",  # the hash of the weights says what came out
        "threat.bounds = [0, 1]\n",
        'threat.eps = "3/20"\n',
        "attack.steps = 10\n",
        "optimiser.momentum = 0.9\noptimiser.nesterov = false\noptimiser.batch_size = 128\n",
        'optimiser.decay = "linear"\noptimiser.milestones = [0.5, 0.75]\n',
        "augmentation.flip = false\n",
        "selection.candidates = 20\nselection.start = 0.525\n",
        "evaluation.seed = 0\n",
    ],
)
def test_words_places_budgets_and_defaults_stay_out_of_the_fingerprint(changed: Write, text: str) -> None:
    assert changed(text).train_fingerprint() == changed().train_fingerprint()


@pytest.mark.parametrize(
    "text",
    [
        "threat.eps = 0.1\n",
        'threat.norm = "L2"\n',
        "threat.bounds = [0, 2]\n",
        f'data.sha256.train = "{"0" * 64}"\n',
        f'data.sha256.test = "{"0" * 64}"\n',
        "data.classes = 11\n",
        "attack.steps = 9\n",
        "attack.step_size = 0.03\n",
        '[student]\nnetwork = "mlp"\noptions = {}\n',
        "student.options = { widths = [16, 32, 33], strides = [1, 2, 1] }\n",
        '[teachers.third]\nnetwork = "cnn"\nweights = "x"\n',
        "teachers.robust.options = { widths = [48, 96, 97], strides = [1, 2, 1] }\n",
        "optimiser.learning_rate = 0.123\n",
        "optimiser.weight_decay = 0.123\n",
        "optimiser.batch_size = 64\n",
        'optimiser.decay = "cosine"\n',
        "optimiser.nesterov = true\n",
        "augmentation.shift = 2\n",
        "augmentation.flip = true\n",
        "selection.candidates = 19\n",
        "selection.start = 0.5\n",
    ],
)
def test_what_decides_the_training_changes_the_fingerprint(changed: Write, text: str) -> None:
    assert changed(text).train_fingerprint() != changed().train_fingerprint()


def test_the_hash_of_a_teacher_changes_the_fingerprint(changed: Write) -> None:
    prints = [changed(f'teachers.robust.sha256 = "{c * 64}"\nteachers.natural.sha256 = "{"a" * 64}"\n') for c in "abc"]
    assert len({scenario.train_fingerprint() for scenario in prints}) == 3
    assert prints[0].train_fingerprint() == changed().train_fingerprint()


def test_an_unpinned_teacher_is_known_by_its_file(written: Write, tmp_path: Path) -> None:
    from bench.hashing import file_digest

    weights = tmp_path / "robust.safetensors"
    weights.write_bytes(b"one")
    text = f'extends = "digits-linf"\nteachers.robust.weights = "{weights}"\n'
    scenario = written(text)
    open_ = scenario.teachers["robust"].model_copy(update={"sha256": None})
    scenario = scenario.model_copy(update={"teachers": {"robust": open_}})
    first = scenario.train_fingerprint()
    pinned = open_.model_copy(update={"sha256": file_digest(weights), "weights": "elsewhere"})
    assert scenario.model_copy(update={"teachers": {"robust": pinned}}).train_fingerprint() == first
    weights.write_bytes(b"two")
    assert scenario.train_fingerprint() != first
    weights.unlink()
    with pytest.raises(TemperError, match=r"teacher 'robust' of mine is not on this machine .*temper teacher train"):
        scenario.train_fingerprint()


def test_unpinned_data_are_hashed_where_they_lie(changed: Write) -> None:
    pinned = changed()
    unpinned = pinned.model_copy(update={"data": pinned.data.model_copy(update={"sha256": {}})})
    assert unpinned.train_fingerprint() == pinned.train_fingerprint()


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("evaluation.seed = 1\n", False),
        ("evaluation.batch_size = 64\n", True),
        ('evaluation.randomness = "compat"\n', False),
        ("evaluation.seed = 0\nevaluation.batch_size = 256\n", True),
        ("threat.eps = 0.1\n", True),
        ("optimiser.learning_rate = 0.123\n", True),
    ],
)
def test_the_protocol_has_a_fingerprint_of_its_own(changed: Write, text: str, same: bool) -> None:
    assert (changed(text).protocol_fingerprint() == changed().protocol_fingerprint()) is same


def test_another_evaluator_is_another_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = load_scenario("digits-linf")
    before = scenario.protocol_fingerprint()
    monkeypatch.setattr("bench.scenario.EVALUATOR_VERSION", "another")
    assert scenario.protocol_fingerprint() != before


def test_seeds_are_distinct_and_follow_the_fingerprint(changed: Write) -> None:
    scenario = changed()
    seeds = [scenario.seed(index) for index in range(100)]
    assert len(set(seeds)) == 100
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert [changed('title = "x"\nbudget.s = 1\n').seed(index) for index in range(5)] == seeds[:5]
    assert changed("threat.eps = 0.1\n").seed(0) != seeds[0]


def test_seeds_are_the_same_for_every_method() -> None:
    from bench.method import METHODS, make_method
    from bench.records import make_trial

    scenario = load_scenario("digits-linf")
    trials = [make_trial(scenario, make_method(name), 3) for name in METHODS]
    assert {trial.seed for trial in trials} == {scenario.seed(3)}
    assert len({trial.id for trial in trials}) == len(trials) > 1
