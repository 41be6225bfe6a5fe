"""Attention through frames: where a patch of a clip looked, back and forth in time.

Through frames a patch sees only itself, at the same place in the others; but what stands there has just looked around
in its own frame. So in two hops it sees every patch of every frame: the shares of the hops multiply (arXiv:2005.00928).

L layers, H heads, F frames, N patches of a frame, S tokens of a frame, words first
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reverie.diffusion.video import schedule
from reverie.engine import Model
from reverie.explain.capture import capture
from reverie.explain.clips import STEPS, animates, clip_request, frame_urls, kept_film, mean
from reverie.explain.exhibit import Shown, maker
from reverie.explain.inside import checked_head, checked_layer
from reverie.explain.pictures import denoiser, device_of
from reverie.explain.reading import percent
from reverie.types import ReverieError, Step, VideoRequest

THROUGH, WITHIN = "blocks.*.through.attend.weights", "blocks.*.attention.attend.weights"
DIGITS = 4  # after the point, of a share: there are many


@dataclass(frozen=True)
class Looks:
    """Attention in one step. through: (L, H, N, F, F), within: (L, H, F, N, N), of which words have the rest."""

    through: Tensor
    within: Tensor


@maker(
    "video-attention",
    title="Attention through frames",
    question="Where did this patch look in the other frames?",
    family="diffusion",
    when=animates,
    medium="video",
)
def video_attention(
    model: Model,
    prompt: str,
    *,
    layer: int | None = None,
    head: int | None = None,
    frame: int | None = None,
    row: int | None = None,
    column: int | None = None,
    step: int | None = None,
    frames: int = 16,
    seed: int = 0,
    steps: int = STEPS,
    guidance: float = 4.0,
) -> Shown:
    """Where patches looked while a clip was made: through frames, and around in each of them.

    layer, head: which; without a head the average of the layer's, without both of all. frame, row, column: of the patch
    that is asked about; left out, the frame in the middle and the patch that changes most there. step: of the making,
    from 1; left out, the last. frames, seed, steps, guidance: as for animating.
    data: frames: of the finished clip, pictures; rows, columns: patches of a frame; through (N, F, F): how patch p of
    frame f shared its look among the frames; within (F, N, N): how the patches of a frame look at each other. In two
    hops, patch p of frame f gave patch q of frame g the share through[p][f][g] within[g][p][q]. clip (F, F): the mean
    of `through` over patches; reach [{"frames": how far ahead, below 0 back, "share": mean of a look so far}]; heads
    [{"layer", "head", "own", "near", "far"}]: what goes to the frame itself, to those beside it, to others.
    """
    if head is not None and layer is None:
        raise ReverieError("Which head is meant depends on the layer: give the layer too.")
    request = clip_request(model, prompt, frames=frames, seed=seed, steps=steps, guidance=guidance)
    side, at = _side(model), request.num_steps if step is None else step
    _check(request, side, {"frame": frame, "row": row, "column": column, "step": at})
    one = _chosen(model, layer, head)
    taken = kept_film(model, request)
    clip, looks = model.medium.clip(taken[-1].guess), _look(model, request, taken[at - 1])
    through, within = looks.through[one].mean((0, 1)), looks.within[one].mean((0, 1))
    place = _place(clip, side, frame, row, column)
    data = {
        "frames": frame_urls(clip),
        **{"layer": layer, "head": head, "step": at, "rows": side, "columns": side},
        **dict(zip(("frame", "row", "column"), place, strict=True)),
        "through": _short(through),
        "within": _short(within),
        "clip": through.mean(0),
        "reach": _reach(through.mean(0)),
        "heads": _heads(looks.through),
    }
    return data, _says(data, through[place[1] * side + place[2], place[0]].tolist())


def _side(model: Model) -> int:
    """Patches in a row of a frame, which is square."""
    return int(model.medium.size_px // model.medium.codec.factor // model.core.config.patch)


def _check(request: VideoRequest, side: int, places: Mapping[str, int | None]) -> None:
    """A `ReverieError` for a place that is not there: before the clip is made, which takes long."""
    bounds = {
        "frame": (0, request.frames - 1),
        "row": (0, side - 1),
        "column": (0, side - 1),
        "step": (1, request.num_steps),
    }
    for name, number in places.items():
        least, most = bounds[name]
        if number is not None and not least <= number <= most:
            raise ReverieError(f"{name} is {number}: give a number from {least} to {most}.")


def _chosen(model: Model, layer: int | None, head: int | None) -> tuple[slice, slice]:
    """One layer and one head, or all of them."""
    layers = slice(None) if layer is None else slice(checked_layer(model, layer), layer + 1)
    heads = slice(None) if head is None else slice(checked_head(model, head), head + 1)
    return layers, heads


@torch.inference_mode()
def _look(model: Model, request: VideoRequest, step: Step) -> Looks:
    """One look at the noisy state of a step, as the prompt alone has it made."""
    told = [part.to(device_of(model)) for part in model.medium.condition(request).prompt]
    time = schedule(request.num_steps, request.start)[step.index - 1]
    with capture(model.core, THROUGH, WITHIN) as tape:
        denoiser(model)(step.state, time, told)
    num_words, calls = told[0].shape[1], {path: each[-1].float().cpu() for path, each in tape.items()}
    through = [each[num_words:].transpose(0, 1) for path, each in calls.items() if "through" in path]  # (H, N, F, F)
    within = [
        each[:, :, num_words:, num_words:].transpose(0, 1) for path, each in calls.items() if "through" not in path
    ]  # (H, F, N, N)
    return Looks(torch.stack(through), torch.stack(within))


def _place(clip: np.ndarray, side: int, frame: int | None, row: int | None, column: int | None) -> tuple[int, int, int]:
    """The patch that is asked about; of what is left open, the one that changes most from the frame before."""
    frame = len(clip) // 2 if frame is None else frame
    change = np.abs(clip[frame].astype(np.float32) - clip[frame - 1]).mean(2)  # (S, S); of the first, from the last
    by_patch = change.reshape(side, len(change) // side, side, -1).mean((1, 3))  # (rows, columns)
    asked = np.full_like(by_patch, -1.0)
    where = tuple(slice(None) if place is None else place for place in (row, column))
    asked[where] = by_patch[where]
    best = int(asked.argmax())
    return frame, best // side, best % side


def _short(weights: Tensor) -> np.ndarray:
    rounded: np.ndarray = weights.double().numpy().round(DIGITS)
    return rounded


def _reach(clip: Tensor) -> list[dict[str, float]]:
    """The mean share of a look that goes so many frames ahead (or back), over all frames that have one there."""
    frames = len(clip)
    return [{"frames": far, "share": float(clip.diagonal(far).mean())} for far in range(1 - frames, frames)]


def _heads(through: Tensor) -> list[dict[str, Any]]:
    """What each head does on the average over patches, those that look at other frames most first."""
    frames = torch.arange(through.shape[-1])
    far = (frames[:, None] - frames).abs()  # (F, F)
    shares = through.mean(2)  # (L, H, F, F)
    rows = [
        {
            "layer": layer,
            "head": head,
            "own": float((each * (far == 0)).sum(-1).mean()),
            "near": float((each * (far == 1)).sum(-1).mean()),
            "far": float((each * (far > 1)).sum(-1).mean()),
        }
        for layer, heads in enumerate(shares)
        for head, each in enumerate(heads)
    ]
    return sorted(rows, key=lambda row: row["own"])


def _says(data: dict[str, Any], looks: list[float]) -> list[str]:
    frame, frames = data["frame"], len(looks)
    best = max((at for at in range(frames) if at != frame), key=lambda at: looks[at])
    own = mean([data["clip"][at][at].item() for at in range(frames)])
    near = [data["clip"][at][at + 1].item() for at in range(frames - 1)]
    near += [data["clip"][at + 1][at].item() for at in range(frames - 1)]
    leader = data["heads"][0]
    return [
        f"The patch in row {data['row']}, column {data['column']} of frame {frame} gave {percent(looks[frame])} of its "
        f"look through frames to its own frame, and {percent(looks[best])} to frame {best}, the most of all others.",
        "Through frames it sees only itself, at the same place. But what stands at that place has just looked around "
        "in its own frame and brings along what it saw: the light shows where both looks together lead.",
        f"Over the whole clip a frame gives {percent(own)} to itself and {percent(mean(near))} to a frame beside it; "
        f"if all were alike, each would get {percent(1 / frames)}.",
        f"Layer {leader['layer']}, head {leader['head']} looks least at its own frame: {percent(1 - leader['own'])} of "
        "its look goes to others.",
    ]
