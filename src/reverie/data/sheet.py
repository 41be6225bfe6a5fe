"""A contact sheet: many pictures on one, with their captions beneath."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from reverie.data.icons import Pixels

LINES, LINE_PX, LETTER_PX, GAP_PX = 4, 11, 6, 4


def sheet(pictures: Sequence[Pixels], captions: Sequence[str], columns: int = 8) -> Pixels:
    """(S, S, 3) each -> one (H, W, 3), `columns` pictures a row."""
    side = pictures[0].shape[0]
    wide, high = side + GAP_PX, side + LINES * LINE_PX + GAP_PX
    page = Image.new("RGB", (columns * wide, -(-len(pictures) // columns) * high), "white")
    pen = ImageDraw.Draw(page)
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        left, top = number % columns * wide, number // columns * high
        page.paste(Image.fromarray(picture), (left, top))
        lines = textwrap.wrap(caption, max(side // LETTER_PX, 8))[:LINES]
        pen.multiline_text((left, top + side), "\n".join(lines), fill="black", spacing=0)
    return np.asarray(page)
