"""Streamlit with the pages loaded before the first reader comes: `python -m bench.dashboard.serve run app.py ...`."""

from __future__ import annotations

import sys
from importlib import import_module

import torch
from streamlit.web import cli

from bench.dashboard.navigation import PLACES
from bench.method import METHODS


def main() -> None:
    """Serve. The small networks of the pages run on one thread: several readers share the machine."""
    torch.set_num_threads(1)
    for name in PLACES:
        import_module(f"bench.dashboard.pages.{name}")
    len(METHODS)  # loads them all
    cli.main(sys.argv[1:], prog_name="streamlit")


if __name__ == "__main__":
    main()
