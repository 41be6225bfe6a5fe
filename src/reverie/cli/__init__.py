"""The command line: `reverie --help`. Results go to stdout, everything else to stderr (simonw/llm's manners)."""

from __future__ import annotations

import sys


def version() -> str:
    """The installed version of Reverie."""
    from importlib import metadata

    return metadata.version("reverie")


def main() -> None:
    """The `reverie` command. `--version` answers before anything else is imported, whatever state the machine is in."""
    if sys.argv[1:] == ["--version"]:
        print(f"reverie {version()}")
        return
    from reverie.cli.app import app

    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]  # not cp1252 in a pipe
    app(prog_name="reverie")
