"""Samplers and schedules side by side: ways to get from noise to a picture with the same number of looks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from reverie.diffusion.family import PATH
from reverie.diffusion.schedules import karras, shifted, uniform
from reverie.engine import Model
from reverie.explain.exhibit import Shown, maker
from reverie.explain.pictures import data_url, distance, draws, finished, request_of
from reverie.explain.reading import percent
from reverie.media import Picture
from reverie.types import SAMPLERS, ImageRequest

REFERENCE_STEPS = 50
SCHEDULES: dict[str, Callable[[int], Tensor]] = {
    "uniform": uniform,
    "shifted": shifted,
    "karras": lambda steps: karras(steps, PATH),
}
LOOKS = {"heun": 2}  # times that a sampler asks the model in one step; the others once


@maker(
    "samplers",
    title="Samplers and schedules",
    question="Does it matter in which steps one goes from noise to a picture?",
    family="diffusion",
    when=draws,
)
def samplers(
    model: Model, prompt: str, *, seed: int = 0, looks: int = 10, guidance: float = ImageRequest.guidance
) -> Shown:
    """Every sampler with every schedule, all from the same noise and with about `looks` looks of the model.

    data: drawings [{"sampler", "schedule", "steps", "picture", "distance": from the reference}], a sampler's three
    together; schedules {name: times}; reference: the picture of many small steps; looks.
    """
    request = request_of(model, prompt, seed=seed, steps=max(2, looks), guidance=guidance)
    exact = finished(model, replace(request, sampler="heun", steps=REFERENCE_STEPS))
    rows = [_row(model, request, sampler, schedule, exact) for sampler in SAMPLERS for schedule in SCHEDULES]
    times = {name: schedule(request.steps).tolist() for name, schedule in SCHEDULES.items()}
    data = {"looks": looks, "drawings": rows, "schedules": times, "reference": data_url(exact)}
    return data, _says(rows, looks)


def _row(model: Model, request: ImageRequest, sampler: str, schedule: str, exact: Picture) -> dict[str, Any]:
    """One way. Heun's last step looks once, so n steps are 2 n - 1 looks."""
    steps = max(1, (request.steps + 1) // LOOKS.get(sampler, 1)) if sampler in LOOKS else request.steps
    times = SCHEDULES[schedule](steps)
    picture = finished(model, replace(request, sampler=sampler, steps=steps), times=times)
    return {
        "sampler": sampler,
        "schedule": schedule,
        "steps": steps,
        "picture": data_url(picture),
        "distance": distance(picture, exact),
    }


def _says(rows: Sequence[dict[str, Any]], looks: int) -> list[str]:
    own = [row for row in rows if row["sampler"] != "ancestral"]
    best, worst = min(own, key=lambda row: row["distance"]), max(own, key=lambda row: row["distance"])
    return [
        f"All begin with the same noise and ask the model about {looks} times. They are compared with "
        f"{REFERENCE_STEPS} steps of heun, which comes close to where endless small steps would lead.",
        f"Nearest is {best['sampler']} with the {best['schedule']} schedule ({percent(best['distance'])} away), "
        f"farthest {worst['sampler']} with {worst['schedule']} ({percent(worst['distance'])}).",
        "The ancestral sampler adds fresh noise on its way, so it leads to another picture: not worse, but not the "
        "same.",
    ]
