"""Surprise: how likely the model held each word before it read it.

T tokens, V vocabulary
"""

from __future__ import annotations

import math
from typing import Any

import torch

from reverie.engine import Model
from reverie.explain.exhibit import Prompt, Shown, maker
from reverie.explain.reading import Reading, likeliest, percent, quoted, read
from reverie.types import ReverieError


@maker(
    "surprise",
    title="Surprise",
    question="Which words did the model expect, and which surprised it?",
    family="lm",
)
def surprise(model: Model, prompt: Prompt) -> Shown:
    """The probability of each token of the prompt, as the tokens before it made it.

    data: tokens [{"id", "text", "probability", "bits": -log2 of it, "rank" from 1, "expected" [3 candidates]}]; the
    first has only id and text, for nothing comes before it. mean_bits, perplexity (2^mean_bits).
    """
    reading = read(model, prompt)
    if len(reading) < 2:
        raise ReverieError("One token alone cannot surprise: give at least two words.")
    rows = surprises(model, reading)
    mean_bits = sum(row["bits"] for row in rows) / len(rows)
    first = {"id": int(reading.tokens[0, 0]), "text": reading.texts[0]}
    data = {"tokens": [first, *rows], "mean_bits": mean_bits, "perplexity": 2**mean_bits}
    return data, _says(rows, mean_bits) + reading.notes


@torch.inference_mode()
def surprises(model: Model, reading: Reading) -> list[dict[str, Any]]:
    """What each token but the first was to the model that had read those before it, as `surprise` tells."""
    hidden = model.core.hidden(reading.tokens)[0, :-1]
    logits = torch.cat([model.core.logits(rows) for rows in hidden.split(64)])  # (T - 1, V)
    ids = reading.tokens[0, 1:]
    own = logits.gather(1, ids[:, None])
    shares, ranks = (own[:, 0] - logits.logsumexp(1)).exp().tolist(), (1 + (logits > own).sum(1)).tolist()
    return [
        {
            "id": int(ids[i]),
            "text": reading.texts[i + 1],
            "probability": shares[i],
            "bits": -math.log2(max(shares[i], 1e-30)),
            "rank": ranks[i],
            "expected": likeliest(model, logits[i], 3),
        }
        for i in range(len(ids))
    ]


def _says(rows: list[dict[str, Any]], mean_bits: float) -> list[str]:
    most, least = max(rows, key=lambda row: row["bits"]), min(rows, key=lambda row: row["bits"])
    return [
        f"The greatest surprise was {quoted(most['text'])}: the model gave it {percent(most['probability'])} and "
        f"expected {quoted(most['expected'][0]['text'])} ({percent(most['expected'][0]['probability'])}).",
        f"It was surest of {quoted(least['text'])}, with {percent(least['probability'])}.",
        f"A token of this text surprises by {mean_bits:.1f} bits on the average, as a choice among "
        f"{float(f'{2**mean_bits:.3g}'):,g} equally likely ones.",
    ]
