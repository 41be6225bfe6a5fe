"""A contact sheet: many pictures on one, with their captions beneath; of a clip, a row of its frames."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from reverie.data.icons import Pixels

LINES, LINE_PX, LETTER_PX, GAP_PX = 4, 11, 6, 4


def sheet(pictures: Sequence[Pixels], captions: Sequence[str], columns: int = 8) -> Pixels:
    """Of one size (h, w, 3) each -> one (H, W, 3), `columns` pictures a row."""
    height, width = pictures[0].shape[:2]
    texts = [textwrap.wrap(caption, max(width // LETTER_PX, 8))[:LINES] for caption in captions]
    wide, high = width + GAP_PX, height + max(map(len, texts)) * LINE_PX + GAP_PX
    page = Image.new("RGB", (columns * wide, -(-len(pictures) // columns) * high), "white")
    pen = ImageDraw.Draw(page)
    for number, (picture, lines) in enumerate(zip(pictures, texts, strict=True)):
        left, top = number % columns * wide, number // columns * high
        page.paste(Image.fromarray(picture), (left, top))
        pen.multiline_text((left, top + height), "\n".join(lines), fill="black", spacing=0)
    return np.asarray(page)


def strips(clips: Sequence[Pixels], captions: Sequence[str], columns: int = 8) -> Pixels:
    """Clips (F, S, S, 3) -> one (H, W, 3): a row each, of `columns` frames from the first to the last."""
    return sheet([strip(clip, columns) for clip in clips], captions, columns=1)


def strip(clip: Pixels, columns: int) -> Pixels:
    """(F, S, S, 3) -> (S, W, 3): some of its frames side by side, as far apart as whole frames allow."""
    last = len(clip) - 1
    frames = [clip[number * last // max(columns - 1, 1)] for number in range(columns)]
    side = clip.shape[1]
    gap = np.full((side, GAP_PX, 3), 255, np.uint8)
    return np.concatenate([part for frame in frames for part in (frame, gap)][:-1], axis=1)
