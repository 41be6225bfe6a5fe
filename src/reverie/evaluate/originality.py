"""Originality: for each drawn picture, the training picture that is most like it; for each clip, the training clip.

Of many training scenes those are looked at whose words agree most with the prompt's, and of these the picture that is
nearest in pixels is shown: the closest thing to a copy that there could be.

N pictures, Q questions, K candidates, F frames, S side of a picture
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from reverie.data.clips import Clips
from reverie.data.icons import Pixels
from reverie.data.motion import Clip
from reverie.data.scene import Scene
from reverie.data.sheet import sheet as contact_sheet
from reverie.data.sheet import strip
from reverie.evaluate import motion_judge
from reverie.evaluate.judge import QUESTIONS, answers, tensors
from reverie.evaluate.motion_judge import Frames
from reverie.evaluate.pictures import REAL_PX
from reverie.hub.datasets import built, open_scenes
from reverie.media import grid

NUM_SCENES, NUM_CANDIDATES = 50_000, 32
WEIGHTS = {"subject": 4, "other": 4, "relation": 2}  # what makes a scene a neighbour; any other question counts once
SMALL_PX = 16  # pictures are compared at this size, where small shifts do not matter
NUM_CLIPS, NUM_CLIP_CANDIDATES = 10_000, 16
MOTION_WEIGHT = 4  # of motion, direction and speed, each
STRIP_FRAMES, STRIP_PX = 8, 64


def nearest(
    pictures: Sequence[Pixels], scenes: Sequence[Scene], seed: int = 0, num: int = NUM_SCENES
) -> tuple[list[Pixels], NDArray[np.float32]]:
    """For each picture of a scene its nearest of `num` training pictures, and how far: root mean square, 0 to 1."""
    source = open_scenes(REAL_PX, "train")
    known = [source.scene(seed, index) for index in range(num)]
    words = np.array([_words(scene) for scene in known])  # (num, Q)
    found, distances = [], []
    for picture, scene in zip(pictures, scenes, strict=True):
        agree = (words == _words(scene)) @ np.array([WEIGHTS.get(name, 1) for name in QUESTIONS])
        candidates = [source.render(known[at]) for at in np.argsort(-agree, kind="stable")[:NUM_CANDIDATES]]
        apart = (_small(candidates) - _small([picture])).square().mean((1, 2, 3)).sqrt() / 2  # (K,)
        found.append(candidates[int(apart.argmin())])
        distances.append(float(apart.min()))
    return found, np.array(distances, np.float32)


def nearest_clips(
    told: Sequence[Clip], *shown: Sequence[Frames], seed: int = 0, num: int = NUM_CLIPS
) -> list[tuple[list[Frames], NDArray[np.float32]]]:
    """Of clips as told, in each of the ways they are shown: the nearest of `num` training clips, and how far it is.

    Distances are root mean squares of pixels, 0 to 1.
    """
    source = Clips(built("scenes", REAL_PX), REAL_PX, "train")
    known = [source.clip(seed, index) for index in range(num)]
    words = np.array([_clip_words(clip) for clip in known])  # (num, Q)
    weights = [WEIGHTS.get(name, 1) for name in QUESTIONS] + [MOTION_WEIGHT] * len(motion_judge.QUESTIONS)
    found: list[list[Frames]] = [[] for _ in shown]
    distances: list[list[float]] = [[] for _ in shown]
    for number, clip in enumerate(told):
        agree = (words == _clip_words(clip)) @ np.array(weights)
        candidates = [source.render(known[at]) for at in np.argsort(-agree, kind="stable")[:NUM_CLIP_CANDIDATES]]
        small = _small_clips(candidates)
        for way, clips in enumerate(shown):
            apart = (small - _small_clips([clips[number]])).square().mean((1, 2, 3, 4)).sqrt() / 2  # (K,)
            found[way].append(candidates[int(apart.argmin())])
            distances[way].append(float(apart.min()))
    return [(near, np.array(apart, np.float32)) for near, apart in zip(found, distances, strict=True)]


def _clip_words(clip: Clip) -> list[int]:
    return [*_words(clip.scene), *(hash(answer) for answer in motion_judge.answers(clip).values())]


def _small_clips(clips: Sequence[Frames]) -> Tensor:
    """(N, F, 3, 16, 16)."""
    x = motion_judge.tensors(clips)
    small: Tensor = torch.nn.functional.adaptive_avg_pool2d(x.flatten(0, 1), SMALL_PX).unflatten(0, x.shape[:2])
    return small


def _words(scene: Scene) -> list[int]:
    """Its answers as numbers that agree where the answers do."""
    return [hash(answer) for answer in answers(scene).values()]


def _small(pictures: Sequence[Pixels]) -> Tensor:
    """(N, 3, 16, 16)."""
    return torch.nn.functional.adaptive_avg_pool2d(tensors(pictures), SMALL_PX)


def sheet(drawn: Sequence[Pixels], near: Sequence[Pixels], prompts: Sequence[str], columns: int = 5) -> Pixels:
    """A contact sheet: each drawn picture with its nearest training picture to the right, its prompt beneath."""
    size_px = drawn[0].shape[0]
    cells = []
    for picture, other, prompt in zip(drawn, near, prompts, strict=True):
        fitted = np.asarray(Image.fromarray(other).resize((size_px, size_px), Image.Resampling.BOX))
        pair = np.concatenate([picture, np.full((size_px, 2, 3), 255, np.uint8), fitted], axis=1)
        cells.append(np.concatenate([pair, _written(prompt, pair.shape[1])]))
    return grid(cells, columns, gap_px=8)


def clip_sheet(made: Sequence[Frames], near: Sequence[Frames], prompts: Sequence[str], columns: int = 2) -> Pixels:
    """A contact sheet: some frames of each clip, those of its nearest training clip beneath, and its prompt."""
    gap = np.full((3, _strip(made[0]).shape[1], 3), 255, np.uint8)
    pairs = [np.concatenate([_strip(one), gap, _strip(other)]) for one, other in zip(made, near, strict=True)]
    return contact_sheet(pairs, prompts, columns)


def _strip(clip: Frames) -> Pixels:
    """Some of the frames of a clip (F, S, S, 3) side by side, small."""
    frames = [Image.fromarray(frame).resize((STRIP_PX, STRIP_PX), Image.Resampling.BOX) for frame in clip]
    return strip(np.stack([np.asarray(frame) for frame in frames]), STRIP_FRAMES)


def _written(text: str, width: int, lines: int = 2) -> Pixels:
    """Text in small letters on white, `width` pixels wide."""
    font, step = ImageFont.load_default(11), 14
    image = Image.new("RGB", (width, lines * step), "white")
    rows = textwrap.wrap(text, max(width * 10 // 58, 8))[:lines]
    ImageDraw.Draw(image).multiline_text((2, 0), "\n".join(rows), "black", font, spacing=2)
    return np.asarray(image)
