"""Search of hyper-parameters on the validation split: as many trials for every method, at one tier, by one sampler.

The test split is never read. What a method is given is its own fields, and the learning rate and weight decay that the
scenario chose with other methods; the settings of the catalogue are the first trial, so that tuning cannot lose.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic.fields import FieldInfo

from bench.errors import TemperError
from bench.execution.job import FAILURE, RESULTS, Job
from bench.execution.pool import Pool
from bench.files import write_text, writing
from bench.hashing import derive, digest
from bench.method import METHODS, make_method
from bench.records import TrainingRecord
from bench.scenario import Line, Model, Scenario, Tier

if TYPE_CHECKING:
    import optuna

ASIDE = 4  # trials that are asked for together, whatever runs at a time: the search does not depend on the machine
SPAN = 4.0  # a default is searched from a SPAN-th of it to SPAN times it, on a logarithmic scale
OPTIMISER = ("learning_rate", "weight_decay")
Space = dict[str, tuple[float, float, float]]  # field: default, lowest, highest


class Tuned(Model):
    """What a search found."""

    scenario: Line
    train_fingerprint: Line
    method: Line
    version: Line
    budget: Tier
    trials: int
    sampler: Line
    hyperparameters: dict[Line, float]
    optimiser: dict[Line, float]
    robust: float  # on validation, by the attack of the selection
    default_robust: float  # likewise, with the settings of the catalogue


def search_space(scenario: Scenario, method: str) -> Space:
    """Every float field of the method that is not 0, inside its declared bounds, and the optimiser's two numbers."""
    space = {}
    for name, spec in METHODS[method].model_fields.items():
        if isinstance(spec.default, float) and spec.default > 0:
            low, high = _declared(spec)
            space[name] = spec.default, max(spec.default / SPAN, low), min(spec.default * SPAN, high)
    for name in OPTIMISER:
        value = getattr(scenario.optimiser, name)
        space[name] = value, value / SPAN, value * SPAN
    return space


def _declared(spec: FieldInfo) -> tuple[float, float]:
    """The bounds of a field, as pydantic knows them; a fraction below 1 stays a fraction."""
    bounds = {kind: getattr(rule, kind) for rule in spec.metadata for kind in ("ge", "le") if hasattr(rule, kind)}
    return bounds.get("ge", 0.0), bounds.get("le", 1.0 if spec.default < 1 else float("inf"))


@dataclass(frozen=True)
class Tuner:
    """Runs searches on one scenario; `leaderboards` keeps what was found, and the state of searches under way."""

    scenario: Scenario
    leaderboards: Path
    trials: int = 20
    budget: Tier = "s"
    device: str = "cpu"
    jobs: int = 1

    def tune(self, method: str) -> Tuned:
        """Search for one method; continues what was interrupted."""
        study = self._study(method)
        space = search_space(self.scenario, method)
        if not study.trials:
            study.enqueue_trial({name: default for name, (default, _, _) in space.items()})
        while len(study.trials) < self.trials or any(not trial.state.is_finished() for trial in study.trials):
            self._run_some(study, method, space)
        return self._write(study, method)

    def _run_some(self, study: optuna.Study, method: str, space: Space) -> None:
        """Ask for some settings, train with them at the same time, tell the accuracies in the order of asking."""
        import optuna

        open_ = [each for each in study.trials if each.state == optuna.trial.TrialState.RUNNING]
        more = min(ASIDE, self.trials - len([t for t in study.trials if t.state.is_finished()])) - len(open_)
        asked = {each.number: dict(each.params) for each in open_}
        for _ in range(more):
            study.sampler = optuna.samplers.TPESampler(seed=len(study.trials), constant_liar=True)
            trial = study.ask()
            asked[trial.number] = {
                name: trial.suggest_float(name, low, high, log=True) for name, (_, low, high) in space.items()
            }
        folders = {number: self._folder(method) / str(number) for number in asked}
        for number, settings in asked.items():
            self._job(method, settings).write(folders[number])
        titles = [(f"{method}, trial {number + 1} of {self.trials}", folder) for number, folder in folders.items()]
        problems = Pool(self.jobs, ("train",)).run(titles, lambda folder: None)
        if problems:
            raise TemperError(problems[0])
        for number, folder in sorted(folders.items()):
            study.tell(number, _robust(folder))

    def _job(self, method: str, settings: Mapping[str, float]) -> Job:
        fields = {name: value for name, value in settings.items() if name not in OPTIMISER}
        optimiser = {name: settings[name] for name in OPTIMISER}
        make_method(method, fields)
        return Job(
            scenario=self.scenario.with_optimiser(optimiser),
            method=method,
            hyperparameters=fields,
            seed=derive(self.scenario.train_fingerprint(), "tuning"),
            passes=self.scenario.passes(self.budget),
            device=self.device,
        )

    def _folder(self, method: str) -> Path:
        key = digest([self.scenario.train_fingerprint(), METHODS[method].info.version, self.budget])[:16]
        return self.leaderboards / ".work" / f"tune-{self.scenario.name}-{method}-{key}"

    def _study(self, method: str) -> optuna.Study:
        """The study of a method, with what it has tried already."""
        try:
            import optuna
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend
        except ImportError:
            raise TemperError("`temper tune` needs Optuna: pip install temper-bench[tune]") from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        folder = self._folder(method)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(folder / "study.log"))),
            study_name=method,
            load_if_exists=True,
            direction="maximize",
        )

    def _write(self, study: optuna.Study, method: str) -> Tuned:
        first, best = study.trials[0], study.best_trial  # of equals, the earliest
        tuned = Tuned(
            scenario=self.scenario.name,
            train_fingerprint=self.scenario.train_fingerprint(),
            method=method,
            version=METHODS[method].info.version,
            budget=self.budget,
            trials=len(study.trials),
            sampler=f"TPE of Optuna {version('optuna')}, seeded by the number of the trial",
            hyperparameters={k: v for k, v in best.params.items() if k not in OPTIMISER},
            optimiser={k: v for k, v in best.params.items() if k in OPTIMISER},
            robust=best.value or 0.0,
            default_robust=first.value or 0.0,
        )
        write_text(tuned_file(self.leaderboards, self.scenario, method), tuned.model_dump_json(indent=1) + "\n")
        shutil.rmtree(self._folder(method), ignore_errors=True)
        return tuned


def tuned_file(leaderboards: Path, scenario: Scenario, method: str) -> Path:
    """Where a search leaves what it found."""
    return leaderboards / "tuned" / scenario.name / f"{method}.json"


def read_tuned(leaderboards: Path, scenario: Scenario, method: str) -> Tuned:
    """What a search on this very scenario found. Raises TemperError when there was none."""
    file = tuned_file(leaderboards, scenario, method)
    if not file.is_file():
        raise TemperError(f"{method!r} was not tuned on {scenario.name}: `temper tune {method} --scenario ...` first")
    tuned = Tuned.model_validate_json(file.read_text())
    if tuned.train_fingerprint != scenario.train_fingerprint() or tuned.version != METHODS[method].info.version:
        raise TemperError(f"{file} is of another version of {method!r} or of {scenario.name}: tune again")
    return tuned


def _robust(folder: Path) -> float:
    """Robust accuracy of a finished training on validation; 0 for one that met NaN."""
    if (folder / FAILURE).exists():
        return 0.0
    return TrainingRecord.model_validate_json((folder / RESULTS["train"]).read_text()).best.robust
