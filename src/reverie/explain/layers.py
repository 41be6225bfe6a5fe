"""Layers: what each layer would say next (the logit lens, nostalgebraist 2020), and how a word rises in rank.

L layers, N tokens looked at, W model width, V vocabulary
"""

from __future__ import annotations

from typing import Any

import torch

from reverie.engine import Model
from reverie.explain.exhibit import Prompt, Shown, maker
from reverie.explain.inside import run
from reverie.explain.reading import lens, likeliest, percent, place_in, quoted, read
from reverie.types import ReverieError

MOST_LOOKED_AT = 16


@maker(
    "layers",
    title="Layer by layer",
    question="What would the model say if it stopped after each layer?",
    family="lm",
)
@torch.inference_mode()
def layers(model: Model, prompt: Prompt, *, token: int = -1, num_tokens: int = 1, top: int = 5) -> Shown:
    """The likeliest next tokens after every layer, for the token at place `token` and the `num_tokens` - 1 before it.

    data: tokens, place; layers [{"layer", "top" [candidates], "rank", "probability"}] for `token`: layer 0 is the
    embedding, then one for each layer; rank (from 1) and probability are those of the word that the whole model says in
    the end; final: that word. grid [[{"text", "probability"}]]: a row for each layer, a column for each of the tokens
    at `columns`. decided: the layer after which the final word stays first.
    """
    if not 1 <= num_tokens <= MOST_LOOKED_AT or not 1 <= top <= 20:
        raise ReverieError(f"num_tokens goes from 1 to {MOST_LOOKED_AT} and top from 1 to 20: choose within these.")
    reading = read(model, prompt)
    place = place_in(len(reading), token, "token")
    columns = list(range(max(0, place - num_tokens + 1), place + 1))
    dtype = model.core.embed.weight.dtype
    residual = (
        run(model, reading.tokens).residual[:, columns].to(model.core.embed.weight.device, dtype)
    )  # (L + 1, N, W)
    logits = lens(model, residual.flatten(0, 1)).unflatten(0, residual.shape[:2])  # (L + 1, N, V)
    last = logits[:, -1]
    final = likeliest(model, last[-1], 1)[0]
    ranks = 1 + (last > last[:, final["id"], None]).sum(1)  # (L + 1,)
    shares = last.softmax(-1)[:, final["id"]]
    rows: list[dict[str, Any]] = [
        {"layer": i, "top": likeliest(model, row, top), "rank": int(ranks[i]), "probability": float(shares[i])}
        for i, row in enumerate(last)
    ]
    grid = [[_best(model, cell) for cell in row] for row in logits]
    decided = max((i + 1 for i in range(len(rows)) if rows[i]["rank"] > 1), default=0)
    data = {"tokens": reading.texts, "place": place, "columns": columns, "layers": rows, "grid": grid}
    says = [
        f"After {reading.name(place)} the model says {quoted(final['text'])} ({percent(final['probability'])}).",
        f"It is first from layer {decided} of {len(rows) - 1} on; "
        f"after layer {len(rows) // 4} the first was {quoted(rows[len(rows) // 4]['top'][0]['text'])}, "
        f"and {quoted(final['text'])} had rank {rows[len(rows) // 4]['rank']:,}.",
    ]
    return data | {"final": final, "decided": decided}, says + reading.notes


def _best(model: Model, logits: torch.Tensor) -> dict[str, Any]:
    best = likeliest(model, logits, 1)[0]
    return {"text": best["text"], "probability": best["probability"]}
