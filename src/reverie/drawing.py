"""Drawings: pictures with the record of how they were made, and the replay that shows whether the record is true."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from reverie import media, records
from reverie.media import Picture
from reverie.records import Verdict, fingerprint
from reverie.types import ImageRequest, ReverieError, Step

if TYPE_CHECKING:
    from reverie.engine import Generation, Model

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
    finished: Picture = model.medium.picture(records.last_step(generation, watch).guess, generation.request)
    return finished


def need_drawing(model: Model) -> None:
    """A `ReverieError` unless the model draws."""
    if not issubclass(model.medium.request, ImageRequest):
        raise ReverieError(f"{model.name} makes {model.medium.name}: choose a model that draws with -m.")


def record(model: Model, request: ImageRequest) -> dict[str, Any]:
    """How a picture is made, as JSON values: everything a replay needs but the pictures it began from."""
    return {
        **records.record(model, request, SETTINGS),
        "size_px": model.medium.size_px if request.size_px is None else request.size_px,
        "init": fingerprint(request.init),
        "mask": fingerprint(request.mask),
    }


def settings_of(record: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The prompt and the settings that a record tells of; whatever is missing or strange is a `ReverieError`."""
    prompt, settings = records.told(record, None, SETTINGS, "a PNG")
    return ImageRequest(prompt, **settings).prompt, settings


def count_of(record: Mapping[str, Any]) -> int:
    """How many pictures stand side by side."""
    count = record.get("count", 1)
    if type(count) is not int or not 1 <= count <= MOST_PICTURES:
        raise ReverieError(f"The file's record tells of {count!r:.80} pictures: give a PNG as Reverie wrote it.")
    return count


def verify(data: bytes, model: Model, init: Picture | None = None, mask: np.ndarray | None = None) -> Verdict:
    """Draws the picture in the PNG `data` again, from its own record, and compares.

    init, mask: what it began from, if it did; a `ReverieError` if they are not those of the record.
    """
    told = media.read_record(data)
    prompt, settings = settings_of(told)
    records.check_given(told, init=init, mask=mask)
    with records.threads_of(told):
        again = draw(model, prompt, count=count_of(told), **settings, init=init, mask=mask)
    shown = media.read_picture(data)
    same_pixels = shown.shape == again.picture.shape and bool((shown == again.picture).all())
    same_bytes = media.to_png(again.picture, told) == data
    changes, seen = records.changes(told, again.record), records.unlike(shown, again.picture, "the picture")
    return Verdict(same_bytes, same_pixels, tuple(changes), tuple(seen), thing="the same picture")
