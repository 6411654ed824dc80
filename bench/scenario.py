"""A scenario: everything but the method, fixed. One TOML file, validated and fingerprinted."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.errors import TemperError, unknown
from bench.files import MEGABYTE, regular
from bench.hashing import derive, digest
from bench.protocol import EVALUATOR_VERSION
from bench.strict import strict_json
from bench.threat import Radius, Threat
from bench.words import check_printable, one_line, printable, shortened, texts

Ruleset = Literal["compute", "epochs"]
Tier = Literal["s", "m", "l"]
Recipe = Literal["plain", "strong"]
Track = Literal["main", "data-free", "extra-data"]
MOST = 10_000_000  # of anything that is counted in a scenario, such as the examples of a split
SETTINGS, LISTED, LARGEST = 100, 1000, 10_000  # of a network: its options, the numbers of one, and how large these are
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Line = Annotated[str, AfterValidator(one_line)]  # a name, a version, a reference, ...: it stands in tables

SCENARIOS = Path(__file__).parent / "scenarios"
PGD10_EPOCH = 23  # passes per example: ten times (forward, backward to input), then forward and backward to weights


def _lines(values: dict[str, Any]) -> dict[str, Any]:
    for text in texts(values):
        one_line(text)
    return values


Values = Annotated[dict[str, Any], AfterValidator(_lines)]  # hyper-parameters or options and what they are set to


class Model(BaseModel):
    """Base of what is stored and read: frozen, no field that it does not know, no number that is none, no text with
    control characters."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="after")
    def _can_be_printed(self) -> Self:
        check_printable(self.__dict__)
        return self

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """What JSON text says, read strictly (`bench.strict`). Raises ValueError, in a line that names the field."""
        try:
            read = cls.model_validate_json(text)
        except ValidationError as error:
            raise ValueError(first_problem(error)) from None
        strict_json(text)
        return read


class SplitSpec(Model):
    """Sizes of the splits. If the data have a test part, `test` is taken from it and the rest from the training part;
    else all three are split from one pool. Drawn with `seed`, identical for everybody."""

    train: int = Field(gt=0, le=MOST)
    validation: int = Field(gt=0, le=MOST)
    test: int = Field(gt=0, le=1_000_000)
    seed: int = Field(0, ge=0, lt=2**63)


class DataSpec(Model):
    """The data source. `sha256` pins the bytes of each split; a mismatch is refused. `labels` pins the labels of the
    test split alone (`bench.hashing.label_digest`), for `verify`, which has no data; it is in no fingerprint."""

    source: Line
    name: Line = ""  # which data set of the source, such as CIFAR10 for torchvision
    path: Path | None = None  # a folder or file on this machine; stays out of the fingerprint
    shape: tuple[Annotated[int, Field(gt=0, le=10_000)], ...]
    classes: int = Field(ge=2, le=100_000)
    bounds: tuple[float, float] = (0.0, 1.0)  # of valid inputs: those of the threat model, which need not be repeated
    split: SplitSpec
    sha256: dict[Literal["train", "validation", "test"], Sha256] = {}
    labels: Sha256 | None = None


def _buildable(options: dict[str, Any]) -> dict[str, Any]:
    """Options of a network, none of which alone makes it larger than a machine."""
    if len(options) > SETTINGS:
        raise ValueError(f"a network has at most {SETTINGS} options, got {len(options)}")
    for name, value in options.items():
        numbers = value if isinstance(value, list | tuple) else [value]
        if len(numbers) > LISTED or any(isinstance(each, list | tuple | dict) for each in numbers):
            raise ValueError(f"{name} must be a number, a text, or a list of at most {LISTED} of them")
        if any(isinstance(each, int | float) and not abs(each) <= LARGEST for each in numbers):
            raise ValueError(f"{name} must be at most {LARGEST:,}")
    return options


class NetworkSpec(Model):
    """An architecture of `bench.networks` by name, with its options."""

    network: Line
    options: Annotated[Values, AfterValidator(_buildable)] = {}


class TeacherRecipe(Model):
    """How `temper teacher train` makes a teacher: a method, its fields, epochs, and which checkpoint is kept.

    Selection uses robust accuracy, which is meaningless for a natural teacher: keep its last checkpoint.
    """

    method: Line
    fields: Values = {}
    epochs: float = Field(gt=0, le=MOST)
    checkpoint: Literal["best", "last"] = "best"

    def in_words(self) -> str:
        """The method and how long it trains."""
        return f"{self.method}, {self.epochs:g} epoch{'s' * (self.epochs != 1)}"


