"""`temper verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import AsJson, Data, Device, Files, Leaderboards, pick_device, print_json, use_files
from bench.words import counted

if TYPE_CHECKING:
    from bench.verification import Findings


def verify(
    path: Annotated[
        Path | None, typer.Argument(help="A record, a folder of records. Default: all.", show_default=False)
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="Also compare with a release, by its manifest.json.", show_default=False)
    ] = None,
    signers: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="With --manifest: who may sign a release, as ssh-keygen's allowed signers. It must be signed then.",
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="REF",
            help="Also compare with an earlier commit; `auto`: where this branch left origin/main, or the one before.",
            show_default=False,
        ),
    ] = None,
    reevaluate: Annotated[
        int,
        typer.Option(metavar="N", min=0, help="Also evaluate the stored weights of N records, drawn at random."),
    ] = 0,
    seed: Annotated[
        int | None, typer.Option(min=0, help="With --reevaluate: the seed of an earlier draw.", show_default=False)
    ] = None,
    scenario: Annotated[
        Path | None, typer.Option(help="With --reevaluate: the file of a scenario of your own.", show_default=False)
    ] = None,
    file: Files = None,
    data: Data = None,
    device: Device = "auto",
    json: AsJson = False,
    leaderboards: Leaderboards = None,
) -> None:
    """Check records: recompute accuracies, compare hashes and counts. Exit code 1 when a check fails."""
    from bench.checkpoint_checks import verify_checkpoints
    from bench.errors import TemperError
    from bench.history import against as compare_with_commit
    from bench.manifest import compare as compare_with_release
    from bench.records import local_leaderboards
    from bench.signature import signature_findings
    from bench.verification import ATTESTED, Findings, verify_records

    use_files(file)
    if signers and not manifest:
        raise TemperError("--signers goes with --manifest: releases are signed, not single records")
    root = path or local_leaderboards(leaderboards)
    if not root.exists():
        raise TemperError(f"nothing found at {root}")
    root = root.parent if root.is_file() else root
    folders, problems = verify_records(root)
    checkpoints, wrong = verify_checkpoints(root)
    found = Findings(problems + wrong)
    if manifest:
        found += compare_with_release(manifest, root)
        found += signature_findings(manifest, signers)
    if against:
        found += compare_with_commit(root, against)
    if reevaluate:
        found += _reevaluate(folders, reevaluate, seed, scenario, data, device)
    if json:
        counts = {"records": len(folders), "checkpoints": len(checkpoints), "attested": ATTESTED}
        print_json(counts | {"problems": found.problems, "told": found.told})
    else:
        for line in found.told + found.problems:
            print(_printable(line))
        found_here = f"{counted(len(folders), 'record')}, "
        found_here += f"{counted(len(checkpoints), 'checkpoint')}, " if checkpoints else ""
        print(f"{found_here}{counted(len(found.problems), 'problem')}; not recomputed: {ATTESTED}")
    if found.problems or not (folders or checkpoints):
        raise typer.Exit(1)


def _printable(line: str) -> str:
    """A line without what could move the cursor or is no character at all: names and reasons are others' words."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def _reevaluate(
    folders: list[Path], count: int, seed: int | None, scenario: Path | None, data: Path | None, device: str
) -> Findings:
    """The verdicts on some records, with a bar on standard error meanwhile."""
    import secrets

    from rich.console import Console
    from rich.progress import Progress

    from bench.execution.train import make_deterministic
    from bench.reevaluation import reevaluate
    from bench.scenario import load_scenario

    make_deterministic()
    own = load_scenario(scenario) if scenario else None
    with Progress(console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("judging again", total=min(count, len(folders)))
        return reevaluate(
            folders,
            count,
            seed=secrets.randbelow(10**6) if seed is None else seed,
            scenario=own,
            data=data,
            device=pick_device(device),
            report=lambda number, done: bars.update(bar, completed=number + done),
        )
