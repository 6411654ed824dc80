"""The command line: thin Typer commands over what `bench` offers."""
