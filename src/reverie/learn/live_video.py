"""Questions from runs of a model that animates. Each function says by which rule it drops what is unclear.

F frames, S side of a picture in pixels
"""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np

from reverie.engine import Model
from reverie.explain.clips import clip_request, finished_clip
from reverie.explain.pictures import data_url, distance
from reverie.learn.questions import Order, Place, Question, Show, Source

PROMPTS = {  # with the direction in which something goes, right and down
    "a red fox moves to the right": (1, 0),
    "a blue cat riding a bicycle to the left": (-1, 0),
    "a red panda riding a skateboard to the right": (1, 0),
    "a green frog moves to the left": (-1, 0),
    "a panda riding a skateboard to the left": (-1, 0),
    "a dog moves to the right": (1, 0),
    "a yellow bird moves to the right": (1, 0),
    "a rocket moves up": (0, -1),
}
STEPS = 12
FRAMES, SHOWN = 16, 5
LEAST_DISTANCE = 0.02  # of two frames next to each other in the question
LEAST_DRIFT = 0.03  # of the side, from one of them to the next
GRAIN = 4  # pixels, to the side of what is compared: smaller steps than that can be told
LEAST_CHANGE = 0.02  # of brightness, where something moves


def frame_order(model: Model, chance: random.Random, name: str) -> Question | None:
    """Five frames of a clip, to be put in order.

    What moves must go the way that the words say from each of them to the next, so that only one order is right; and
    two next to each other must differ by 2 % or more.
    """
    prompt, seed = chance.choice(list(PROMPTS)), chance.randrange(1000)
    clip = finished_clip(model, clip_request(model, prompt, frames=FRAMES, seed=seed, steps=STEPS))
    numbers = np.linspace(0, FRAMES - 1, SHOWN).round().astype(int).tolist()
    gone = drift(clip) @ np.array(PROMPTS[prompt])  # (F - 1,)
    ways = [gone[first:then].sum() for first, then in pairwise(numbers)]
    apart = [distance(clip[first], clip[then]) for first, then in pairwise(numbers)]
    if min(ways) < LEAST_DRIFT or min(apart) < LEAST_DISTANCE:
        return None
    places = [
        Place(text="This frame", picture=data_url(clip[number]), why=f"Frame {number} of the clip, which has {FRAMES}.")
        for number in numbers
    ]
    return Order(
        id=name, kind="order", topic="video", lesson="video", difficulty=1, options=places,
        text=f"Here are {SHOWN} frames of a clip that {model.name} made: “{prompt}”. Put them in order, the first "
        "frame first.",
        hints=["The words say which way it goes.", "Look at what stands still: how far has it come by that?"],
        explanation="Only the words tell which end is the first: backwards, the same frames would show the opposite.",
        source=Source(title="Ho et al., Video Diffusion Models", url="https://arxiv.org/abs/2204.03458"),
        exhibit=Show(name="video-denoising", prompt=prompt, options={"seed": seed, "steps": STEPS}),
    )  # fmt: skip


def drift(clip: np.ndarray) -> np.ndarray:
    """How far what moves in a clip (F, S, S, 3) goes from each frame to the next, as shares of the side: (F - 1, 2).

    Right and down are above 0. By least squares: where brightness slopes, it changes as what is there moves (Lucas and
    Kanade, 1981).
    """
    frames, side = clip.shape[:2]
    grey = clip.mean(3).reshape(frames, side // GRAIN, GRAIN, side // GRAIN, GRAIN).mean((2, 4)) / 255  # (F, s, s)
    gone: np.ndarray = np.stack([_moved(before, after) for before, after in pairwise(grey)]) / grey.shape[1]
    return gone


def _moved(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """How far what changes has moved, right and down, in grains: (2,)."""
    down, right = np.gradient((before + after) / 2)
    change = after - before
    moving = np.abs(change) > LEAST_CHANGE
    if not moving.any():
        return np.zeros(2)
    slopes = np.stack([right[moving], down[moving]], 1)  # (pixels, 2)
    found: np.ndarray = np.linalg.lstsq(slopes, -change[moving], rcond=None)[0]
    return found
