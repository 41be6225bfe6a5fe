"""verify: whether a picture, a clip or a tune is what it says it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reverie.cli.animate import ClipFile, LastFile, begun, ends, load_animator
from reverie.cli.compose import load_composer
from reverie.cli.draw import MaskFile, load_drawing, read
from reverie.cli.feedback import Feedback, note, note_made
from reverie.cli.making import ImageFile
from reverie.cli.options import Offline, read_as
from reverie.types import ReverieError

if TYPE_CHECKING:
    import numpy as np

    from reverie.moving import Clip
    from reverie.records import Verdict

PNG = b"\x89PNG"
MADE_WITH = {"clip": ("--init", "--last", "--extend"), "picture": ("--init", "--mask"), "tune": ()}  # beside words


@dataclass(frozen=True)
class Recorded:
    """A file's bytes, what is in it (one of `MADE_WITH`), and what it says of how that was made."""

    data: bytes
    kind: str
    record: Mapping[str, Any]
    prompt: str
    settings: Mapping[str, Any]


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
    made = read_as(file, _read)
    _check_options(made.kind, {"--init": init, "--mask": mask, "--last": last, "--extend": extend})
    if made.kind == "clip":
        verdict = _clip(made, model, ends(init, last), extend, offline)
    elif made.kind == "picture":
        verdict = _picture(made, model, init, mask, offline)
    else:
        verdict = _tune(made, model, offline)
    note_made(made.prompt, made.settings["seed"])
    for difference in verdict.differences:
        note(f"- {difference}")
    print(f"{file}: {verdict.summary}")
    if not verdict.same_bytes:
        raise typer.Exit(1)


def _read(data: bytes) -> Recorded:
    """What a file says of itself; a `ReverieError` if it says nothing."""
    kind = _kind(data)
    if kind == "clip":
        from reverie import animating

        record = animating.read_record(data)
        return Recorded(data, kind, record, *animating.settings_of(record))
    if kind == "picture":
        from reverie import drawing
        from reverie.media import read_record

        record = read_record(data)
        return Recorded(data, kind, record, *drawing.settings_of(record))
    from reverie import composing

    record = composing.read_record(data)
    return Recorded(data, kind, record, *composing.asked(record))


def _kind(data: bytes) -> str:
    """What is in a file: one of `MADE_WITH`."""
    from reverie import animating

    try:
        is_clip = animating.is_clip(data)
    except ReverieError as error:
        raise ReverieError(f"{error} A score does not tell: give the sound, .abc or .mid of the tune.") from error
    return "clip" if is_clip else "picture" if data.startswith(PNG) else "tune"


def _check_options(kind: str, files: Mapping[str, Path | None]) -> None:
    """A usage error for what nothing of this kind is made with."""
    for option, file in files.items():
        if file is not None and option not in MADE_WITH[kind]:
            raise typer.BadParameter(f"leave it out: the file is a {kind}", param_hint=option)


def _maker(record: Mapping[str, Any], model: str | None, **given: np.ndarray | None) -> str:
    """The name of the model, once nothing is wanting; a `ReverieError` that says all that is."""
    from reverie import records

    wanting, name = [], model
    try:
        records.check_given(record, **given)
    except ReverieError as error:
        wanting.append(str(error))
    try:
        name = records.model_of(record) if model is None else model
    except ReverieError as error:
        wanting.append(str(error))
    if wanting or name is None:
        raise ReverieError(" ".join(wanting))
    return name


def _picture(made: Recorded, model: str | None, init: Path | None, mask: Path | None, offline: bool) -> Verdict:
    beginning = {name: read(name, path) for name, path in (("init", init), ("mask", mask)) if path is not None}
    from reverie import drawing

    name = _maker(made.record, model, init=beginning.get("init"), mask=beginning.get("mask"))
    with Feedback() as feedback:
        loaded = load_drawing(name, offline, feedback)
        feedback.status("Drawing it again")
        return drawing.verify(made.data, loaded, **beginning)


def _clip(made: Recorded, model: str | None, given: dict[str, Clip], extend: Path | None, offline: bool) -> Verdict:
    from reverie import animating

    if extend is not None:
        given["extend"], _ = begun(extend, made.settings["size_px"], made.settings["fps"])
    name = _maker(made.record, model, **{each: given.get(each) for each in ("begin", "end", "extend")})
    with Feedback() as feedback:
        loaded = load_animator(name, offline, feedback)
        feedback.status("Animating it again")
        return animating.verify(made.data, loaded, **given)


def _tune(made: Recorded, model: str | None, offline: bool) -> Verdict:
    from reverie import composing

    with Feedback() as feedback:
        loaded = load_composer(_maker(made.record, model), offline, feedback)
        feedback.status("Composing it again")
        return composing.verify(made.data, loaded)
