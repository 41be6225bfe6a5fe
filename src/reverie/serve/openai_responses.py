"""OpenAI's /v1/responses, without memory: a conversation comes in whole, and one answer goes out."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request

from reverie.serve import openai_map
from reverie.serve.openai_map import Choice, Json
from reverie.serve.openai_route import Route
from reverie.serve.openai_run import Events, events, find_model, finish, merged, prepare, submit, unless_gone
from reverie.serve.openai_shapes import ResponseRequest
from reverie.types import LMRequest

if TYPE_CHECKING:
    from reverie.serve.openai_run import Prepared

router = APIRouter(route_class=Route, tags=["OpenAI"])


@dataclass(frozen=True)
class Run:
    """An answer under way. head: what stays the same of the response; item: the id of its one message."""

    tickets: list[Any]
    head: Json
    item: str
    num_prompt_tokens: int


@router.post("/v1/responses")
async def responses(http: Request, body: ResponseRequest) -> Any:
    """Answers what is said to it."""
    settings, messages = openai_map.response_settings(body), openai_map.response_prompt(body)
    worker = http.app.state.worker
    served = await asyncio.to_thread(find_model, http, body.model, LMRequest)
    prepared: Prepared = await worker.call(served.path, lambda model: prepare(model, [messages], settings, "input"))
    tickets = submit(worker, served, [messages], settings, 1)
    run = Run(tickets, _head(body, served.name), f"msg_{secrets.token_hex(12)}", len(prepared.tokens[0]))
    if body.stream:
        return Events(events(_numbered(_told(run))), tickets)
    (choice,) = await unless_gone(http, finish(tickets))
    return _response(run, choice)


def _head(body: ResponseRequest, model: str) -> Json:
    wanted = None if body.text is None else body.text.format
    given = {"type": "text"} if wanted is None else wanted.model_dump(by_alias=True, exclude_none=True)
    return {
        "id": f"resp_{secrets.token_hex(12)}", "object": "response", "created_at": int(time.time()), "model": model,
        "instructions": body.instructions, "max_output_tokens": body.max_output_tokens, "temperature": body.temperature,
        "top_p": body.top_p, "text": {"format": given}, "store": False, "previous_response_id": None, "metadata": {},
        "parallel_tool_calls": False, "tool_choice": "none", "tools": [], "truncation": "disabled", "error": None,
    }  # fmt: skip


def _response(run: Run, choice: Choice | None) -> Json:
    """The response as it stands; choice: None while nothing is finished."""
    if choice is None:
        return run.head | {"status": "in_progress", "incomplete_details": None, "output": [], "usage": None}
    status = _status(choice)
    return run.head | {
        "status": status,
        "incomplete_details": None if status == "completed" else {"reason": "max_output_tokens"},
        "output": [_message(run, status, [_part(choice.text)])],
        "usage": {
            "input_tokens": run.num_prompt_tokens, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": choice.num_tokens, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": run.num_prompt_tokens + choice.num_tokens,
        },
    }  # fmt: skip


def _status(choice: Choice) -> str:
    return "completed" if choice.finish_reason == "stop" else "incomplete"


def _message(run: Run, status: str, parts: list[Json]) -> Json:
    return {"type": "message", "id": run.item, "status": status, "role": "assistant", "content": parts}


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": []}


async def _told(run: Run) -> AsyncGenerator[Json, None]:
    """The events of an answer, in OpenAI's order."""
    choice = Choice()
    for event in _begin(run):
        yield event
    async with aclosing(merged(run.tickets)) as steps:
        async for _, step in steps:
            piece, _ = choice.add(step)
            if piece:
                yield _of_text(run, "delta", delta=piece, logprobs=[])
    for event in _end(run, choice):
        yield event


def _begin(run: Run) -> Iterator[Json]:
    yield {"type": "response.created", "response": _response(run, None)}
    yield {"type": "response.in_progress", "response": _response(run, None)}
    yield {"type": "response.output_item.added", "output_index": 0, "item": _message(run, "in_progress", [])}
    yield _of_part(run, "added", "")


def _end(run: Run, choice: Choice) -> Iterator[Json]:
    status = _status(choice)
    yield _of_text(run, "done", text=choice.text, logprobs=[])
    yield _of_part(run, "done", choice.text)
    item = _message(run, status, [_part(choice.text)])
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    yield {"type": f"response.{status}", "response": _response(run, choice)}


def _of_text(run: Run, name: str, **more: Any) -> Json:
    return {"type": f"response.output_text.{name}", "item_id": run.item, "output_index": 0, "content_index": 0, **more}


def _of_part(run: Run, name: str, text: str) -> Json:
    place = {"item_id": run.item, "output_index": 0, "content_index": 0}
    return {"type": f"response.content_part.{name}", **place, "part": _part(text)}


async def _numbered(chunks: AsyncGenerator[Json, None]) -> AsyncGenerator[Json, None]:
    """Events with their numbers."""
    number = 0
    async with aclosing(chunks) as source:
        async for chunk in source:
            yield chunk | {"sequence_number": number}
            number += 1
