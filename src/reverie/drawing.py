"""Drawings: pictures with the record of how they were made, and the replay that shows whether the record is true."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from reverie import media, records
from reverie.hub.paths import shown_name
from reverie.media import Picture
from reverie.types import ImageRequest, ReverieError, Step

if TYPE_CHECKING:
    from reverie.engine import Generation, Model

RECORD_VERSION = 1
MOST_PICTURES = 64  # side by side
SETTINGS = ("seed", "steps", "guidance", "sampler", "negative", "size_px", "strength")  # of a request, as recorded


@dataclass(frozen=True)
class Drawn:
    """A finished picture, uint8 (H, W, 3), and the record of how it was made."""

    picture: Picture
    record: Mapping[str, Any]

    @property
    def png(self) -> bytes:
        """The file: picture, record, and the mark that an AI made it."""
        return media.to_png(self.picture, self.record)


def draw(
    model: Model, prompt: str, watch: Callable[[Step], None] | None = None, *, count: int = 1, **settings: Any
) -> Drawn:
    """Draws a picture, or `count` of them side by side, with seeds one after the other.

    settings: fields of `ImageRequest`. watch: is told of every step.
    """
    need_drawing(model)
    first = model.generate(prompt, **settings)
    request: ImageRequest = first.request
    pictures = [_finished(model, first, watch)]
    for number in range(1, count):
        settings["seed"] = request.seed + number
        pictures.append(_finished(model, model.generate(prompt, **settings), watch))
    picture = pictures[0] if count == 1 else media.grid(pictures)
    return Drawn(picture, {**record(model, request), "count": count})


def _finished(model: Model, generation: Generation, watch: Callable[[Step], None] | None) -> Picture:
    for step in generation:
        if watch is not None:
            watch(step)
        last = step
    finished: Picture = model.medium.picture(last.guess, generation.request)
    return finished


def need_drawing(model: Model) -> None:
    """A `ReverieError` unless the model draws."""
    if not issubclass(model.medium.request, ImageRequest):
        raise ReverieError(f"{model.name} makes {model.medium.name}: choose a model that draws with -m.")


def record(model: Model, request: ImageRequest) -> dict[str, Any]:
    """How a picture is made, as JSON values: everything a replay needs but the pictures it began from."""
    return {
        "reverie": RECORD_VERSION,
        "software": f"Reverie {metadata.version('reverie')} ({shown_name(model.name)})",
        "prompt": request.prompt,
        **{name: getattr(request, name) for name in SETTINGS},
        "size_px": model.medium.size_px if request.size_px is None else request.size_px,
        "init": fingerprint(request.init),
        "mask": fingerprint(request.mask),
        "model": {"name": shown_name(model.name), **model.checkpoint.sha256s()},
        "made_with": records.circumstances(model),
    }


def fingerprint(picture: np.ndarray | None) -> str | None:
    """The SHA-256 of a picture's pixels and shape."""
    if picture is None:
        return None
    return hashlib.sha256(f"{picture.shape}".encode() + np.ascontiguousarray(picture).tobytes()).hexdigest()


def settings_of(record: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The prompt and the settings that a record tells of; whatever is missing or strange is a `ReverieError`."""
    if record.get("reverie") != RECORD_VERSION:
        raise ReverieError("The file's record is of another kind: give a PNG that this version of Reverie can read.")
    missing = [name for name in ("prompt", *SETTINGS) if name not in record]
    if missing:
        raise ReverieError(f"The file's record lacks {missing[0]!r}: give a PNG as Reverie wrote it.")
    settings = {name: record[name] for name in SETTINGS}
    return ImageRequest(record["prompt"], **settings).prompt, settings


def count_of(record: Mapping[str, Any]) -> int:
    """How many pictures stand side by side."""
    count = record.get("count", 1)
    if type(count) is not int or not 1 <= count <= MOST_PICTURES:
        raise ReverieError(f"The file's record tells of {count!r:.80} pictures: give a PNG as Reverie wrote it.")
    return count


def check_beginning(record: Mapping[str, Any], init: Picture | None, mask: np.ndarray | None) -> None:
    """A `ReverieError` unless these are the pictures, or none, that the record says a drawing began from."""
    for name, given in (("init", init), ("mask", mask)):
        told = record.get(name)
        if told is None and given is not None:
            raise ReverieError(f"The file was made without a picture of that kind: leave out --{name}.")
        if told != fingerprint(given):
            raise ReverieError(f"The file was made from a picture that it does not hold: give that one with --{name}.")


@dataclass(frozen=True)
class Verdict:
    """What a replay showed. same_bytes: of the file; same_pixels: of the picture.

    differences: sentences without a full stop, on what is not as it was when the picture was made.
    """

    same_bytes: bool
    same_pixels: bool
    differences: tuple[str, ...]

    @property
    def summary(self) -> str:
        """The verdict in a sentence, without a full stop."""
        if self.same_bytes:
            return "verified, the same to the last byte"
        if self.same_pixels:
            return "the same pixels, but the file was written by other means or its texts were changed"
        if self.differences[:-1]:
            return "not the same picture; it was made under other circumstances, or edited"
        return "not the same picture: its pixels or its record were edited"


def verify(data: bytes, model: Model, init: Picture | None = None, mask: np.ndarray | None = None) -> Verdict:
    """Draws the picture in the PNG `data` again, from its own record, and compares.

    init, mask: what it began from, if it did; a `ReverieError` if they are not those of the record.
    """
    told = media.read_record(data)
    prompt, settings = settings_of(told)
    check_beginning(told, init, mask)
    with records.threads_of(told):
        again = draw(model, prompt, count=count_of(told), **settings, init=init, mask=mask)
    shown = media.read_picture(data)
    same_pixels = shown.shape == again.picture.shape and bool((shown == again.picture).all())
    same_bytes = media.to_png(again.picture, told) == data
    differences = [*records.changes(told, again.record), *_pixels(shown, again.picture)]
    return Verdict(same_bytes, same_pixels, tuple(differences))


def _pixels(shown: Picture, again: Picture) -> list[str]:
    if shown.shape != again.shape:
        return [f"the picture is {_size(shown)} and is drawn as {_size(again)}"]
    far = np.abs(shown.astype(int) - again.astype(int)).max(axis=2)  # (H, W)
    if not far.any():
        return []
    return [f"{np.count_nonzero(far):,} of {far.size:,} pixels differ, by up to {far.max()} of 255"]


def _size(picture: Picture) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]} pixels"
