"""POST /v1/audio/generate: tunes, as a file. OpenAI has no such route; the name and its `input` are vLLM-Omni's."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from reverie.modalities.music import MusicRequest
from reverie.serve import scores
from reverie.serve.openai_map import Json
from reverie.serve.openai_route import Route
from reverie.serve.openai_run import Events, Served, events, find_model, merged, need, submit, unless_gone
from reverie.serve.shapes_music import MusicRequestBody
from reverie.types import Step

if TYPE_CHECKING:
    from reverie.composing import Composed
    from reverie.engine import Model

router = APIRouter(route_class=Route, tags=["OpenAI"])

SETTINGS = (
    "seed", "temperature", "top_k", "top_p", "min_p", "key", "metre", "rhythm", "bars", "tempo_bpm", "begin", "free",
)  # fmt: skip
FILE = {200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}


@dataclass(frozen=True)
class Run:
    """A tune under way."""

    worker: Any
    served: Served
    ticket: Any
    body: MusicRequestBody


@router.post("/v1/audio/generate", response_class=Response, responses=FILE)  # type: ignore[arg-type]
async def generate(http: Request, body: MusicRequestBody) -> Any:
    """Composes a tune; answers with its file."""
    run = await _begin(http, body)
    if body.stream:
        return Events(events(_chunks(run)), [run.ticket])
    data = await unless_gone(http, _whole(run))
    return Response(data, media_type=scores.MEDIA_TYPES[body.response_format])


async def _begin(http: Request, body: MusicRequestBody) -> Run:
    given = {name: getattr(body, name) for name in SETTINGS}
    settings = {name: value for name, value in given.items() if value is not None}
    scores.check(body.input, settings | {"instrument": body.instrument})
    served = await asyncio.to_thread(find_model, http, body.model, MusicRequest)

    def check(model: Model) -> None:
        need(model, MusicRequest, "composes")
        model.medium.condition(MusicRequest(body.input, **settings))

    worker = http.app.state.worker
    await worker.call(served.path, check)
    return Run(worker, served, submit(worker, served, [body.input], settings, 1)[0], body)


async def _whole(run: Run) -> bytes:
    last: Step | None = None
    async with aclosing(merged([run.ticket])) as steps:
        async for _, step in steps:
            last = step
    return await asyncio.to_thread(scores.file, await _composed(run, last), run.body.response_format)


async def _chunks(run: Run) -> AsyncGenerator[Json, None]:
    last: Step | None = None
    async with aclosing(merged([run.ticket])) as steps:
        async for _, step in steps:
            last = step
            if step.info.get("text"):
                yield {"type": "music.words.delta", "delta": step.info["text"]}
    made = await _composed(run, last)
    kind = run.body.response_format
    data = await asyncio.to_thread(scores.file, made, kind)
    yield {
        "type": "music.completed", "b64_data": base64.b64encode(data).decode(), "format": kind,
        "media_type": scores.MEDIA_TYPES[kind], "seed": run.ticket.request.seed, "about": scores.about(made),
    }  # fmt: skip


async def _composed(run: Run, last: Step | None) -> Composed:
    assert last is not None
    playing = {"instrument": run.body.instrument, "backing": run.body.backing}

    def finish(model: Model) -> Composed:
        return scores.composed(model, run.served.name, run.ticket, last.guess, playing)

    made: Composed = await run.worker.call(run.served.path, finish)
    return made
