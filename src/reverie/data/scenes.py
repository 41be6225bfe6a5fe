"""Scenes: captioned pictures as a function of (seed, index), to learn from and to judge with.

S side of a picture in pixels.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from reverie.data import icons
from reverie.data.backgrounds import background
from reverie.data.compose import Composer
from reverie.data.icons import Icon, Icons, Pixels
from reverie.data.scene import UNITS, Layer, Scene, Split
from reverie.data.vocabulary import vocabulary
from reverie.types import ReverieError


class Scenes:
    """An endless supply of captioned pictures; send it to other processes as it is.

    split: "train" never shows a held-out pair, style or word; "held_out" shows only held-out pairs; "judge" anything,
    and each relation about as often as it is hard to tell.
    styles: which to draw in; by default those that training has. synonyms: captions use words that training never does.
    """

    def __init__(
        self, path: Path, size_px: int, split: Split = "train", styles: tuple[str, ...] = (), synonyms: bool = False
    ) -> None:
        self.path, self.size_px, self.split, self.synonyms = path, size_px, split, synonyms
        known = vocabulary().styles
        self.styles = styles if styles else tuple(name for name in known if known[name].share)
        if unknown := [name for name in self.styles if name not in known]:
            raise ReverieError(f"There is no style {unknown[0]!r}: there are {', '.join(known)}.")

    def __reduce__(self) -> tuple[type[Scenes], tuple[object, ...]]:
        return Scenes, (self.path, self.size_px, self.split, self.styles, self.synonyms)

    @functools.cached_property
    def icons(self) -> Icons:
        """All icons, mapped when first needed."""
        return Icons(self.path)

    @functools.cached_property
    def _composer(self) -> Composer:
        return Composer(vocabulary(), self.icons, self.split, self.styles, self.synonyms)

    def item(self, seed: int, index: int) -> tuple[Pixels, str, Scene]:
        """((S, S, 3) uint8, caption, scene)."""
        scene = self.scene(seed, index)
        return self.render(scene), scene.caption, scene

    def scene(self, seed: int, index: int) -> Scene:
        """What (seed, index) stands for, without its picture."""
        return self._composer.scene(seed, index)

    def render(self, scene: Scene, size_px: int | None = None) -> Pixels:
        """(S, S, 3) uint8. size_px: another side than its own."""
        side = self.size_px if size_px is None else size_px
        canvas = background(scene.background, scene.variant, side).copy()
        for layer in scene.layers:
            self._paste(canvas, scene.style, layer)
        return canvas

    def _paste(self, canvas: Pixels, style: str, layer: Layer) -> None:
        side = canvas.shape[0]
        left, top, right, bottom = (
            side * at // UNITS for at in (layer.left, layer.top, layer.left + layer.width, layer.top + layer.height)
        )
        over(canvas, self.sprite(style, layer, (max(right - left, 1), max(bottom - top, 1))), left, top)

    def sprite(self, style: str, layer: Layer, size: tuple[int, int] | None = None) -> Pixels:
        """The layer's icon in its colour, premultiplied (height, width, 4). size: width and height, else the icon's."""
        icon: Icon = self.icons.index[style, layer.kind, layer.name][layer.role]
        width, height = (icon.width, icon.height) if size is None else size
        shades = icons.ramp(vocabulary().colours[layer.colour].rgb) if layer.colour else None
        sprite = self.icons.sprite(icon, width, height, shades)
        return sprite[:, ::-1] if layer.mirrored else sprite


def over(canvas: Pixels, sprite: Pixels, left: int, top: int) -> None:
    """Lays a premultiplied sprite (h, w, 4) over the canvas (S, S, 3), in place; what lies outside is left out."""
    side = canvas.shape[0]
    height, width = sprite.shape[:2]
    rows, columns = slice(max(top, 0), min(top + height, side)), slice(max(left, 0), min(left + width, side))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    part = sprite[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    below = canvas[rows, columns] * (255 - part[..., 3:].astype(np.uint16)) // 255
    canvas[rows, columns] = np.minimum(part[..., :3] + below, 255)
