"""`temper submit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import AsJson, Data, Device, Files, Leaderboards, console, pick_device, print_json, use_files
from bench.words import counted

if TYPE_CHECKING:
    from bench.submission.entry import Entry
    from bench.submission.landing import Landing

NEXT = """To open the pull request:
  cp {file} methods/    and write its second formula into tests/methods (see CONTRIBUTING.md)
  python scripts/tables.py
  git add methods leaderboards docs && git commit
  temper verify --against auto
A maintainer runs this command again, and that run counts: it draws a confirming seed of its own (docs/submit.md)."""


def submit(
    method: Annotated[str, typer.Argument(metavar="FILE|NAME", help="A method file, or an installed method.")],
    scenario: Annotated[str, typer.Option("--scenario", "-s", help="Name of a scenario, or path of a TOML file.")],
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check, train on a tenth of the budget, evaluate a few images; record nothing."),
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Trials at a time; each takes one thread.")] = 1,
    file: Files = None,
    data: Data = None,
    device: Device = "auto",
    leaderboards: Leaderboards = None,
    json: AsJson = False,
) -> None:
    """Run the whole protocol for a new method: check, train, confirm, evaluate, audit, record.

    The method runs in a sandbox (bubblewrap) without network, sees the training split alone, and hands back tensors.
    Exit code 1 when it is refused, with the reason.
    """
    from bench.errors import Refused
    from bench.records import local_leaderboards
    from bench.scenario import load_scenario
    from bench.submission.entry import Entry
    from bench.submission.landing import landing

    use_files(file)
    where = local_leaderboards(leaderboards)
    say = (lambda text: None) if json else print
    try:
        entry = Entry.freeze(method, load_scenario(scenario).with_data(data), where, pick_device(device))
        info = entry.info
        say(f"1. {info.name} {info.version} by {info.authors}, {info.licence}; SHA-256 {entry.read.sha256}")
        entry, passed = entry.checked()
        say(f"2. The conformance suite passes in the sandbox: {', '.join(each.replace('_', ' ') for each in passed)}.")
        if dry_run:
            _show_rehearsal(entry, json)
            entry.forget()
            return
        seeds = counted(entry.scenario.seeds, "seed")
        say(f"3. {seeds} and one drawn now are trained in sandboxes and evaluated outside:")
        entry.run(where, jobs)
    except Refused as refusal:
        if json:
            print_json({"refused": str(refusal)})
        else:
            print(f"Refused: {refusal}")
        raise typer.Exit(1) from None
    found = landing(entry.scenario, entry.trials()[0], where)
    entry.forget()
    _show(found, method, json)


def _show_rehearsal(entry: Entry, json: bool) -> None:
    seen = entry.rehearse()
    if json:
        print_json(seen.model_dump())
        return
    print(
        f"3. A tenth of the budget on seed 0: {100 * seen.validation:.1f} % robust on validation under PGD;"
        f" of {seen.images} of its images AutoAttack leaves {100 * seen.robust:.1f} %."
    )
    students = entry.scenario.seeds + 1
    print(f"Nothing was recorded. Without --dry-run, {students} students train on the full budget and are evaluated.")


def _show(found: Landing, method: str, json: bool) -> None:
    from bench.ranking.render import to_json, to_table

    if json:
        print(to_json(found.rows.iloc[[found.place]]), end="")
        return
    console().print(to_table(found.rows))
    row = found.rows.iloc[found.place]
    print(f"{row['method']}: {100 * row['robust']:.1f} % robust, {row['status']}. {found.confirming}")
    print(NEXT.format(file=Path(method).name if Path(method).is_file() else "its file"))
