"""verify: whether a picture or a tune is what it says it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reverie.cli.compose import load_composer
from reverie.cli.draw import ImageFile, MaskFile, load_drawing, read
from reverie.cli.feedback import Feedback, note
from reverie.cli.options import Offline, read_bytes

PNG = b"\x89PNG"


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What Reverie drew (.png) or composed.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="The model, if its name in the file is not enough.")
    ] = None,
    init: ImageFile = None,
    mask: MaskFile = None,
    offline: Offline = False,
) -> None:
    """Make a picture or a tune again from its own record, and compare every byte."""
    data = read_bytes(file)
    if data.startswith(PNG):
        summary, differences, same = _picture(data, model, init, mask, offline)
    else:
        summary, differences, same = _tune(data, file.suffix, model, offline)
    for difference in differences:
        note(f"- {difference}")
    print(f"{file}: {summary}")
    if not same:
        raise typer.Exit(1)


Verdict = tuple[str, tuple[str, ...], bool]  # summary, differences, whether all bytes are the same


def _picture(data: bytes, model: str | None, init: Path | None, mask: Path | None, offline: bool) -> Verdict:
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
    return verdict.summary, verdict.differences, verdict.same_bytes


def _tune(data: bytes, suffix: str, model: str | None, offline: bool) -> Verdict:
    from reverie import composing, records

    record = composing.read_record(data)
    prompt, settings = composing.asked(record)
    with Feedback() as feedback:
        loaded = load_composer(records.model_of(record) if model is None else model, offline, feedback)
        feedback.status("Composing it again")
        verdict = composing.verify(data, suffix, loaded)
    note(f'"{prompt}", seed {settings["seed"]}')
    return verdict.summary, verdict.differences, verdict.same_bytes
