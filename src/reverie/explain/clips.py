"""What exhibits of models that animate have in common: clips kept step by step, and how alike their frames are.

F frames, S side of a picture in pixels, C x F x H x W latents
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from torch import Tensor, nn

from reverie.engine import Model
from reverie.explain.pictures import checked_request, data_url, distance
from reverie.types import Step, VideoRequest

STEPS = 12  # of a clip that is made to be looked at: each takes as long as a step of as many pictures

_KEPT: WeakKeyDictionary[nn.Module, tuple[VideoRequest, list[Step]]] = WeakKeyDictionary()  # the last film of a model


def animates(model: Model) -> bool:
    """Whether a model makes clips."""
    return issubclass(model.medium.request, VideoRequest)


def clip_request(model: Model, prompt: str, **settings: Any) -> VideoRequest:
    """A checked request for a clip."""
    request: VideoRequest = checked_request(model, prompt, **settings)
    return request


def film(model: Model, request: VideoRequest) -> list[Step]:
    """All steps of a clip, as `model.generate` gives them."""
    medium = model.medium
    return list(medium.family.generate(model.core, medium.condition(request), request, medium.shape(request)))


def kept_film(model: Model, request: VideoRequest) -> list[Step]:
    """The same, made anew only where another film was looked at in between: one is looked at from many sides.

    Not for a model that is being changed from outside, and not with frames given.
    """
    given = [pictures for pictures in (request.begin, request.end) if pictures is not None]
    assert not given, "requests that differ in given frames alone are equal"
    known = _KEPT.get(model.core)
    if known is None or known[0] != request:
        known = _KEPT[model.core] = (request, film(model, request))
    return known[1]


def finished_clip(
    model: Model, request: VideoRequest, make: Callable[[Model, VideoRequest], list[Step]] = film
) -> np.ndarray:
    """The clip that `film` or `kept_film` ends with: (F, S, S, 3)."""
    *_, last = make(model, request)
    clip: np.ndarray = model.medium.clip(last.guess, request)
    return clip


def frame_urls(clip: np.ndarray, **how: Any) -> list[str]:
    """Each frame as a data URL, see `pictures.data_url`."""
    return [data_url(frame, **how) for frame in clip]


def jumps(clip: np.ndarray) -> list[float]:
    """How far each frame is from the next, from 0 to 1: F - 1 numbers."""
    return [distance(frame, after) for frame, after in pairwise(clip)]


def correlation(a: Tensor, b: Tensor) -> float:
    """How alike two tensors of one shape are in what they vary by: 1 the same, 0 unrelated, or one does not vary."""
    a, b = (x.double().flatten() - x.double().mean() for x in (a, b))
    return float(a @ b / (a.norm() * b.norm()).clamp_min(1e-9))


def mean(values: Sequence[float]) -> float:
    """The mean of at least one number."""
    return sum(values) / len(values)
