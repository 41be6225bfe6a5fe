"""What exhibits of models that draw have in common: runs kept step by step, and pictures as small data URLs.

B batch, C channels, F frames, H x W latents, T prompt tokens, S tokens in all
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from reverie import media
from reverie.diffusion.family import PATH, denoise, read
from reverie.diffusion.generate import Drawing
from reverie.diffusion.guidance import Condition, Conditional, guided
from reverie.diffusion.model import Read
from reverie.diffusion.samplers import SAMPLERS, normal
from reverie.diffusion.schedules import uniform
from reverie.engine import Model
from reverie.media import Picture
from reverie.types import ImageRequest, ReverieError, Step

MOST_STEPS = 60  # that an exhibit shows: each is a picture or two
SHOWN_PX = 128  # the largest side of a picture in an exhibit
MOST_URL_CHARS = 20_000_000
QUALITY = 82  # of WebP; noise at this quality takes about 8 kB
HEAT = ((0, 0, 0), (120, 20, 110), (240, 110, 30), (255, 245, 200))  # colours from no difference to the greatest


def draws(model: Model) -> bool:
    """Whether a model makes single pictures."""
    return issubclass(model.medium.request, ImageRequest)


def request_of(model: Model, prompt: str, **settings: Any) -> ImageRequest:
    """A checked request. A `ReverieError` if the model makes no pictures, or as of `checked_request`."""
    if not draws(model):
        raise ReverieError(f"This model makes {model.medium.name}: choose a model that draws.")
    request: ImageRequest = checked_request(model, prompt, **settings)
    return request


def checked_request(model: Model, prompt: str, **settings: Any) -> Any:
    """A request of a denoiser's own kind. A `ReverieError` if the prompt is empty, or there are too many steps."""
    if not prompt.strip():
        raise ReverieError("The prompt is empty: say in a few words what to draw.")
    request = model.medium.request(prompt.strip(), **settings)
    if request.steps > MOST_STEPS:
        raise ReverieError(f"steps is {request.steps}: an exhibit shows at most {MOST_STEPS}.")
    return request


@torch.inference_mode()
def walk(
    model: Model,
    request: ImageRequest,
    *,
    condition: Drawing | None = None,
    x: Tensor | None = None,
    times: Tensor | None = None,
) -> list[Step]:
    """All steps of a drawing; the same as `model.generate` gives, unless something is put in the place of its own.

    condition: what is drawn. x: the noise to begin from, (1, C, F, H, W). times: a schedule, falling to 0.
    """
    condition = read(model.core, model.medium.condition(request) if condition is None else condition)
    condition = condition.to(device_of(model))
    times = uniform(request.num_steps, request.start) if times is None else times
    x = noise_of(model, request) if x is None else x
    look = guided(denoiser(model), condition.prompt, condition.negative, request.guidance)
    x = PATH.mix(torch.zeros_like(x), x, times[0])
    rngs = [torch.Generator().manual_seed(request.seed)]
    normal(x, rngs)  # the noise of the beginning comes from the same generator as what `ancestral` draws on the way
    return list(SAMPLERS[request.sampler](look, x, times, PATH, rngs))


def denoiser(model: Model) -> Conditional:
    """(x, t, prompt as the model has read it) -> the clean picture that it sees in x, as samplers ask for it."""

    def look(x: Tensor, t: Tensor, told: Condition) -> Tensor:
        return denoise(model.core.look, x, t.to(x.device, torch.float32).expand(len(x)), Read(*told))

    return look


def noise_of(model: Model, request: ImageRequest) -> Tensor:
    """The noise that this request's seed begins with, (1, C, F, H, W)."""
    empty = torch.empty(model.medium.shape(request), device=device_of(model))
    return normal(empty, [torch.Generator().manual_seed(request.seed)])


def device_of(model: Model) -> torch.device:
    """Where the denoiser is."""
    device: torch.device = model.core.embed.weight.device
    return device


def finished(model: Model, request: ImageRequest, **other: Any) -> Picture:
    """The picture that `walk` ends with."""
    picture: Picture = model.medium.picture(walk(model, request, **other)[-1].guess)
    return picture


def variations(model: Model, request: ImageRequest, name: str, values: Sequence[Any]) -> list[Picture]:
    """One picture for each value of a field of the request, all else the same."""
    return [finished(model, replace(request, **{name: value})) for value in values]


def latents_of(model: Model, picture: Picture, request: ImageRequest) -> Tensor:
    """The latents of any picture, its middle square brought to the size that is drawn: (1, C, F, H, W)."""
    given = model.medium.condition(replace(request, init=picture)).init
    assert given is not None
    latents: Tensor = given.to(device_of(model))
    return latents


def reader_picture(url: str) -> Picture:
    """A picture that came as the data URL of a PNG, JPEG or WebP file."""
    head, _, body = url.partition(",")
    if not head.startswith("data:image/") or not head.endswith(";base64") or len(body) > MOST_URL_CHARS:
        raise ReverieError("The picture is not a data URL: give one that begins with data:image/png;base64,")
    try:
        data = base64.b64decode(body, validate=True)
    except ValueError as error:
        raise ReverieError("The picture's data URL is broken: give the whole of it, in base64.") from error
    return media.read_picture(data)


def data_url(picture: Picture, most_px: int = SHOWN_PX) -> str:
    """A picture as a data URL (WebP), its sides at most `most_px` long."""
    image = Image.fromarray(picture)
    image.thumbnail((most_px, most_px), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def difference(a: Picture, b: Picture) -> Picture:
    """Where two pictures of one size differ: black where they are the same, then violet, orange, white."""
    far = np.abs(a.astype(np.float32) - b).mean(2) / 255  # (H, W)
    stops = np.linspace(0, 0.5, len(HEAT))  # half of the whole range is already as much as can be
    channels = [np.interp(far, stops, [colour[i] for colour in HEAT]) for i in range(3)]
    return np.stack(channels, 2).round().astype(np.uint8)


def distance(a: Picture, b: Picture) -> float:
    """The mean difference of two pictures' channels, from 0 to 1."""
    return float(np.abs(a.astype(np.float32) - b).mean() / 255)


def numbers(name: str, values: str, most: int) -> list[float]:
    """An option that is a list, "0,1,3", as its 1 to `most` numbers."""
    try:
        found = [float(value) for value in values.split(",")]
    except ValueError as error:
        raise ReverieError(f"{name} is {values[:80]!r}: give numbers with commas between them.") from error
    if len(found) > most or not all(map(math.isfinite, found)):
        raise ReverieError(f"{name} is {values[:80]!r}: give at most {most} numbers.")
    return found
