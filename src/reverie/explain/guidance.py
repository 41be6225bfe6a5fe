"""Guidance: the same noise drawn with more and less of it (arXiv:2207.12598, eq. 6), and what that changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reverie.engine import Model
from reverie.explain.exhibit import Shown, maker
from reverie.explain.pictures import data_url, difference, distance, draws, numbers, request_of, variations
from reverie.explain.reading import percent
from reverie.media import Picture

VALUES = "0,1,3,6"


@maker(
    "guidance",
    title="Guidance",
    question="What changes when the model is made to follow the prompt more closely?",
    family="diffusion",
    when=draws,
)
def guidance(model: Model, prompt: str, *, values: str = VALUES, seed: int = 0, steps: int = 20) -> Shown:
    """The same seed with each guidance of `values`, each beside what differs from the prompt alone (guidance 1).

    values: numbers with commas between. data: values [{"guidance", "picture", "difference": a picture, "distance" from
    0 to 1, "contrast": standard deviation of all channels, as a share of the range}].
    """
    chosen = numbers("values", values, 8)
    request = request_of(model, prompt, seed=seed, steps=steps)
    pictures = variations(model, request, "guidance", [1.0, *chosen])
    rows = [_row(value, picture, pictures[0]) for value, picture in zip(chosen, pictures[1:], strict=True)]
    return {"values": rows}, _says(rows)


def _row(value: float, picture: Picture, alone: Picture) -> dict[str, Any]:
    return {
        "guidance": value,
        "picture": data_url(picture),
        "difference": data_url(difference(picture, alone)),
        "distance": distance(picture, alone),
        "contrast": float(picture.std() / 255),
    }


def _says(rows: Sequence[dict[str, Any]]) -> list[str]:
    least, most = min(rows, key=lambda row: row["guidance"]), max(rows, key=lambda row: row["guidance"])
    return [
        "In every step the model guesses twice from the same noise, once with the prompt and once without. Guidance "
        "g goes from the guess without to the guess with the prompt, g times as far: 0 draws anything, 1 what the "
        "prompt gives by itself, more exaggerates what the prompt adds.",
        f"Guidance {least['guidance']:g} gives a picture {percent(least['distance'])} away from the prompt alone, "
        f"guidance {most['guidance']:g} one {percent(most['distance'])} away.",
        f"The contrast goes from {percent(least['contrast'])} to {percent(most['contrast'])} of the range: too much "
        "guidance shows as garish colours.",
    ]
