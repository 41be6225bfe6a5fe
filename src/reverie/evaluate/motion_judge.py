"""The judge of motion: a small network that says how things move in a clip, which way and how fast, and how sure it is.

Convolutions within frames and across them by turns, (2+1)D of arXiv:1711.11248, on how light frames are and on what
changes in them. It learns from rendered clips alone, and has a class for "nothing that I know".

B batch, F frames, S side of a frame in pixels, C channels
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from reverie.data.motion import Clip, motions
from reverie.evaluate.judge import NONE, Answers, likeliest, read
from reverie.types import ReverieError

SIDE_PX, NUM_FRAMES = 48, 16  # what the judge looks at: clips of other sizes and lengths are brought to it
PATCH_PX = 4  # which it looks at as one
NUM_VIEWS = 4
NUM_TIMES, CELLS = 4, 3 * 3  # parts of a clip, and of a frame, that are told apart in the end
QUESTIONS = ("motion", "direction", "speed")
NATURAL = "natural"  # the speed of what has a speed, and no word for it
OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up", None: None}

Frames = NDArray[np.uint8]  # (F, S, S, 3)


@dataclass(frozen=True)
class MotionConfig:
    """The classes of each question, and the size of the network: blocks of each width, at 1/4, 1/8, 1/16 of the side.

    features: how many numbers the answers are made from. clips: how many it has been shown.
    """

    motion: tuple[str, ...]
    direction: tuple[str, ...]
    speed: tuple[str, ...]
    widths: tuple[int, ...] = (24, 64, 128)
    blocks: tuple[int, ...] = (1, 2, 2)
    features: int = 64
    clips: int = 0

    def classes(self, question: str) -> tuple[str, ...]:
        """What may be answered to a question."""
        found: tuple[str, ...] = getattr(self, question)
        return found


def config() -> MotionConfig:
    """The config whose classes are the words of today's clips."""
    return MotionConfig((NONE, *motions().motions), ("left", "right", "up", "down"), ("slow", NATURAL, "fast"))


def answers(clip: Clip) -> Answers:
    """The right answers for a clip, and None where its motion has no direction or no speeds.

    A direction is that of what is seen to move: where a camera goes to the left, that is all things to the right.
    """
    speed = (clip.speed if clip.speed else NATURAL) if motions().motions[clip.motion].speeds else None
    direction = clip.direction if clip.direction else None
    return {
        "motion": clip.motion,
        "direction": OPPOSITE[direction] if clip.motion == "pan" else direction,
        "speed": speed,
    }


