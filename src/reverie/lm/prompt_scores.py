"""How likely a model finds a given text: the log-probability of each of its tokens after those before it.

T tokens, V vocabulary
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reverie.lm.cache import Cache
from reverie.lm.generate import fit
from reverie.lm.model import Decoder

CHUNK_TOKENS = 128  # read at a time: it bounds the memory of their logits, and is a place to stop


@dataclass(frozen=True)
class TokenScore:
    """A token, its log-probability, and the likeliest tokens in its place with theirs; None and none of the first."""

    token: int
    logprob: float | None
    top: tuple[tuple[int, float], ...] = ()


def prompt_scores(model: Decoder, tokens: Sequence[int], num_top: int) -> Iterator[list[TokenScore]]:
    """The scores of all tokens, in order, chunk by chunk; the work for a chunk is done when it is asked for.

    The tokens must fit the context, see `generate.fit`.
    """
    tokens, cache = fit(tokens, model.config.max_tokens + 1, slide=False), Cache()
    yield [TokenScore(tokens[0], None)]
    for start in range(0, len(tokens) - 1, CHUNK_TOKENS):
        given = tokens[start : min(start + CHUNK_TOKENS, len(tokens) - 1)]
        yield _scored(_logprobs(model, given, cache), tokens[start + 1 : start + 1 + len(given)], num_top)


@torch.inference_mode()
def _logprobs(model: Decoder, tokens: Sequence[int], cache: Cache) -> Tensor:
    """The log-probabilities of what follows each token (T, V)."""
    hidden = model.hidden(torch.tensor([tokens], device=model.embed.weight.device), cache)
    return model.logits(hidden[0]).cpu().log_softmax(-1)


def _scored(logprobs: Tensor, tokens: Sequence[int], num_top: int) -> list[TokenScore]:
    own = logprobs[torch.arange(len(tokens)), torch.tensor(tokens)].tolist()
    best = logprobs.topk(min(num_top, logprobs.shape[-1]))
    tops = [tuple(zip(*row, strict=True)) for row in zip(best.indices.tolist(), best.values.tolist(), strict=True)]
    return [TokenScore(*scores) for scores in zip(tokens, own, tops, strict=True)]
