"""OpenAI's routes for pictures: drawn from words, or changed; as a whole, or while they sharpen."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request

from reverie import drawing, media
from reverie.hub.paths import shown_name
from reverie.serve import openai_map
from reverie.serve.openai_form import read_form, schema
from reverie.serve.openai_map import Json, Wrong
from reverie.serve.openai_route import Route
from reverie.serve.openai_run import Events, Served, events, find_model, merged, need, submit, unless_gone
from reverie.serve.openai_shapes import EditRequest, PictureRequest
from reverie.types import ImageRequest, Step

if TYPE_CHECKING:
    from reverie.engine import Model

router = APIRouter(route_class=Route, tags=["OpenAI"])

MASK = "mask"  # a file in a form
OTHER_NAMES = {"image[]": "image"}
FORM = schema(EditRequest.model_fields, ("image", MASK), ("image", "prompt"))


@dataclass(frozen=True)
class Run:
    """Pictures under way. kind: what their events are called after."""

    kind: str
    worker: Any
    served: Served
    tickets: list[Any]
    partial_images: int


@router.post("/v1/images/generations")
async def generations(http: Request, body: PictureRequest) -> Any:
    """Draws pictures from words."""
    return await _reply(http, await _begin(http, "image_generation", body, {}), body)


@router.post(
    "/v1/images/edits",
    openapi_extra={"requestBody": {"content": {"multipart/form-data": {"schema": FORM}}}},
)
async def edits(http: Request) -> Any:
    """Changes a picture: all of it, or what is transparent in the mask."""
    fields, files = await read_form(http, OTHER_NAMES, "image and prompt")
    body = openai_map.form_settings(fields)
    pictures = await asyncio.to_thread(_pictures, files)
    return await _reply(http, await _begin(http, "image_edit", body, pictures), body)


def _pictures(files: Mapping[str, bytes]) -> Json:
    """The settings init and mask. A mask is transparent where something new is to be drawn."""
    for name in files:
        if name not in ("image", MASK):
            raise Wrong(f"The file {name[:40]!r} is not supported: send image, and mask if need be.", name[:40])
    if "image" not in files:
        raise Wrong("There is no picture to change: send one as the file image.", "image")
    init = media.read_picture(files["image"])
    if MASK not in files:
        return {"init": init}
    mask = media.read_clear(files[MASK])
    if mask.shape != init.shape[:2]:
        raise Wrong("The mask must be as wide and as high as the picture: make one of the same size.", MASK)
    if not mask.any():
        raise Wrong("The mask has no transparent place, so nothing would change: make one where to draw.", MASK)
    return {"init": init, "mask": mask}


async def _begin(http: Request, kind: str, body: PictureRequest, pictures: Json) -> Run:
    worker = http.app.state.worker
    settings = openai_map.drawing_settings(body) | pictures
    served = await asyncio.to_thread(find_model, http, body.model, ImageRequest)

    def check(model: Model) -> None:
        need(model, ImageRequest, "draws")
        request = ImageRequest(body.prompt, **settings)
        model.medium.shape(request)

    await worker.call(served.path, check)
    n = 1 if body.n is None else body.n
    tickets = submit(worker, served, [body.prompt], settings, n)
    return Run(kind, worker, served, tickets, 0 if body.partial_images is None else body.partial_images)


async def _reply(http: Request, run: Run, body: PictureRequest) -> Any:
    if body.stream:
        return Events(events(_chunks(run)), run.tickets)
    return await unless_gone(http, _whole(run))


async def _whole(run: Run) -> Json:
    last: dict[int, Step] = {}
    async with aclosing(merged(run.tickets)) as steps:
        async for place, step in steps:
            last[place] = step
    pictures = [await _png(run, place, last[place]) for place in range(len(run.tickets))]
    data = [{"b64_json": png} for png, _ in pictures]
    return {"created": int(time.time()), "data": data, "output_format": "png", "size": pictures[0][1]}


async def _chunks(run: Run) -> AsyncGenerator[Json, None]:
    shown, last = [0] * len(run.tickets), dict[int, Step]()
    async with aclosing(merged(run.tickets)) as steps:
        async for place, step in steps:
            last[place] = step
            due = min(run.partial_images, step.index * (run.partial_images + 1) // max(step.total, 1))
            if shown[place] < due and step.index < step.total:
                png, size = await _guess(run, step)
                yield _event(run, "partial_image", png, size) | {"partial_image_index": shown[place]}
                shown[place] += 1
    for place in range(len(run.tickets)):
        yield _event(run, "completed", *await _png(run, place, last[place]))


def _event(run: Run, name: str, png: str, size: str) -> Json:
    return {
        "type": f"{run.kind}.{name}", "b64_json": png, "size": size, "output_format": "png",
        "created_at": int(time.time()), "background": "opaque", "quality": "auto",
    }  # fmt: skip


async def _guess(run: Run, step: Step) -> tuple[str, str]:
    """An unfinished picture as base64, and its size."""
    picture = await run.worker.call(run.served.path, lambda model: model.medium.picture(step.guess))
    return base64.b64encode(media.to_png(picture)).decode(), _size(picture)


async def _png(run: Run, place: int, step: Step) -> tuple[str, str]:
    """A finished picture as base64, with the record of how it was made, and its size."""
    request = run.tickets[place].request

    def draw(model: Model) -> drawing.Drawn:
        made = {"name": shown_name(run.served.name), **model.checkpoint.sha256s()}
        record = {**drawing.record(model, request), "model": made, "count": 1}
        return drawing.Drawn(model.medium.picture(step.guess, request), record)

    drawn = await run.worker.call(run.served.path, draw)
    return base64.b64encode(drawn.png).decode(), _size(drawn.picture)


def _size(picture: media.Picture) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"
