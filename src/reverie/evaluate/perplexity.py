"""Perplexity and bits per byte: how well a language model predicts a text it did not write.

T tokens, V vocabulary
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from reverie.lm.model import Decoder, cross_entropy
from reverie.types import ReverieError


@dataclass(frozen=True)
class Score:
    """nats: in all, of `num_tokens` predictions of a text of `num_bytes` bytes in UTF-8."""

    nats: float
    num_tokens: int
    num_bytes: int

    @property
    def perplexity(self) -> float:
        """exp of the mean nats a token: how many tokens the model hesitates between, as if all were equally likely."""
        return math.exp(self.nats / self.num_tokens)

    @property
    def bits_per_byte(self) -> float:
        """Comparable between tokenizers, which perplexity is not."""
        return self.nats / math.log(2) / self.num_bytes


@torch.inference_mode()
def score(model: Decoder, tokens: Sequence[int], num_bytes: int, *, window_tokens: int = 512) -> Score:
    """Scores a text in windows that do not overlap; the first token of each is given, not predicted."""
    windows = [tokens[at : at + window_tokens] for at in range(0, len(tokens), window_tokens)]
    windows = [window for window in windows if len(window) > 1]
    if not windows:
        raise ReverieError("The text is too short to score: give at least two tokens.")
    nats = 0.0
    for window in windows:
        row = torch.tensor([window])
        nats += float(cross_entropy(model(row)[:, :-1], row[:, 1:])) * (len(window) - 1)
    return Score(nats, sum(len(window) - 1 for window in windows), num_bytes)
