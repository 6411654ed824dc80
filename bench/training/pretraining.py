"""Self-teachers: networks of the student's architecture that a trial trains first, out of its own budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.hashing import derive
from bench.method import make_method

if TYPE_CHECKING:
    from bench.training.loop import Trainer


@dataclass
class Pretraining:
    """One self-teacher: trained by a method for a share of the budget, by a trainer of its own."""

    name: str
    method: str
    share: float
    trainer: Trainer | None = None  # while it is being trained
    done: bool = False

    def run(self, trial: Trainer, after_step: Callable[[Trainer, Mapping[str, float]], None]) -> None:
        """Train it, unless that is done, and hand its best weights over. `after_step` is told of the trial's state."""
        if self.done:
            return
        trainer = self.trainer = self.trainer or self._trainer(trial)
        trainer.run(lambda _, losses: after_step(trial, {f"{self.name}/{name}": loss for name, loss in losses.items()}))
        trial.nets.networks[self.name].module.load_state_dict(trainer.selection.best_weights)
        trial.charge(self.name, trainer)
        self.trainer, self.done = None, True

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"done": self.done, "trainer": self.trainer and self.trainer.state()}

    def restore(self, trial: Trainer, state: Mapping[str, Any]) -> None:
        """Take up a `state()`."""
        self.done = state["done"]
        if state["trainer"]:
            self.trainer = self._trainer(trial)
            self.trainer.restore(state["trainer"])

    def _trainer(self, trial: Trainer) -> Trainer:
        return type(trial)(
            trial.scenario,
            make_method(self.method),
            trial.splits,
            {},
            seed=derive(trial.seed, "pretraining", self.name),
            passes=self.share * trial.budget.total / len(trial.train),
            ruleset=trial.budget.ruleset,
            device=trial.device,
            judge=partial(trial.judge, whose=self.name),
        )
