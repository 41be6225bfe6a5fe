"""OpenAI's routes for videos: asked for, waited for, fetched. They are jobs of the line, and things of the gallery."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from PIL import Image

from reverie import media
from reverie.modalities.video import FPS, NUM_FRAMES
from reverie.serve import video
from reverie.serve.api import IMAGE_OR_TEXT, NEVER_CHANGES, JobsPart, ModelsPart, StorePart
from reverie.serve.clips import MEDIA_TYPES
from reverie.serve.jobs import Jobs
from reverie.serve.making import data_url, decode_picture
from reverie.serve.models import Models
from reverie.serve.openai_form import read_form, schema
from reverie.serve.openai_map import DRAWING, Json, Wrong, square
from reverie.serve.openai_route import Route
from reverie.serve.openai_run import find_model, need
from reverie.serve.ranges import Wanted, ranged
from reverie.serve.shapes import GenerateRequest, GenerationSettings, Item, Job
from reverie.serve.shapes_video import RemixRequest, Variant, VideoRequestBody
from reverie.serve.store import Store
from reverie.types import ReverieError, VideoRequest

if TYPE_CHECKING:
    from reverie.engine import Model

router = APIRouter(route_class=Route, tags=["OpenAI"])

MEDIUM, PREFIX = "video", "video_"
MOST_REFERENCE_PX = 1024
STATUS = {"queued": "queued", "running": "in_progress", "done": "completed"}  # what is left has failed
WHY = {
    "cancelled": "It was cancelled: ask for it again.",
    "interrupted": "The server was stopped while it was made: ask for it again.",
}
REFERENCES = {"input_reference": "init", "end_reference": "last"}  # what we call them
FORM = schema(VideoRequestBody.model_fields, tuple(REFERENCES), ("prompt",))
BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": {"$ref": "#/components/schemas/VideoRequestBody"}},
        "multipart/form-data": {"schema": FORM},
    },
}


# --- to ask ---


@router.post("/v1/videos", openapi_extra={"requestBody": BODY})
async def create(http: Request, jobs: JobsPart) -> Json:
    """Puts a video into the line."""
    body, files = await _read(http)
    served = await asyncio.to_thread(find_model, http, body.model, VideoRequest)
    settings = _settings(body, served.name)

    def check(model: Model) -> int:
        need(model, VideoRequest, "animates")
        request = VideoRequest(body.prompt, **settings)
        model.medium.shape(request)
        return int(model.medium.size_px if request.size_px is None else request.size_px)

    size_px = await http.app.state.worker.call(served.path, check)
    pictures = await asyncio.to_thread(_pictures, body, files)
    given = GenerationSettings(**settings | {"size_px": size_px} | pictures)
    job = await jobs.enqueue(GenerateRequest(model=served.name, modality=MEDIUM, prompt=body.prompt, settings=given))
    return _of_job(job, served.name, 0)


async def _read(http: Request) -> tuple[VideoRequestBody, dict[str, bytes]]:
    """What was asked for, as JSON or as a form, and the files with it."""
    if not http.headers.get("content-type", "").startswith("multipart/form-data"):
        try:
            return VideoRequestBody.model_validate(json.loads(await http.body())), {}
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise Wrong("The body is not JSON in UTF-8: send an object with prompt, or a form.") from error
    fields, files = await read_form(http, {}, "prompt")
    told: Json = dict(fields)
    for name in REFERENCES:
        if (url := told.pop(f"{name}[image_url]", None)) is not None:  # how clients flatten what is nested
            told[name] = {"image_url": url}
    for name in files:
        if name not in REFERENCES or name in told:
            raise Wrong(f"The file {name[:40]!r} is not supported: send one input_reference.", name[:40])
    return VideoRequestBody.model_validate(told), files


def _settings(body: VideoRequestBody, name: str) -> Json:
    """The settings of a `VideoRequest`, without its pictures. name: of the model."""
    fps = FPS if body.fps is None else body.fps
    frames = NUM_FRAMES if body.seconds is None else max(1, round(body.seconds * fps))
    if frames > NUM_FRAMES:
        raise Wrong(
            f"seconds is {body.seconds:g}, and {name} makes up to {NUM_FRAMES / fps:g} at {fps} frames a second "
            f"({NUM_FRAMES} frames): ask for at most so many, or for fewer frames a second.",
            "seconds",
        )
    given = {ours: getattr(body, theirs, None) for ours, theirs in DRAWING.items()}
    given |= {"frames": frames, "fps": fps, "loop": body.loop, "size_px": square(body.size, "videos")}
    return {ours: value for ours, value in given.items() if value is not None}


def _pictures(body: VideoRequestBody, files: Mapping[str, bytes]) -> Json:
    """The settings init and last."""
    found: Json = {}
    for name, ours in REFERENCES.items():
        given = getattr(body, name)
        if name not in files and given is None:
            continue
        try:
            picture = media.read_picture(files[name]) if name in files else decode_picture(given.image_url)
        except ReverieError as error:
            raise Wrong(str(error), name) from error
        found[ours] = data_url(_small(picture))
    return found


def _small(picture: media.Picture) -> media.Picture:
    """The picture, no larger than it is ever needed."""
    image = Image.fromarray(picture)
    image.thumbnail((MOST_REFERENCE_PX, MOST_REFERENCE_PX), Image.Resampling.LANCZOS)
    return np.asarray(image)


@router.post("/v1/videos/{video_id}/remix")
async def remix(video_id: str, body: RemixRequest, jobs: JobsPart, models: ModelsPart, store: StorePart) -> Json:
    """Puts the same video with other words into the line: it begins from the same noise."""
    found = await _find(video_id, jobs, store)
    item = _finished(found)
    request = await asyncio.to_thread(store.item_request, item.id)
    if request is None:
        raise _absent()
    changed = {"prompt": body.prompt, "remix_of": item.id, "modality": MEDIUM}
    job = await jobs.enqueue(request.model_copy(update=changed))
    return _of_job(job, _model(job, models), 0)


# --- to wait ---


@dataclass(frozen=True)
class Found:
    """A video: a job that has not come to anything, or a thing of the gallery and, if it is remembered, its job."""

    job: Job | None
    item: Item | None
    request: GenerateRequest


@router.get("/v1/videos")
async def list_videos(
    jobs: JobsPart,
    models: ModelsPart,
    store: StorePart,
    *,
    after: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
) -> Json:
    """All videos there are, and those that wait, run or failed."""
    ids = await asyncio.to_thread(store.ids, MEDIUM)
    ids = ids[::-1] if order == "asc" else ids
    start = 0 if after is None else _place(ids, after)
    page = [PREFIX + each for each in ids[start : start + limit]]
    told = [_told(await _find(each, jobs, store), jobs, models) for each in page]
    ends = {"first_id": page[0], "last_id": page[-1]} if page else {"first_id": None, "last_id": None}
    return {"object": "list", "data": told, **ends, "has_more": start + limit < len(ids)}


def _place(ids: list[str], after: str) -> int:
    """Where the page after a video begins."""
    found = after.removeprefix(PREFIX)
    if found not in ids:
        raise _absent("after")
    return ids.index(found) + 1


@router.get("/v1/videos/{video_id}")
async def retrieve(video_id: str, jobs: JobsPart, models: ModelsPart, store: StorePart) -> Json:
    """A video and how far it is."""
    return _told(await _find(video_id, jobs, store), jobs, models)


@router.get("/v1/videos/{video_id}/content", response_class=Response, responses=IMAGE_OR_TEXT)
async def content(
    video_id: str, jobs: JobsPart, store: StorePart, variant: Variant = "video", wanted: Wanted = None
) -> Response:
    """The film, a picture of its middle, or all its frames side by side."""
    item = _finished(await _find(video_id, jobs, store)).id
    if variant == "thumbnail":
        return Response(store.thumbnail(item), media_type="image/webp", headers=NEVER_CHANGES)
    kind = "mp4" if variant == "video" else "png"
    data = await asyncio.to_thread(video.clip_file, store, item, kind)
    return ranged(data, MEDIA_TYPES[kind], NEVER_CHANGES, wanted)


@router.delete("/v1/videos/{video_id}")
async def delete(video_id: str, jobs: JobsPart, store: StorePart) -> Json:
    """Deletes a video for good; one that is not finished is cancelled first."""
    found = await _find(video_id, jobs, store)
    if found.job is not None:
        await jobs.cancel(found.job.id)
        await jobs.forget(found.job.id)
    await asyncio.to_thread(store.delete_item, video_id.removeprefix(PREFIX))
    return {"id": video_id, "object": "video.deleted", "deleted": True}


# --- within ---


async def _find(video_id: str, jobs: Jobs, store: Store) -> Found:
    """A video by its id; a `Wrong` if there is none."""
    return await asyncio.to_thread(_look, video_id, store)


def _look(video_id: str, store: Store) -> Found:
    plain = video_id.removeprefix(PREFIX)
    item, job = store.item(plain), store.job(plain)
    if item is not None and item.modality == MEDIUM:
        return Found(job, item, store.item_request(plain) or GenerateRequest())
    if item is None and job is not None and job.request.modality == MEDIUM and job.state != "done":
        return Found(job, None, job.request)
    raise _absent()


def _absent(param: str = "video_id") -> Wrong:
    return Wrong("There is no such video: it was deleted, or never there.", param, "video_not_found", 404)


def _finished(found: Found) -> Item:
    if found.item is None:
        assert found.job is not None
        status = STATUS.get(found.job.state, "failed")
        raise Wrong(f"The video is {status}: there is something to fetch once it is completed.", "video_id", None, 409)
    return found.item


def _told(found: Found, jobs: Jobs, models: Models) -> Json:
    if found.item is not None:
        return _of_item(found.item, found.job, found.request)
    assert found.job is not None
    live = jobs.live(found.job.id)
    done = 0 if live is None or live.last is None else 100 * live.last.index // max(1, live.last.total)
    return _of_job(found.job, _model(found.job, models), min(done, 99))


def _model(job: Job, models: Models) -> str:
    return models.default(MEDIUM) if job.request.model is None else job.request.model


def _of_job(job: Job, model: str, progress: int) -> Json:
    """A video that is not there yet, or never will be."""
    settings, status = job.request.settings, STATUS.get(job.state, "failed")
    size = "auto" if settings.size_px is None else f"{settings.size_px}x{settings.size_px}"
    seconds = _or(settings.frames, NUM_FRAMES) / _or(settings.fps, FPS)
    told = _video(job.id, model, job.request, status, progress)
    error = None
    if status == "failed":
        error = {"code": job.state, "message": WHY.get(job.state, "It failed.") if job.error is None else job.error}
    return told | {"created_at": int(job.created), "size": size, "seconds": f"{seconds:g}", "error": error}


def _of_item(item: Item, job: Job | None, request: GenerateRequest) -> Json:
    """A video that is there."""
    about: Any = item.about
    created = item.created - item.seconds if job is None else job.created
    told = _video(item.id, item.model, request, "completed", 100)
    size, seconds = f"{about['size_px']}x{about['size_px']}", f"{about['seconds']:g}"
    return told | {
        "created_at": int(created), "completed_at": int(item.created), "size": size, "seconds": seconds,
        "seed": item.seed,
    }  # fmt: skip


def _video(id_: str, model: str, request: GenerateRequest, status: str, progress: int) -> Json:
    """What is told of every video."""
    remixed = None if request.remix_of is None else PREFIX + request.remix_of
    return {
        "id": PREFIX + id_, "object": "video", "model": model, "prompt": request.prompt, "status": status,
        "progress": progress, "completed_at": None, "expires_at": None, "error": None, "remixed_from_video_id": remixed,
        "seed": request.settings.seed,
    }  # fmt: skip


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
