"""`temper`: all commands, and what becomes of their errors.

Exit codes: 0 fine, 1 a check did not hold, 2 a mistake of the caller, 130 interrupted. Results go to standard output,
progress and errors to standard error. Heavy imports wait inside the commands, so that `temper --help` is quick.
"""

from __future__ import annotations

import sys

import typer

from bench.cli import (
    convert,
    dashboard,
    doctor,
    evaluate,
    inspect,
    leaderboard,
    regress,
    retract,
    submit,
    teacher,
    tune,
    verify,
)
from bench.cli import run as running
from bench.errors import TemperError

app = typer.Typer(
    name="temper",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="The benchmark of [bold]robust knowledge distillation[/]: same teacher, same student, same compute, "
    "judged by AutoAttack.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(running.run)
app.command("submit")(submit.submit)
app.command("tune")(tune.tune)
app.command("evaluate")(evaluate.evaluate)
app.command("convert")(convert.convert)
app.command("leaderboard")(leaderboard.leaderboard)
app.command("verify")(verify.verify)
app.command("regress")(regress.regress)
app.command("reproduce")(regress.reproduce)
app.command("retract")(retract.retract)
app.command("supersede")(retract.supersede)
app.command("methods")(inspect.methods)
app.command("scenarios")(inspect.scenarios)
app.add_typer(teacher.app, name="teacher")
app.command("dashboard")(dashboard.dashboard)
app.command("export-site")(dashboard.export_site)
app.command("doctor")(doctor.doctor)


def run() -> None:
    """The entry point: a mistake of the user's is one line and exit code 2. (Typer itself ends Ctrl-C with 130.)"""
    try:
        app()
    except TemperError as error:
        print(f"temper: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)


if __name__ == "__main__":
    run()
