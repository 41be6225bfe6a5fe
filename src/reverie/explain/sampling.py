"""Sampling: the candidates for the next word, and what temperature, top-k, top-p and min-p make of them.

V vocabulary
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from reverie.engine import Model
from reverie.explain.exhibit import Prompt, Shown, maker
from reverie.explain.reading import likeliest, next_logits, percent, quoted, read
from reverie.lm.sample import narrow
from reverie.types import LMRequest

SHOWN = 60  # candidates
BINS = 100  # of the logits of all others


@maker(
    "sampling",
    title="Choosing the next word",
    question="From which words does the model choose, and what do temperature, top-p and min-p change?",
    family="lm",
)
def sampling(
    model: Model,
    prompt: Prompt,
    *,
    temperature: float = 0.7,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.05,
) -> Shown:
    """The likeliest next tokens with their logits, so that the rest can be worked out anew for other settings.

    data: tokens; candidates [{"id", "text", "logit", "probability" (at temperature 1), "chosen": probability under the
    settings given, 0 if filtered out}]; rest [{"logit", "num"}]: the logits of all other tokens, counted in bins, so
    that sum(exp(candidates / t)) + sum(num exp(logit / t)) is what softmax divides by at temperature t; num_kept: how
    many tokens pass the filters; entropy_bits: of the choice under the settings.
    """
    request = LMRequest("", temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    reading = read(model, prompt, model.context_tokens)
    logits = next_logits(model, reading.tokens).cpu()
    chosen = drawn_shares(logits, request)
    rows = [row | {"chosen": float(chosen[row["id"]])} for row in likeliest(model, logits, SHOWN)]
    kept = chosen[chosen > 0]
    data = {
        "tokens": reading.texts[-64:],
        "candidates": rows,
        "rest": _binned(logits.sort().values[: -len(rows)]),
        "num_kept": len(kept),
        "vocab_size": len(logits),
        "entropy_bits": float(-(kept * kept.log2()).sum()),
    }
    return data, _says(rows, data) + reading.notes


def drawn_shares(logits: Tensor, request: LMRequest) -> Tensor:
    """The distribution that the next token is drawn from (V,)."""
    if request.temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(), len(logits)).float()
    return narrow(logits, request).softmax(-1)


def _binned(logits: Tensor) -> list[dict[str, float]]:
    """Sorted logits as a histogram: the mean and the number of each bin."""
    if not len(logits):
        return []
    edges = torch.linspace(float(logits[0]), float(logits[-1]), BINS + 1)[1:-1]
    places = torch.bucketize(logits, edges)
    nums = torch.bincount(places, minlength=BINS)
    sums = torch.zeros(BINS, dtype=torch.float64).index_add(0, places, logits.double())
    return [{"logit": float(sums[i] / nums[i]), "num": int(nums[i])} for i in range(BINS) if nums[i]]


def _says(rows: list[dict[str, Any]], data: dict[str, Any]) -> list[str]:
    best = ", ".join(f"{quoted(row['text'])} ({percent(row['probability'])})" for row in rows[:3])
    return [
        f"Of {data['vocab_size']:,} tokens the likeliest to come next are {best}.",
        f"With these settings {data['num_kept']:,} of them can be drawn, and {quoted(rows[0]['text'])} is drawn "
        f"{percent(rows[0]['chosen'])} of the time.",
    ]
