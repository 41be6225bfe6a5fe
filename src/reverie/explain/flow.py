"""Flow: one token on its way through the whole stack, for a map of the model.

L layers, H heads, T tokens, W model width
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from reverie.engine import Model
from reverie.explain.exhibit import Prompt, Shown, maker
from reverie.explain.inside import run
from reverie.explain.reading import lens, likeliest, percent, place_in, quoted, read

LOOKED_AT = 5
SIZES = ("width", "depth", "num_heads", "num_kv_heads", "head_width", "mlp_width", "vocab_size", "max_tokens")


@maker(
    "flow",
    title="The way of a token",
    question="What happens to one word on its way through the model?",
    family="lm",
)
@torch.inference_mode()
def flow(model: Model, prompt: Prompt, *, token: int = -1) -> Shown:
    """What every layer adds to one token, where it looks meanwhile, and what it would say.

    token: its place. data: tokens, place; embedding_norm; layers [{"layer", "residual", "attention", "mlp": lengths of
    the vector after the layer and of what each half added; "looks" [{"place", "weight"}]: the mean over the heads;
    "heads" [{"place", "weight"}]: where each head looks most; "says" [5 candidates]}]; config: the model's sizes.
    """
    reading = read(model, prompt)
    place = place_in(len(reading), token, "token")
    seen = run(model, reading.tokens)
    states = seen.residual[:, place]  # (L + 1, W)
    home = model.core.embed.weight
    logits = lens(model, states[1:].to(home.device, home.dtype))
    looks = seen.weights[:, :, place, : place + 1]  # (L, H, T)
    rows = [
        {
            "layer": i,
            "residual": states[i + 1].norm(),
            "attention": seen.attention[i, place].norm(),
            "mlp": seen.mlp[i, place].norm(),
            "looks": _looks(looks[i].mean(0)),
            "heads": _most(looks[i]),
            "says": likeliest(model, logits[i], 5),
        }
        for i in range(len(looks))
    ]
    sizes = {size: getattr(model.core.config, size) for size in SIZES}
    data = {
        "tokens": reading.texts,
        "place": place,
        "embedding_norm": states[0].norm(),
        "layers": rows,
        "config": sizes,
    }
    return data, _says(reading.name(place), states, rows) + reading.notes


def _says(name: str, states: Tensor, rows: list[dict[str, Any]]) -> list[str]:
    word, largest = rows[-1]["says"][0], max(rows, key=lambda row: float(row["attention"] + row["mlp"]))
    return [
        f"{name} enters as a vector of length {float(states[0].norm()):.3g} and leaves the last of "
        f"{len(rows)} layers with length {float(states[-1].norm()):.3g}.",
        f"Layer {largest['layer']} adds the most to it.",
        f"At the end it says {quoted(word['text'])} with {percent(word['probability'])}.",
    ]


def _looks(weights: Tensor) -> list[dict[str, float]]:
    """The tokens looked at most, of weights (T,)."""
    best = weights.topk(min(LOOKED_AT, len(weights)))
    return _pairs(best.indices, best.values)


def _most(weights: Tensor) -> list[dict[str, float]]:
    """Where each head looks most, of weights (H, T)."""
    best = weights.max(-1)
    return _pairs(best.indices, best.values)


def _pairs(places: Tensor, weights: Tensor) -> list[dict[str, float]]:
    return [{"place": p, "weight": w} for p, w in zip(places.tolist(), weights.tolist(), strict=True)]
