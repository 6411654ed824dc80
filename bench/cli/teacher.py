"""`temper teacher`: list, train, check, judge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bench.cli.options import AsJson, Data, Device, Files, pick_device, print_json, print_rows, use_files

app = typer.Typer(no_args_is_help=True, help="The teachers of a scenario: list, train, check, judge.")
ScenarioName = Annotated[str, typer.Argument(help="Name or path of a scenario.", show_default=False)]
TeacherName = Annotated[
    str | None, typer.Option("--name", help="One of its teachers. Default: all.", show_default=False)
]


@app.command("list")
def list_teachers(
    scenario: Annotated[str | None, typer.Argument(help="Default: all scenarios.", show_default=False)] = None,
    file: Files = None,
    json: AsJson = False,
) -> None:
    """List teachers, whether their weights are here, and their accuracies."""
    from bench.scenario import load_scenario, shipped_scenarios

    use_files(file)
    rows = []
    for name in [scenario] if scenario else shipped_scenarios():
        loaded = load_scenario(name)
        rows += [_row(loaded, teacher) for teacher in loaded.teachers]
    if json:
        print_json(rows)
    else:
        print_rows(rows, ["scenario", "teacher", "network", "here", "clean", "robust", "recipe"], "Teachers")


@app.command()
def train(
    scenario: ScenarioName,
    name: TeacherName = None,
    into: Annotated[Path | None, typer.Option(help="Folder. Default: the user's cache.", show_default=False)] = None,
    file: Files = None,
    data: Data = None,
    device: Device = "auto",
) -> None:
    """Train teachers by their recipes and evaluate them; interrupted runs continue."""
    from bench.scenario import load_scenario
    from bench.teachers.making import train_teacher

    use_files(file)
    loaded = load_scenario(scenario).with_data(data)
    for each in [name] if name else loaded.teachers:
        card = train_teacher(loaded, each, into, pick_device(device))
        verdict = card.evaluation
        print(f"{each}: clean {100 * verdict.clean:.2f} %, robust {100 * verdict.robust:.2f} %, SHA-256 {card.sha256}")


@app.command()
def check(
    scenario: ScenarioName,
    name: TeacherName = None,
    file: Files = None,
    data: Data = None,
    device: Device = "auto",
    json: AsJson = False,
) -> None:
    """Evaluate teachers again and compare with their cards. Exit code 1 for a difference of over a point."""
    from bench.scenario import load_scenario
    from bench.teachers.making import check_teacher

    use_files(file)
    loaded = load_scenario(scenario).with_data(data)
    rows, good = [], True
    for each in [name] if name else loaded.teachers:
        card, measured = check_teacher(loaded, each, pick_device(device))
        same = card.evaluation.outcomes == measured.outcomes
        good &= same or abs(card.evaluation.robust - measured.robust) <= 0.01
        rows.append({"teacher": each, "card": card.evaluation.robust, "measured": measured.robust, "identical": same})
        if not json:
            words = "identical outcomes" if same else "outcomes differ"
            print(f"{each}: robust {100 * measured.robust:.2f} % (card: {100 * card.evaluation.robust:.2f} %), {words}")
    if json:
        print_json(rows)
    if not good:
        raise typer.Exit(1)


@app.command()
def judge(
    scenario: ScenarioName,
    name: TeacherName = None,
    file: Files = None,
    data: Data = None,
    device: Device = "auto",
) -> None:
    """Evaluate teachers with the current protocol and update their cards."""
    from bench.scenario import load_scenario
    from bench.teachers.making import judge_teacher

    use_files(file)
    loaded = load_scenario(scenario).with_data(data)
    for each in [name] if name else loaded.teachers:
        verdict = judge_teacher(loaded, each, pick_device(device)).evaluation
        print(f"{each}: clean {100 * verdict.clean:.2f} %, robust {100 * verdict.robust:.2f} %")


def _row(scenario: Any, name: str) -> dict[str, Any]:
    from bench.errors import TemperError
    from bench.teachers.making import read_card

    spec = scenario.teachers[name]
    row = {
        "scenario": scenario.name,
        "teacher": name,
        "network": spec.network,
        "recipe": spec.recipe.in_words() if spec.recipe else spec.zoo,
        "sha256": spec.sha256,
    }
    try:
        verdict = read_card(scenario, name).evaluation
    except TemperError:
        return row | {"here": "no", "clean": "-", "robust": "-"}
    return row | {"here": "yes", "clean": f"{100 * verdict.clean:.1f} %", "robust": f"{100 * verdict.robust:.1f} %"}