class TeacherSpec(NetworkSpec):
    """A frozen teacher: weights by file name (shipped, or in the user's cache), or from an outside zoo."""

    weights: str = ""
    sha256: Sha256 | None = None
    recipe: TeacherRecipe | None = None
    zoo: Line = ""  # "robustbench:NAME" loads from there instead


class AttackSpec(Model):
    """Defaults of the inner maximisation, and the attack of the selection."""

    steps: int = Field(10, ge=1, le=10_000)
    step_size: Radius = Field(gt=0)


class OptimiserSpec(Model):
    """SGD with Nesterov or plain momentum and a schedule on progress: warm-up, then a decay."""

    learning_rate: float = Field(gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(5e-4, ge=0)
    batch_size: int = Field(128, ge=1, le=100_000)
    warmup: float = Field(0.0, ge=0, lt=1)
    decay: Literal["linear", "cosine", "steps"] = "linear"
    milestones: tuple[float, ...] = Field((0.5, 0.75), max_length=100)  # for `steps`: a factor of 10 at each progress


class AugmentationSpec(Model):
    """Random shifts by up to `shift` pixels (zero padded) and horizontal flips, on the device."""

    shift: int = Field(0, ge=0, le=10_000)
    flip: bool = False


class BudgetSpec(Model):
    """The compute of each tier, in epochs of PGD-10 adversarial training (23 passes per example each)."""

    s: float = Field(gt=0, le=MOST)
    m: float = Field(gt=0, le=MOST)
    l: float = Field(gt=0, le=MOST)  # noqa: E741


class SelectionSpec(Model):
    """The judged checkpoint: the best of `candidates` between progress `start` and 1, on validation."""

    candidates: int = Field(20, ge=1, le=1000)
    start: float = Field(0.525, ge=0, le=1)

    def thresholds(self) -> list[float]:
        """The progress at which each candidate is due."""
        gap = (1 - self.start) / max(self.candidates - 1, 1)
        return [self.start + gap * k for k in range(self.candidates)]


class EvaluationSpec(Model):
    """The evaluation protocol: attacks and random numbers. The batch size is free: with `stable` randomness it changes
    no outcome."""

    protocol: Literal["standard"] = "standard"
    randomness: Literal["stable", "compat"] = "stable"
    seed: int = Field(0, ge=-(2**63), lt=2**63)
    batch_size: int = Field(256, ge=1, le=100_000)


class Scenario(Model):
    """Everything but the method, fixed (see the module)."""

    name: str = Field(pattern="^[a-z0-9][a-z0-9-]*$", max_length=100)
    title: Line = ""
    notes: str = ""
    seeds: int = Field(3, ge=1, le=1000)  # how many a ranked row needs
    data: DataSpec
    threat: Threat
    attack: AttackSpec
    student: NetworkSpec
    teachers: dict[Line, TeacherSpec] = Field({}, max_length=100)
    optimiser: OptimiserSpec
    augmentation: AugmentationSpec = AugmentationSpec()
    budget: BudgetSpec
    selection: SelectionSpec = SelectionSpec()
    evaluation: EvaluationSpec = EvaluationSpec()

    @model_validator(mode="after")
    def _can_be_judged(self) -> Scenario:
        if len(self.data.shape) != 3:
            raise ValueError(f"AutoAttack judges images (C, H, W); data.shape = {list(self.data.shape)}")
        return self

    @model_validator(mode="before")
    @classmethod
    def _bounds_said_once(cls, content: Any) -> Any:
        """The data have the bounds of the threat model."""
        threat, data = (content.get(name) if isinstance(content, dict) else None for name in ("threat", "data"))
        if isinstance(threat, dict) and isinstance(data, dict) and "bounds" in threat:
            return content | {"data": {"bounds": threat["bounds"]} | data}
        return content

    @model_validator(mode="after")
    def _bounds_agree(self) -> Scenario:
        if self.data.bounds != self.threat.bounds:
            raise ValueError(f"data.bounds {self.data.bounds} are not the threat.bounds {self.threat.bounds}")
        return self

    @model_validator(mode="after")
    def _one_way_to_say_where(self) -> Scenario:
        for name, teacher in self.teachers.items():
            if bool(teacher.zoo) == bool(teacher.weights):
                raise ValueError(f"teacher {name!r} needs either `weights` or `zoo`")
        return self

    def train_fingerprint(self) -> str:
        """SHA-256 of everything that affects training: data, threat, teachers, student, optimiser, selection.

        Titles, paths, budgets and fields at their default are left out. Raises TemperError if a hash that it needs
        is not known yet (data never loaded, teacher not trained).
        """
        fixed = self.model_dump(
            mode="json",
            exclude_defaults=True,
            include={"threat", "attack", "student", "optimiser", "augmentation", "selection"},
        )
        fixed["data"] = self.data.model_dump(mode="json", include={"shape", "classes"})
        fixed["data"]["sha256"] = self._data_hashes()
        fixed["teachers"] = {name: self._teacher_identity(name) for name in self.teachers}
        return digest(fixed)

    @property
    def pinned(self) -> bool:
        """Whether the train fingerprint is known without loading (or downloading) the data."""
        return len(self.data.sha256) == 3

    def protocol_fingerprint(self) -> str:
        """SHA-256 of the evaluation protocol: attacks, seed, randomness, evaluator; batch size if it matters."""
        matters_not = {"batch_size"} if self.evaluation.randomness == "stable" else set()
        fixed = self.evaluation.model_dump(mode="json", exclude=matters_not)
        return digest(fixed | {"evaluator": EVALUATOR_VERSION})

    def seed(self, index: int) -> int:
        """The `index`-th seed: the same for every method, so all share initial weights and data order."""
        return derive(self.train_fingerprint(), index)

    def passes(self, tier: Tier) -> float:
        """The budget of a tier in passes per training example."""
        return PGD10_EPOCH * float(getattr(self.budget, tier))

    def with_optimiser(self, changes: Mapping[str, float]) -> Scenario:
        """This scenario with changed optimiser settings."""
        return self.model_copy(update={"optimiser": self.optimiser.model_copy(update=changes)})

    def with_data(self, path: Path | None) -> Scenario:
        """This scenario with its data at `path`."""
        if path is None:
            return self
        return self.model_copy(update={"data": self.data.model_copy(update={"path": path})})

    def _data_hashes(self) -> dict[str, str]:
        if self.pinned:
            return {str(name): sha for name, sha in self.data.sha256.items()}
        from bench.data import split_hashes

        return split_hashes(self.data)

    def _teacher_identity(self, name: str) -> dict[str, Any]:
        teacher = self.teachers[name]
        identity = teacher.model_dump(mode="json", exclude_defaults=True, include={"network", "options", "zoo"})
        if not teacher.zoo:
            from bench.teachers import weights_hash

            identity["sha256"] = teacher.sha256 or weights_hash(self, name)
        return identity


def shipped_scenarios() -> list[str]:
    """Names of the scenarios that come with Temper."""
    return sorted(path.stem for path in SCENARIOS.glob("*.toml"))


def load_scenario(name_or_path: str | Path) -> Scenario:
    """Read a shipped scenario by name, or your own file by path. Raises TemperError if it is not valid.

    A file may have `extends = "NAME"` (or another file): it then changes single fields of that scenario.
    """
    path = _path(name_or_path)
    try:
        scenario = Scenario.model_validate({"name": path.stem} | _content(path))
    except ValidationError as error:
        raise TemperError(f"{path}: {first_problem(error)}") from None
    where = scenario.data.path
    return scenario.with_data(path.parent / where) if where and not where.is_absolute() else scenario


def _path(name_or_path: str | Path, folder: Path = Path()) -> Path:
    path = Path(name_or_path)
    if path.suffix == ".toml":
        return folder / path
    if str(name_or_path) not in shipped_scenarios():
        raise unknown("scenario", str(name_or_path), shipped_scenarios())
    return SCENARIOS / f"{name_or_path}.toml"


def _content(path: Path, extending: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The content of a file, merged into what it extends."""
    try:
        content = tomllib.loads(regular(path, MEGABYTE).read_text())
    except OSError as error:
        raise TemperError(f"no scenario file at {path} ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise TemperError(f"{path} is not valid TOML: {error}") from None
    base = content.pop("extends", None)
    if base is None:
        return content
    where = _path(base, path.parent) if isinstance(base, str) else None
    if where is None or where.resolve() in (path.resolve(), *extending):
        raise TemperError(f"{path}: extends takes the name or the file of another scenario, got {base!r}")
    return _merged(_content(where, (path.resolve(), *extending)), content)


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes`, table by table; `options` are taken whole, since they belong to one network."""
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merged(base[key], value) if both and key != "options" else value
    return merged


def first_problem(error: ValidationError) -> str:
    """The first thing wrong with a file or its like, as one line."""
    problem = error.errors()[0]
    field = printable(".".join(str(part) for part in problem["loc"]))
    got = "" if isinstance(problem["input"], dict) else f" (got {shortened(problem['input'])})"
    return f"{field + ': ' if field else ''}{problem['msg'].removeprefix('Value error, ')}{got}"
