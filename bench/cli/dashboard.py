"""`temper dashboard` and `temper export-site`: the web page, served or as files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import Leaderboards
from bench.words import counted


def dashboard(
    port: Annotated[int, typer.Option(help="Port to serve on.")] = 8501,
    headless: Annotated[bool, typer.Option(help="Do not open a browser.")] = False,
    leaderboards: Leaderboards = None,
) -> None:
    """Open the leaderboard in a browser, served from this machine."""
    from bench.dashboard.palette import ACCENT, ACCENT_DARK
    from bench.files import SHIPPED
    from bench.records import local_leaderboards

    options = {
        "server.port": port,
        "server.headless": str(headless).lower(),
        "server.address": "localhost",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "viewer",
        "theme.light.primaryColor": ACCENT,
        "theme.dark.primaryColor": ACCENT_DARK,
    }
    command = [sys.executable, "-m", "bench.dashboard.serve", "run", str(SHIPPED / "app.py")]
    command += [f"--{name}={value}" for name, value in options.items()]
    environment = os.environ | {"TEMPER_LEADERBOARDS": str(local_leaderboards(leaderboards).resolve())}
    raise typer.Exit(subprocess.call(command, env=environment))


def export_site(
    folder: Annotated[Path, typer.Argument(help="An empty folder, or one that an earlier export wrote.")],
    leaderboards: Leaderboards = None,
) -> None:
    """Write the dashboard as files, for hosting without a server."""
    from bench.dashboard.site import export

    pages = export(folder, leaderboards)
    print(f"{counted(len(pages), 'page')} in {folder}; open {folder / 'index.html'}")
