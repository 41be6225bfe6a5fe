"""Routes of clips beside those that make and keep: what can be asked of one, its frames, its files."""

from __future__ import annotations

from functools import lru_cache

from fastapi import APIRouter, Response

from reverie.animating import CONTEXT
from reverie.modalities.video import FPS, NUM_FRAMES
from reverie.serve import clips
from reverie.serve.api import ERRORS, IMAGE_OR_TEXT, NEVER_CHANGES, IdPath, StorePart
from reverie.serve.ranges import Wanted, ranged
from reverie.serve.shapes_video import ClipKind, VideoOptions
from reverie.serve.store import Store

router = APIRouter(prefix="/api", responses=ERRORS, tags=["video"])


@router.get("/video")
def video_options() -> VideoOptions:
    """What can be asked of a clip."""
    return VideoOptions(
        frames=NUM_FRAMES, fps=FPS, most_frames=clips.MOST_FRAMES, context=CONTEXT, files=list(clips.MEDIA_TYPES)
    )


@router.get("/gallery/{item}/frames", response_class=Response, responses=IMAGE_OR_TEXT)
def item_frames(item: IdPath, store: StorePart) -> Response:
    """All frames of a clip as they are, side by side in one WebP, in rows of as many as its `about` tells."""
    clips.film(store, item)  # a refusal of what is none
    return Response(store.frames(item), media_type="image/webp", headers=NEVER_CHANGES)


@router.get("/gallery/{item}/clip/{kind}", response_class=Response, responses=IMAGE_OR_TEXT)
def item_clip(item: IdPath, kind: ClipKind, store: StorePart, wanted: Wanted = None) -> Response:
    """A clip as a file of any kind, or a range of its bytes; png is all its frames side by side."""
    clips.film(store, item)  # what was deleted is gone, even if it is still remembered
    return ranged(clip_file(store, item, kind), clips.MEDIA_TYPES[kind], NEVER_CHANGES, wanted)


@lru_cache(maxsize=4)
def clip_file(store: Store, item: str, kind: str) -> bytes:
    """The file of a clip in the gallery; the last ones are remembered, as players ask for them piece by piece."""
    return clips.film(store, item) if kind == "mp4" else clips.kept(store, item).file(f".{kind}")
