"""How the optimiser, eps and budget of `digits-linf` were chosen: on training and validation data only.

Trains `pgd-at` and `rslad` (one seed that no board uses) over a grid and prints validation accuracies as Markdown.
    python scripts/choose_digits.py --jobs 2 > docs/choices-digits.md
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from itertools import product

import torch

from bench.data import load
from bench.method import make_method
from bench.scenario import Scenario, load_scenario
from bench.teachers import load_teachers
from bench.training.loop import Trainer

SEED = 20261124  # of no board
METHODS = ("pgd-at", "rslad")


def variant(base: Scenario, rate: float, decay: float) -> Scenario:
    """The scenario with another learning rate and weight decay."""
    optimiser = base.optimiser.model_copy(update={"learning_rate": rate, "weight_decay": decay})
    return base.model_copy(update={"optimiser": optimiser})


def trial(case: tuple[str, float, float, float]) -> tuple[float, float, float]:
    """Train one case; (robust, clean) of the selected checkpoint on validation, and the robust one of the last."""
    method, rate, decay, epochs = case
    torch.set_num_threads(1)
    scenario = variant(load_scenario("digits-linf"), rate, decay)
    made = make_method(method)
    trainer = Trainer(
        scenario,
        made,
        load(scenario.data, ("train", "validation")),
        load_teachers(scenario, made.needs),
        seed=SEED,
        passes=23 * epochs,
    )
    trainer.run()
    best, last = trainer.selection.best, trainer.selection.curve[-1]
    assert best is not None
    return best.robust, best.clean, last.robust


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--epochs", type=float, default=100)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.05, 0.1, 0.2])
    parser.add_argument("--decays", type=float, nargs="+", default=[2e-4, 5e-4, 2e-3])
    arguments = parser.parse_args()
    grid = list(product(arguments.rates, arguments.decays))
    cases = [(method, rate, decay, arguments.epochs) for rate, decay in grid for method in METHODS]
    with ProcessPoolExecutor(arguments.jobs) as executor:
        results = dict(zip(cases, executor.map(trial, cases), strict=True))
    print(f"Validation accuracies in percent (300 images), {arguments.epochs:g} PGD-10 epochs of compute:\n")
    print("| learning rate | weight decay | method | robust (PGD-10) | clean | robust, last checkpoint |")
    print("|---|---|---|---|---|---|")
    for (method, rate, decay, _), (robust, clean, last) in results.items():
        print(f"| {rate:g} | {decay:g} | {method} | {100 * robust:.1f} | {100 * clean:.1f} | {100 * last:.1f} |")


if __name__ == "__main__":
    main()
