"""`temper dashboard`: open the web page."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Annotated

import typer

from bench.cli.options import Leaderboards


def dashboard(
    port: Annotated[int, typer.Option(help="Port to serve on.")] = 8501,
    headless: Annotated[bool, typer.Option(help="Do not open a browser.")] = False,
    leaderboards: Leaderboards = None,
) -> None:
    """Open the leaderboard in a browser, served from this machine."""
    from bench.dashboard.palette import ACCENT
    from bench.files import SHIPPED
    from bench.records import local_leaderboards

    command = [
        sys.executable,
        "-m",
        "bench.dashboard.serve",
        "run",
        str(SHIPPED / "app.py"),
        "--server.port",
        str(port),
    ]
    command += ["--server.headless", str(headless).lower(), "--server.address", "localhost"]
    command += ["--server.fileWatcherType", "none", "--browser.gatherUsageStats", "false"]
    command += ["--client.toolbarMode", "viewer", "--theme.primaryColor", ACCENT, "--theme.baseRadius", "small"]
    environment = os.environ | {"TEMPER_LEADERBOARDS": str(local_leaderboards(leaderboards).resolve())}
    raise typer.Exit(subprocess.call(command, env=environment))
