"""Attention: where each token looks, with the arithmetic of one pair (arXiv:1706.03762, eq. 1).

L layers, H heads, G key-value heads, T tokens, D width of a head
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from reverie.engine import Model
from reverie.explain.exhibit import Prompt, Shown, maker
from reverie.explain.inside import attention_parts, checked_head, checked_layer
from reverie.explain.reading import Reading, percent, place_in, read
from reverie.layers import Attend
from reverie.types import ReverieError

ROLLOUT = (
    "So much of that word may have come here, directly or through words between; whether it was used, the map does "
    "not say, and the more layers, the more ways end at the earliest words. Looks at the first token are counted as "
    "looks at oneself, since heads rest there."
)
VIEWS = ("head", "average", "rollout")


@maker(
    "attention",
    title="Attention",
    question="Which earlier words does the model look at when it reads a word?",
    family="lm",
    choices={"view": VIEWS},
)
def attention(
    model: Model,
    prompt: Prompt,
    *,
    layer: int | None = None,
    head: int | None = None,
    query: int = -1,
    key: int | None = None,
    view: str = "head",
) -> Shown:
    """One head's whole map of who looks at whom, and all numbers behind one pair of tokens.

    layer, head: which; left out, the one that looks most sharply at one other word than the first, from `query`.
    query: the place of the token that looks. key: that of the token looked at; left out, where it looks most.
    view: the map of one "head", the "average" over the layer's heads, or the "rollout" through all layers up to this
    one (arXiv:2005.00928, eq. 1), where a look at the first token counts as one at oneself: heads rest there.
    data: tokens, layer, head, num_layers, num_heads, view, weights (T, T): row i is what token i looks at, 0 for what
    comes later (the causal mask); query, key; top: for each token, the three it looks at most [{"place", "weight"}];
    pair: the arithmetic of query and key: q, k, v; products (element by element), their sum dot, scale, softcap, score;
    scores, weights and values of all that the query sees; output, their weighted sum; key_head.
    """
    if view not in VIEWS:
        raise ReverieError(f"The view is {view[:80]!r}: choose {', '.join(VIEWS)}.")
    reading = read(model, prompt)
    query = place_in(len(reading), query, "query")
    everything, vectors = attention_parts(model, reading.tokens)
    layer, head = _chosen(model, everything, query, layer, head)
    weights = _view(everything, layer, head, view)
    looks = weights[query, : query + 1]
    key = _most(looks) if key is None else place_in(len(reading), key, "key")
    if key > query:
        raise ReverieError(f"Token {query} cannot see token {key}, which comes later: give a key up to {query}.")
    attend = model.core.blocks[layer].attention.attend
    data = {
        "tokens": reading.texts,
        "layer": layer,
        "head": head,
        "num_layers": len(everything),
        "num_heads": everything.shape[1],
        "view": view,
        "weights": weights,
        "query": query,
        "key": key,
        "top": [_top(row[: place + 1]) for place, row in enumerate(weights)],
        "pair": _pair(attend, everything[layer, head], vectors[layer], (head, query, key)),
    }
    return data, _says(reading, data, looks) + reading.notes


def rollout(weights: Tensor) -> Tensor:
    """How much of each token reaches each other through layers (L, H, T, T): (T, T) (arXiv:2005.00928, eq. 1).

    Half of a layer's output is what was there before, half what its heads bring on the average.
    """
    through = torch.eye(weights.shape[-1])
    for layer in weights.mean(1):
        through = (0.5 * layer + 0.5 * torch.eye(len(layer))) @ through
    return through


def _view(weights: Tensor, layer: int, head: int, view: str) -> Tensor:
    if view == "rollout":
        return rollout(_at_home(weights[: layer + 1]))
    return weights[layer].mean(0) if view == "average" else weights[layer, head]


def _at_home(weights: Tensor) -> Tensor:
    """The same attention (L, H, T, T) with what goes to the first token given to the token itself.

    Heads that find nothing look at the first token and take next to nothing from it (arXiv:2309.17453); through many
    layers it would hide all others.
    """
    first = weights[..., :, 0]
    kept = weights.clone()
    kept[..., 0] = 0
    return kept + torch.diag_embed(first)


def _chosen(model: Model, weights: Tensor, query: int, layer: int | None, head: int | None) -> tuple[int, int]:
    """The head to show: the one asked for, or that which looks most at one token far enough away."""
    layers = range(len(weights)) if layer is None else [checked_layer(model, layer)]
    heads = range(weights.shape[1]) if head is None else [checked_head(model, head)]
    # Not its own neighbour either, if there are others: many heads look there, whatever the words are.
    looks = weights[:, :, query, 1 : max(query - 1, 2)] if query > 1 else weights[:, :, query, :1]
    sharpness = looks.amax(-1)  # (L, H)
    return max(((one, other) for one in layers for other in heads), key=lambda place: float(sharpness[place]))


def _most(looks: Tensor) -> int:
    """Where a token looks most, beside itself and the first token, if there is anything else."""
    return 1 + int(looks[1:-1].argmax()) if len(looks) > 2 else int(looks.argmax())


def _top(looks: Tensor) -> list[dict[str, Any]]:
    best = looks.topk(min(3, len(looks)))
    return [{"place": p, "weight": w} for p, w in zip(best.indices.tolist(), best.values.tolist(), strict=True)]


def _pair(
    attend: Attend, looks: Tensor, vectors: tuple[Tensor, Tensor, Tensor], place: tuple[int, int, int]
) -> dict[str, Any]:
    """The arithmetic of a head for one query: from vectors to a weighted sum.

    q, k, v (D,): of the pair, turned by position already. products (D,): q k, element by element; their sum, `dot`,
    times `scale` is `score`; a `softcap` squashes it, where there is one. scores, weights: of the query with every
    token it sees (softmax of the scores); values (T, D): of the tokens it sees; output (D,): their weighted sum.
    """
    (qs, ks, vs), (head, query, key) = vectors, place
    key_head = head * len(ks) // len(qs)
    q, k, v = qs[head, query], ks[key_head], vs[key_head, : query + 1]
    scores = (k[: query + 1] @ q) * attend.scale
    if attend.softcap:
        scores = attend.softcap * torch.tanh(scores / attend.softcap)
    weights = looks[query, : query + 1]
    return {
        "q": q,
        "k": k[key],
        "v": v[key],
        "products": q * k[key],
        "dot": q @ k[key],
        "scale": attend.scale,
        "softcap": attend.softcap,
        "score": scores[key],
        "scores": scores.masked_fill(weights == 0, -torch.inf),  # a window hides what is far back
        "weights": weights,
        "values": v,
        "output": weights @ v,
        "key_head": key_head,
    }


def _says(reading: Reading, data: dict[str, Any], looks: Tensor) -> list[str]:
    where, query, key = f"layer {data['layer']}, head {data['head']}", data["query"], data["key"]
    who = {
        "head": f"In {where},",
        "average": f"On the average of layer {data['layer']},",
    }
    share = percent(float(looks[key]))
    if data["view"] == "rollout":
        says = [f"Through layers 0 to {data['layer']}, {share} of the ways from {reading.name(query)} lead back to "
                f"{reading.name(key)}.", ROLLOUT]  # fmt: skip
    else:
        says = [f"{who[data['view']]} {reading.name(query)} gives {share} of its attention to {reading.name(key)}."]
    if query > 0 and looks[0] > 0.2:
        says.append(f"{percent(float(looks[0]))} goes to the first token, where heads look that find nothing to do.")
    pair = data["pair"]
    says.append(
        f"Behind it in {where}: query times key is {float(pair['dot']):.3g}, times the scale {pair['scale']:.3g} makes "
        f"a score of {float(pair['score']):.3g}, and softmax over {query + 1} scores a weight of "
        f"{percent(float(pair['weights'][key]))}."
    )
    says.append("No token looks at what comes after it: that is the causal mask.")
    return says
