"""Clips with the record of how they were made, and the replay that shows whether the record is true."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from reverie import media, moving, records
from reverie.moving import Clip
from reverie.records import Verdict, fingerprint
from reverie.types import ReverieError, Step, VideoRequest

if TYPE_CHECKING:
    from reverie.engine import Model

KIND = "clip"  # of a record
SETTINGS = ("seed", "steps", "guidance", "sampler", "negative", "size_px", "frames", "fps", "loop")  # as recorded
CONTEXT = 4  # pictures of a clip that is gone on from, which the model sees
STRIP, PNG = ".png", b"\x89PNG"
SUFFIXES = (*moving.WRITERS, STRIP)


@dataclass(frozen=True)
class Animated:
    """A finished clip, uint8 (F, H, W, 3), and the record of how it was made."""

    clip: Clip
    record: Mapping[str, Any]

    def file(self, suffix: str) -> bytes:
        """The file with this suffix, one of `SUFFIXES`: clip, record, and the mark that an AI made it.

        A PNG is a strip: all frames side by side.
        """
        if suffix.lower() == STRIP:
            return media.to_png(media.grid(list(self.clip), columns=len(self.clip)), self.record)
        return moving.to_file(self.clip, suffix, self.record["fps"], self.record)


def animate(
    model: Model,
    prompt: str,
    watch: Callable[[Step], None] | None = None,
    *,
    extend: Clip | None = None,
    **settings: Any,
) -> Animated:
    """Animates a prompt. settings: fields of `VideoRequest`. watch: is told of every step.

    extend: a clip to go on from. Its last pictures, up to `CONTEXT`, are the first of the `frames`; what comes is that
    clip with the new frames behind it.
    """
    need_animating(model)
    if extend is not None:
        extend = fitted(extend, _size_px(model, settings.get("size_px")))
        settings = _going_on(extend, settings)
    generation = model.generate(prompt, **settings)
    return finished(model, generation.request, records.last_step(generation, watch).guess, extend)


def finished(model: Model, request: VideoRequest, guess: Any, extend: Clip | None = None) -> Animated:
    """The clip of a generation that has come to its end. extend: the clip it goes on from, of the same size."""
    clip: Clip = model.medium.clip(guess, request)
    if extend is not None:
        clip = np.concatenate((extend[:-CONTEXT], clip))
    return Animated(clip, record(model, request, extend))


def record(model: Model, request: VideoRequest, extend: Clip | None = None) -> dict[str, Any]:
    """How a clip is made, as JSON values: everything a replay needs but the pictures it was made from."""
    return {
        **records.record(model, request, SETTINGS, (*records.PACKAGES, "av")),
        "kind": KIND,
        "size_px": _size_px(model, request.size_px),
        "begin": fingerprint(request.begin if extend is None else None),  # of what is extended, they are a part
        "end": fingerprint(request.end),
        "extend": fingerprint(extend),
    }


def need_animating(model: Model) -> None:
    """A `ReverieError` unless the model animates."""
    if not issubclass(model.medium.request, VideoRequest):
        raise ReverieError(f"{model.name} makes {model.medium.name}: choose a model that animates with -m.")


def fitted(clip: Clip, size_px: int) -> Clip:
    """The middle square of each frame, so large."""
    return np.stack([media.fit(picture, size_px) for picture in clip])


def _size_px(model: Model, size_px: int | None) -> int:
    return int(model.medium.size_px) if size_px is None else size_px


def _going_on(extend: Clip, settings: Mapping[str, Any]) -> dict[str, Any]:
    if settings.get("begin") is not None:
        raise ReverieError("A clip that goes on from another begins with that one's pictures: give no others.")
    return {**settings, "begin": extend[-CONTEXT:]}


# --- replays ---


def is_clip(data: bytes) -> bool:
    """Whether a file is of a kind that clips are kept in; a PNG, if its record says so."""
    if data.startswith(PNG):
        return media.read_record(data).get("kind") == KIND
    return data[4:8] == b"ftyp" or data[:4] == b"GIF8" or data[8:12] == b"WEBP"


def read_record(data: bytes) -> dict[str, Any]:
    """How the clip in a file was made; a `ReverieError` if it does not tell."""
    return media.read_record(data) if data.startswith(PNG) else moving.read_record(data)


def settings_of(record: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The prompt and the settings that a record tells of; whatever is missing or strange is a `ReverieError`."""
    prompt, settings = records.told(record, KIND, SETTINGS, "a clip")
    return VideoRequest(prompt, **settings).prompt, settings


def verify(
    data: bytes, model: Model, begin: Clip | None = None, end: Clip | None = None, extend: Clip | None = None
) -> Verdict:
    """Makes the clip in the file `data` again, from its own record, and compares.

    begin, end, extend: what it was made from, if it was; a `ReverieError` if they are not those of the record.
    """
    told = read_record(data)
    prompt, settings = settings_of(told)
    extend = None if extend is None else fitted(extend, _size_px(model, settings["size_px"]))
    records.check_given(told, begin=begin, end=end, extend=extend)
    with records.threads_of(told):
        again = animate(model, prompt, begin=begin, end=end, extend=extend, **settings)
    file = replace(again, record=told).file(STRIP if data.startswith(PNG) else moving.suffix_of(data))
    shown, expected = _seen(data), _seen(file)
    same_pixels = shown.shape == expected.shape and bool((shown == expected).all())
    changes, seen = records.changes(told, again.record), records.unlike(shown, expected, "the clip")
    return Verdict(file == data, same_pixels, tuple(changes), tuple(seen), thing="the same clip")


def _seen(data: bytes) -> np.ndarray:
    """The pixels of a file, as it shows them."""
    return media.read_picture(data) if data.startswith(PNG) else moving.read_clip(data)[0]
