"""Words: which part of the picture each word moves, seen in attention and by leaving the word out.

Prompt and patches stand in one sequence, so how much each patch looks at a word is a slice of self-attention (for
cross-attention, arXiv:2210.04885). Looking is not moving: beside it stands what happens without the word.

B batch, H heads, L layers, T prompt tokens, N patches, S = T + N tokens
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reverie.engine import Model
from reverie.explain.capture import Tape, capture
from reverie.explain.exhibit import Shown, maker
from reverie.explain.pictures import data_url, difference, distance, draws, finished, request_of, walk
from reverie.explain.reading import percent
from reverie.media import Picture
from reverie.types import ImageRequest, ReverieError, Step

WEIGHTS = "blocks.*.attention.attend.weights"
MOST_WORDS = 16  # of a prompt that are left out one by one


@dataclass(frozen=True)
class Span:
    """A word of the prompt, and which of the prompt's tokens it is made of."""

    word: str
    first: int
    end: int


@maker(
    "words",
    title="Words and patches",
    question="Which part of the picture does each word move?",
    family="diffusion",
    when=draws,
)
def words(
    model: Model,
    prompt: str,
    *,
    without: bool = True,
    layer: int | None = None,
    head: int | None = None,
    seed: int = 0,
    steps: int = 12,
    guidance: float = ImageRequest.guidance,
) -> Shown:
    """Attention from patches to words in every step, and the picture without each word.

    without: draw the picture again without each word. layer, head: one of them; None: the mean of all.
    data: words (text, number of tokens); steps: their pictures, and for each word a map of shares, (words, rows,
    columns); maps: the mean of all steps; without: for each word the picture, its difference, and how well that
    difference agrees with the map (correlation).
    """
    request = request_of(model, prompt, seed=seed, steps=steps, guidance=guidance)
    spans = spans_of(model, request.prompt)
    with capture(model.core, WEIGHTS) as tape:
        taken = walk(model, request)
    maps = _maps(model, tape, spans, _chosen(model, layer, head))  # (steps, words, rows, columns)
    picture: Picture = model.medium.picture(taken[-1].guess)
    mean = maps.mean(0)
    data = {
        "picture": data_url(picture),
        "words": [{"word": span.word, "num_tokens": span.end - span.first} for span in spans],
        "steps": [_row(model, step, each) for step, each in zip(taken, maps, strict=True)],
        "maps": mean,
        "without": _without(model, request, picture, spans, mean) if without else [],
    }
    return data, _says(data, mean)


def spans_of(model: Model, prompt: str) -> list[Span]:
    """The words of a prompt with their tokens; the encoder reads every word by itself, after one token of its own."""
    encoder, at, spans = model.medium.encoder, 1, []
    around = encoder.num_tokens("")
    for word in prompt.split():
        num = encoder.num_tokens(word) - around
        spans.append(Span(word, at, at + num))
        at += num
    assert at + around - 1 == encoder.num_tokens(prompt), "the tokens of the words are not those of the prompt"
    return spans


def _chosen(model: Model, layer: int | None, head: int | None) -> tuple[slice, slice]:
    config = model.core.config
    return _one("layer", layer, config.depth), _one("head", head, config.num_heads)


def _one(name: str, at: int | None, num: int) -> slice:
    if at is None:
        return slice(None)
    if not 0 <= at < num:
        raise ReverieError(f"{name} is {at}: the model has {name}s 0 to {num - 1}.")
    return slice(at, at + 1)


def _maps(model: Model, tape: Tape, spans: Sequence[Span], chosen: tuple[slice, slice]) -> Tensor:
    """How much of its attention each patch gives to each word, in every step: (steps, words, rows, columns)."""
    layers, heads = chosen
    side = model.medium.size_px // model.medium.codec.factor // model.core.config.patch
    per_layer = [
        torch.stack([_to_words(call, heads) for call in calls if call.shape[2] < call.shape[3]])  # not words in words
        for calls in tape.values()
    ]
    shares = torch.stack(per_layer)[layers].mean(0)  # (steps, N, T)
    by_word = torch.stack([shares[..., span.first : span.end].sum(-1) for span in spans], 1)  # (steps, words, N)
    maps: Tensor = by_word.unflatten(2, (side, side))
    return maps


def _to_words(weights: Tensor, heads: slice) -> Tensor:
    """Attention of patches (B, H, N, T + N), the prompt's row of B first -> to the prompt's tokens alone, (N, T)."""
    shares: Tensor = weights[0, heads, :, : -weights.shape[2]].float().mean(0).cpu()
    return shares


def _row(model: Model, step: Step, maps: Tensor) -> dict[str, Any]:
    return {"step": step.index, "guess": data_url(model.medium.picture(step.guess)), "maps": maps}


def _without(
    model: Model, request: ImageRequest, picture: Picture, spans: Sequence[Span], maps: Tensor
) -> list[dict[str, Any]]:
    """For every word: the picture of the prompt without it, from the same noise."""
    if len(spans) > MOST_WORDS:
        raise ReverieError(
            f"The prompt has {len(spans)} words: give at most {MOST_WORDS}, or the option without=false."
        )
    rows = []
    for at, span in enumerate(spans):
        prompt = " ".join(other.word for other in spans if other is not span)
        other = finished(model, replace(request, prompt=prompt))
        row = {"word": span.word, "prompt": prompt, "picture": data_url(other), "distance": distance(picture, other)}
        far = difference(picture, other)
        rows.append(row | {"difference": data_url(far), "agreement": _agreement(maps[at], far)})
    return rows


def _agreement(shares: Tensor, far: Picture) -> float | None:
    """The correlation of a word's map with what changes without the word, patch by patch; None if nothing varies."""
    rows, columns = shares.shape
    change = far.astype(np.float32).mean(2)  # (H, W)
    change = change.reshape(rows, change.shape[0] // rows, columns, -1).mean((1, 3))  # (rows, columns)
    both = np.stack([shares.numpy().ravel(), change.ravel()])
    if both.std(1).min() < 1e-9:
        return None
    return float(np.corrcoef(both)[0, 1])


def _says(data: dict[str, Any], mean: Tensor) -> list[str]:
    total = mean.flatten(1).mean(1)  # (words,)
    names = [each["word"] for each in data["words"]]
    said = [
        "Each patch of the picture looks at the other patches and at the prompt. On average, "
        f"{percent(float(total.sum()))} of its attention is on words, most of it on “{names[int(total.argmax())]}”."
    ]
    if rows := data["without"]:
        most, least = max(rows, key=lambda row: row["distance"]), min(rows, key=lambda row: row["distance"])
        known = [row["agreement"] for row in rows if row["agreement"] is not None]
        said.append(
            f"Without “{most['word']}” the picture changes most ({percent(most['distance'])}), without "
            f"“{least['word']}” least ({percent(least['distance'])})."
        )
        if known:
            said.append(
                "Looking at a word is not the same as being changed by it: the correlation of the two, patch by "
                f"patch, is {sum(known) / len(known):.2f} on average over the words (1: the same places, 0: "
                "unrelated)."
            )
    return said
