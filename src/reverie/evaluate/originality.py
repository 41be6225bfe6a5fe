"""Originality: for each drawn picture, the training picture that is most like it.

Of many training scenes those are looked at whose words agree most with the prompt's, and of these the picture that is
nearest in pixels is shown: the closest thing to a copy that there could be.

N pictures, Q questions, K candidates
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from reverie.data.icons import Pixels
from reverie.data.scene import Scene
from reverie.evaluate.judge import QUESTIONS, answers, tensors
from reverie.evaluate.pictures import REAL_PX
from reverie.hub.datasets import open_scenes
from reverie.media import grid

NUM_SCENES, NUM_CANDIDATES = 50_000, 32
WEIGHTS = {"subject": 4, "other": 4, "relation": 2}  # what makes a scene a neighbour; any other question counts once
SMALL_PX = 16  # pictures are compared at this size, where small shifts do not matter


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


def _written(text: str, width: int, lines: int = 2) -> Pixels:
    """Text in small letters on white, `width` pixels wide."""
    font, step = ImageFont.load_default(11), 14
    image = Image.new("RGB", (width, lines * step), "white")
    rows = textwrap.wrap(text, max(width * 10 // 58, 8))[:lines]
    ImageDraw.Draw(image).multiline_text((2, 0), "\n".join(rows), "black", font, spacing=2)
    return np.asarray(image)
