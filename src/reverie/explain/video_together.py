"""Together or apart: a clip, and what comes of the same noise when its frames may not look at each other.

F frames, N patches of a frame, T prompt tokens, S = T + F N
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reverie.engine import Model
from reverie.explain.capture import changed
from reverie.explain.clips import STEPS, animates, clip_request, finished_clip, frame_urls, jumps, kept_film, mean
from reverie.explain.exhibit import Shown, maker
from reverie.explain.inside import checked_layer
from reverie.explain.pictures import distance
from reverie.explain.reading import percent
from reverie.explain.video_attention import patches_in_row
from reverie.types import VideoRequest


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
    guidance: float = VideoRequest.guidance,
) -> Shown:
    """A clip, and the same noise again where no patch may look at other frames; nothing else is changed.

    layer: forbidden in this one alone, not in all. loop: the clip is to have no seam. frames, seed, steps, guidance:
    as for animating.
    data: together, apart {"frames" [F pictures], "jumps" [F - 1]: distance of each frame from the next, "mean" of
    these, "seam": distance of the last frame from the first}; times: how many times as far as together frames that were
    made apart are from the next.
    """
    request = clip_request(model, prompt, frames=frames, loop=loop, seed=seed, steps=steps, guidance=guidance)
    if layer is not None:
        checked_layer(model, layer)
    together = finished_clip(model, request, kept_film)
    with kept_apart(model, layer):
        apart = finished_clip(model, request)
    rows = {"together": _row(together), "apart": _row(apart)}
    times = rows["apart"]["mean"] / max(rows["together"]["mean"], 1e-9)
    data = {"layer": layer, "loop": loop, **rows, "times": times}
    return data, _says(data, frames)


@contextmanager
def kept_apart(model: Model, layer: int | None = None) -> Iterator[None]:
    """No patch sees other frames, in a layer or in all, while the `with` lasts: only its own, and the words."""
    num_patches = patches_in_row(model) ** 2

    def own_frame(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        q, k, v, mask = inputs
        num_words = k.shape[2] - q.shape[2]
        if num_words == 0:  # the words are read
            return inputs
        frames = torch.arange(q.shape[2], device=q.device) // num_patches
        own = F.pad(frames[:, None] == frames, (num_words, 0), value=True)  # (F N, S)
        return q, k, v, mask & own

    blocks = model.core.blocks if layer is None else [model.core.blocks[layer]]
    with ExitStack() as hooks:
        for block in blocks:
            hooks.enter_context(changed(block.attention.attend, own_frame, before=True))
        yield


def _row(clip: Any) -> dict[str, Any]:
    steps = jumps(clip)
    return {"frames": frame_urls(clip), "jumps": steps, "mean": mean(steps), "seam": distance(clip[-1], clip[0])}


def _says(data: dict[str, Any], frames: int) -> list[str]:
    together, apart = data["together"], data["apart"]
    where = "in every layer" if data["layer"] is None else f"in layer {data['layer']}"
    says = [
        "Both rows begin with the same noise, and with the same words. In the second, each patch is kept from looking "
        f"at other frames {where}: there it sees only its own, and the words."
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
