"""Given frames: what becomes of a clip when its beginning, or its beginning and its end, are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from reverie.engine import Model
from reverie.explain.clips import STEPS, animates, clip_request, finished_clip, frame_urls, kept_film, mean
from reverie.explain.exhibit import Shown, maker
from reverie.explain.pictures import distance
from reverie.explain.reading import percent
from reverie.types import VideoRequest


@maker(
    "video-given",
    title="Given frames",
    question="How much does one given frame decide?",
    family="diffusion",
    when=animates,
    medium="video",
)
def video_given(
    model: Model,
    prompt: str,
    *,
    frames: int = 16,
    seed: int = 0,
    steps: int = STEPS,
    guidance: float = VideoRequest.guidance,
) -> Shown:
    """A clip, and three more from other noise: with nothing given, with its first frame, with its first and its last.

    frames, seed, steps, guidance: as for animating; the other noise is the next seed's.
    data: frames: of the clip, pictures; clips [{"given": places of the frames given, "frames": pictures, "away":
    distance of each frame from the clip's, "mean" of these where nothing was given}].
    """
    request = clip_request(model, prompt, frames=frames, seed=seed, steps=steps, guidance=guidance)
    clip = finished_clip(model, request, kept_film)
    other = replace(request, seed=seed + 1)
    asked = [(other, []), (replace(other, begin=clip[:1]), [0])]
    if frames > 2:
        asked.append((replace(other, begin=clip[:1], end=clip[-1:]), [0, frames - 1]))
    rows = [_row(finished_clip(model, each), clip, places) for each, places in asked]
    return {"frames": frame_urls(clip), "clips": rows}, _says(rows)


def _row(made: np.ndarray, clip: np.ndarray, places: list[int]) -> dict[str, Any]:
    away = [distance(a, b) for a, b in zip(made, clip, strict=True)]
    open_ones = [far for at, far in enumerate(away) if at not in places]
    return {"given": places, "frames": frame_urls(made), "away": away, "mean": mean(open_ones)}


def _says(rows: Sequence[dict[str, Any]]) -> list[str]:
    free, first = rows[0], rows[1]
    says = [
        "A given frame stands at time 0: the model is told that there is no noise in it, while the others are on their "
        "way. In every step they can look at it, and it stays as it is.",
        f"From other noise the same words make a clip that is {percent(free['mean'])} away, frame by frame. With the "
        f"first frame given, the others are {percent(first['mean'])} away; the frame right after it "
        f"{percent(first['away'][1])}, the last {percent(first['away'][-1])}.",
    ]
    if len(rows) > 2:
        says.append(f"With the last frame given too, those between are {percent(rows[2]['mean'])} away.")
    return says
