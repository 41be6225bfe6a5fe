"""OpenAI's routes: any client of theirs works by changing one address. Here: models, chats, completions, embeddings."""

from __future__ import annotations

import asyncio
import base64
import secrets
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request

from reverie import engine
from reverie.hub.catalogue import catalogue
from reverie.serve import openai_images, openai_map, openai_music, openai_responses, openai_run, openai_videos
from reverie.serve.errors import Refused
from reverie.serve.models import READERS
from reverie.serve.openai_map import Choice, Json, Prompt, Wrong, usage
from reverie.serve.openai_route import Route
from reverie.serve.openai_run import Events, Served, events, find_model, merged, need, prepare, submit, unless_gone
from reverie.serve.openai_shapes import (
    ChatRequest,
    CompletionRequest,
    DetokenizeRequest,
    EmbeddingRequest,
    TokenizeRequest,
)  # fmt: skip
from reverie.types import LMRequest, ReverieError

if TYPE_CHECKING:
    from reverie.engine import Model
    from reverie.lm.prompt_scores import TokenScore
    from reverie.lm.sentence import SentenceEncoder

router = APIRouter(route_class=Route, tags=["OpenAI"])


# --- models ---


@router.get("/v1/models")
async def all_models(http: Request) -> Json:
    """The models that are here."""
    return {"object": "list", "data": await asyncio.to_thread(_models, http)}


@router.get("/v1/models/{name:path}")
async def one_model(http: Request, name: str) -> Json:
    """One of them."""
    for found in await asyncio.to_thread(_models, http):
        if found["id"] == name:
            return found
    raise Refused(404, f"There is no model {name[:100]!r} here: /v1/models lists those there are.")


def _models(http: Request) -> list[Json]:
    return [
        {"id": view.name, "object": "model", "created": 0, "owned_by": "reverie", "modality": view.modality}
        for view in http.app.state.models.views()
        if view.installed and (view.usable or view.family == READERS)
    ]


# --- texts ---


@dataclass(frozen=True)
class Run:
    """Texts under way. head: what every reply and chunk begins with."""

    worker: Any
    served: Served
    prompts: Sequence[Prompt]
    prepared: openai_run.Prepared
    tickets: list[Any]
    head: Json


async def _begin(http: Request, body: Any, prompts: Sequence[Prompt], settings: Json, kind: tuple[str, str]) -> Run:
    """Checks everything that can be checked before anything is written, then submits. kind: of id, of object."""
    worker = http.app.state.worker
    served = await asyncio.to_thread(find_model, http, body.model, LMRequest)
    param = "messages" if isinstance(body, ChatRequest) else "prompt"
    prepared = await worker.call(served.path, lambda model: prepare(model, prompts, settings, param))
    n = 1 if body.n is None else body.n
    tickets = submit(worker, served, prompts, settings, n) if settings["max_tokens"] else []
    head = {
        "id": f"{kind[0]}-{secrets.token_hex(12)}", "object": kind[1], "created": int(time.time()),
        "model": served.name, "system_fingerprint": f"reverie-{metadata.version('reverie')}",
    }  # fmt: skip
    return Run(worker, served, prompts, prepared, tickets, head)


@router.post("/v1/chat/completions")
async def chat(http: Request, body: ChatRequest) -> Any:
    """Answers a conversation."""
    settings = openai_map.chat_settings(body)
    kind = ("chatcmpl", "chat.completion.chunk" if body.stream else "chat.completion")
    run = await _begin(http, body, [openai_map.conversation(body.messages)], settings, kind)
    if body.stream:
        return Events(events(_chat_chunks(body, run)), run.tickets)
    choices = await unless_gone(http, openai_run.finish(run.tickets))
    return run.head | {
        "choices": [
            openai_map.chat_choice(index, choice, _chat_logprobs(body, run, choice.tokens))
            for index, choice in enumerate(choices)
        ],
        "usage": _usage(run, choices),
    }


