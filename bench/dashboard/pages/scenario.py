"""What a scenario fixes, and the rules of comparison."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from bench.dashboard import data
from bench.dashboard.blocks import Block, Code, Facts, Finding, Heading, Note, Prose, Table
from bench.dashboard.draw import draw
from bench.dashboard.widgets import choose_one
from bench.errors import TemperError
from bench.protocol import ATTACKS, FURTHER
from bench.scenario import NetworkSpec, Scenario
from bench.teachers.making import read_card

RULES = """
- **Same setting.** All methods train the same student with the same teacher, data, seeds, optimiser, schedule and
  augmentation. These were chosen on validation with `pgd-at` and `rslad` and frozen before the test split was read.
- **Same compute.** Under ruleset *compute* every trial has the same budget of passes (forwards of the student per
  training example); the meter counts every call of every network, including the teacher. Under *epochs* all see the
  data equally often; their compute differs and is shown.
- **One checkpoint.** Of 20 candidates in the second half of training, the one with the best PGD-10 accuracy on
  validation is judged. Only the evaluator reads the test split, once.
- **AutoAttack judges**, on the whole test split, at its standard setting. Diagnostics look for overestimated
  robustness; only a confirmed drop under a stronger attack unranks a row.
- **Ranks account for chance.** Intervals are over seeds and images. Two rows differ when a paired test is
  significant at 5% after Holm's correction; rows that share a letter are tied.
- **Nothing is deleted.** A collapsed trial counts with its value, a failed one as 0. Superseded and retracted
  records stay visible, with the reason.
"""


def blocks(scenario: Scenario) -> list[Block]:
    """What a scenario fixes, and the rules."""
    return [
        Finding(scenario.title or scenario.name, scenario.notes),
        Facts(facts(scenario)),
        Heading("Teachers"),
        *_teachers(scenario),
        *rules(),
        Heading("Fingerprints"),
        Prose("Rows are compared only if both agree. `temper scenarios NAME` shows them too."),
        *_fingerprints(scenario),
    ]


def rules() -> list[Block]:
    """The rules of comparison."""
    return [Heading("Rules"), Prose(RULES)]


def facts(scenario: Scenario) -> list[tuple[str, str]]:
    """A scenario as names and values."""
    split, threat, optimiser = scenario.data.split, scenario.threat, scenario.optimiser
    shape = "x".join(map(str, scenario.data.shape))
    nesterov = ", Nesterov" if optimiser.nesterov else ""
    shift, flip = scenario.augmentation.shift, scenario.augmentation.flip
    augmentation = [*([f"shifts by up to {shift}"] if shift else []), *(["flips"] if flip else [])]
    tiers = ", ".join(f"{tier}: {scenario.passes(tier):,.0f}" for tier in ("s", "m", "l"))
    return [
        ("data", f"{scenario.data.name or scenario.data.source}, {shape}, {scenario.data.classes} classes"),
        ("split", f"{split.train:,} to train, {split.validation:,} to choose checkpoints, {split.test:,} to judge"),
        ("threat", f"{threat.norm}, eps = {_radius(threat.eps)}"),
        ("inner attack", f"PGD, {scenario.attack.steps} steps of {_radius(scenario.attack.step_size)}, by default"),
        ("student", network(scenario.student)),
        ("optimiser", f"SGD, learning rate {optimiser.learning_rate:g}, momentum {optimiser.momentum:g}{nesterov}, "
         f"weight decay {optimiser.weight_decay:g}, batches of {optimiser.batch_size}, {optimiser.decay} decay"),
        ("augmentation", " and ".join(augmentation) or "none"),
        ("budget", f"passes per training example: {tiers}"),
        ("seeds", f"{scenario.seeds} for a ranked row"),
        ("judged by", f"AutoAttack ({', '.join(ATTACKS)}); also run: {', '.join(FURTHER)}"),
    ]  # fmt: skip


def network(spec: NetworkSpec) -> str:
    """A network in words."""
    options = ", ".join(f"{name} {value}" for name, value in spec.options.items())
    return f"{spec.network} ({options})" if options else spec.network


def overview(names: Mapping[str, Scenario]) -> pd.DataFrame:
    """All scenarios, one a row."""
    return pd.DataFrame(
        [
            {
                "scenario": name,
                "data": each.data.name or each.data.source,
                "threat": f"{each.threat.norm} {_radius(each.threat.eps)}",
                "student": each.student.network,
                "teachers": ", ".join(teacher.network for teacher in each.teachers.values()),
                "test images": f"{each.data.split.test:,}",
                "seeds": each.seeds,
            }
            for name, each in names.items()
        ]
    )


def page() -> None:
    """Draw the page."""
    st.title("Scenario and rules", anchor=False)
    names = data.scenarios()
    name = choose_one("Scenario", "scenario", names, width=260)
    scenario = data.scenario(name)
    if scenario is None:
        st.error("This scenario's file cannot be read.")
        return
    draw(blocks(scenario))
    known = {each: found for each in names if (found := data.scenario(each)) is not None}
    draw([Heading("All scenarios"), Table(overview(known)), Code(f"temper scenarios {name}")])


def _teachers(scenario: Scenario) -> list[Block]:
    table = []
    for role, spec in scenario.teachers.items():
        row = {
            "role": role,
            "network": network(spec),
            "made by": _made_by(scenario, role),
            "clean %": "",
            "robust %": "",
        }
        try:
            verdict = read_card(scenario, role).evaluation
            row |= {"clean %": f"{100 * verdict.clean:.1f}", "robust %": f"{100 * verdict.robust:.1f}"}
        except TemperError:
            row["made by"] += " (missing: temper teacher train)"
        table.append(row)
    return [Table(pd.DataFrame(table))] if table else [Note("No teacher.")]


def _made_by(scenario: Scenario, role: str) -> str:
    spec = scenario.teachers[role]
    if spec.zoo:
        return spec.zoo
    return spec.recipe.in_words() if spec.recipe else "outside"


def _fingerprints(scenario: Scenario) -> list[Block]:
    if not scenario.pinned:
        return [Note("The train fingerprint needs the data, which are not pinned: temper scenarios NAME loads them.")]
    try:
        pairs = [("train", scenario.train_fingerprint()), ("protocol", scenario.protocol_fingerprint())]
    except TemperError as error:
        return [Note("The train fingerprint is not available here.", [str(error)])]
    return [Facts(pairs)]


def _radius(value: float) -> str:
    """A radius as the field writes it: n/255 where it is one."""
    of_255 = value * 255
    return f"{round(of_255)}/255" if abs(of_255 - round(of_255)) < 1e-6 and of_255 >= 1 else f"{value:g}"
