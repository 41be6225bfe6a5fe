"""Denoising: one drawing step by step, the noisy state beside the model's guess of the finished picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reverie.diffusion.schedules import uniform
from reverie.engine import Model
from reverie.explain.exhibit import Shown, maker
from reverie.explain.pictures import data_url, distance, draws, request_of, walk
from reverie.explain.reading import percent
from reverie.media import Picture
from reverie.types import SAMPLERS, ImageRequest, Step

SETTLED = 0.1  # of the way from the first guess to the last: what is left then is detail


@maker(
    "denoising",
    title="From noise to picture",
    question="How does a picture come out of noise, step by step?",
    family="diffusion",
    when=draws,
    choices={"sampler": SAMPLERS},
)
def denoising(
    model: Model,
    prompt: str,
    *,
    seed: int = 0,
    steps: int = 20,
    guidance: float = ImageRequest.guidance,
    sampler: str = "dpmpp_2m",
) -> Shown:
    """Every step of a drawing. seed, steps, guidance, sampler: as for drawing.

    data: steps [{"step" from 1, "time" from 1 to 0, "noisy" and "guess": pictures, "change": distance of the guess from
    the one before, null in the first, "left": from the last}]; picture. Distances go from 0 to 1.
    """
    request = request_of(model, prompt, seed=seed, steps=steps, guidance=guidance, sampler=sampler)
    taken = walk(model, request)
    guesses = [model.medium.picture(step.guess) for step in taken]
    times = uniform(steps).tolist()
    rows = [_row(model, step, time, guesses) for step, time in zip(taken, times, strict=False)]
    return {"steps": rows, "picture": data_url(guesses[-1])}, _says(rows)


def _row(model: Model, step: Step, time: float, guesses: Sequence[Picture]) -> dict[str, Any]:
    at = step.index - 1
    return {
        "step": step.index,
        "time": time,
        "noisy": data_url(model.medium.picture(step.state)),
        "guess": data_url(guesses[at]),
        "change": distance(guesses[at], guesses[at - 1]) if at else None,
        "left": distance(guesses[at], guesses[-1]),
    }


def _says(rows: Sequence[dict[str, Any]]) -> list[str]:
    first, settled = rows[0]["left"], [row for row in rows if row["left"] <= SETTLED * rows[0]["left"]]
    half = next(row for row in rows if row["left"] <= first / 2)
    return [
        f"The drawing takes {len(rows)} steps. In each the model looks at the noisy state and guesses the finished "
        "picture; then a little of the noise is replaced by the guess, and it looks again.",
        f"The first guess is {percent(first)} away from the last one: a blur, the mean of all the pictures it could "
        f"become. Half of the way is done at step {half['step']}, nine tenths at step {settled[0]['step']}: the "
        "large shapes are decided early, and the rest is detail.",
    ]
