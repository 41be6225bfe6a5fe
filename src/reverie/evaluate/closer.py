"""A closer look: what moves in a clip is smaller than what the judge of pictures learnt from, so it is asked twice.

First about the whole frame, then about the part of it around where it looked for the subject. Of two answers the surer
one counts, the same way for generated clips and for real ones.

B frames, Q questions, S side of a frame in pixels
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from reverie.data.icons import Pixels
from reverie.evaluate.judge import QUESTIONS, Judge, likeliest, tensors

PART = 0.65  # of the frame's side
OF_THE_WHOLE = ("count", "background")  # are not asked about a part
SUBJECT = QUESTIONS.index("subject")


@dataclass(frozen=True)
class Look:
    """told: for each frame and question the answer, and how sure it is. subjects: how subjects look (B, width)."""

    told: list[dict[str, tuple[str, float]]]
    subjects: Tensor


@torch.inference_mode()
def look(judge: Judge, frames: Sequence[Pixels]) -> Look:
    """What the judge says of frames, uint8 (S, S, 3)."""
    x = tensors(frames)
    seen, looks = judge.attend(x)
    near, _ = judge.attend(part(x, middles(looks[:, SUBJECT])))
    whole, closer = (_shares(judge, features) for features in (seen, near))
    surer = {
        name: shares if name in OF_THE_WHOLE else torch.maximum(shares, closer[name]) for name, shares in whole.items()
    }
    return Look(likeliest(surer, judge.config.classes), near[:, SUBJECT])


def _shares(judge: Judge, seen: Tensor) -> dict[str, Tensor]:
    return {name: logits.softmax(-1) for name, logits in judge.logits(seen).items()}


def middles(looks: Tensor) -> Tensor:
    """The middle of where one looks (B, h w), of a square map: x and y, -1 to 1 (B, 2)."""
    side = round(looks.shape[1] ** 0.5)
    at = (torch.arange(side) + 0.5) / side * 2 - 1
    maps = looks.unflatten(1, (side, side))
    return torch.stack((maps.sum(1) @ at, maps.sum(2) @ at), -1)


def part(x: Tensor, middle: Tensor) -> Tensor:
    """The parts of pictures (B, 3, S, S) around these middles (B, 2), as large as the pictures, and inside them."""
    inside = middle.clamp(PART - 1, 1 - PART)
    places = torch.cat((PART * torch.eye(2).expand(len(x), 2, 2), inside[..., None]), -1)  # (B, 2, 3)
    return F.grid_sample(x, F.affine_grid(places, list(x.shape), align_corners=False), align_corners=False)
