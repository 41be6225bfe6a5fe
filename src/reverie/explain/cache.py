"""Cache: the keys and values that are kept of every token, so that it passes through the model once.

B batch, G key-value heads, T tokens, D width of a head
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from reverie.engine import Model
from reverie.explain.exhibit import Prompt, Shown, maker
from reverie.explain.reading import likeliest, quoted, read
from reverie.lm.cache import Cache
from reverie.lm.generate import decode
from reverie.lm.generate import read as fill


class Noted(Cache):
    """A cache that notes the shapes of what it stored last: (G, T, D) of each layer, and bytes a number."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: dict[int, tuple[int, ...]] = {}
        self.number_bytes = 0

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """As a cache does."""
        keys, values = super().extend(layer, k, v)
        self.stored[layer], self.number_bytes = tuple(keys.shape[1:]), keys.element_size()
        return keys, values


@maker(
    "cache",
    title="The cache",
    question="What does the model keep of words it has read, and how much work does that save?",
    family="lm",
)
def cache(model: Model, prompt: Prompt) -> Shown:
    """What is kept of each token, measured while the prompt is read and one token more is written.

    data: tokens, next (the token written); layers [{"layer", "heads", "tokens", "width", "bytes"}] after it;
    token_bytes: keys and values of one token in all layers; prompt_bytes; context_tokens, context_bytes: of a full
    context; reused_tokens, new_tokens: of the step; read_seconds: for the prompt; step_seconds: for the token more,
    with the cache; again_seconds: for the same without it; difference: the largest between the two steps' logits.
    """
    reading = read(model, prompt)
    kept, tokens = Noted(), reading.tokens
    logits, read_seconds = _timed(lambda: fill(model.core, tokens, kept))
    word = likeliest(model, logits[0], 1)[0]
    logits, step_seconds = _timed(lambda: decode(model.core, torch.tensor([word["id"]]), kept))
    longer = torch.cat((tokens, torch.tensor([[word["id"]]], device=tokens.device)), 1)
    plain, again_seconds = _timed(lambda: fill(model.core, longer, Cache()))
    layers: list[dict[str, int]] = [
        {"layer": layer, "heads": G, "tokens": T, "width": D, "bytes": 2 * G * T * D * kept.number_bytes}
        for layer, (G, T, D) in kept.stored.items()
    ]
    token_bytes = sum(row["bytes"] // row["tokens"] for row in layers)
    data: dict[str, Any] = {
        "tokens": reading.texts,
        "next": word,
        "layers": layers,
        "token_bytes": token_bytes,
        "prompt_bytes": token_bytes * len(reading),
        "context_tokens": model.context_tokens,
        "context_bytes": token_bytes * model.context_tokens,
        "reused_tokens": len(reading),
        "new_tokens": 1,
        "read_seconds": read_seconds,
        "step_seconds": step_seconds,
        "again_seconds": again_seconds,
        "difference": float((plain - logits).abs().max()),
    }
    return data, _says(data) + reading.notes


def _says(data: dict[str, Any]) -> list[str]:
    step, again = 1000 * data["step_seconds"], 1000 * data["again_seconds"]
    return [
        f"Of every token {len(data['layers'])} layers keep keys and values: {data['token_bytes']:,} bytes a token, "
        f"{data['context_bytes'] / 1e6:.3g} MB for a full context of {data['context_tokens']:,} tokens.",
        f"To go on after {quoted(data['next']['text'])}, one token passed through the model and "
        f"{data['reused_tokens']} were reused: {step:.0f} ms, where reading all of them again took {again:.0f} ms.",
    ]


def _timed(work: Callable[[], Tensor]) -> tuple[Tensor, float]:
    began = time.perf_counter()
    made = work()
    return made, time.perf_counter() - began
