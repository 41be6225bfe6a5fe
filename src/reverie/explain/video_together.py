"""Together or apart: a clip, and what comes of the same noise when its frames may not look at each other.

F frames
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from reverie.engine import Model
from reverie.explain.capture import changed
from reverie.explain.clips import STEPS, animates, clip_request, finished_clip, frame_urls, jumps, kept_film, mean
from reverie.explain.exhibit import Shown, maker
from reverie.explain.inside import checked_layer
from reverie.explain.pictures import distance
from reverie.explain.reading import percent


@maker(
    "video-together",
    title="Frames together and apart",
    question="What do frames need each other for?",
    family="diffusion",
    when=animates,
    medium="video",
)
def video_together(
    model: Model,
    prompt: str,
    *,
    layer: int | None = None,
    loop: bool = False,
    frames: int = 16,
    seed: int = 0,
    steps: int = STEPS,
    guidance: float = 4.0,
) -> Shown:
    """A clip, and the same noise again with attention through frames switched off; nothing else is changed.

    layer: switched off in this one alone, not in all. loop: the clip is to have no seam. frames, seed, steps, guidance:
    as for animating.
    data: together, apart {"frames" [F pictures], "jumps" [F - 1]: distance of each frame from the next, "mean" of
    these, "seam": distance of the last frame from the first}; times: how many times as far as together frames that were
    made apart are from the next.
    """
    request = clip_request(model, prompt, frames=frames, loop=loop, seed=seed, steps=steps, guidance=guidance)
    if layer is not None:
        checked_layer(model, layer)
    together = finished_clip(model, request, kept_film)
    with switched_off(model, layer):
        apart = finished_clip(model, request)
    rows = {"together": _row(together), "apart": _row(apart)}
    times = rows["apart"]["mean"] / max(rows["together"]["mean"], 1e-9)
    data = {"layer": layer, "loop": loop, **rows, "times": times}
    return data, _says(data, frames)


@contextmanager
def switched_off(model: Model, layer: int | None = None) -> Iterator[None]:
    """No frame gets anything from the others, in a layer or in all, while the `with` lasts."""
    blocks = model.core.blocks if layer is None else [model.core.blocks[layer]]
    with ExitStack() as hooks:
        for block in blocks:
            hooks.enter_context(changed(block.through, lambda _, inputs, output: torch.zeros_like(output)))
        yield


def _row(clip: Any) -> dict[str, Any]:
    steps = jumps(clip)
    return {"frames": frame_urls(clip), "jumps": steps, "mean": mean(steps), "seam": distance(clip[-1], clip[0])}


def _says(data: dict[str, Any], frames: int) -> list[str]:
    together, apart = data["together"], data["apart"]
    where = "in all layers" if data["layer"] is None else f"in layer {data['layer']}"
    says = [
        f"Both rows begin with the same noise, and with the same words. In the second, attention through frames is "
        f"switched off {where}: a frame no longer knows of the others."
        + (f" What is left are {frames} pictures of one thing, each with a mind of its own." * (data["layer"] is None)),
        f"From one frame to the next the clip changes by {percent(together['mean'])} on average, the pictures that "
        f"were drawn apart by {percent(apart['mean'])}: {data['times']:.3g} times as much.",
    ]
    if data["loop"]:
        says.append(
            "The clip is to go round: in every step the frames are turned, so that each has been in every place. From "
            f"its last frame back to its first it changes by {percent(together['seam'])}."
        )
    return says
