"""Reading a prompt, then writing one token at a time: the two phases of every decoder (gpt-fast's split).

B batch, T tokens, V vocabulary
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from reverie.lm.cache import Cache
from reverie.lm.model import Decoder
from reverie.lm.sample import adjust, choose, logprobs
from reverie.types import LMRequest, ReverieError, Step

CHUNK_TOKENS = 512  # a prompt is read in pieces of this size: bounded memory, and a place to stop between them


@dataclass(frozen=True)
class Prompt:
    """What a decoder conditions on: the token ids to continue, and the ids that end a text."""

    tokens: tuple[int, ...]
    eos: frozenset[int] = frozenset()


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


def generate(model: Decoder, condition: Prompt, request: LMRequest, shape: tuple[int, ...]) -> Iterator[Step]:
    """Continues a prompt by up to shape[0] tokens. `guess` is the tuple of new token ids so far.

    While the prompt is read, steps have info "phase" "prompt", and "read_tokens" of "prompt_tokens". Then each step has
    the new "token", on request its "logprob" and "top_logprobs" [(id, logprob)]; the last has "finish_reason": "stop"
    (an end token came) or "length". The prompt must fit, see `fit`.
    """
    context, rng = model.config.max_tokens, torch.Generator().manual_seed(request.seed)
    prompt, written = fit(condition.tokens, context, slide=request.slide), list[int]()
    total = shape[0] if request.slide else min(shape[0], context - len(prompt))
    cache, logits = yield from _reading(model, prompt, len(condition.tokens) - len(prompt), total)
    while True:
        logits = adjust(logits, prompt, written, request)
        token = choose(logits, request, rng)
        ended = token in condition.eos
        if not ended:
            written.append(token)
        info = _info(logits, token, request)
        if ended or len(written) == total:
            info["finish_reason"] = "stop" if ended else "length"
        yield Step(len(written), total, cache, tuple(written), info)
        if "finish_reason" in info:
            return
        if cache.length == context:
            kept = [*prompt, *written][-(context // 2) :]
            cache, logits = yield from _reading(model, kept, context + 1 - len(kept), total, written)
        else:
            logits = decode(model, torch.tensor([token]), cache)[0]


def _reading(
    model: Decoder, tokens: Sequence[int], dropped: int, total: int, written: Sequence[int] = ()
) -> Generator[Step, None, tuple[Cache, Tensor]]:
    """Reads tokens chunk by chunk, with a step before each; returns the cache and the logits (V,)."""
    cache, logits = Cache(), torch.empty(0)
    for start in range(0, len(tokens), CHUNK_TOKENS):
        info = {"phase": "prompt", "read_tokens": start, "prompt_tokens": len(tokens), "dropped_tokens": dropped}
        yield Step(len(written), total, cache, tuple(written), info)
        logits = read(model, torch.tensor([tokens[start : start + CHUNK_TOKENS]]), cache)[0]
    return cache, logits


def _info(logits: Tensor, token: int, request: LMRequest) -> dict[str, Any]:
    info: dict[str, Any] = {"token": token}
    if request.num_logprobs:
        info["logprob"], info["top_logprobs"] = logprobs(logits, token, request.num_logprobs)
    return info
