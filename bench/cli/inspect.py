"""`temper methods` and `temper scenarios`: list and show them."""

from __future__ import annotations

import sys
from inspect import getdoc
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.cli.options import AsJson, Files, print_json, print_rows, print_sheet, use_files
from bench.errors import ContractError, TemperError


def methods(
    name: Annotated[
        str | None, typer.Argument(help="One method, in full; or the verb `new` or `check`.", show_default=False)
    ] = None,
    subject: Annotated[str | None, typer.Argument(help="After a verb: the method.", show_default=False)] = None,
    file: Files = None,
    json: AsJson = False,
) -> None:
    """List the registered methods, or show one.

    `temper methods new my-method` writes my_method.py, which already passes; `temper methods check my-method --file
    my_method.py` runs the conformance suite on it.
    """
    from bench.method import METHODS

    use_files(file)
    if name in ("new", "check"):
        if subject is None:
            raise TemperError(f"`temper methods {name}` needs the name of a method")
        _start(subject) if name == "new" else _check(subject)
        return
    shown = [METHODS[name]] if name else [METHODS[each] for each in METHODS]
    for plug_in, problem in METHODS.broken.items():
        print(f"temper: the plug-in {plug_in!r} does not load: {problem}", file=sys.stderr)
    rows = [_describe(method) for method in shown]
    if json:
        print_json(rows[0] if name else rows)
    elif name:
        print_sheet(rows[0])
    else:
        print_rows(rows, ["name", "version", "family", "needs", "passes", "reference"], "Methods")


def _start(name: str) -> None:
    """Write the file of a new method."""
    from bench.skeleton import write_skeleton

    file = write_skeleton(name, Path())
    print(f"wrote {file}. It trains already:")
    print(f"  temper methods check {name} --file {file}")
    print(f"  temper run digits-linf --method {name} --file {file} --seeds 1")


def _check(name: str) -> None:
    """Run the conformance suite on a method; exit code 1 where a clause is broken."""
    from bench.testing import check_method

    try:
        passed = check_method(name)
    except ContractError as error:
        print(error)
        raise typer.Exit(1) from None
    print(f"{name}: " + ", ".join(check.replace("_", " ") for check in passed))


def scenarios(
    name: Annotated[str | None, typer.Argument(help="One scenario, by name or path.", show_default=False)] = None,
    file: Files = None,
    json: AsJson = False,
) -> None:
    """List the scenarios, or show one with its fingerprints and the cost of its networks."""
    from bench.scenario import load_scenario, shipped_scenarios

    use_files(file)
    if name:
        row = _scenario_row(name) | _costs(load_scenario(name))
        if json:
            print_json(row)
        else:
            print_sheet({key: value for key, value in row.items() if key != "fingerprint"})
        return
    rows = [_scenario_row(each) for each in shipped_scenarios()]
    if json:
        print_json(rows)
    else:
        print_rows(rows, ["name", "title", "data", "student", "teachers", "budget", "seeds"], "Scenarios")


def _describe(method: Any) -> dict[str, Any]:
    info = method.info
    return {
        "name": info.name,
        "version": info.version,
        "family": info.family,
        "needs": sorted(method.needs),
        "reference": info.reference,
        "formula": info.formula,
        "deviations": info.deviations,
        "passes": info.passes or "measured",
        "track": info.track,
        "summary": getdoc(method),
        "hyperparameters": {field: spec.default for field, spec in method.model_fields.items()},
        "controls": {control: dict(fields) for control, fields in info.controls.items()},
    }


def _scenario_row(name: str) -> dict[str, Any]:
    from bench.scenario import load_scenario

    scenario = load_scenario(name)
    fingerprint, why = None, "the data are not pinned by hash; the train fingerprint is known once they are loaded"
    if len(scenario.data.sha256) == 3:  # never load or download data for a listing
        try:
            fingerprint, why = scenario.train_fingerprint(), ""
        except TemperError as error:
            why = str(error)
    return {
        "name": scenario.name,
        "title": scenario.title,
        "notes": scenario.notes,
        "fingerprint": fingerprint,
        "train_fingerprint": fingerprint,
        "protocol_fingerprint": scenario.protocol_fingerprint(),
        "missing": why,
        "data": f"{scenario.data.source}{':' if scenario.data.name else ''}{scenario.data.name}",
        "threat": f"{scenario.threat.norm} {scenario.threat.eps:.4g}",
        "student": scenario.student.network,
        "teachers": sorted(scenario.teachers),
        "budget": scenario.budget.model_dump(),
        "seeds": scenario.seeds,
    }


def _costs(scenario: Any) -> dict[str, Any]:
    """Parameters, FLOPs and the teacher's cost ratio r, measured."""
    from bench.networks import build, flops, parameters

    shape, classes = scenario.data.shape, scenario.data.classes
    student = build(scenario.student, shape, classes)
    unit = flops(student, shape)
    row: dict[str, Any] = {"student_parameters": parameters(student), "student_flops": unit}
    for name, spec in scenario.teachers.items():
        if not spec.zoo:
            teacher = build(spec, shape, classes)
            row |= {f"{name}_parameters": parameters(teacher), f"{name}_r": flops(teacher, shape) / unit}
    return row
