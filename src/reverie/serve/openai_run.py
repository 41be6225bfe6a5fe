"""Running what an OpenAI client asked for: from prompts to tickets, their steps in one stream, and an end to it all as
soon as the client is gone."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import Request as HttpRequest
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Receive, Scope, Send

from reverie import modalities
from reverie.hub.catalogue import catalogue, default_name
from reverie.lm.constrain import Json as JsonRule
from reverie.lm.prompt_scores import TokenScore, prompt_scores
from reverie.serve.errors import Refused
from reverie.serve.openai_map import Choice, Prompt, Words, Wrong
from reverie.serve.openai_route import error_body
from reverie.types import LMRequest, Request, ReverieError, Step

if TYPE_CHECKING:
    from reverie.engine import Model
    from reverie.serve.models import Models

T = TypeVar("T")

PING_SECONDS = 15
LOOK_SECONDS = 0.1  # between two looks whether a client that gets no stream is still there


@dataclass(frozen=True)
class Served:
    """A model that was asked for. name: as the client knows it; path: as the engine does."""

    name: str
    path: str


def find_model(http: HttpRequest, name: str | None, kind: type[Request]) -> Served:
    """The model of a request; None: the default one that can be asked for a `kind`."""
    models = http.app.state.models
    name = _default(models, kind) if name is None else name
    return Served(name, models.resolve(name))


def _default(models: Models, kind: type[Request]) -> str:
    """The default model of the first medium of this `kind` that has one; that of the default model before others."""
    media = [medium for medium in modalities.names() if modalities.modality(medium).request is kind]
    usual = catalogue()[default_name()].modality
    for medium in sorted(media, key=lambda medium: medium != usual):
        with suppress(Refused):
            return models.default(medium)
    what = " or ".join(media)
    raise Wrong(f"No model for {what} is here: train one, or start the server with -m.", "model", status=409)


@dataclass(frozen=True)
class Prepared:
    """What the model says of prompts before it begins: the tokens of each, and how its tokens are spelt."""

    tokens: list[list[int]]
    words: Words
    context_tokens: int


def need(model: Model, kind: type[Request], what: str) -> None:
    """A refusal unless a `kind` is what the model is asked for; one that composes is a writer for its core alone."""
    if model.medium.request is not kind:
        raise Wrong(f"This model makes {model.medium.name}: choose one that {what}.", "model")


def prepare(model: Model, prompts: Sequence[Prompt], settings: dict[str, Any], param: str) -> Prepared:
    """Reads the prompts, on the worker's thread; whatever has no place in the context is refused, never cut off.

    What is wrong with the settings shows here too. param: the field that the prompts come from.
    """
    need(model, LMRequest, "writes")
    LMRequest(prompts[0], **{**settings, "max_tokens": max(1, settings["max_tokens"])})
    tokens = [model.medium.encode(prompt) for prompt in prompts]
    context = model.context_tokens
    room = context - max(map(len, tokens))
    if room < (1 if settings["max_tokens"] else 0):
        raise Wrong(
            f"The prompt is {context - room:,} tokens long and this model's context is {context:,}: shorten it.",
            param,
            "context_length_exceeded",
        )
    if not all(tokens):
        raise Wrong("The prompt is empty: give at least one word.", param)
    if "json_schema" in settings:
        least = JsonRule(model.medium.tokenizer, settings["json_schema"]).least_tokens
        if least > min(room, settings["max_tokens"]):
            raise Wrong(f"The shortest answer that fits the schema has {least} tokens: raise max_tokens.", "max_tokens")
    return Prepared(tokens, model.medium.tokenizer, context)


def submit(worker: Any, served: Served, prompts: Sequence[Any], settings: dict[str, Any], n: int) -> list[Any]:
    """A ticket for each of n things of each prompt, with seeds one after the other; all of them or none."""
    first, tickets = settings.get("seed"), list[Any]()
    first = secrets.randbelow(2**32) if first is None else first
    try:
        for prompt in prompts:
            for number in range(n):
                tickets.append(worker.submit(served.path, prompt, **{**settings, "seed": first + number}))
    except BaseException:
        cancel(tickets)
        raise
    return tickets


def cancel(tickets: Sequence[Any]) -> None:
    """Stops the work; of what has ended nothing changes."""
    for ticket in tickets:
        ticket.cancel()


async def merged(tickets: Sequence[Any]) -> AsyncGenerator[tuple[int, Step], None]:
    """The steps of several tickets as they come, each with the number of its ticket; a failure of one is raised.

    However it ends, nothing of them is left running.
    """
    queue: asyncio.Queue[tuple[int, Step | BaseException | None]] = asyncio.Queue(maxsize=1)

    async def follow(place: int) -> None:
        try:
            async for step in tickets[place].steps():
                await queue.put((place, step))
            await queue.put((place, tickets[place].error))
        except ReverieError as error:
            await queue.put((place, error))

    tasks = [asyncio.create_task(follow(place)) for place in range(len(tickets))]
    running = len(tasks)
    try:
        while running:
            place, step = await queue.get()
            if isinstance(step, BaseException):
                raise step
            if step is None:
                running -= 1
            else:
                yield place, step
    finally:
        cancel(tickets)
        for task in tasks:
            task.cancel()


async def finish(tickets: Sequence[Any]) -> list[Choice]:
    """Runs all texts to their ends."""
    choices = [Choice() for _ in tickets]
    async for place, step in merged(tickets):
        choices[place].add(step)
    return choices


async def score(worker: Any, served: Served, tokens: Sequence[int], num_top: int) -> list[TokenScore]:
    """How likely the model finds a prompt, token by token; other work has its turn between the chunks."""
    scores = await worker.call(served.path, lambda model: prompt_scores(model.core, tokens, num_top))
    found: list[TokenScore] = []
    while chunk := await worker.call(served.path, lambda _: next(scores, None)):
        found += chunk
    return found


async def unless_gone(http: HttpRequest, work: Awaitable[T]) -> T:
    """The result of some work, which ends at once if the client goes away."""
    task = asyncio.ensure_future(work)
    watch = asyncio.create_task(_gone(http))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Wrong("The client went away.", status=499)
        return await task
    finally:
        for each in (task, watch):
            each.cancel()
            with suppress(asyncio.CancelledError, ReverieError):
                await each


async def _gone(http: HttpRequest) -> None:
    while not await http.is_disconnected():
        await asyncio.sleep(LOOK_SECONDS)


class Events(EventSourceResponse):
    """Server-sent events. However they end, also because the client left, their tickets are cancelled."""

    def __init__(self, source: AsyncIterator[ServerSentEvent], tickets: Sequence[Any]) -> None:
        super().__init__(source, ping=PING_SECONDS, sep="\n")
        self._source: Any = source
        self._tickets = tickets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - Starlette's
        try:
            await super().__call__(scope, receive, send)
        finally:
            cancel(self._tickets)
            await self._source.aclose()


async def events(chunks: AsyncGenerator[Any, None]) -> AsyncIterator[ServerSentEvent]:
    """Chunks as events; what goes wrong on the way is the last of them. Chunks with a "type" are called after it."""
    typed = False
    try:
        async with aclosing(chunks) as source:
            async for chunk in source:
                typed = "type" in chunk
                yield ServerSentEvent(json.dumps(chunk), event=chunk.get("type"))
    except ReverieError as error:
        yield ServerSentEvent(json.dumps(error_body(error)), event="error" if typed else None)
        return
    if not typed:
        yield ServerSentEvent("[DONE]")
