"""OpenAI's JSON to and from Reverie's words: requests -> settings of a model, steps -> chunks and replies. All pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Protocol

from reverie.lm.constrain import ANY_OBJECT
from reverie.lm.prompt_scores import TokenScore
from reverie.serve.errors import Refused
from reverie.serve.openai_shapes import (
    CHAT_TOKENS,
    COMPLETION_TOKENS,
    MOST_CHOICES,
    AsObject,
    AsSchema,
    AsText,
    ChatRequest,
    CompletionRequest,
    EditRequest,
    PictureRequest,
    ResponseRequest,
    Sampling,
    SchemaInText,
    Turn,
)  # fmt: skip
from reverie.types import Message, Step

Prompt = str | list[int] | list[Message]
Json = dict[str, Any]

# Reverie's name -> OpenAI's, where both mean the same.
SAMPLING = {name: name for name in (
    "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "frequency_penalty", "presence_penalty", "seed",
)}  # fmt: skip
DRAWING = {
    "seed": "seed", "negative": "negative_prompt", "guidance": "guidance_scale", "steps": "num_inference_steps",
    "sampler": "sampler", "strength": "strength",
}  # fmt: skip


class Wrong(Refused):
    """A request that is refused. param: the field that is wrong; code: OpenAI's word for what is."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(status, message)
        self.param, self.code = param, code


class Words(Protocol):
    """What is needed of a tokenizer."""

    eos_ids: frozenset[int]

    def token_text(self, token: int) -> str: ...  # noqa: D102
    def token_bytes(self, token: int) -> bytes: ...  # noqa: D102


# --- requests ---


def chat_settings(body: ChatRequest) -> Json:
    """The settings of `LMRequest` for an answer."""
    if body.max_tokens is not None and body.max_completion_tokens is not None:
        raise Wrong("Give either max_tokens or max_completion_tokens: they mean the same.", "max_completion_tokens")
    if body.top_logprobs is not None and not body.logprobs:
        raise Wrong("top_logprobs needs logprobs: set it to true.", "top_logprobs")
    most = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    settings = _settings(body) | {"max_tokens": CHAT_TOKENS if most is None else most}
    if body.logprobs:
        settings["num_logprobs"] = max(1, _number(body.top_logprobs, 0))
    return settings | _format(body.response_format, "stop" in settings)


def completion_settings(body: CompletionRequest) -> Json:
    """The settings of `LMRequest` for a text that goes on."""
    if body.max_tokens == 0 and not body.echo:
        raise Wrong("max_tokens is 0 and echo is off, so nothing would come back: ask for at least 1.", "max_tokens")
    settings = _settings(body) | {"max_tokens": _number(body.max_tokens, COMPLETION_TOKENS)}
    return settings if body.logprobs is None else settings | {"num_logprobs": max(1, body.logprobs)}


def response_settings(body: ResponseRequest) -> Json:
    """The settings of `LMRequest` for a response."""
    given = {name: getattr(body, name) for name in ("temperature", "top_p", "seed")}
    settings = {name: value for name, value in given.items() if value is not None}
    settings["max_tokens"] = _number(body.max_output_tokens, CHAT_TOKENS)
    return settings | _format(None if body.text is None else body.text.format, has_stop=False)


def _settings(body: Sampling) -> Json:
    if body.stream_options is not None and not body.stream:
        raise Wrong("stream_options needs stream: set it to true.", "stream_options")
    settings = {ours: getattr(body, theirs) for ours, theirs in SAMPLING.items() if getattr(body, theirs) is not None}
    if body.stop:
        settings["stop"] = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop)
    if body.logit_bias:
        settings["logit_bias"] = {int(token): bias for token, bias in body.logit_bias.items()}
    return settings


def _format(wanted: AsText | AsObject | AsSchema | SchemaInText | None, has_stop: bool) -> Json:
    """The schema that an answer must fit."""
    if wanted is None or isinstance(wanted, AsText):
        return {}
    if has_stop:
        raise Wrong("A stop string would cut the JSON off: leave stop out, or ask for text.", "stop")
    if isinstance(wanted, AsObject):
        return {"json_schema": ANY_OBJECT}
    schema = wanted.schema_ if isinstance(wanted, SchemaInText) else wanted.json_schema.schema_
    return {"json_schema": json.dumps(schema)}


def conversation(turns: Sequence[Turn]) -> list[Message]:
    """Messages as a model takes them. A developer is what OpenAI calls the system."""
    return [Message("system" if turn.role == "developer" else turn.role, _text(turn)) for turn in turns]


def _text(turn: Turn) -> str:
    return turn.content if isinstance(turn.content, str) else "".join(part.text for part in turn.content)


def response_prompt(body: ResponseRequest) -> list[Message]:
    """Instructions and input as a conversation."""
    said = [Message("user", body.input)] if isinstance(body.input, str) else conversation(body.input)
    return said if body.instructions is None else [Message("system", body.instructions), *said]


