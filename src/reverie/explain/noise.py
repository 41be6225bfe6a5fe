"""Noise: the forward process on any picture, and what the model can still see in each noisy version of it.

x_t = (1 - t) x0 + t eps for the flow path (arXiv:2210.02747, eq. 22); B batch, C channels, F frames, H x W latents
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from reverie.diffusion.family import PATH, read
from reverie.diffusion.guidance import Condition
from reverie.engine import Model
from reverie.explain.exhibit import Shown, maker
from reverie.explain.pictures import (
    data_url,
    denoiser,
    distance,
    draws,
    finished,
    latents_of,
    noise_of,
    reader_picture,
    request_of,
)
from reverie.explain.reading import percent
from reverie.media import fit
from reverie.types import ReverieError

LEVELS = 9
MOST_LEVELS = 40


@maker(
    "noise",
    title="From picture to noise",
    question="What does noise do to a picture, and how much of it can the model still see?",
    family="diffusion",
    when=draws,
)
def noise(model: Model, prompt: str, *, picture: str | None = None, levels: int = LEVELS, seed: int = 0) -> Shown:
    """A picture with more and more noise on it.

    picture: the reader's own, as the data URL of a PNG, JPEG or WebP; without one the model draws `prompt` first.
    levels: how many amounts of noise, from none to nothing else.
    data: picture; own: whether it is the reader's; levels [{"time", "picture_share", "noise_share": alpha and sigma,
    "noisy", "guess": pictures, "guess_error": distance of the guess from the original, 0 to 1}].
    """
    request = request_of(model, prompt, seed=seed)
    if not 2 <= levels <= MOST_LEVELS:
        raise ReverieError(f"levels is {levels}: give a number from 2 to {MOST_LEVELS}.")
    whole = finished(model, request) if picture is None else reader_picture(picture)
    clean, eps = latents_of(model, whole, request), noise_of(model, request)
    told = read(model.core, model.medium.condition(request)).prompt
    rows = [_level(model, clean, eps, t, told) for t in torch.linspace(0, 1, levels)]
    data = {"picture": data_url(fit(whole, model.medium.size_px)), "own": picture is not None, "levels": rows}
    return data, _says(rows, own=picture is not None)


@torch.inference_mode()
def _level(model: Model, clean: Tensor, eps: Tensor, t: Tensor, told: Condition) -> dict[str, Any]:
    """One amount of noise: what it makes of the picture, and what the model sees in that at one glance."""
    show = model.medium.picture
    x = PATH.mix(clean, eps, t.to(clean))
    guess = show(denoiser(model)(x, t, told))
    return {
        "time": float(t),
        "picture_share": float(PATH.alpha(t)),
        "noise_share": float(PATH.sigma(t)),
        "noisy": data_url(show(x)),
        "guess": data_url(guess),
        "guess_error": distance(guess, show(clean)),
    }


def _says(rows: Sequence[dict[str, Any]], *, own: bool) -> list[str]:
    half = rows[len(rows) // 2]
    return [
        f"{'Your picture' if own else 'A picture that the model drew'} is mixed with noise in {len(rows)} amounts, "
        "from none to nothing but noise. Training shows the model such mixtures and asks what the picture was.",
        f"With {percent(half['noise_share'])} noise, one glance of the model brings back a picture that is "
        f"{percent(half['guess_error'])} away from the original; from noise alone it is "
        f"{percent(rows[-1]['guess_error'])} away: there, only the prompt tells what to draw.",
        "The noise is added to the latents, the small code that the model draws in, and decoded to be seen: that is "
        "why it looks like coloured blots and not like grains.",
    ]
