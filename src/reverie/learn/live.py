"""Questions from real runs: made from an installed model with a seed, the answer computed, what is unclear dropped."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reverie.engine import Model
from reverie.explain.clips import animates
from reverie.explain.exhibit import family
from reverie.explain.tunes import composes
from reverie.learn import live_image, live_music, live_text, live_video
from reverie.learn.questions import Question
from reverie.learn.session import dice

TRIES = 3  # with other choices, before a kind is given up


@dataclass(frozen=True)
class Kind:
    """One kind of live question. make: (model, choices, id) -> a question; None: with these choices it is unclear.

    of: what is asked: models of the family "lm" or "diffusion", or, of the first, those that compose, "music", of the
    second those that animate, "video". most: how many of these are made at once; some take long.
    """

    name: str
    topic: str
    of: str
    make: Callable[[Model, random.Random, str], Question | None]
    most: int = 200


KINDS = (
    Kind("next-word", "prediction", "lm", live_text.next_word),
    Kind("attention", "self-attention", "lm", live_text.attention),
    Kind("softmax", "prediction", "lm", live_text.softmax),
    Kind("layer", "layers", "lm", live_text.layer),
    Kind("parameters", "layers", "lm", live_text.parameters),
    Kind("cache", "prediction", "lm", live_text.cache),
    Kind("noise-order", "noise", "diffusion", live_image.noise_order),
    Kind("guidance", "guidance", "diffusion", live_image.guidance),
    Kind("real-or-made", "limits", "diffusion", live_image.real_or_made),
    Kind("next-note", "music", "music", live_music.next_note),
    Kind("by-people", "music", "music", live_music.by_people),
    Kind("frame-order", "video", "video", live_video.frame_order, most=1),
)


def suited(models: Sequence[Model], topic: str | None = None) -> list[tuple[Kind, Model]]:
    """The kinds that these models can make questions of, each with its model."""
    return [
        (kind, model) for kind in KINDS for model in models if kind.of == _makes(model) and topic in (None, kind.topic)
    ]


def _makes(model: Model) -> str:
    """What a model is asked about, as `Kind.of` has it."""
    return "music" if composes(model) else "video" if animates(model) else family(model)


def make(models: Sequence[Model], num: int, seed: int, topic: str | None = None) -> list[Question]:
    """At most `num` questions from runs of these models, of different kinds as far as there are; the seed repeats them.

    Fewer come where a kind gives nothing clear, or needs pictures that are not here.
    """
    kinds = suited(models, topic)
    dice(seed, "kinds").shuffle(kinds)
    made: list[Question] = []
    for number in range(num * 2):  # twice: some kinds may give nothing
        if len(made) == num or not kinds:
            break
        kind, model = kinds[number % len(kinds)]
        question = one(kind, model, seed, number) if number // len(kinds) < kind.most else None
        if question is not None and all(question.text != other.text for other in made):
            made.append(question)
    return made


def one(kind: Kind, model: Model, seed: int, number: int = 0) -> Question | None:
    """A question of this kind; None if none of a few choices gives one whose answer is clear."""
    for attempt in range(TRIES):
        chance = dice(seed, kind.name, number, attempt)
        question = kind.make(model, chance, f"live-{kind.name}-{seed}-{number}")
        if question is not None:
            return question
    return None
