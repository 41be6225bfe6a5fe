"""Clips on the server: what is asked for one, the strips of its frames while it is made, its files on demand.

A strip is all frames side by side in one picture: a page shows any of them without asking again.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from reverie import animating, media, moving
from reverie.animating import CONTEXT, Animated
from reverie.hub.paths import shown_name
from reverie.moving import Clip
from reverie.serve import stream
from reverie.serve.errors import Refused, not_found
from reverie.types import BOUNDS, Artifact, ReverieError, VideoRequest

if TYPE_CHECKING:
    from reverie.engine import Model
    from reverie.serve.store import Store

FRAME_PX = 128  # the most of a frame that is shown while it is made
MOST_STRIP_PX = 16_383  # a WebP cannot be wider
MOST_FRAMES = int(BOUNDS["frames"][1])
MEDIA_TYPES = {"mp4": "video/mp4", "gif": "image/gif", "webp": "image/webp", "png": "image/png"}
OTHERS = ("init", "last", "extend")  # settings that a model takes as its first and last frames


def animates(kind: type) -> bool:
    """Whether models that are asked for a `kind` make clips."""
    return issubclass(kind, VideoRequest)


# --- what is asked ---


def asked(prompt: Any, given: Mapping[str, Any], kept: Callable[[str], bytes]) -> tuple[dict[str, Any], Clip | None]:
    """The settings as the model takes them, and the clip that is gone on from; what cannot be is a `ReverieError`.

    kept: id -> the film of a clip in the gallery. Its frames are those that anyone has who saved the film, so that the
    new clip can be replayed.
    """
    settings = {name: value for name, value in given.items() if name not in OTHERS}
    before = None
    if "extend" in given:
        if "init" in given:
            raise ReverieError("A clip that goes on from another begins with that one's frames: leave out init.")
        film = kept(given["extend"])
        before, fps = moving.read_clip(film)[0], moving.read_record(film)["fps"]
        settings = {"fps": fps, **settings, "size_px": before.shape[2], "begin": before[-CONTEXT:]}
    if "init" in given:
        settings["begin"] = given["init"][None]
    if "last" in given:
        settings["end"] = given["last"][None]
    known = {field.name for field in fields(VideoRequest)}
    request = VideoRequest(prompt, **{name: value for name, value in settings.items() if name in known})
    _check_length(request, before)
    return settings, before


def _check_length(request: VideoRequest, before: Clip | None) -> None:
    frames = request.frames + (0 if before is None else len(before[:-CONTEXT]))
    if frames > MOST_FRAMES:
        raise ReverieError(f"The clip would have {frames} frames, and {MOST_FRAMES} are the most: begin a new one.")


def film(store: Store, item: str) -> bytes:
    """The film of a clip in the gallery; a `Refused` for what is none."""
    found = store.file(item)
    if found is None:
        raise not_found("clip")
    if store.frames(item) is None:
        raise Refused(409, "This is not a clip: there are frames of clips alone.")
    return found[1]


def kept(store: Store, item: str) -> Animated:
    """A clip in the gallery, as it was made."""
    record = moving.read_record(film(store, item))
    found, frames = store.item(item), store.frames(item)
    if found is None or found.about is None or frames is None:
        raise not_found("clip")
    about: Any = found.about
    return Animated(_cut(frames, about["frames"], about["size_px"]), record)


# --- while it is made ---


def preview(clip: Clip) -> bytes:
    """A strip of small frames, as a WebP."""
    side = min(FRAME_PX, clip.shape[2])
    small = clip if side == clip.shape[2] else np.stack([media.fit(frame, side) for frame in clip])
    return _webp(small, quality=85)


def _webp(clip: Clip, **how: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(_strip(clip)).save(file, "WEBP", method=2, **how)
    return file.getvalue()


def _strip(clip: Clip) -> media.Picture:
    """The frames side by side; what would be too wide for a WebP goes on in further rows."""
    return media.grid(list(clip), columns(len(clip), clip.shape[2]), gap_px=0)


def columns(frames: int, side_px: int) -> int:
    """How many frames stand in a row of a strip."""
    return min(frames, MOST_STRIP_PX // side_px)


def _cut(strip: bytes, frames: int, side_px: int) -> Clip:
    """The frames of a strip."""
    sheet = media.read_picture(strip)
    across = columns(frames, side_px)
    corners = ((place // across * side_px, place % across * side_px) for place in range(frames))
    return np.stack([sheet[top : top + side_px, left : left + side_px] for top, left in corners])


# --- once it is finished ---


def finished(model: Model, name: str, request: VideoRequest, guess: Any, before: Clip | None) -> Animated:
    """The clip that a generation has come to. name: of the model, as people know it."""
    made = animating.finished(model, request, guess, before)
    named = {"name": shown_name(name), **model.checkpoint.sha256s()}
    return replace(made, record={**made.record, "model": named})


def artifact(made: Animated) -> Artifact:
    """What is kept of a clip beside its frames: the film that everyone can play."""
    return Artifact(made.file(".mp4"), MEDIA_TYPES["mp4"])


def exact(made: Animated) -> bytes:
    """All frames as they are, to the last bit, as a strip: films and small files lose some of them."""
    return _webp(made.clip, lossless=True, quality=50)


def about(made: Animated) -> dict[str, Any]:
    """What is told of a clip beside its pictures. before: of its frames, those of the clip that it goes on from."""
    frames, side, told = made.clip.shape[0], made.clip.shape[2], made.record
    return {
        "frames": frames, "fps": told["fps"], "seconds": frames / told["fps"], "size_px": side, "loop": told["loop"],
        "before": frames - told["frames"], "columns": columns(frames, side),
        "given": [name for name in media.GIVEN if told.get(name) is not None],
    }  # fmt: skip


def thumbnail(made: Animated) -> bytes | None:
    """The frame in the middle, as a small picture."""
    middle = made.clip[len(made.clip) // 2]
    return stream.small(Artifact(media.to_png(middle), "image/png"), stream.THUMBNAIL_PX)
