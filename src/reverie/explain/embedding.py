"""Embedding: the vector that stands for a token, and the tokens whose vectors point the same way.

V vocabulary, W model width, N neighbours
"""

from __future__ import annotations

import torch
from torch import Tensor

from reverie.engine import Model
from reverie.explain.exhibit import Prompt, Shown, maker
from reverie.explain.reading import place_in, quoted, read
from reverie.types import ReverieError

MOST_NEIGHBOURS = 50


@maker(
    "embedding",
    title="Embedding",
    question="Which tokens does the model hold to be alike, before it has read a single sentence?",
    family="lm",
)
@torch.no_grad()
def embedding(model: Model, prompt: Prompt, *, token: int = -1, neighbours: int = 12) -> Shown:
    """The nearest neighbours of one token of the prompt, by the cosine of their vectors.

    token: its place in the prompt. data: tokens (of the prompt), place, vector (W,), neighbours [{"id", "text",
    "cosine", "x", "y"}], the token itself first. x and y: the two directions in which these vectors differ most (PCA).
    """
    if not 1 <= neighbours <= MOST_NEIGHBOURS:
        raise ReverieError(f"neighbours is {neighbours}: give a number from 1 to {MOST_NEIGHBOURS}.")
    reading = read(model, prompt)
    place = place_in(len(reading), token, "token")
    weight, chosen = model.core.embed.weight, int(reading.tokens[0, place])
    vector = weight[chosen].float()
    cosines = (weight @ weight[chosen]).float() / (weight.norm(dim=1).float() * vector.norm()).clamp_min(1e-12)  # (V,)
    cosines[chosen] = 2.0  # first, whatever rounding says
    best = cosines.topk(min(neighbours + 1, len(weight))).indices
    exact = torch.cosine_similarity(weight[best].float(), vector, dim=1)  # (N,)
    order = torch.cat((torch.zeros(1, dtype=torch.long), 1 + exact[1:].argsort(descending=True)))
    show = model.medium.tokenizer.token_text
    rows = [
        {"id": each, "text": show(each), "cosine": cosine, "x": x, "y": y}
        for each, cosine, (x, y) in zip(
            best[order].tolist(), exact[order].tolist(), _flat(weight[best[order]].float()).tolist(), strict=True
        )
    ]
    near = ", ".join(quoted(row["text"]) for row in rows[1:5])
    says = [f"The vector of {reading.name(place)} has {len(vector):,} numbers. Nearest to it are {near}."]
    return {"tokens": reading.texts, "place": place, "vector": vector, "neighbours": rows}, says + reading.notes


def _flat(vectors: Tensor) -> Tensor:
    """Vectors (N, W) as points on a plane (N, 2): their first two principal components."""
    centred = vectors - vectors.mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    points = centred @ directions[:2].T
    return torch.nn.functional.pad(points, (0, 2 - points.shape[1]))
