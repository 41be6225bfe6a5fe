"""verify: whether a picture, a clip or a tune is what it says it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reverie.cli.animate import ClipFile, LastFile, begun, ends, load_animator
from reverie.cli.compose import load_composer
from reverie.cli.draw import MaskFile, load_drawing, read
from reverie.cli.feedback import Feedback, note
from reverie.cli.making import ImageFile
from reverie.cli.options import Offline, read_bytes

if TYPE_CHECKING:
    from reverie.moving import Clip
    from reverie.records import Verdict

PNG = b"\x89PNG"


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What Reverie drew, animated or composed.")],
    *,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="The model, if its name in the file is not enough.")
    ] = None,
    init: ImageFile = None,
    mask: MaskFile = None,
    last: LastFile = None,
    extend: ClipFile = None,
    offline: Offline = False,
) -> None:
    """Make a picture, a clip or a tune again from its own record, and compare every byte."""
    data = read_bytes(file)
    from reverie import animating

    if animating.is_clip(data):
        verdict = _clip(data, model, ends(init, last), extend, offline)
    elif data.startswith(PNG):
        verdict = _picture(data, model, init, mask, offline)
    else:
        verdict = _tune(data, file.suffix, model, offline)
    for difference in verdict.differences:
        note(f"- {difference}")
    print(f"{file}: {verdict.summary}")
    if not verdict.same_bytes:
        raise typer.Exit(1)


def _picture(data: bytes, model: str | None, init: Path | None, mask: Path | None, offline: bool) -> Verdict:
    beginning = {name: read(name, path) for name, path in (("init", init), ("mask", mask)) if path is not None}
    from reverie import drawing, records
    from reverie.media import read_record

    record = read_record(data)
    prompt, settings = drawing.settings_of(record)
    records.check_given(record, init=beginning.get("init"), mask=beginning.get("mask"))
    with Feedback() as feedback:
        loaded = load_drawing(records.model_of(record) if model is None else model, offline, feedback)
        feedback.status("Drawing it again")
        verdict = drawing.verify(data, loaded, **beginning)
    note(f'"{prompt}", seed {settings["seed"]}')
    return verdict


def _clip(data: bytes, model: str | None, given: dict[str, Clip], extend: Path | None, offline: bool) -> Verdict:
    from reverie import animating, records

    record = animating.read_record(data)
    prompt, settings = animating.settings_of(record)
    if extend is not None:
        given["extend"], _ = begun(extend, settings["size_px"], settings["fps"])
    records.check_given(record, begin=given.get("begin"), end=given.get("end"), extend=given.get("extend"))
    with Feedback() as feedback:
        loaded = load_animator(records.model_of(record) if model is None else model, offline, feedback)
        feedback.status("Animating it again")
        verdict = animating.verify(data, loaded, **given)
    note(f'"{prompt}", seed {settings["seed"]}')
    return verdict


def _tune(data: bytes, suffix: str, model: str | None, offline: bool) -> Verdict:
    from reverie import composing, records

    record = composing.read_record(data)
    prompt, settings = composing.asked(record)
    with Feedback() as feedback:
        loaded = load_composer(records.model_of(record) if model is None else model, offline, feedback)
        feedback.status("Composing it again")
        verdict = composing.verify(data, suffix, loaded)
    note(f'"{prompt}", seed {settings["seed"]}')
    return verdict
