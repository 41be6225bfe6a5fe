"""How the judge of motion learns: rendered clips, blemished as generated ones are, some backwards, some without sense.

Icons face where they go. Clips that run backwards and clips that stand still are there so that the judge learns from
what moves, not from what is shown.

B batch, F frames, S side of a frame in pixels; clips (B, F, 3, S, S) in [-1, 1]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from reverie.data.motion import Clip
from reverie.data.paths import LOOPS
from reverie.evaluate.judge import NONE, Answers
from reverie.evaluate.judge_training import BLEMISHED, Learning, Stepper, blur, smeared, targets
from reverie.evaluate.motion_judge import OPPOSITE, Frames, MotionJudge, answers, tensors

LEARNING = Learning(num=24_000, batch=16, learning_rate=2e-3)
BACKWARDS = {  # what a motion is then; others are what they are
    "grow": "shrink", "shrink": "grow", "enter": "leave", "leave": "enter", "zoom in": "zoom out",
    "zoom out": "zoom in", "day to night": "night to day", "night to day": "day to night", "fall": NONE, "chase": None,
}  # fmt: skip
CALM = {*LOOPS, "still", "day to night", "night to day"}  # its ends blended are like it

Shown = tuple[Frames, Clip]
Trick = Callable[[Tensor, Answers, torch.Generator], tuple[Tensor, Answers]]


def learn(judge: MotionJudge, pool: Sequence[Shown], learning: Learning = LEARNING) -> Iterator[float]:
    """Trains a judge, further if it has learnt before; yields the loss of every step.

    Clips of the pool come again and again, each time with another trick and other blemishes.
    """
    rng = torch.Generator().manual_seed(learning.seed + judge.config.clips)
    judge.requires_grad_(True)
    judge.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # its annotation lacks this
    step = Stepper(judge, learning)
    for start in range(0, learning.num, learning.batch):
        done = (start + learning.batch) / learning.num
        clips, told = batch(
            [pool[at] for at in torch.randint(len(pool), (learning.batch,), generator=rng).tolist()], rng
        )
        right = torch.stack([targets(each, judge.config) for each in told])
        loss = step(blemish(clips, done, rng), right, done)
        judge.config = replace(judge.config, clips=judge.config.clips + learning.batch)
        yield loss


def batch(shown: Sequence[Shown], rng: torch.Generator) -> tuple[Tensor, list[Answers]]:
    """Clips, a trick played with some of them, and what is right of them then."""
    clips, told = tensors([frames for frames, _ in shown]), [answers(clip) for _, clip in shown]
    for at in range(len(clips)):
        chosen = float(torch.rand((), generator=rng))
        trick = next((trick for below, trick in TRICKS if chosen < below), None)
        if trick is not None:
            clips[at], told[at] = trick(clips[at].clone(), told[at], rng)
    return clips, told


# --- tricks: a clip (F, 3, S, S) and its answers -> another clip and its answers ---


def backwards(clip: Tensor, told: Answers, _: torch.Generator) -> tuple[Tensor, Answers]:
    """Time runs the other way. Nobody is asked whether it is fast: what arrives and stays now stays and leaves."""
    motion = told["motion"]
    assert motion is not None
    return clip.flip(0), {
        "motion": BACKWARDS.get(motion, motion),
        "direction": OPPOSITE[told["direction"]],
        "speed": None if told["speed"] == "fast" else told["speed"],
    }


def frozen(clip: Tensor, _: Answers, rng: torch.Generator) -> tuple[Tensor, Answers]:
    """One frame, for all of the time."""
    at = int(torch.randint(len(clip), (), generator=rng))
    return clip[at].expand_as(clip), {"motion": "still", "direction": None, "speed": None}


def senseless(clip: Tensor, told: Answers, rng: torch.Generator) -> tuple[Tensor, Answers]:
    """No motion that there is a word for: frames in any order, the first becoming the last, mush, or noise."""
    kind = int(torch.randint(5, (), generator=rng))
    nothing: Answers = {"motion": NONE, "direction": None, "speed": None}
    if kind <= 1 and told["motion"] != "still":
        return clip[torch.randperm(len(clip), generator=rng)], nothing
    if kind == 2 and told["motion"] not in CALM:
        return blended(clip), nothing
    if kind == 3:
        coarse = F.interpolate(torch.randn(len(clip), 3, 8, 8, generator=rng), clip.shape[2:], mode="bilinear")
        return (coarse + torch.randn(clip.shape, generator=rng)) / 2, nothing
    return smeared(clip, 0, rng), nothing


def blended(clip: Tensor) -> Tensor:
    """The first frame becomes the last as one picture fades into another."""
    time = torch.linspace(0, 1, len(clip))[:, None, None, None]
    return clip[:1] * (1 - time) + clip[-1:] * time


TRICKS: tuple[tuple[float, Trick], ...] = ((0.2, backwards), (0.25, frozen), (0.35, senseless))  # up to which share


# --- blemishes ---


def blemish(clips: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """Blemishes a share of the clips, and more as learning goes on (share: how far it is): easy ones come first."""
    which = torch.rand(len(clips), generator=rng) < min(share, BLEMISHED)
    if which.any():
        clips[which] = blemished(clips[which], rng)
    return clips


def blemished(clips: Tensor, rng: torch.Generator) -> Tensor:
    """What generated clips suffer from, a little of each: a bend and a tint that drift, blur, flicker, noise."""
    num, frames = clips.shape[:2]
    x = bent(clips, 0.03 * torch.rand(num, 1, 1, 1, 1, generator=rng), rng)
    soft = blur(x.flatten(0, 1), 0.8).view_as(x)
    x = x + _each(x, -0.5, 1, rng) * (soft - x)
    gain, shift = (_drift(torch.randn(2, num, 3, generator=rng) * deviation, frames) for deviation in (0.05, 0.04))
    flicker = torch.randn(num, frames, 3, 1, 1, generator=rng) * _each(x, 0, 0.05, rng)
    x = x * (1 + gain[..., None, None]) + shift[..., None, None] + flicker
    coarse = torch.randn(num * frames, 3, 8, 8, generator=rng)
    x = x + F.interpolate(coarse, x.shape[3:], mode="bilinear").view_as(x) * _each(x, 0, 0.06, rng)
    return (x + torch.randn(x.shape, generator=rng) * _each(x, 0, 0.06, rng)).clamp(-1, 1)


def bent(clips: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    """Bent smoothly, at the end otherwise than at the beginning; strength: by how much of a frame's half side."""
    num, frames, _, side, _ = clips.shape
    bends = _drift(torch.randn(2, num, 2, 5, 5, generator=rng), frames) * strength  # (B, F, 2, 5, 5)
    fields = F.interpolate(bends.flatten(0, 1), (side, side), mode="bilinear").permute(0, 2, 3, 1)
    straight = F.affine_grid(
        torch.eye(2, 3).expand(len(fields), 2, 3), [len(fields), 3, side, side], align_corners=False
    )
    moved = F.grid_sample(clips.flatten(0, 1), straight + fields, padding_mode="border", align_corners=False)
    return moved.view_as(clips)


def _drift(ends: Tensor, frames: int) -> Tensor:
    """What is so at the beginning and so at the end (2, B, ...), for each frame: (B, F, ...)."""
    time = torch.linspace(0, 1, frames).view(1, frames, *[1] * (ends.ndim - 2))
    return ends[0][:, None] * (1 - time) + ends[1][:, None] * time


def _each(x: Tensor, low: float, high: float, rng: torch.Generator) -> Tensor:
    """A number between low and high for each clip (B, 1, 1, 1, 1)."""
    return torch.rand(len(x), 1, 1, 1, 1, generator=rng) * (high - low) + low
