"""models list | pull | show | rm: what there is, and what of it is on this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Any

import typer

from reverie.cli.feedback import Feedback, note
from reverie.cli.options import Json, Offline
from reverie.hub.catalogue import Entry, catalogue, entry
from reverie.hub.files import in_words
from reverie.types import ReverieError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name that `models list` shows, or hf:owner/name.")]


@app.callback()
def models() -> None:
    """List, pull, show and remove models."""


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """List the models of the catalogue, and whatever else is installed."""
    here = _folders()
    rows = [_row(entry(name), here) for name in dict.fromkeys([*catalogue(), *here])]
    if as_json:
        print(json.dumps(rows))
        return
    header = ["NAME", "INSTALLED", "SIZE", "PARAMETERS", "LICENCE"]
    print("\n".join(table([header, *(_cells(row) for row in rows)])))


@app.command()
def pull(name: Name, offline: Offline = False) -> None:
    """Fetch a model and verify it."""
    from reverie.hub.sources import fetch, find

    wanted = entry(name)
    if find(wanted) is not None:
        note(f"{name} is installed already.")
        return
    with Feedback() as feedback:
        fetch(wanted, offline=offline, progress=feedback.progress)
    note(f"{name} is installed.")


@app.command()
def show(name: Name, as_json: Json = False) -> None:
    """Show all that is known about a model."""
    facts = {**_row(entry(name), _folders()), **_more(entry(name))}
    if as_json:
        print(json.dumps(facts))
        return
    print("\n".join(table([[key, _plain(value)] for key, value in facts.items() if value not in (None, "", ())])))


@app.command()
def rm(name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Remove a model from this machine."""
    from reverie.hub.sources import remove

    taken = _folders().get(name)
    if taken is not None and not yes:
        typer.confirm(f"Remove {name} ({in_words(taken)})?", abort=True, err=True)
    note(f"Removed {name}: {in_words(remove(name))} are free again.")


def _folders() -> dict[str, int]:
    """Name -> bytes on disk, whole or not. A folder with a name that no model can have is not one."""
    from reverie.hub.sources import installed

    return {m.name: m.size_bytes for m in installed() if m.name in catalogue() or m.name.startswith("hf:")}


def _is_whole(found: Entry) -> bool:
    """Whether a model is there as `fetch` leaves it; one that is broken is fetched again."""
    from reverie.hub.sources import find

    with suppress(ReverieError):  # a link that leads out of the folder
        return find(found) is not None
    return False


def _row(found: Entry, here: dict[str, int]) -> dict[str, Any]:
    installed = _is_whole(found)
    return {
        "name": found.name,
        "installed": installed,
        "size_bytes": here.get(found.name, found.about_bytes) if installed else found.about_bytes,
        "parameters": found.parameters,
        "licence": found.licence,
        "default": found.default,
        "gated": found.gated,
        "notes": found.notes,
    }


def _cells(row: dict[str, Any]) -> list[str]:
    installed = "yes" if row["installed"] else "-"
    size = in_words(row["size_bytes"]) if row["size_bytes"] else "?"
    parameters = f"{row['parameters'] / 1e6:,.0f} M" if row["parameters"] else "?"
    return [row["name"], installed, size, parameters, row["licence"]]


def _more(found: Entry) -> dict[str, Any]:
    """The rest of a catalogue entry, and where the model is."""
    from reverie.hub.paths import model_path

    folder = model_path(found.name)
    rest = {key: value for key, value in asdict(found).items() if key not in {"size_bytes", "bytes_per_parameter"}}
    return {**rest, "folder": str(folder) if folder.exists() else None}


def _plain(value: Any) -> str:
    """A fact as a person writes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):  # files
        return ", ".join(part["file"] for part in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
