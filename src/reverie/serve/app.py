"""The server: its parts put together into one FastAPI app."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.middleware.cors import CORSMiddleware

from reverie.hub import paths
from reverie.serve import api, errors, exhibits, lessons, music, openai, pages, quiz, video
from reverie.serve.jobs import Jobs
from reverie.serve.metrics import CONTENT_TYPE, Metrics, Watch
from reverie.serve.models import Models
from reverie.serve.security import Guard, Settings
from reverie.serve.shapes import DoneEvent, FailureReply, Health, Job, JobList, PullEvent, StepEvent
from reverie.serve.shapes_train import TrainPoint, TrainRun
from reverie.serve.shapes_video import VideoRequestBody
from reverie.serve.store import Store
from reverie.serve.training import Training

# Events of streams, and what is read by hand.
BESIDE = (StepEvent, DoneEvent, Job, JobList, PullEvent, TrainPoint, TrainRun, FailureReply, VideoRequestBody)
STUCK_SECONDS = 30.0  # without a sign of life of the worker


def create_app(worker: Any, store: Store, *, settings: Settings, home: Path | None = None) -> FastAPI:
    """The app, around a worker that starts and stops with it. home: of runs and texts; None: where data is kept."""
    home = paths.data_home() if home is None else home
    app = FastAPI(
        title="Reverie", version=metadata.version("reverie"), docs_url=None, redoc_url=None, lifespan=_lifespan
    )
    app.state.worker, app.state.store, app.state.settings = worker, store, settings
    app.state.metrics = Metrics(worker)
    app.state.training = Training(home)
    app.state.quizzes = quiz.Quizzes(home)
    app.state.models = Models(settings.served, app.state.training.runs)
    app.state.jobs = Jobs(worker, store, app.state.models, app.state.metrics, log_prompts=settings.log_prompts)
    app.include_router(api.router)
    app.include_router(exhibits.router)
    app.include_router(lessons.router)
    app.include_router(music.router)
    app.include_router(openai.router)
    app.include_router(quiz.router)
    app.include_router(video.router)
    _add_health(app)
    pages.add(app, Path(str(resources.files("reverie.serve") / "studio")))
    errors.explain_errors(app)
    _protect(app, settings)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Starts the worker and the line; at the end finishes or cancels what runs, within a bound."""
    state = app.state
    await asyncio.to_thread(state.worker.start)
    await state.jobs.start()
    yield
    seconds = state.settings.finish_seconds
    await state.jobs.stop(seconds)
    await asyncio.to_thread(state.worker.stop, finish_seconds=seconds)
    await asyncio.to_thread(state.training.close, seconds)
    state.quizzes.learning.close()


def _protect(app: FastAPI, settings: Settings) -> None:
    """The wrappers, innermost first."""
    if settings.allow_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(settings.allow_origins), allow_methods=["*"], allow_headers=["*"]
        )
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(Watch, metrics=app.state.metrics)


def _add_health(app: FastAPI) -> None:
    @app.get("/healthz", responses={503: {"model": Health}})
    def healthz(request: Request, response: Response) -> Health:
        """Whether the worker is alive, not only the process."""
        seconds = float(request.app.state.worker.beat_seconds)
        stuck = not seconds < STUCK_SECONDS
        response.status_code = 503 if stuck else 200
        return Health(status="stuck" if stuck else "ok", beat_seconds=min(seconds, 1e9))

    @app.get("/metrics", include_in_schema=False)
    def metrics(request: Request) -> Response:
        """Figures for Prometheus."""
        return Response(request.app.state.metrics.text(), media_type=CONTENT_TYPE)


def _document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with what no route declares among its schemas."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        kinds = [(kind, "serialization") for kind in BESIDE]
        _, schemas = models_json_schema(kinds, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
        known = document["components"]["schemas"]
        document["components"]["schemas"] = schemas["$defs"] | known
        app.openapi_schema = document
    return app.openapi_schema
