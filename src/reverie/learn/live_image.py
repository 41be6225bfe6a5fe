"""Questions from runs of a model that draws. Each function says by which rule it drops what is unclear."""

from __future__ import annotations

import random
from itertools import pairwise

from reverie.engine import Model
from reverie.explain import exhibit
from reverie.explain.pictures import data_url, distance, finished, reader_picture, request_of
from reverie.explain.reading import percent
from reverie.learn.questions import Choice, Option, Order, Place, Question, Show, Source
from reverie.media import Picture, fit
from reverie.types import ReverieError

PROMPTS = (
    "a red fox on the beach", "a blue cat riding a bicycle", "a green frog next to a house", "a dog in the snow",
    "a tiny elephant on a mountain", "a yellow bird above a tree", "a panda riding a skateboard", "two purple fish",
)  # fmt: skip
LEVELS = 5  # of noise
GUIDANCE = "0,1,3,6"
STEPS = 12
LEAST_DISTANCE = 0.03  # of two pictures that are to be told apart
TRAINED_ON = "scenes"


def noise_order(model: Model, chance: random.Random, name: str) -> Question | None:
    """Five noisy pictures, to be put in order. Two next to each other must differ by 3 % or more."""
    prompt, seed = chance.choice(PROMPTS), chance.randrange(1000)
    rows = exhibit("noise", model, prompt, levels=LEVELS, seed=seed).data["levels"]
    if any(not _apart(a["noisy"], b["noisy"]) for a, b in pairwise(rows)):
        return None
    places = [
        Place(text="This picture", picture=row["noisy"], why=f"{percent(row['noise_share'])} noise: number {number}.")
        for number, row in enumerate(rows, 1)
    ]
    return Order(
        id=name, kind="order", topic="noise", lesson="noise", difficulty=1, options=places,
        text="Here is one picture with five amounts of noise. Put them in order, from the least noise to the most.",
        hints=["Look for an edge that you can still follow.", "In the last one nothing is left of the picture."],
        explanation="Noise is mixed in by a share that grows from 0 to 1; learning to draw is learning to undo this.",
        source=Source(title="Lipman et al., Flow Matching for Generative Modeling",
                      url="https://arxiv.org/abs/2210.02747"),
        exhibit=Show(name="noise", prompt=prompt, options={"levels": LEVELS, "seed": seed}),
    )  # fmt: skip


def guidance(model: Model, chance: random.Random, name: str) -> Question | None:
    """Which picture was made with no guidance, or with most. It must differ from all others by 3 % or more."""
    prompt, seed = chance.choice(PROMPTS), chance.randrange(1000)
    rows = exhibit("guidance", model, prompt, values=GUIDANCE, seed=seed, steps=STEPS).data["values"]
    wanted = chance.choice((rows[0], rows[-1]))
    if any(not _apart(row["picture"], wanted["picture"]) for row in rows if row is not wanted):
        return None
    options = [
        Option(
            text="This picture",
            picture=row["picture"],
            right=row is wanted,
            why=f"Guidance {row['guidance']:g}: {percent(row['distance'])} away from what the words alone give.",
        )
        for row in rows
    ]
    least = "It does not listen to the words at all." if wanted is rows[0] else "Look for the strongest colours."
    return Choice(
        id=name, kind="choice", topic="guidance", lesson="guidance", difficulty=2, options=options,
        text=f"These four were drawn from the same noise for “{prompt}”. Which was made with guidance "
        f"{wanted['guidance']:g}?",
        hints=["Guidance 0 leaves the words out; a high one exaggerates what they add.", least],
        explanation="In every step the model guesses with the words and without; guidance says how far to go from the "
        "one to the other.",
        source=Source(title="Ho and Salimans, Classifier-Free Diffusion Guidance",
                      url="https://arxiv.org/abs/2207.12598"),
        exhibit=Show(name="guidance", prompt=prompt, options={"values": GUIDANCE, "seed": seed, "steps": STEPS}),
    )  # fmt: skip


def real_or_made(model: Model, chance: random.Random, name: str) -> Question | None:
    """Which of two pictures the model drew. None where its training pictures are not built on this machine."""
    try:
        example = model.medium.examples(TRAINED_ON, held_out=False).item(chance.randrange(2**31), 0)
    except ReverieError:
        return None
    seed = chance.randrange(1000)
    made: Picture = finished(model, request_of(model, example.caption, seed=seed))
    real = fit(example.x.numpy(), made.shape[0])
    if distance(made, real) < LEAST_DISTANCE:
        return None
    options = [
        Option(text="This picture", picture=data_url(made), right=True, why="The model drew it, from the same words."),
        Option(text="This picture", picture=data_url(real), right=False, why="It was put together to train the model."),
    ]
    return Choice(
        id=name, kind="choice", topic="limits", lesson="limits", difficulty=2, options=options,
        text=f"One of these pictures was there to learn from, the other was drawn by {model.name} from the same words: "
        f"“{example.caption}”. Which did the model draw?",
        hints=["Look at small parts: eyes, legs, wheels.", "What is drawn by the model has softer edges."],
        explanation=f"They differ by {percent(distance(made, real))}. A model that copied would show the same picture.",
        source=Source(title="Carlini et al., Extracting Training Data from Diffusion Models",
                      url="https://arxiv.org/abs/2301.13188"),
        exhibit=Show(name="denoising", prompt=example.caption, options={"seed": seed}),
    )  # fmt: skip


def _apart(a: str, b: str) -> bool:
    return distance(reader_picture(a), reader_picture(b)) >= LEAST_DISTANCE