async def _chat_chunks(body: ChatRequest, run: Run) -> AsyncGenerator[Json, None]:
    choices = [Choice() for _ in run.tickets]
    for index in range(len(choices)):
        yield _chunk(body, run, openai_map.chat_delta(index, {"role": "assistant", "content": ""}))
    async with aclosing(merged(run.tickets)) as steps:
        async for index, step in steps:
            piece, scores = choices[index].add(step)
            if piece or scores:
                logprobs = _chat_logprobs(body, run, scores)
                yield _chunk(body, run, openai_map.chat_delta(index, {"content": piece}, logprobs=logprobs))
            if choices[index].finish_reason is not None:
                yield _chunk(body, run, openai_map.chat_delta(index, {}, choices[index].finish_reason))
    if _with_usage(body):
        yield run.head | {"choices": [], "usage": _usage(run, choices)}


def _chat_logprobs(body: ChatRequest, run: Run, scores: Sequence[TokenScore]) -> Json | None:
    num_top = 0 if body.top_logprobs is None else body.top_logprobs
    return openai_map.chat_logprobs(scores, run.prepared.words, num_top) if body.logprobs else None


@router.post("/v1/completions")
async def completions(http: Request, body: CompletionRequest) -> Any:
    """Continues texts. With echo the text and its log-probabilities begin with the prompt."""
    settings = openai_map.completion_settings(body)
    run = await _begin(http, body, openai_map.prompts(body), settings, ("cmpl", "text_completion"))
    if body.stream:
        return Events(events(_text_chunks(body, run)), run.tickets)
    return await unless_gone(http, _texts(body, run))


Echo = tuple[str, "list[TokenScore]"]  # a prompt as it comes back, and its scores


async def _echoes(body: CompletionRequest, run: Run) -> list[Echo]:
    """What each text begins with: its prompt if that is to come back, else nothing."""
    found: list[Echo] = []
    for prompt, tokens in zip(run.prompts, run.prepared.tokens, strict=True):
        text = prompt if isinstance(prompt, str) else _spelt(run.prepared.words, tokens)
        scores: list[TokenScore] = []
        if body.echo and body.logprobs is not None:
            scores = await openai_run.score(run.worker, run.served, tokens, max(1, body.logprobs))
        found.append((text, scores) if body.echo else ("", []))
    return [echo for echo in found for _ in range(1 if body.n is None else body.n)]


async def _texts(body: CompletionRequest, run: Run) -> Json:
    try:
        echoes = await _echoes(body, run)
        choices = await openai_run.finish(run.tickets)
    finally:
        openai_run.cancel(run.tickets)
    found = []
    for index, (text, scores) in enumerate(echoes):
        choice = choices[index] if choices else Choice(finish_reason="length")  # nothing but the prompt was wanted
        logprobs = _text_logprobs(body, run, [*scores, *choice.tokens], 0)
        found.append(openai_map.text_choice(index, text + choice.text, choice.finish_reason, logprobs))
    return run.head | {"choices": found, "usage": _usage(run, choices)}


async def _text_chunks(body: CompletionRequest, run: Run) -> AsyncGenerator[Json, None]:
    echoes = await _echoes(body, run)
    choices = [Choice() for _ in echoes]
    for index, (text, scores) in enumerate(echoes):
        if body.echo:
            reason = None if run.tickets else "length"
            logprobs = _text_logprobs(body, run, scores, 0)
            yield _chunk(body, run, openai_map.text_choice(index, text, reason, logprobs))
    async with aclosing(merged(run.tickets)) as steps:
        async for index, step in steps:
            offset = len(echoes[index][0]) + len(choices[index].text)
            piece, scores = choices[index].add(step)
            reason = choices[index].finish_reason
            if piece or scores or reason is not None:
                logprobs = _text_logprobs(body, run, scores, offset)
                yield _chunk(body, run, openai_map.text_choice(index, piece, reason, logprobs))
    if _with_usage(body):
        yield run.head | {"choices": [], "usage": _usage(run, choices)}


def _text_logprobs(body: CompletionRequest, run: Run, scores: Sequence[TokenScore], offset: int) -> Json | None:
    if body.logprobs is None:
        return None
    return openai_map.text_logprobs(scores, run.prepared.words, body.logprobs, offset)


def _spelt(words: openai_map.Words, tokens: Sequence[int]) -> str:
    return b"".join(map(words.token_bytes, tokens)).decode("utf-8", "replace")


