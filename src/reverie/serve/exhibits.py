"""Exhibits over HTTP: which there are, and any of them made from a reader's prompt, with the shapes that draw it."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from reverie import media
from reverie.explain import Exhibit, about, exhibit, exhibits
from reverie.explain.capture import changed
from reverie.explain.views import View, views
from reverie.serve.api import ERRORS, ModelsPart, part
from reverie.serve.errors import not_found
from reverie.serve.making import decode_picture
from reverie.serve.openai_run import unless_gone
from reverie.serve.shapes import Base64, Shape, Short, Turn
from reverie.types import Message, ReverieError

if TYPE_CHECKING:
    from reverie.engine import Model
    from reverie.explain import Maker

MOST_SECONDS = 120.0  # that one exhibit may keep the model from others
MOST_LETTERS = 20_000  # of a prompt; exhibits look at its last 96 tokens
PICTURE, PICTURE_PX = "picture", 512  # the option that is a reader's own picture, and what that is brought to
MEDIA = {"lm": "text", "diffusion": "image", "both": None}  # whose model shows an exhibit that names no medium

router = APIRouter(prefix="/api", responses=ERRORS, tags=["exhibits"])
WorkerPart = Annotated[Any, part("worker")]
Value = bool | int | float | Annotated[str, Field(max_length=2_000)] | None


class ExhibitOption(Shape):
    """Something that can be chosen about an exhibit. default: None where the model or the prompt decides.

    choices: what it can be; empty where it can be anything of its kind.
    """

    name: str
    kind: Literal["int", "float", "bool", "str"]
    default: bool | int | float | str | None
    choices: list[str]


class ExhibitKind(Shape):
    """An exhibit that can be made. takes_picture: of the reader's own. medium: whose models alone have it."""

    name: str
    title: str
    question: str
    family: Literal["lm", "diffusion", "both"]
    version: int
    options: list[ExhibitOption]
    takes_picture: bool
    medium: str | None


class ExhibitList(Shape):
    """The exhibits there are, or those of one model."""

    exhibits: list[ExhibitKind]


class ExhibitRequest(Shape):
    """What to make an exhibit of. model: left out, the default one of the exhibit's family."""

    model: Short | None = None
    prompt: Annotated[str, Field(max_length=MOST_LETTERS)] | Annotated[list[Turn], Field(min_length=1, max_length=200)]
    options: Annotated[dict[Short, Value], Field(max_length=32, default_factory=dict)]
    picture: Base64 | None = None


class ExhibitReply(Shape):
    """An exhibit and how to draw it: any of the six shapes, told apart by `kind`, the most telling first."""

    exhibit: Exhibit
    views: list[View]


@router.get("/exhibits")
async def list_exhibits(
    http: Request, models: ModelsPart, worker: WorkerPart, model: Annotated[str | None, Query(max_length=200)] = None
) -> ExhibitList:
    """All exhibits, or those that can be seen in a model, which is loaded for it."""
    if model is None:
        names = await asyncio.to_thread(exhibits)
    else:
        path = await asyncio.to_thread(models.resolve, model)
        names = await unless_gone(http, worker.call(path, exhibits))
    return ExhibitList(exhibits=[_kind(about(name)) for name in names])


@router.post("/exhibits/{name}", response_model=ExhibitReply)
async def make_exhibit(
    name: Annotated[str, Path(max_length=80)],
    wanted: ExhibitRequest,
    http: Request,
    models: ModelsPart,
    worker: WorkerPart,
) -> Response:
    """Make an exhibit between two steps of what runs; who goes away before the end cancels it."""
    if name not in await asyncio.to_thread(exhibits):
        raise not_found("exhibit")
    asked = wanted.model
    asked = await asyncio.to_thread(models.default, _medium(about(name))) if asked is None else asked
    path = await asyncio.to_thread(models.resolve, asked)
    options = await asyncio.to_thread(_options, wanted)
    prompt = wanted.prompt if isinstance(wanted.prompt, str) else [Message(t.role, t.content) for t in wanted.prompt]
    leash = Leash(MOST_SECONDS, worker.beat)

    def make(model: Model) -> Exhibit:
        with leash.on(model):
            return exhibit(name, model, prompt, **options)

    try:
        made = await unless_gone(http, worker.call(path, make))
    finally:
        leash.let_go()
    return Response(await asyncio.to_thread(_body, replace(made, model=asked)), media_type="application/json")


class Leash:
    """Ends from outside what runs a model: the next time the model is run, once nobody waits or time is up.

    alive: is called each time.
    """

    def __init__(self, seconds: float, alive: Callable[[], None]) -> None:
        self._seconds, self._alive, self._gone = seconds, alive, threading.Event()
        self._until = 0.0

    def let_go(self) -> None:
        """Nobody waits for it any more."""
        self._gone.set()

    @contextmanager
    def on(self, model: Model) -> Iterator[None]:
        """Holds the model while the `with` lasts; the seconds begin here."""
        self._until = time.monotonic() + self._seconds
        self._check()
        with changed(model.core.blocks[0], self._check, before=True):
            yield

    def _check(self, *_: Any) -> None:
        self._alive()
        if self._gone.is_set():
            raise ReverieError("Nobody waits for this exhibit any more.")
        if time.monotonic() > self._until:
            raise ReverieError(
                f"The exhibit takes more than {self._seconds:.0f} seconds: ask for fewer steps or pictures."
            )


def _kind(maker: Maker) -> ExhibitKind:
    told = [
        ExhibitOption(name=name, kind=maker.kinds[name], default=default, choices=list(maker.choices.get(name, ())))  # type: ignore[arg-type]
        for name, default in maker.options.items()
        if name != PICTURE
    ]
    return ExhibitKind(
        name=maker.name, title=maker.title, question=maker.question, family=maker.family, version=maker.version,
        options=told, takes_picture=PICTURE in maker.options, medium=maker.medium,
    )  # fmt: skip


def _medium(maker: Maker) -> str | None:
    """Whose default model shows an exhibit if no model is named."""
    return MEDIA[maker.family] if maker.medium is None else maker.medium


def _options(wanted: ExhibitRequest) -> dict[str, Any]:
    """The options, the reader's picture among them: written anew and small, so nothing else of its file goes on."""
    if PICTURE in wanted.options:
        raise ReverieError("A picture is no option here: send it as the field picture.")
    if wanted.picture is None:
        return dict(wanted.options)
    data = media.to_png(media.fit(decode_picture(wanted.picture), PICTURE_PX))
    return {**wanted.options, PICTURE: f"data:image/png;base64,{base64.b64encode(data).decode()}"}


def _body(made: Exhibit) -> bytes:
    """The reply as JSON; written here, since what is checked by `Exhibit` need not be checked again."""
    told = {"exhibit": asdict(made), "views": [asdict(view) for view in views(made)]}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")
