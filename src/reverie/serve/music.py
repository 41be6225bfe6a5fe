"""Routes of tunes beside those that make and keep: the score as it grows, its files, its beginning to go on from."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Response

from reverie.notation.instruments import INSTRUMENTS
from reverie.notation.plan import TEMPI
from reverie.serve import scores
from reverie.serve.api import ERRORS, IMAGE_OR_TEXT, NEVER_CHANGES, IdPath, JobsPart, StorePart
from reverie.serve.errors import Refused, not_found
from reverie.serve.jobs import Live
from reverie.serve.ranges import Wanted, ranged
from reverie.serve.shapes import Item
from reverie.serve.shapes_music import BegunTune, FileKind, MusicOptions, Score
from reverie.serve.store import Store

METRES = ("2/2", "2/4", "3/4", "4/4", "6/8", "9/8", "12/8")
TONICS = ("C", "G", "D", "A", "E", "B", "F", "Bb", "Eb", "Ab")
MODES = ("", "m", "dor", "mix")  # as in a key's name

WidthPx = Annotated[int | None, Query(ge=100, le=10_000, description="How wide the score will be shown.")]

router = APIRouter(prefix="/api", responses=ERRORS, tags=["music"])


@router.get("/music")
def music_options() -> MusicOptions:
    """What can be chosen of a tune; a model may know less."""
    return MusicOptions(
        instruments=sorted(INSTRUMENTS), rhythms=sorted(TEMPI), metres=list(METRES),
        keys=[tonic + mode for mode in MODES for tonic in TONICS], files=list(scores.MEDIA_TYPES),
    )  # fmt: skip


@router.get("/jobs/{job}/score")
async def job_score(job: IdPath, jobs: JobsPart, store: StorePart, width_px: WidthPx = None) -> Score:
    """The score of a tune as far as it is composed; once it is finished, all of it."""
    live = jobs.live(job)
    if live is None or live.model is None or live.last is None:
        found = await jobs.find(job)
        if found.item is None:
            raise Refused(409, "No tune is being composed here: start one, or look at those in the gallery.")
        return await asyncio.to_thread(item_score, found.item, store, width_px)
    return await asyncio.to_thread(_so_far, live, width_px)


def _so_far(live: Live, width_px: int | None) -> Score:
    if not scores.composes(live.model.medium.request) or live.last is None:
        raise Refused(409, "What is being made is not a tune: there are scores of tunes alone.")
    return scores.score(live.model.medium.tune(live.last.guess, live.ticket.request), live.name, width_px=width_px)


@router.get("/gallery/{item}/score")
def item_score(item: IdPath, store: StorePart, width_px: WidthPx = None) -> Score:
    """The score of a tune, and when each of its notes sounds."""
    found = _item(store, item)
    made = scores.kept(found.text)
    return scores.score(made.tune, found.model, made.chords, width_px)


@router.get("/gallery/{item}/files/{kind}", response_class=Response, responses=IMAGE_OR_TEXT)
def item_kind(item: IdPath, kind: FileKind, store: StorePart, wanted: Wanted = None) -> Response:
    """A tune as a file of any kind, or a range of its bytes."""
    data = scores.kept_file(_item(store, item).text, kind)
    return ranged(data, scores.MEDIA_TYPES[kind], NEVER_CHANGES, wanted)


@router.get("/gallery/{item}/begin")
def item_beginning(item: IdPath, store: StorePart, bars: Annotated[int, Query(ge=0, le=1000)]) -> BegunTune:
    """The first bars of a tune, for a request that goes on from them."""
    return scores.begun(scores.kept(_item(store, item).text).tune, bars)


def _item(store: Store, item: str) -> Item:
    found = store.item(item)
    if found is None:
        raise not_found("item")
    return found
