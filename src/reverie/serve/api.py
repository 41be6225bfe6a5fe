"""Reverie's own routes, /api: make, watch, keep, fetch and train. Routes read a request and call; no more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from importlib import metadata
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Message

from reverie import drawing, media, modalities
from reverie.serve import security, stream
from reverie.serve import shapes as s
from reverie.serve import shapes_train as st
from reverie.serve.errors import Refused, not_found
from reverie.serve.jobs import Jobs, Live
from reverie.serve.models import Models
from reverie.serve.security import Settings
from reverie.serve.store import Store
from reverie.serve.training import Training
from reverie.types import BOUNDS, SAMPLERS, ReverieError

T = TypeVar("T")

IdPath = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
RunPath = Annotated[str, Path(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,60}$")]
Number = Annotated[int, Path(ge=0, le=1_000_000)]
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": s.FailureReply} for status in (400, 401, 403, 404, 409, 413, 422, 429)
}
IMAGE_OR_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}
PNG = {"image/png": {"schema": {"type": "string", "format": "binary"}}}
NEVER_CHANGES = {"Cache-Control": "private, max-age=31536000, immutable"}


class Sse(EventSourceResponse):
    """A stream of server-sent events; for the OpenAPI document."""

    media_type = "text/event-stream"


def part(name: str) -> Any:
    """A part of the server, from `app.state`."""

    def find(request: Request) -> Any:
        return getattr(request.app.state, name)

    return Depends(find)


JobsPart = Annotated[Jobs, part("jobs")]
StorePart = Annotated[Store, part("store")]
ModelsPart = Annotated[Models, part("models")]
TrainingPart = Annotated[Training, part("training")]
SettingsPart = Annotated[Settings, part("settings")]

router = APIRouter(prefix="/api", responses=ERRORS)


def events(
    source: AsyncIterator[s.Shape],
    name: Callable[[s.Shape], str],
    finish_seconds: float = 0.0,
    gone: Callable[[], None] = lambda: None,
) -> Sse:
    """A stream of what `source` gives; a mistake on the way is its last event.

    finish_seconds: how long it goes on once the server was told to end. gone: is called if the client goes away.
    """

    async def left(message: Message) -> None:
        gone()

    async def told() -> AsyncIterator[ServerSentEvent]:
        try:
            async for event in source:
                yield stream.sse(name(event), event)
        except ReverieError as error:
            yield stream.sse("error", stream.failure(str(error), "failed"))

    return Sse(
        told(), ping=stream.PING_SECONDS, shutdown_grace_period=finish_seconds, client_close_handler_callable=left
    )


@router.get("/about")
def about(request: Request, settings: SettingsPart) -> s.About:
    """What this server can do."""
    paths = request.app.openapi()["paths"]
    features = {path.split("/")[2] for path in paths if path.startswith("/api/")}
    return s.About(
        version=metadata.version("reverie"), features=sorted(features), modalities=modalities.names(),
        samplers=list(SAMPLERS), bounds={name: list(map(float, ends)) for name, ends in BOUNDS.items()},
        needs_key=settings.api_key is not None,
    )  # fmt: skip


@router.post("/session", status_code=204)
def session(key: s.Key, settings: SettingsPart, request: Request, response: Response) -> None:
    """A browser gives the key, and gets a cookie that stands for it."""
    if settings.api_key is None or not security.same(key.key, settings.api_key):
        raise Refused(401, "The key is wrong: give the one that the server was started with.")
    response.set_cookie(
        security.COOKIE, settings.session(), httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )


# --- make ---


@router.post("/generate", response_class=Sse)
async def generate(wanted: s.GenerateRequest, jobs: JobsPart, settings: SettingsPart) -> Sse:
    """Make something now: events `step`, then `done` or `error`. Who goes away before the end cancels it."""
    live = await jobs.generate(wanted)
    # `gone`, too: who leaves before the first event never enters the generator, so nothing in it would notice.
    return events(_to_the_end(live), stream.name_of, settings.finish_seconds + 1, live.ticket.cancel)


async def _to_the_end(live: Live) -> AsyncIterator[s.Shape]:
    try:
        async for event in live.feed.follow():
            yield event
    finally:
        if live.feed.end is None:
            live.ticket.cancel()


# --- jobs ---


@router.get("/jobs")
async def list_jobs(jobs: JobsPart) -> s.JobList:
    """All jobs: those that wait, then the others."""
    return await jobs.everything()


@router.post("/jobs", status_code=201)
async def add_job(wanted: s.GenerateRequest, jobs: JobsPart) -> s.Job:
    """Put something into the line, to be made in its turn, also after a restart."""
    return await jobs.enqueue(wanted)


@router.get("/jobs/events", response_class=Sse)
async def watch_jobs(jobs: JobsPart) -> Sse:
    """The list of jobs, as event `jobs`, again whenever it changes."""
    return events(jobs.watch_list(), lambda event: "jobs")


@router.put("/jobs/order", status_code=204)
async def order_jobs(order: s.Order, jobs: JobsPart) -> None:
    """Put the jobs that wait in another order."""
    await jobs.order(order.ids)


@router.put("/jobs/paused", status_code=204)
async def pause_jobs(wish: s.Paused, jobs: JobsPart) -> None:
    """Stop the line, or let it go on."""
    await jobs.pause(wish.paused)


@router.get("/jobs/{job}")
async def one_job(job: IdPath, jobs: JobsPart) -> s.Job:
    """A job."""
    return await jobs.find(job)


@router.get("/jobs/{job}/events", response_class=Sse)
async def watch_job(job: IdPath, jobs: JobsPart) -> Sse:
    """What a job tells from its beginning, as `POST /api/generate` does; who goes away cancels nothing."""
    await jobs.find(job)
    return events(jobs.watch(job), stream.name_of)


@router.post("/jobs/{job}/cancel")
async def cancel_job(job: IdPath, jobs: JobsPart) -> s.Job:
    """Cancel a job that waits or runs."""
    return await jobs.cancel(job)


@router.post("/jobs/{job}/again", status_code=201)
async def repeat_job(job: IdPath, jobs: JobsPart) -> s.Job:
    """Put a job that ended or was interrupted into the line once more, as a new one."""
    return await jobs.again(job)


@router.delete("/jobs/{job}", status_code=204)
async def forget_job(job: IdPath, jobs: JobsPart) -> None:
    """Take a job that has ended from the list; what it made stays."""
    await jobs.forget(job)


# --- gallery ---


@router.get("/gallery")
def gallery(
    store: StorePart,
    search: Annotated[str, Query(max_length=300)] = "",
    modality: Annotated[str | None, Query(max_length=40)] = None,
    before: Annotated[int | None, Query(ge=0, le=2**62)] = None,
    limit: Annotated[int, Query(ge=1, le=s.MOST_PER_PAGE)] = 50,
) -> s.Gallery:
    """What was made, newest first; search finds words of prompts and texts, or their beginnings."""
    items, following = store.items(search, modality, before, limit)
    return s.Gallery(items=items, next=following)


@router.post("/gallery/read", openapi_extra={"requestBody": {"required": True, "content": PNG}})
async def read_picture(request: Request) -> s.ReadPicture:
    """How a picture was made: the body is a PNG that Reverie drew."""
    return await asyncio.to_thread(_read, await request.body())


def _read(data: bytes) -> s.ReadPicture:
    text = json.dumps(media.read_record(data), ensure_ascii=False).encode("utf-8", "replace")
    record = json.loads(text)  # now without halves of characters, which JSON may have and UTF-8 may not
    prompt, settings = drawing.settings_of(record)
    told = record.get("model")
    name = told.get("name") if isinstance(told, dict) else None
    model = name if isinstance(name, str) and 0 < len(name) <= 200 else None
    given = {name: value for name, value in settings.items() if value not in (None, "")}
    request = s.GenerateRequest(prompt=prompt, model=model, settings=s.GenerationSettings(**given))
    return s.ReadPicture(record=record, request=request)


@router.get("/gallery/{item}")
def one_item(item: IdPath, store: StorePart) -> s.Item:
    """Something that was made."""
    return _found(store.item(item), "item")


@router.delete("/gallery/{item}", status_code=204)
def delete_item(item: IdPath, store: StorePart) -> None:
    """Delete something for good."""
    if not store.delete_item(item):
        raise not_found("item")


@router.get("/gallery/{item}/file", response_class=Response, responses=IMAGE_OR_TEXT)
def item_file(item: IdPath, store: StorePart) -> Response:
    """The file itself."""
    media_type, data = _found(store.file(item), "item")
    return Response(data, media_type=media_type, headers=NEVER_CHANGES)


@router.get("/gallery/{item}/thumbnail", response_class=Response, responses=IMAGE_OR_TEXT)
def item_thumbnail(item: IdPath, store: StorePart) -> Response:
    """A small WebP, of what can be seen."""
    return _webp(store.thumbnail(item))


@router.get("/gallery/{item}/steps/{number}", response_class=Response, responses=IMAGE_OR_TEXT)
def item_step(item: IdPath, number: Number, store: StorePart, noisy: bool = False) -> Response:
    """How it looked after a step (from 0), as a small WebP; the noisy state, if that was kept."""
    return _webp(store.step(item, number, noisy=noisy))


@router.get("/gallery/{item}/again")
def item_request(item: IdPath, store: StorePart) -> s.GenerateRequest:
    """The request that gives the very same again."""
    return _found(store.item_request(item), "item")


def _found(found: T | None, what: str) -> T:
    if found is None:
        raise not_found(what)
    return found


def _webp(data: bytes | None) -> Response:
    return Response(_found(data, "picture"), media_type="image/webp", headers=NEVER_CHANGES)


# --- models ---


@router.get("/models")
def list_models(models: ModelsPart) -> s.ModelList:
    """The catalogue, and whatever else is here."""
    return s.ModelList(models=models.views())


@router.post("/models/pull", response_class=Sse)
async def pull_model(wanted: s.ModelName, models: ModelsPart) -> Sse:
    """Fetch a model of the catalogue: events `progress`; it goes on if nobody watches."""
    return events(await models.pull(wanted.name), lambda event: "progress")


@router.post("/models/remove")
def remove_model(wanted: s.ModelName, models: ModelsPart) -> s.Freed:
    """Delete an installed model."""
    return s.Freed(freed_bytes=models.remove(wanted.name))


# --- training ---


@router.get("/train/options")
def train_options(training: TrainingPart) -> st.TrainOptions:
    """What can be trained, from what."""
    return training.options()


@router.post("/train/texts", status_code=204)
def add_text(upload: st.TextUpload, training: TrainingPart) -> None:
    """Keep a text to learn from."""
    training.add_text(upload)


@router.get("/train")
def list_runs(training: TrainingPart) -> st.TrainList:
    """All runs."""
    return st.TrainList(runs=training.everything())


@router.post("/train", status_code=201)
def start_run(wanted: st.TrainRequest, training: TrainingPart) -> st.TrainRun:
    """Begin a run."""
    return training.start(wanted)


@router.get("/train/{run}")
def one_run(run: RunPath, training: TrainingPart) -> st.TrainRun:
    """A run and where it stands."""
    return training.run(run)


@router.get("/train/{run}/events", response_class=Sse)
async def watch_run(run: RunPath, training: TrainingPart) -> Sse:
    """The curve so far and as it grows: events `point`, and `run` when its state changes."""
    await asyncio.to_thread(training.run, run)
    return events(training.watch(run), lambda event: "point" if isinstance(event, st.TrainPoint) else "run")


@router.post("/train/{run}/stop")
def stop_run(run: RunPath, training: TrainingPart) -> st.TrainRun:
    """Interrupt a run: it writes a checkpoint and ends."""
    return training.stop(run)


@router.post("/train/{run}/resume")
def resume_run(run: RunPath, training: TrainingPart) -> st.TrainRun:
    """Go on where a run was stopped."""
    return training.resume(run)


@router.delete("/train/{run}", status_code=204)
def delete_run(run: RunPath, training: TrainingPart) -> None:
    """Delete a run and its model."""
    training.delete(run)


@router.get("/train/{run}/samples")
def run_samples(run: RunPath, training: TrainingPart) -> st.TrainSamples:
    """What the model made while it learnt."""
    return st.TrainSamples(samples=training.samples(run))


@router.get("/train/{run}/samples/{number}", response_class=Response, responses=IMAGE_OR_TEXT)
def run_sample(run: RunPath, number: Number, training: TrainingPart) -> Response:
    """The file of a sample."""
    media_type, data = training.sample(run, number)
    return Response(data, media_type=media_type, headers=NEVER_CHANGES)


# --- chats ---


@router.get("/chats")
def list_chats(store: StorePart) -> s.ChatList:
    """All saved conversations."""
    return s.ChatList(chats=store.chats())


@router.get("/chats/{chat}")
def one_chat(chat: IdPath, store: StorePart) -> s.SavedChat:
    """A saved conversation."""
    return _found(store.chat(chat), "chat")


@router.put("/chats/{chat}")
def save_chat(chat: IdPath, told: s.Chat, store: StorePart) -> s.SavedChat:
    """Save a conversation under an id of the page's own making."""
    return store.save_chat(chat, told.title, told.body)


@router.delete("/chats/{chat}", status_code=204)
def delete_chat(chat: IdPath, store: StorePart) -> None:
    """Delete a conversation."""
    if not store.delete_chat(chat):
        raise not_found("chat")