class Block(nn.Module):
    """relu(x + norm(across(relu(norm(within(x)))))); a new one changes nothing (arXiv:1706.02677, section 5.1)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.within = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.within_norm = nn.BatchNorm2d(width)
        self.across = nn.Conv2d(width, width, (3, 1), padding=(1, 0), bias=False)
        self.across_norm = nn.BatchNorm2d(width)
        nn.init.zeros_(self.across_norm.weight)

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """(B F, C, h, w) to the same."""
        inner = F.relu(self.within_norm(self.within(x)))
        inner = self.across_norm(self.across(_timed(inner, num_frames)))
        return F.relu(x + _untimed(inner, x.shape[2]))


class MotionJudge(nn.Module):
    """Clips (B, F, 3, 48, 48) in [-1, 1] -> the logits of every question."""

    def __init__(self, config: MotionConfig) -> None:
        super().__init__()
        self.config = config
        befores = (NUM_VIEWS * PATCH_PX**2, *config.widths)
        self.widen = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, width, 3, stride=2 if at else 1, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            )
            for at, (before, width) in enumerate(zip(befores, config.widths, strict=False))
        )
        self.blocks = nn.ModuleList(
            nn.ModuleList(Block(width) for _ in range(num))
            for width, num in zip(config.widths, config.blocks, strict=True)
        )
        self.gather = nn.Linear(NUM_TIMES * config.widths[-1] * CELLS, config.features)
        self.heads = nn.ModuleDict({name: nn.Linear(config.features, len(config.classes(name))) for name in QUESTIONS})

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        """By question: (B, classes)."""
        seen = self.seen(clips)
        return {name: head(seen) for name, head in self.heads.items()}

    def seen(self, clips: Tensor) -> Tensor:
        """What the answers are made from: (B, features)."""
        num_frames = clips.shape[1]
        x = F.pixel_unshuffle(views(clips).flatten(0, 1), PATCH_PX)  # (B F, C, 12, 12)
        x = x.contiguous(memory_format=torch.channels_last)
        for at, (widen, blocks) in enumerate(zip(self.widen, self.blocks, strict=True)):
            x = widen(x)
            if at == len(self.widen) - 1:  # half as many moments, as what is coarse changes slowly
                x, num_frames = _untimed(F.avg_pool2d(_timed(x, num_frames), (2, 1)), x.shape[2]), num_frames // 2
            assert isinstance(blocks, nn.ModuleList)
            for block in blocks:
                x = block(x, num_frames)
        moments = x.reshape(len(clips), NUM_TIMES, num_frames // NUM_TIMES, -1).mean(2)  # (B, times, C 3 3)
        return F.relu(self.gather(moments.flatten(1)))

    def ask(self, clips: Sequence[Frames]) -> list[dict[str, tuple[str, float]]]:
        """For each clip, uint8 (F, S, S, 3), and each question: the likeliest answer and its probability."""
        return self.told(self.features(clips))

    @torch.inference_mode()
    def features(self, clips: Sequence[Frames]) -> Tensor:
        """What the answers about clips are made from: (B, features)."""
        return torch.cat([self.seen(tensors([clip])) for clip in clips])

    @torch.inference_mode()
    def told(self, features: Tensor) -> list[dict[str, tuple[str, float]]]:
        """What `ask` says, of what `features` gave."""
        shares = {name: head(features).softmax(-1) for name, head in self.heads.items()}
        return likeliest(shares, self.config.classes)


def views(clips: Tensor) -> Tensor:
    """What moves, whatever its colour (B, F, 4, S, S), of clips (B, F, 3, S, S).

    How light it is; how much lighter than the frame before; how different from that; how different from the mean of
    the frames, which of what stands still is nothing.
    """
    changes = torch.diff(clips, dim=1, prepend=clips[:, :1])
    parts = (clips, changes, changes.abs(), (clips - clips.mean(1, keepdim=True)).abs())
    return torch.stack([part.mean(2) for part in parts], 2)


def _timed(x: Tensor, num_frames: int) -> Tensor:
    """(B F, C, h, w) -> (B, C, F, h w): no number moves in memory, as channels come last."""
    return x.permute(0, 2, 3, 1).reshape(-1, num_frames, x.shape[2] * x.shape[3], x.shape[1]).permute(0, 3, 1, 2)


def _untimed(x: Tensor, height: int) -> Tensor:
    """(B, C, F, h w) -> (B F, C, h, w)."""
    return x.permute(0, 2, 3, 1).reshape(-1, height, x.shape[3] // height, x.shape[1]).permute(0, 3, 1, 2)


def tensors(clips: Sequence[Frames]) -> Tensor:
    """uint8 (F, S, S, 3) each -> (B, 16, 3, 48, 48) in [-1, 1]: smoothly smaller, and the frames nearest in time."""
    return torch.stack([_tensor(clip) for clip in clips])


def _tensor(clip: Frames) -> Tensor:
    num, height, width, _ = clip.shape
    if height != width:
        raise ReverieError(f"The judge looks at square clips, not {width} x {height}: animate square ones.")
    at = np.linspace(0, num - 1, NUM_FRAMES).round().astype(int)
    frames = torch.from_numpy(clip[at]).permute(0, 3, 1, 2).float()  # (F, 3, S, S)
    if height != SIDE_PX:
        frames = F.interpolate(frames, (SIDE_PX, SIDE_PX), mode="bilinear", antialias=True)
    return frames / 127.5 - 1


def load(folder: Path) -> MotionJudge:
    """The judge that `judge.save` wrote, ready to answer."""
    return read(MotionJudge, MotionConfig, folder, "motion_judge.py")


@functools.cache
def trained() -> MotionJudge:
    """The judge that this project trained."""
    with resources.as_file(resources.files("reverie")) as package:
        return load(package / "weights" / "motion-judge")
