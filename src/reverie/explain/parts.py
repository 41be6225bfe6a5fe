"""Parts: what a model that draws is made of, the shapes that go from one part to the next, and what the codec keeps.

B = 1, T prompt tokens, E width of a state, C x F x H x W latents, S side of the picture in pixels
"""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from reverie.engine import Model
from reverie.explain.exhibit import Shown, maker
from reverie.explain.pictures import (
    data_url,
    difference,
    distance,
    draws,
    finished,
    latents_of,
    reader_picture,
    request_of,
)
from reverie.explain.reading import percent
from reverie.media import fit


@maker(
    "parts",
    title="The parts of a model that draws",
    question="What happens between the words and the pixels?",
    family="diffusion",
    when=draws,
)
def parts(model: Model, prompt: str, *, picture: str | None = None, seed: int = 0) -> Shown:
    """Encoder, denoiser and codec: shapes in and out, numbers of weights; and one picture through the codec and back.

    picture: the reader's own, as a data URL; without one the model draws `prompt`.
    data: parts (name, what it does, shapes, weights); original, restored, difference: pictures; loss: their distance;
    smaller: how many times fewer numbers the latents are than the pixels.
    """
    request = request_of(model, prompt, seed=seed)
    whole = finished(model, request) if picture is None else reader_picture(picture)
    square = fit(whole, model.medium.size_px)
    restored = model.medium.picture(latents_of(model, whole, request))
    rows = _parts(model, prompt)
    pixels, latents = square.size, math.prod(model.medium.shape(request))
    data = {
        "parts": rows,
        "original": data_url(square),
        "restored": data_url(restored),
        "difference": data_url(difference(square, restored)),
        "loss": distance(square, restored),
        "smaller": pixels / latents,
    }
    return data, _says(data)


def _parts(model: Model, prompt: str) -> list[dict[str, Any]]:
    medium, core = model.medium, model.core
    num_tokens, side = medium.encoder.num_tokens(prompt), medium.size_px
    states = f"{num_tokens} x {medium.encoder.width}"
    latents = " x ".join(map(str, medium.shape(medium.request(prompt))[1:]))
    denoiser = f"{latents} with noise, {states}, time"
    pixels = f"{side} x {side} x 3"
    return [
        _part("encoder", "reads the words", f"{num_tokens} tokens", states, None),
        _part("denoiser", "guesses the clean latents, once a step", denoiser, latents, _num_weights(core)),
        _part("codec, decoder", "makes pixels of latents", latents, pixels, _num_weights(medium.codec.decoder)),
        _part("codec, encoder", "makes latents of pixels", pixels, latents, _num_weights(medium.codec.encoder)),
    ]


def _part(name: str, does: str, takes: str, gives: str, weights: int | None) -> dict[str, Any]:
    return {"part": name, "does": does, "takes": takes, "gives": gives, "weights": weights}


def _num_weights(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def _says(data: dict[str, Any]) -> list[str]:
    encoder, denoiser = data["parts"][0], data["parts"][1]
    return [
        f"A pretrained encoder turns the prompt into {encoder['gives']} numbers. The denoiser, "
        f"{denoiser['weights'] / 1e6:.1f} million weights, looks at them and at noise, again and again; the codec's "
        "decoder runs once, at the end.",
        f"The denoiser never sees pixels: it draws in latents, {data['smaller']:.0f} times fewer numbers, which is "
        f"why it is quick. Through the codec and back a picture changes by {percent(data['loss'])}.",
    ]
