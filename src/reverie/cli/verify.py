"""verify: whether a picture is what it says it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reverie.cli.draw import ImageFile, MaskFile, load_drawing, read
from reverie.cli.feedback import Feedback, note
from reverie.cli.options import Offline, read_bytes


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A PNG that Reverie drew.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="The model, if its name in the file is not enough.")
    ] = None,
    init: ImageFile = None,
    mask: MaskFile = None,
    offline: Offline = False,
) -> None:
    """Draw a picture again from its own record, and compare every byte."""
    data = read_bytes(file)
    beginning = {name: read(name, path) for name, path in (("init", init), ("mask", mask)) if path is not None}
    from reverie import drawing, records
    from reverie.media import read_record

    record = read_record(data)
    prompt, settings = drawing.settings_of(record)
    drawing.check_beginning(record, beginning.get("init"), beginning.get("mask"))
    with Feedback() as feedback:
        loaded = load_drawing(records.model_of(record) if model is None else model, offline, feedback)
        feedback.status("Drawing it again")
        verdict = drawing.verify(data, loaded, **beginning)
    note(f'"{prompt}", seed {settings["seed"]}')
    for difference in verdict.differences:
        note(f"- {difference}")
    print(f"{file}: {verdict.summary}")
    if not verdict.same_bytes:
        raise typer.Exit(1)
