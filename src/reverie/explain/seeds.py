"""Seeds and steps: one prompt from different noise, and the same noise with more and fewer steps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from reverie.engine import Model
from reverie.explain.exhibit import Shown, maker
from reverie.explain.pictures import MOST_STEPS, data_url, distance, draws, numbers, request_of, variations
from reverie.explain.reading import percent
from reverie.types import ImageRequest, ReverieError

MOST_SEEDS = 16
NEAR = 0.02  # a distance that is hardly seen
STEPS = "1,2,4,8,16,50"


@maker("seeds", title="Seeds", question="How different are pictures of one prompt?", family="diffusion", when=draws)
def seeds(
    model: Model, prompt: str, *, num: int = 6, seed: int = 0, steps: int = 20, guidance: float = ImageRequest.guidance
) -> Shown:
    """One prompt with `num` seeds, from `seed` on.

    data: seeds [{"seed", "picture"}], mean_distance: of two of them, 0 to 1.
    """
    if not 2 <= num <= MOST_SEEDS:
        raise ReverieError(f"num is {num}: give a number of seeds from 2 to {MOST_SEEDS}.")
    request = request_of(model, prompt, seed=seed, steps=steps, guidance=guidance)
    chosen = list(range(seed, seed + num))
    pictures = variations(model, request, "seed", chosen)
    apart = [distance(a, b) for a, b in combinations(pictures, 2)]
    rows = [{"seed": each, "picture": data_url(picture)} for each, picture in zip(chosen, pictures, strict=True)]
    mean = sum(apart) / len(apart)
    says = [
        f"The prompt is the same in all {num} pictures; only the noise differs, and each seed stands for one noise. "
        f"Two of them are {percent(mean)} apart on average.",
        "What all have in common comes from the prompt. Where things stand and what they look like comes from the "
        "noise: the same seed gives the same picture again, to the last bit.",
    ]
    return {"seeds": rows, "mean_distance": mean}, says


@maker("steps", title="Steps", question="How many steps does a picture need?", family="diffusion", when=draws)
def steps(
    model: Model, prompt: str, *, values: str = STEPS, seed: int = 0, guidance: float = ImageRequest.guidance
) -> Shown:
    """The same noise with each number of steps; how far each picture is from the one of most steps.

    values: numbers of steps with commas between. data: steps [{"steps", "picture", "distance"}], most_steps: that can
    be asked for.
    """
    chosen = [int(value) for value in numbers("values", values, 10)]
    request = request_of(model, prompt, seed=seed, guidance=guidance)
    for value in chosen:
        request_of(model, prompt, steps=value)
    pictures = variations(model, request, "steps", chosen)
    best = pictures[chosen.index(max(chosen))]
    rows: list[dict[str, Any]] = [
        {"steps": value, "picture": data_url(picture), "distance": distance(picture, best)}
        for value, picture in zip(chosen, pictures, strict=True)
    ]
    return {"steps": rows, "most_steps": MOST_STEPS}, _says(rows)


def _says(rows: Sequence[dict[str, Any]]) -> list[str]:
    few, most = min(rows, key=lambda row: row["steps"]), max(rows, key=lambda row: row["steps"])
    far = [row["steps"] for row in rows if row["distance"] > NEAR]
    enough = min((row for row in rows if row["steps"] > max(far, default=0)), key=lambda row: row["steps"])
    return [
        f"All of these begin with the same noise. With {few['steps']} step{'s' if few['steps'] > 1 else ''} the "
        f"picture is {percent(few['distance'])} away from the one of {most['steps']} steps: one look cannot decide "
        "between all that the picture could be, and shows their mean.",
        f"From {enough['steps']} steps on it is at most {percent(NEAR)} away: more steps only cost time.",
    ]
