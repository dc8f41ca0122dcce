"""The command line: what each command is called, what it does, and how its answer is shown."""

from varv.app.cli.parser import main

__all__ = ["main"]
