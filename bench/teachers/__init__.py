"""Teachers: frozen networks, by file name and hash or from an outside zoo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import TemperError, unknown
from bench.files import cache, regular
from bench.hashing import file_digest
from bench.scenario import Scenario, TeacherSpec

if TYPE_CHECKING:
    from torch import nn

SHIPPED_WEIGHTS = Path(__file__).parent / "weights"


def teacher_spec(scenario: Scenario, name: str) -> TeacherSpec:
    """The scenario's teacher of that name; raises TemperError when it has none."""
    if name not in scenario.teachers:
        raise unknown(f"teacher of {scenario.name}", name, scenario.teachers)
    return scenario.teachers[name]


def weights_path(scenario: Scenario, name: str) -> Path:
    """Where the weights lie: a path of the user's, shipped with Temper, or trained into the cache."""
    spec = teacher_spec(scenario, name)
    places = [Path(spec.weights), SHIPPED_WEIGHTS / spec.weights, cache() / "teachers" / spec.weights]
    for place in places:
        if place.exists() and not place.is_dir():
            return regular(place)
    raise TemperError(
        f"teacher {name!r} of {scenario.name} is not on this machine ({spec.weights}): "
        f"run `temper teacher train {scenario.name} --name {name}`"
    )


def weights_hash(scenario: Scenario, name: str) -> str:
    """SHA-256 of the file of weights."""
    return file_digest(weights_path(scenario, name))


def load_teacher(scenario: Scenario, name: str) -> nn.Module:
    """The teacher as a frozen module in eval mode. Raises TemperError when its weights are missing or others."""
    from bench.networks import build, load_weights

    spec = teacher_spec(scenario, name)
    if spec.zoo:
        from bench.teachers.zoo import load_from_zoo

        return load_from_zoo(spec.zoo, scenario.threat).eval().requires_grad_(False)
    path = weights_path(scenario, name)
    if spec.sha256 and (found := file_digest(path)) != spec.sha256:
        raise TemperError(f"teacher {name!r} of {scenario.name}: {path} has SHA-256 {found}, not {spec.sha256}")
    module = build(spec, scenario.data.shape, scenario.data.classes)
    load_weights(module, path)
    return module.eval().requires_grad_(False)


def load_teachers(scenario: Scenario, roles: set[str]) -> dict[str, nn.Module]:
    """The teachers that a method's `needs` ask for, as far as the scenario has them."""
    from bench.training.loop import ROLES

    wanted = {ROLES[role] for role in roles if role in ROLES}
    return {name: load_teacher(scenario, name) for name in sorted(wanted & set(scenario.teachers))}
