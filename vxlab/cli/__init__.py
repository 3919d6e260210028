"""The command line: one command a module, and what they share."""

from vxlab.cli.commands import main

__all__ = ["main"]
