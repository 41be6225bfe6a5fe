"""Attention between frames: where a patch of a clip looked, in its own frame and in all others.

The patches of all frames are one sequence, so every patch sees those of all frames at once, and the words beside them.

L layers, H heads, F frames, N patches of a frame, T prompt tokens
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reverie.diffusion.family import read
from reverie.diffusion.video import schedule
from reverie.engine import Model
from reverie.explain.capture import capture
from reverie.explain.clips import STEPS, animates, clip_request, frame_urls, kept_film, mean
from reverie.explain.exhibit import Shown, maker
from reverie.explain.inside import WEIGHTS, checked_head, checked_layer
from reverie.explain.pictures import denoiser
from reverie.explain.reading import percent
from reverie.types import ReverieError, Step, VideoRequest

DIGITS = 5  # after the point, of a share: there are many, of which most are small


@dataclass(frozen=True)
class Looks:
    """Attention in one step.

    frames (L, H, F, F): what the patches of a frame gave to each frame, on the average, of which words have the rest.
    asked (N, F, N): the same of each patch of the frame that is asked about to each patch, the mean of the heads that
    are asked about.
    """

    frames: Tensor
    asked: Tensor


@maker(
    "video-attention",
    title="Attention between frames",
    question="Where did this patch look, in its own frame and in the others?",
    family="diffusion",
    version=2,
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
    guidance: float = VideoRequest.guidance,
) -> Shown:
    """Where the patches of a frame looked while a clip was made: at every patch of every frame, and at the words.

    layer, head: which; without a head the average of the layer's, without both of all. frame, row, column: of the patch
    that is asked about; left out, the frame in the middle and the patch that changes most there. step: of the making,
    from 1; left out, the last. frames, seed, steps, guidance: as for animating.
    data: frames: of the finished clip, pictures; rows, columns: patches of a frame; looks (N, F, N): how patch p of the
    frame that is asked about shared its look, looks[p][g][q] for patch q of frame g, patches counted row by row; words
    (N): what it gave to the words of the prompt, which is the rest; clip (F, F): how the patches of a frame share their
    looks among the frames, on the average; reach [{"frames": how far ahead, below 0 back, "share": mean of a look so
    far}]; heads [{"layer", "head", "own", "near", "far", "words"}]: what goes to the frame itself, to those beside it,
    to others, to words.
    """
    if head is not None and layer is None:
        raise ReverieError("Which head is meant depends on the layer: give the layer too.")
    request = clip_request(model, prompt, frames=frames, seed=seed, steps=steps, guidance=guidance)
    side, at = patches_in_row(model), request.num_steps if step is None else step
    _check(request, side, {"frame": frame, "row": row, "column": column, "step": at})
    one = _chosen(model, layer, head)
    taken = kept_film(model, request)
    clip = model.medium.clip(taken[-1].guess)
    place = _place(clip, side, frame, row, column)
    looks = _look(model, request, taken[at - 1], place[0], one)
    between = looks.frames[one].mean((0, 1))
    data = {
        "frames": frame_urls(clip),
        **{"layer": layer, "head": head, "step": at, "rows": side, "columns": side},
        **dict(zip(("frame", "row", "column"), place, strict=True)),
        "looks": _short(looks.asked),
        "words": _short((1 - looks.asked.sum((1, 2))).clamp_min(0)),
        "clip": between,
        "reach": _reach(between),
        "heads": _heads(looks.frames),
    }
    return data, _says(data, looks.asked[place[1] * side + place[2]])


def patches_in_row(model: Model) -> int:
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
def _look(model: Model, request: VideoRequest, step: Step, frame: int, one: tuple[slice, slice]) -> Looks:
    """One look at the noisy state of a step, as the prompt alone has it made."""
    told = read(model.core, model.medium.condition(request)).prompt
    time = schedule(request.num_steps, request.start)[step.index - 1]
    with capture(model.core, WEIGHTS) as tape:
        denoiser(model)(step.state, time, told)
    layers, heads = one
    calls = [each[-1][0] for each in tape.values()]  # (H, F N, T + F N)
    patches = [call[..., -call.shape[1] :].unflatten(1, (request.frames, -1)) for call in calls]
    patches = [each.unflatten(3, (request.frames, -1)) for each in patches]  # (H, F, N, F, N)
    between = torch.stack([each.sum(-1).mean(2) for each in patches])
    asked = torch.stack([each[heads, frame].mean(0) for each in patches[layers]]).mean(0)
    return Looks(between.float().cpu(), asked.float().cpu())


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


def _reach(between: Tensor) -> list[dict[str, float]]:
    """The mean share of a look that goes so many frames ahead (or back), over all frames that have one there."""
    frames = len(between)
    return [{"frames": far, "share": float(between.diagonal(far).mean())} for far in range(1 - frames, frames)]


def _heads(between: Tensor) -> list[dict[str, Any]]:
    """What each head does on the average over patches, those that look at other frames most first."""
    frames = torch.arange(between.shape[-1])
    far = (frames[:, None] - frames).abs()  # (F, F)
    rows = [
        {
            "layer": layer,
            "head": head,
            "own": float((each * (far == 0)).sum(-1).mean()),
            "near": float((each * (far == 1)).sum(-1).mean()),
            "far": float((each * (far > 1)).sum(-1).mean()),
            "words": max(0.0, 1 - float(each.sum(-1).mean())),
        }
        for layer, heads in enumerate(between)
        for head, each in enumerate(heads)
    ]
    return sorted(rows, key=lambda row: row["own"] + row["words"])


def _says(data: dict[str, Any], look: Tensor) -> list[str]:
    """look (F, N): of the patch that is asked about."""
    frame, clip, got, leader = data["frame"], data["clip"], look.sum(1).tolist(), data["heads"][0]
    others = [at for at in range(len(got)) if at != frame]
    best = max(others, key=lambda at: got[at])
    ends = [at for at in (0, len(got) - 1) if at in others]
    beside = [clip.diagonal(far).mean().item() for far in (-1, 1)]
    return [
        f"The patch in row {data['row']}, column {data['column']} of frame {frame} gave {percent(got[frame])} of its "
        f"look to its own frame, {percent(got[best])} to frame {best}, the most of all others, and "
        f"{percent(max(0.0, 1 - sum(got)))} to the words.",
        f"The patches of all frames are one sequence, so it could look straight at any of {look.numel():,}. "
        f"{' '.join(_brightest(data, look, at) for at in (frame, *ends))}",
        f"Over the whole clip a frame gives {percent(mean(clip.diagonal().tolist()))} to itself and "
        f"{percent(mean(beside))} to a frame beside it; if all were alike, each would get "
        f"{percent(clip.sum(1).mean().item() / len(got))}.",
        f"Layer {leader['layer']}, head {leader['head']} looks at other frames most: "
        f"{percent(leader['near'] + leader['far'])} of its look goes there.",
    ]


def _brightest(data: dict[str, Any], look: Tensor, frame: int) -> str:
    row, column = divmod(int(look[frame].argmax()), data["columns"])
    where = "its own frame" if frame == data["frame"] else f"frame {frame}"
    return f"In {where} it looked most at row {row}, column {column} ({percent(look[frame].max().item())})."
