"""Reading a prompt, then writing one token at a time: the two phases of every decoder (gpt-fast's split).

B batch, T tokens, V vocabulary, R rows of a text: itself, and the same told otherwise
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from reverie.lm.cache import Cache
from reverie.lm.constrain import AnyText
from reverie.lm.model import Decoder
from reverie.lm.sample import adjust, choose, logprobs
from reverie.types import LMRequest, ReverieError, Step

T = TypeVar("T")

CHUNK_TOKENS = 512  # a prompt is read in pieces of this size: bounded memory, and a place to stop between them


@dataclass(frozen=True)
class Guide:
    """Leads a text away from what would follow if it were told otherwise: arXiv:2306.17806, eq. 7.

    others: each has tokens, and what stands in their place when it is told so. scale: 1 is no guidance. groups: (V,) of
    each token, from 0; how likely each group is stays as it was.
    """

    others: tuple[Mapping[int, int], ...] = ()
    scale: float = 1.0
    groups: Tensor | None = None

    def rows(self, tokens: Sequence[int]) -> list[list[int]]:
        """Tokens, and the same as each of the others is told them: (R, T)."""
        return [[other.get(token, token) for token in tokens] for other in ({}, *self.others)]

    def __call__(self, logits: Tensor) -> Tensor:
        """Logits (R, ..., V) -> (..., V): beyond what the first row says, away from the mean of the others."""
        if len(logits) == 1:
            return logits[0]
        sure = logits.log_softmax(-1)
        beyond = torch.lerp(sure[1:].mean(0), sure[0], self.scale)
        if self.groups is None:
            return beyond
        return beyond + (_shares(sure[0], self.groups) - _shares(beyond, self.groups))


def _shares(logits: Tensor, groups: Tensor) -> Tensor:
    """For each token the logarithm of how likely its group is: (..., V)."""
    chances, groups = logits.softmax(-1), groups.expand_as(logits)
    shares = torch.zeros_like(chances).scatter_add(-1, groups, chances).gather(-1, groups)
    return shares.clamp_min(torch.finfo(shares.dtype).tiny).log()


@dataclass(frozen=True)
class Prompt:
    """What a decoder conditions on: the ids to continue, those that end a text, what leads it, and what it must fit."""

    tokens: tuple[int, ...]
    eos: frozenset[int] = frozenset()
    rule: AnyText = field(default_factory=AnyText)
    guide: Guide = field(default_factory=Guide)


@torch.inference_mode()
def read(model: Decoder, tokens: Tensor, cache: Cache) -> Tensor:
    """Prefill: puts tokens (B, T) in the cache; gives the logits after the last of them (B, V).

    The model may be anywhere; tokens come from the CPU and logits go there, where the next token is chosen.
    """
    hidden = model.hidden(tokens.to(model.embed.weight.device), cache, last_only=True)
    return model.logits(hidden[:, -1]).cpu()


@torch.inference_mode()
def decode(model: Decoder, tokens: Tensor, cache: Cache) -> Tensor:
    """The decode step: one more token for each row (B,) -> the logits of the next (B, V).

    This is the one seam for a faster decoder: whatever keeps this contract can stand in its place.
    """
    hidden = model.hidden(tokens[:, None].to(model.embed.weight.device), cache)
    return model.logits(hidden[:, 0]).cpu()


def fit(tokens: Sequence[int], context: int, *, slide: bool) -> list[int]:
    """The prompt, if it leaves room for a new token; with `slide` its newest half-context, else a `ReverieError`."""
    if not tokens:
        raise ReverieError("The prompt is empty: give at least one word.")
    if len(tokens) < context:
        return list(tokens)
    if not slide:
        raise ReverieError(
            f"The prompt is {len(tokens):,} tokens long and this model's context is {context:,}: "
            "shorten it, or let the beginning be forgotten with --slide (slide=True)."
        )
    return list(tokens[-(context // 2) :])


@dataclass(frozen=True)
class Forward:
    """What the model is to compute: the logits after `tokens` (R, T), which follow what the cache holds."""

    tokens: Sequence[Sequence[int]]
    cache: Cache


class Writing(Iterator[Step]):
    """Continues a prompt by up to shape[0] tokens. `guess` is the tuple of new token ids so far.

    While the prompt is read, steps have info "phase" "prompt", and "read_tokens" of "prompt_tokens". Then each step has
    the new "token", on request its "logprob" and "top_logprobs" [(id, logprob)]; the last has "finish_reason": "stop"
    (an end token came) or "length". The prompt must fit, see `fit`.

    What the next step needs of the model can be computed before it is taken, see `batch.advance`.
    """

    def __init__(self, model: Decoder, condition: Prompt, request: LMRequest, shape: tuple[int, ...]) -> None:
        self.model = model
        self._events = _write(model.config.max_tokens, condition, request, shape)
        self._ahead: Step | Forward | None = None
        self._logits: Tensor | None = None

    def __next__(self) -> Step:
        event = self._look_ahead()
        while isinstance(event, Forward):
            logits = _computed(self.model, event) if self._logits is None else self._logits
            self._ahead = self._logits = None
            event = self._events.send(logits)
        if event is None:
            raise StopIteration
        self._ahead = None
        return event

    @property
    def is_decoding(self) -> bool:
        """Whether what the next step needs is to pass a single token of one row through the model."""
        ahead = self._look_ahead()
        return isinstance(ahead, Forward) and [len(row) for row in ahead.tokens] == [1]

    @property
    def need(self) -> Forward:
        """What the next step needs, of one that `is_decoding`."""
        ahead = self._look_ahead()
        assert isinstance(ahead, Forward)
        return ahead

    def supply(self, logits: Tensor) -> None:
        """What it needs (V,), computed elsewhere."""
        self._logits = logits[None]

    def _look_ahead(self) -> Step | Forward | None:
        if self._ahead is None:
            self._ahead = next(self._events, None)
        return self._ahead


def generate(model: Decoder, condition: Prompt, request: LMRequest, shape: tuple[int, ...]) -> Writing:
    """Continues a prompt by up to shape[0] tokens, see `Writing`."""
    return Writing(model, condition, request, shape)


def _computed(model: Decoder, needed: Forward) -> Tensor:
    tokens = torch.tensor(needed.tokens)
    return decode(model, tokens[:, 0], needed.cache) if tokens.shape[1] == 1 else read(model, tokens, needed.cache)


Events = Generator[Step | Forward, Tensor, T]  # whoever takes a Forward sends the logits (R, V) for it


def _write(context: int, condition: Prompt, request: LMRequest, shape: tuple[int, ...]) -> Events[None]:
    """The steps of a text, and between them what the model must compute."""
    rng = torch.Generator().manual_seed(request.seed)
    prompt, written = fit(condition.tokens, context, slide=request.slide), list[int]()
    total = shape[0] if request.slide else min(shape[0], context - len(prompt))
    cache, said = yield from _reading(condition, prompt, len(condition.tokens) - len(prompt), total)
    while True:
        logits = adjust(condition.guide(said), prompt, written, request)
        token = condition.rule.take(choose(condition.rule.allow(logits), request, rng), total - len(written))
        ended = token in condition.eos
        if not ended:
            written.append(token)
        info = _info(logits, token, request)
        if ended or len(written) == total:
            info["finish_reason"] = "stop" if ended and not condition.rule.cut_short else "length"
        yield Step(len(written), total, cache, tuple(written), info)
        if "finish_reason" in info:
            return
        if cache.length == context:
            kept = [*prompt, *written][-(context // 2) :]
            cache, said = yield from _reading(condition, kept, context + 1 - len(kept), total, written)
        else:
            said = yield Forward(condition.guide.rows([token]), cache)


def _reading(
    condition: Prompt, tokens: Sequence[int], dropped: int, total: int, written: Sequence[int] = ()
) -> Events[tuple[Cache, Tensor]]:
    """Reads tokens chunk by chunk, with a step before each; returns the cache and the logits (R, V)."""
    cache, said = Cache(), torch.empty(0)
    for start in range(0, len(tokens), CHUNK_TOKENS):
        info = {"phase": "prompt", "read_tokens": start, "prompt_tokens": len(tokens), "dropped_tokens": dropped}
        yield Step(len(written), total, cache, tuple(written), info)
        said = yield Forward(condition.guide.rows(tokens[start : start + CHUNK_TOKENS]), cache)
    return cache, said


def _info(logits: Tensor, token: int, request: LMRequest) -> dict[str, Any]:
    info: dict[str, Any] = {"token": token}
    if request.num_logprobs:
        info["logprob"], info["top_logprobs"] = logprobs(logits, token, request.num_logprobs)
    return info
