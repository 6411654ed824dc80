"""Registries: names that are taken, mistyped or broken, and plug-ins that come in through entry points."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import registry
from bench.errors import ContractError, TemperError, unknown
from bench.method import METHODS, Method, make_method, register
from bench.registry import Registry


class Point:
    """An entry point of a plug-in."""

    def __init__(self, name: str, load: Callable[[], object]) -> None:
        self.name = name
        self.load = load


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Make `entry_points` of one group return these; gives the groups that were asked for."""
    asked: list[str] = []

    def plug(group: str, *points: Point) -> list[str]:
        def entry_points(*, group: str) -> list[Point]:
            asked.append(group)
            return [point for point in points if group == wanted]

        wanted = group
        monkeypatch.setattr(registry, "entry_points", entry_points)
        return asked

    return plug


def one() -> int:
    return 1


def two() -> int:
    return 2


def test_things_are_found_by_name_in_order() -> None:
    things: Registry[object] = Registry("thing")
    things.add("b", two)
    assert things.register("a")(one) is one
    assert list(things) == ["a", "b"]
    assert len(things) == 2
    assert things["a"] is one
    assert "b" in things
    assert "c" not in things


def test_a_name_that_is_taken_shows_both() -> None:
    things: Registry[object] = Registry("thing")
    things.add("a", one)
    with pytest.raises(TemperError, match=r"thing 'a' is registered twice: <function one .*> and <function two .*>"):
        things.add("a", two)
    assert things["a"] is one


def test_the_same_thing_may_come_twice() -> None:
    things: Registry[object] = Registry("thing")
    things.add("a", one)
    things.add("a", one)
    assert len(things) == 1


def test_a_module_that_is_imported_again_replaces_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "registry_plugin.py").write_text("def thing(): return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("registry_plugin")
    things: Registry[object] = Registry("thing")
    old = module.thing
    things.add("a", old)
    new = importlib.reload(module).thing
    things.add("a", new)
    assert new is not old
    assert things["a"] is new
    sys.modules.pop("registry_plugin")


def test_a_thing_given_by_its_place_is_imported_when_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "registry_lazy.py").write_text("thing = [1]\n")
    monkeypatch.syspath_prepend(tmp_path)
    things: Registry[object] = Registry("thing")
    things.add("a", "registry_lazy:thing")
    with pytest.raises(TemperError, match="'registry_lazy:thing' and 'registry_lazy:other'"):
        things.add("a", "registry_lazy:other")
    assert list(things) == ["a"]
    assert "registry_lazy" not in sys.modules
    assert things["a"] == [1]
    assert things["a"] is sys.modules.pop("registry_lazy").thing


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("rslda", "unknown method 'rslda'; did you mean rslad?"),
        ("RSLAD", "unknown method 'RSLAD'; did you mean rslad or trades?"),
        ("pgd_at", "unknown method 'pgd_at'; did you mean pgd-at?"),
        ("zzz", "unknown method 'zzz'; known: pgd-at, rslad, trades"),
    ],
)
def test_an_unknown_name_lists_the_nearest(name: str, hint: str) -> None:
    things: Registry[object] = Registry("method")
    for known in ("trades", "rslad", "pgd-at"):
        things.add(known, one)
    with pytest.raises(TemperError) as caught:
        things[name]
    assert str(caught.value) == hint


def test_near_names_are_joined_and_an_empty_registry_says_none() -> None:
    assert "did you mean resnet18 or preactresnet18?" in str(
        unknown("network", "resnet18x", ["preactresnet18", "resnet18"])
    )
    with pytest.raises(TemperError, match="unknown thing 'a'; known: none"):
        Registry("thing")["a"]


def test_plug_ins_are_loaded_at_the_first_look_up_and_once(plugged) -> None:
    things: Registry[object] = Registry("thing", group="temper.things")
    loads: list[str] = []

    def load() -> None:
        loads.append("plug-in")
        things.add("plugged", one)

    asked = plugged("temper.things", Point("plug-in", load))
    things.add("own", two)
    assert asked == []
    assert list(things) == ["own", "plugged"]
    assert things["plugged"] is one
    assert "plugged" in things
    assert asked == ["temper.things"]
    assert loads == ["plug-in"]
    assert things.broken == {}


@pytest.mark.parametrize(
    "look", [list, len, lambda t: "a" in t, lambda t: t["plugged"]], ids=["list", "len", "in", "[]"]
)
def test_every_way_to_look_loads_plug_ins(plugged, look) -> None:
    things: Registry[object] = Registry("thing", group="temper.things")
    plugged("temper.things", Point("plug-in", lambda: things.add("plugged", one)))
    look(things)
    assert dict(things._things) == {"plugged": one}


