"""Attention in a tune: at which earlier notes a model looked when it chose a note, and what its heads are good for.

L layers, H heads, T words of a tune, N bars
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from reverie.engine import Model
from reverie.explain.exhibit import Prompt, Shown, maker
from reverie.explain.inside import attention_weights, checked_head, checked_layer
from reverie.explain.reading import percent, place_in
from reverie.explain.tunes import Heard, composes, heard
from reverie.notation import abc
from reverie.types import ReverieError

TOP = 5  # notes that are told of
DIGITS = 3  # of a weight, after the point and its zeros: a tune has many
LEAST_BARS = 2  # back, for a look to be worth telling of by itself


@maker(
    "music-attention",
    title="Attention in a tune",
    question="Which earlier notes did this note look at?",
    family="lm",
    when=composes,
    medium="music",
)
def music_attention(
    model: Model,
    prompt: Prompt,
    *,
    layer: int | None = None,
    head: int | None = None,
    finder: bool = False,
    note: int | None = None,
    seed: int = 0,
) -> Shown:
    """Where the model looked while it chose each note of a tune, given in ABC or in its words, or composed here.

    layer, head: which; without a head the average of the layer's, without both of all. finder: the head that looks
    most at the same beat of earlier bars, whichever that is. note: the place of the note that is asked about, among all
    words, of which the first begins the tune; left out, the one that looks most sharply at a note two bars back or
    more. seed: of the tune, where the prompt says only what kind of tune is wanted.
    data: tokens (T,); words [{"text", "kind", "bar", "number", "beat", "pitch", "start", "length"}], see
    `explain.tunes.Word`; weights: row i has i + 1 shares, where the word at place i looked, so what was looked at to
    choose word i is row i - 1; note; top [{"place", "weight"}]: the notes it looked at most; bars (N, N): how the looks
    of a bar's notes at notes are shared among bars; heads [{"layer", "head", "before", "same"}]: the share that goes
    to the note just before, and to notes on the same beat of earlier bars, on the average; abc: the tune.
    """
    if head is not None and layer is None:
        raise ReverieError("Which head is meant depends on the layer: give the layer too.")
    tune = heard(model, prompt, seed)
    if len(tune.notes) < 2:
        raise ReverieError("There is no note that could look at another: give two notes at least.")
    everything = attention_weights(model, tune.tokens)  # (L, H, T, T)
    heads = _heads(tune, everything)
    layer, head = (heads[0]["layer"], heads[0]["head"]) if finder else (layer, head)
    weights = _view(model, everything, layer, head)
    note = _most_telling(tune, weights) if note is None else place_in(len(tune.words), note, "note")
    if note not in tune.notes[1:]:
        raise ReverieError(f"Word {note} is no note with notes before it: give one such as {tune.notes[-1]}.")
    data = {
        "tokens": tune.texts,
        "words": [asdict(word) for word in tune.words],
        "layer": layer,
        "head": head,
        "num_layers": len(everything),
        "num_heads": everything.shape[1],
        "weights": [_short(row[: place + 1]) for place, row in enumerate(weights)],
        "note": note,
        "top": _top(tune, weights, note),
        "bars": _by_bars(tune, weights),
        "heads": heads,
        "abc": abc.to_abc(tune.tune),
    }
    return data, _says(tune, data, weights)


def _view(model: Model, everything: Tensor, layer: int | None, head: int | None) -> Tensor:
    if layer is None:
        return everything.mean((0, 1))
    chosen = everything[checked_layer(model, layer)]
    return chosen.mean(0) if head is None else chosen[checked_head(model, head)]


def _short(row: Tensor) -> list[float]:
    return [float(f"{share:.{DIGITS}g}") for share in row.tolist()]


def _earlier(tune: Heard, note: int) -> list[int]:
    """The places of the notes before one."""
    return [place for place in tune.notes if place < note]


def _top(tune: Heard, weights: Tensor, note: int) -> list[dict[str, Any]]:
    looks = weights[note - 1]
    best = sorted(_earlier(tune, note), key=lambda place: -float(looks[place]))[:TOP]
    return [{"place": place, "weight": float(looks[place])} for place in best]


def _most_telling(tune: Heard, weights: Tensor) -> int:
    """The note that looks most sharply at one far enough back; the last one, if none can."""
    sharp = {}
    for note in tune.notes[1:]:
        far = [place for place in _earlier(tune, note) if _bars_back(tune, note, place) >= LEAST_BARS]
        sharp[note] = float(weights[note - 1, far].max()) if far else 0.0
    best = max(sharp, key=lambda note: sharp[note])
    return best if sharp[best] > 0 else tune.notes[-1]


def _bars_back(tune: Heard, note: int, place: int) -> int:
    here, there = tune.words[note].bar, tune.words[place].bar
    assert here is not None
    assert there is not None
    return here - there


def _by_bars(tune: Heard, weights: Tensor) -> Tensor:
    """How the looks of each bar's notes at notes are shared among bars (N, N); 0 where there were none."""
    bars = torch.tensor([tune.words[place].bar for place in tune.notes])
    num, places = int(bars.max()) + 1, torch.tensor(tune.notes)
    looks = weights[places - 1][:, places].tril(-1)  # a row for each note, a column for each it could look at
    member = torch.nn.functional.one_hot(bars, num).to(looks.dtype)  # (notes, N)
    shared = member.T @ looks @ member
    return shared / shared.sum(1, keepdim=True).clamp_min(1e-9)


def _heads(tune: Heard, everything: Tensor) -> list[dict[str, Any]]:
    """What each head does on the average over all notes, best finder of the same beat first."""
    places = torch.tensor(tune.notes)
    looks = everything[:, :, places - 1][..., places].tril(-1)  # (L, H, notes, notes)
    beats = torch.tensor([tune.words[place].beat for place in tune.notes])
    bars = torch.tensor([tune.words[place].bar for place in tune.notes])
    same = (beats[:, None] == beats) & (bars[:, None] > bars)
    before = torch.eye(len(places)).roll(1, 0).tril(-1)
    rows = [
        {
            "layer": layer,
            "head": head,
            "before": float((each * before).sum(-1)[1:].mean()),
            "same": float((each * same).sum(-1)[same.any(-1)].mean()) if same.any() else 0.0,
        }
        for layer, heads in enumerate(looks)
        for head, each in enumerate(heads)
    ]
    return sorted(rows, key=lambda row: -row["same"])


def _says(tune: Heard, data: dict[str, Any], weights: Tensor) -> list[str]:
    note, best = data["note"], data["top"][0]
    where = "On the average of all heads" if data["layer"] is None else f"In layer {data['layer']}"
    where += "" if data["head"] is None else f", head {data['head']}"
    looked = tune.words[best["place"]]
    says = [] if not tune.composed else [f"The model composed this tune just now: {len(tune.notes)} notes and rests."]
    says.append(
        f"{where}, when {tune.words[note].name} was chosen, the note looked at most was {looked.name}, with "
        f"{percent(best['weight'])} of the attention."
    )
    rest = 1 - float(weights[note - 1, _earlier(tune, note)].sum())
    says.append(f"Words that are no notes (the beginning, the head, lines between bars) got {percent(rest)}.")
    finder = data["heads"][0]
    says.append(
        f"Layer {finder['layer']}, head {finder['head']} is the best at finding the same beat in earlier bars: "
        f"{percent(finder['same'])} of its attention goes there."
    )
    return says