def _chunk(body: ChatRequest | CompletionRequest, run: Run, choice: Json) -> Json:
    return run.head | {"choices": [choice]} | ({"usage": None} if _with_usage(body) else {})


def _with_usage(body: ChatRequest | CompletionRequest) -> bool:
    return body.stream_options is not None and bool(body.stream_options.include_usage)


def _usage(run: Run, choices: Sequence[Choice]) -> Json:
    return usage(sum(map(len, run.prepared.tokens)), sum(choice.num_tokens for choice in choices))


# --- tokens ---


@router.post("/tokenize")
async def tokenize(http: Request, body: TokenizeRequest) -> Json:
    """A prompt, or a conversation, as the tokens that the model reads."""
    if (body.prompt is None) == (body.messages is None):
        raise Wrong("Give either a prompt or messages: one of the two.", "prompt")
    prompt = body.prompt if body.messages is None else openai_map.conversation(body.messages)
    assert prompt is not None

    def read(model: Model) -> Json:
        need(model, LMRequest, "writes")
        plain = isinstance(prompt, str) and not body.add_special_tokens
        tokens = model.medium.tokenizer.encode(prompt) if plain else model.medium.encode(prompt)
        return {"count": len(tokens), "max_model_len": model.context_tokens, "tokens": tokens}

    served = await asyncio.to_thread(find_model, http, body.model, LMRequest)
    found: Json = await http.app.state.worker.call(served.path, read)
    return found


@router.get("/tokenizer_info")
async def tokenizer_info(http: Request, model: str | None = None) -> Json:
    """What evaluation programs ask before they use /tokenize: the tokens that begin and end a document."""

    def read(model: Model) -> Json:
        need(model, LMRequest, "writes")
        tokenizer = model.medium.tokenizer
        begin, end = (text if text else None for text in (tokenizer.bos_text, tokenizer.eos_text))
        return {"bos_token": begin, "eos_token": end, "chat_template": model.medium.template.source}

    served = await asyncio.to_thread(find_model, http, model, LMRequest)
    found: Json = await http.app.state.worker.call(served.path, read)
    return found


@router.post("/detokenize")
async def detokenize(http: Request, body: DetokenizeRequest) -> Json:
    """Tokens as text."""

    def write(model: Model) -> Json:
        need(model, LMRequest, "writes")
        return {"prompt": _spelt(model.medium.tokenizer, model.medium.encode(body.tokens) if body.tokens else [])}

    served = await asyncio.to_thread(find_model, http, body.model, LMRequest)
    found: Json = await http.app.state.worker.call(served.path, write)
    return found


# --- embeddings ---


@router.post("/v1/embeddings")
async def embeddings(http: Request, body: EmbeddingRequest) -> Json:
    """Texts as vectors of length 1, near to each other where the texts mean alike."""
    name = body.model if body.model is not None else next(e.name for e in catalogue().values() if e.family == READERS)
    if name not in catalogue() or catalogue()[name].family != READERS:
        raise Wrong(f"{name[:100]!r} makes no embeddings: use minilm.", "model", "model_not_found", 404)
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not all(texts):
        raise Wrong("A text of the input is empty: leave it out.", "input")
    rows, num_tokens = await asyncio.to_thread(_embedded, name, texts)
    as_text = body.encoding_format == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _base64(row) if as_text else row.tolist()}
        for index, row in enumerate(rows)
    ]
    tokens = {"prompt_tokens": num_tokens, "total_tokens": num_tokens}
    return {"object": "list", "data": data, "model": name, "usage": tokens}


_reading = threading.Lock()  # one text after the other: the cores are shared with all else


@cache
def _encoder(name: str) -> SentenceEncoder:
    return engine.sentence_encoder(name, offline=True)


def _embedded(name: str, texts: Sequence[str]) -> tuple[Any, int]:
    with _reading:
        encoder = _encoder(name)
        try:
            tokens = [encoder.tokens(text) for text in texts]
        except ReverieError as error:
            raise Wrong(str(error), "input", "context_length_exceeded") from error
        return encoder.embed(tokens).numpy(), sum(map(len, tokens))


def _base64(row: Any) -> str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode()


router.include_router(openai_images.router)
router.include_router(openai_music.router)
router.include_router(openai_responses.router)
router.include_router(openai_videos.router)