def test_a_broken_plug_in_is_remembered_and_hides_nobody(plugged) -> None:
    things: Registry[object] = Registry("thing", group="temper.things")

    def broken() -> None:
        raise ImportError("no module named cupy")

    def clashing() -> None:
        things.add("good", two)

    good = Point("good", lambda: things.add("good", one))
    plugged("temper.things", Point("broken", broken), good, Point("clashing", clashing))
    assert list(things) == ["good"]
    assert things["good"] is one
    assert things.broken["broken"] == "ImportError: no module named cupy"
    assert things.broken["clashing"].startswith("TemperError: thing 'good' is registered twice")
    assert set(things.broken) == {"broken", "clashing"}


def test_without_a_group_no_entry_point_is_asked(plugged) -> None:
    asked = plugged("temper.things")
    assert len(Registry("thing")) == 0
    assert asked == []


def test_shipped_methods_come_through_the_entry_point() -> None:
    assert {"natural", "pgd-at", "trades", "kd", "ard", "rslad", "gkd-logit"} <= set(METHODS)
    assert METHODS.broken == {}
    for name in METHODS:
        assert METHODS[name].info.name == name


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is registered here is forgotten afterwards."""
    list(METHODS)
    monkeypatch.setattr(METHODS, "_things", dict(METHODS._things))


INFO = {"version": "1", "family": "test", "reference": "none"}


@pytest.mark.usefixtures("scratch")
def test_a_method_is_registered_with_what_it_says_of_itself() -> None:
    @register("mine", **INFO, passes="3", controls={"natural": {"weight": 0.0}})
    class Mine(Method):
        weight: float = 0.5

    assert METHODS["mine"] is Mine
    info = Mine.info
    assert (info.name, info.version, info.family, info.passes, info.track) == ("mine", "1", "test", "3", "main")
    assert make_method("mine", {"weight": 1}).weight == 1.0  # type: ignore[attr-defined]


@pytest.mark.parametrize("thing", [int, object(), lambda: None, type("Almost", (), {"loss": None})])
@pytest.mark.usefixtures("scratch")
def test_only_subclasses_of_method_are_methods(thing: object) -> None:
    with pytest.raises(ContractError, match=r"method 'mine': .* is not a subclass of bench.Method"):
        register("mine", **INFO)(thing)  # type: ignore[type-var]
    assert "mine" not in METHODS


@pytest.mark.usefixtures("scratch")
def test_a_method_cannot_take_the_name_of_another() -> None:
    shipped = METHODS["rslad"]
    with pytest.raises(TemperError, match=r"method 'rslad' is registered twice: .*RSLAD'> and .*Thief'>"):

        @register("rslad", **INFO)
        class Thief(Method):
            pass

    assert METHODS["rslad"] is shipped
    assert shipped.info.version == "zi2021"


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("rslda", {}, "unknown method 'rslda'; did you mean rslad"),
        ("trades", {"bta": 1}, r"method 'trades', field 'bta': .*not permitted, got 1 \(its fields: beta\)"),
        ("trades", {"beta": "six"}, r"method 'trades', field 'beta': .*valid number"),
        ("natural", {"beta": 1}, r"field 'beta': .*\(its fields: none\)"),
        ("trades", {"beta": -1}, r"method 'trades', field 'beta': .*greater than or equal to 0, got -1"),
        ("rslad", {"adversarial_weight": 1.5}, r"field 'adversarial_weight': .*less than or equal to 1, got 1\.5"),
        ("ard", {"temperature": 0}, r"field 'temperature': .*greater than 0, got 0"),
    ],
)
def test_bad_methods_and_fields_are_one_line_that_names_them(
    name: str, fields: dict[str, object], message: str
) -> None:
    with pytest.raises(TemperError, match=message) as caught:
        make_method(name, fields)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", METHODS)
def test_every_number_of_a_method_has_a_lower_bound_that_its_default_keeps(name: str) -> None:
    numbers = {field: spec for field, spec in METHODS[name].model_fields.items() if spec.annotation in (int, float)}
    for field, spec in numbers.items():
        assert make_method(name, {field: spec.default}) == make_method(name)
        with pytest.raises(TemperError, match=f"field '{field}': .*greater than"):
            make_method(name, {field: -1})


def test_methods_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        make_method("trades").beta = 1.0  # type: ignore[attr-defined]