def prompts(body: CompletionRequest) -> list[Prompt]:
    """The one prompt, or each of several."""
    several = isinstance(body.prompt, list) and not isinstance(body.prompt[0], int)
    found: list[Any] = list(body.prompt) if several else [body.prompt]
    if len(found) * _number(body.n, 1) > MOST_CHOICES:
        raise Wrong(f"{len(found)} prompts with n of {body.n} are too many: {MOST_CHOICES} texts are the most.", "n")
    return found


def drawing_settings(body: PictureRequest) -> Json:
    """The settings of `ImageRequest`."""
    given = {ours: getattr(body, theirs, None) for ours, theirs in DRAWING.items()}
    given["size_px"] = square(body.size, "pictures")
    if body.partial_images and not body.stream:
        raise Wrong("partial_images needs stream: set it to true.", "partial_images")
    return {name: value for name, value in given.items() if value is not None}


def square(size: str | None, what: str) -> int | None:
    """OpenAI's size -> the sides in pixels, or None of "auto"."""
    if size in (None, "auto"):
        return None
    width, height = map(int, str(size).split("x"))
    if width != height:
        raise Wrong(f"size is {size}: {what} are square, such as {height}x{height}.", "size")
    return width


def form_settings(fields: Mapping[str, str]) -> EditRequest:
    """The fields of a form as a request; what is wrong is a pydantic `ValidationError`."""
    return EditRequest.model_validate(dict(fields))


def _number(value: int | None, default: int) -> int:
    return default if value is None else value


# --- replies ---


@dataclass
class Choice:
    """One text as it grows. tokens: those that were written, with their log-probabilities where they were asked for."""

    text: str = ""
    finish_reason: str | None = None
    num_tokens: int = 0
    tokens: list[TokenScore] = field(default_factory=list)

    def add(self, step: Step) -> tuple[str, list[TokenScore]]:
        """Takes in a step; gives what is new."""
        if "token" not in step.info:
            return "", []
        self.num_tokens = step.index
        self.finish_reason = step.info.get("finish_reason")
        piece, scores = step.info["text"], _scores(step)
        self.text += piece
        self.tokens += scores
        return piece, scores


def _scores(step: Step) -> list[TokenScore]:
    if "logprob" not in step.info:
        return []
    return [TokenScore(step.info["token"], step.info["logprob"], tuple(step.info["top_logprobs"]))]


def usage(prompt_tokens: int, new_tokens: int) -> Json:
    """How many tokens it was."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": new_tokens,
        "total_tokens": prompt_tokens + new_tokens,
    }


def chat_choice(index: int, choice: Choice, logprobs: Json | None) -> Json:
    """An answer, as a whole."""
    message = {"role": "assistant", "content": choice.text}
    return {"index": index, "message": message, "finish_reason": choice.finish_reason, "logprobs": logprobs}


def chat_delta(index: int, delta: Json, finish_reason: str | None = None, logprobs: Json | None = None) -> Json:
    """A piece of an answer."""
    return {"index": index, "delta": delta, "finish_reason": finish_reason, "logprobs": logprobs}


def text_choice(index: int, text: str, finish_reason: str | None, logprobs: Json | None) -> Json:
    """A text, or a piece of one."""
    return {"index": index, "text": text, "finish_reason": finish_reason, "logprobs": logprobs}


def chat_logprobs(scores: Iterable[TokenScore], words: Words, num_top: int) -> Json:
    """Log-probabilities as chats have them; the token that ends an answer is no part of it."""
    kept = [score for score in scores if score.token not in words.eos_ids]
    return {
        "content": [
            _candidate(score.token, score.logprob, words)
            | {"top_logprobs": [_candidate(token, value, words) for token, value in score.top[:num_top]]}
            for score in kept
        ],
        "refusal": None,
    }


def _candidate(token: int, logprob: float | None, words: Words) -> Json:
    spelt = {"token": words.token_text(token), "bytes": list(words.token_bytes(token))}
    return spelt | {"logprob": None if logprob is None else max(logprob, -9999.0)}


def text_logprobs(scores: Sequence[TokenScore], words: Words, num_top: int, offset: int = 0) -> Json:
    """Log-probabilities as completions have them, with the token that ends a text. offset: where the first begins."""
    texts = [words.token_text(score.token) for score in scores]
    lengths = [len(words.token_bytes(score.token).decode("utf-8", "ignore")) for score in scores]
    return {
        "tokens": texts,
        "token_logprobs": [None if score.logprob is None else max(score.logprob, -9999.0) for score in scores],
        "top_logprobs": [_alternatives(score, words, num_top) for score in scores],
        "text_offset": list(accumulate(lengths[:-1], initial=offset)) if scores else [],
    }


def _alternatives(score: TokenScore, words: Words, num_top: int) -> dict[str, float] | None:
    """The likeliest tokens, and the one that came even if it is none of them."""
    if score.logprob is None:
        return None
    pairs = {**dict(score.top[:num_top]), score.token: score.logprob}
    return {words.token_text(token): max(value, -9999.0) for token, value in pairs.items()}
