"""Backgrounds of scenes, drawn from simple shapes: calm behind the subject, the same on every machine."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from reverie.data.dice import Dice

Pixels = NDArray[np.uint8]
Rgb = tuple[int, int, int]
VARIANTS = 12  # ways in which each background is drawn
UNITS = 256  # the drawings below are in 1/256 of the side

PLAIN: dict[str, list[tuple[Rgb, Rgb]]] = {
    "white": [((255, 255, 255), (255, 255, 255)), ((255, 255, 255), (226, 228, 234))],
    "blue": [((170, 214, 250), (170, 214, 250)), ((190, 226, 255), (128, 186, 244))],
    "green": [((150, 208, 148), (150, 208, 148)), ((178, 226, 170), (112, 184, 116))],
    "yellow": [((252, 232, 142), (252, 232, 142)), ((255, 242, 176), (244, 212, 104))],
    "pink": [((255, 200, 216), (255, 200, 216)), ((255, 220, 230), (248, 176, 198))],
    "purple": [((204, 184, 240), (204, 184, 240)), ((222, 206, 250), (178, 152, 226))],
    "orange": [((255, 196, 130), (255, 196, 130)), ((255, 214, 160), (250, 170, 92))],
    "grey": [((196, 198, 204), (196, 198, 204)), ((216, 218, 222), (166, 170, 178))],
}


class Sheet:
    """A sheet to draw on in units of 1/256 of its side, at `scale` pixels a unit."""

    def __init__(self, top: Rgb, bottom: Rgb, scale: int) -> None:
        self.scale = scale
        self.image = gradient(top, bottom, UNITS * scale)
        self.pen = ImageDraw.Draw(self.image)

    def disc(self, x: int, y: int, radius: int, fill: Rgb) -> None:
        """A filled circle."""
        self.pen.ellipse([v * self.scale for v in (x - radius, y - radius, x + radius, y + radius)], fill)

    def box(self, left: int, top: int, right: int, bottom: int, fill: Rgb) -> None:
        """A filled rectangle, right and bottom not included."""
        s = self.scale
        self.pen.rectangle([left * s, top * s, right * s - 1, bottom * s - 1], fill)

    def shape(self, fill: Rgb, *points: tuple[int, int]) -> None:
        """A filled polygon."""
        self.pen.polygon([(x * self.scale, y * self.scale) for x, y in points], fill)


def gradient(top: Rgb, bottom: Rgb, side: int) -> Image.Image:
    """A square that goes from one colour to another, downwards."""
    at = np.arange(side, dtype=np.int64)[:, None]
    column = (np.array(top) * (side - 1 - at) + np.array(bottom) * at) // (side - 1)  # (S, 3)
    return Image.fromarray(np.repeat(column.astype(np.uint8)[:, None], side, axis=1))


@functools.cache
def background(name: str, variant: int, size_px: int) -> Pixels:
    """(S, S, 3) uint8, to be copied and not drawn on."""
    if name in PLAIN:
        top, bottom = PLAIN[name][variant % 2]
        pixels = np.array(gradient(top, bottom, size_px))
    else:
        sheet = PLACES[name](Dice(variant, len(name)), 4 if size_px > 128 else 2)
        pixels = np.array(sheet.image.resize((size_px, size_px), Image.Resampling.BOX))
    pixels.setflags(write=False)
    return pixels


def _night(dice: Dice, scale: int) -> Sheet:
    sheet = Sheet((14, 18, 48), (44, 52, 104), scale)
    for _ in range(26):
        sheet.disc(dice.between(4, 252), dice.between(4, 200), dice.between(1, 2), (255, 250, 220))
    x, y = dice.pick([36, 220]), dice.between(30, 56)
    sheet.disc(x, y, 22, (250, 240, 190))
    if dice.chance(2):
        sheet.disc(x + 10, y - 6, 19, (20, 25, 57))
    return sheet


def _beach(dice: Dice, scale: int) -> Sheet:
    sheet = Sheet((126, 204, 246), (206, 238, 252), scale)
    horizon = dice.between(120, 140)
    sheet.disc(dice.pick([40, 216]), 44, 22, (255, 226, 96))
    sheet.box(0, horizon, 256, 256, (56, 150, 206))
    shore = horizon + dice.between(36, 50)
    sheet.shape((242, 216, 156), (0, shore), (256, shore + dice.between(-16, 16)), (256, 256), (0, 256))
    return sheet


def _sea(dice: Dice, scale: int) -> Sheet:
    sheet = Sheet((150, 212, 246), (214, 238, 250), scale)
    level = dice.between(120, 150)
    for step, blue in enumerate([(70, 158, 214), (48, 132, 196), (34, 106, 172)]):
        top = level + step * 38
        sheet.box(0, top, 256, 256, blue)
        for x in range(-16 + 20 * (step % 2), 272, 40):
            sheet.disc(x, top, 10, blue)
    _cloud(sheet, dice.between(40, 216), dice.between(24, 50))
    return sheet


def _cloud(sheet: Sheet, x: int, y: int, fill: Rgb = (255, 255, 255)) -> None:
    for dx, dy, radius in ((-18, 4, 11), (0, -2, 15), (18, 4, 11)):
        sheet.disc(x + dx, y + dy, radius, fill)


def _forest(dice: Dice, scale: int) -> Sheet:
    sheet = Sheet((178, 222, 214), (216, 238, 214), scale)
    ground = dice.between(166, 186)
    for green in ((104, 168, 124), (64, 132, 92)):
        for x in range(dice.between(-16, 16), 280, 40):
            _fir(sheet, x + dice.between(-6, 6), ground + 6, dice.between(84, 124), green)
    sheet.box(0, ground, 256, 256, (120, 176, 96))
    return sheet


def _fir(sheet: Sheet, x: int, foot: int, height: int, fill: Rgb) -> None:
    for step in range(3):
        top, low = foot - height + step * height // 5, foot - height * (2 - step) // 4
        sheet.shape(fill, (x, top), (x + 14 + 5 * step, low), (x - 14 - 5 * step, low))


def _snow(dice: Dice, scale: int) -> Sheet:
    sheet = Sheet((170, 200, 228), (214, 228, 242), scale)
    ground = dice.between(150, 176)
    for x in (dice.between(10, 60), dice.between(190, 250)):
        _fir(sheet, x, ground + 8, dice.between(60, 90), (112, 154, 160))
    sheet.disc(60, ground + 330, 340, (244, 248, 252))
    sheet.disc(220, ground + 344, 340, (234, 241, 250))
    for _ in range(30):
        sheet.disc(dice.between(4, 252), dice.between(4, ground), dice.between(2, 3), (255, 255, 255))
    return sheet


def _city(dice: Dice, scale: int) -> Sheet:
    sheet = Sheet((176, 208, 236), (228, 236, 244), scale)
    x = 0
    while x < 256:
        width, top = dice.between(30, 48), dice.between(56, 130)
        wall = dice.pick([(150, 162, 186), (132, 146, 174), (168, 160, 176)])
        sheet.box(x, top, x + width - 2, 214, wall)
        for row in range(top + 8, 200, 20):
            for column in range(x + 6, x + width - 10, 12):
                sheet.box(column, row, column + 6, row + 9, (236, 230, 190))
        x += width
    sheet.box(0, 206, 256, 256, (112, 116, 128))
    sheet.box(0, 206, 256, 214, (190, 192, 200))
    return sheet


def _desert(dice: Dice, scale: int) -> Sheet:
    sheet = Sheet((250, 214, 150), (254, 236, 196), scale)
    sheet.disc(dice.pick([44, 210]), 46, 22, (255, 246, 214))
    level = dice.between(150, 172)
    sheet.disc(40, level + 300, 310, (226, 176, 104))
    sheet.disc(230, level + 330, 320, (238, 192, 122))
    x = dice.pick([30, 224])
    sheet.box(x - 5, level - 46, x + 5, level + 10, (92, 150, 92))
    sheet.box(x - 18, level - 24, x, level - 17, (92, 150, 92))
    sheet.box(x - 18, level - 38, x - 12, level - 17, (92, 150, 92))
    return sheet


def _mountains(dice: Dice, scale: int) -> Sheet:
    sheet = Sheet((150, 200, 240), (220, 236, 248), scale)
    for fill in ((150, 160, 190), (118, 130, 166)):
        for base in (40, 150, 240):
            x, top = base + dice.between(-24, 24), dice.between(50, 104)
            half = (210 - top) * 3 // 4
            sheet.shape(fill, (x, top), (x + half, 210), (x - half, 210))
            sheet.shape(
                (246, 248, 252),
                (x, top),
                (x + half // 4, top + (210 - top) // 4),
                (x + 3, top + 24),
                (x - half // 4, top + (210 - top) // 4),
            )
    sheet.box(0, 196, 256, 256, (136, 184, 120))
    return sheet


def _field(dice: Dice, scale: int) -> Sheet:
    sheet = Sheet((142, 206, 248), (214, 238, 252), scale)
    _cloud(sheet, dice.between(30, 110), dice.between(24, 50))
    _cloud(sheet, dice.between(150, 230), dice.between(24, 60))
    level = dice.between(150, 176)
    sheet.disc(50, level + 330, 340, (128, 196, 92))
    sheet.disc(226, level + 336, 336, (108, 180, 80))
    for _ in range(14):
        petal = dice.pick([(255, 255, 255), (255, 224, 96), (250, 170, 190)])
        sheet.disc(dice.between(6, 250), dice.between(level + 30, 250), 3, petal)
    return sheet


def _rain(dice: Dice, scale: int) -> Sheet:
    sheet = Sheet((128, 142, 162), (178, 190, 204), scale)
    for x in (34, 92, 156, 220):
        _cloud(sheet, x + dice.between(-10, 10), dice.between(10, 26), (98, 108, 126))
    for _ in range(48):
        x, y = dice.between(0, 256), dice.between(40, 240)
        sheet.shape((214, 228, 244), (x, y), (x + 3, y), (x - 3, y + 16), (x - 6, y + 16))
    sheet.box(0, 224, 256, 256, (122, 134, 150))
    return sheet


def _sunset(dice: Dice, scale: int) -> Sheet:
    sheet = Sheet((116, 66, 138), (255, 168, 84), scale)
    level = dice.between(170, 190)
    sheet.disc(dice.between(70, 186), level - dice.between(0, 24), 42, (255, 232, 140))
    sheet.box(0, level, 256, 256, (88, 52, 96))
    return sheet


def _space(dice: Dice, scale: int) -> Sheet:
    sheet = Sheet((22, 12, 44), (40, 20, 74), scale)
    for _ in range(40):
        sheet.disc(
            dice.between(2, 254),
            dice.between(2, 254),
            dice.between(1, 2),
            dice.pick([(255, 255, 255), (200, 210, 255)]),
        )
    x, y = dice.pick([(36, 42), (220, 46), (40, 216)])
    sheet.disc(x, y, 26, dice.pick([(214, 138, 84), (120, 168, 214), (190, 120, 170)]))
    sheet.shape((232, 206, 170), (x - 42, y + 12), (x - 40, y + 8), (x + 42, y - 12), (x + 40, y - 8))
    return sheet


def _room(dice: Dice, scale: int) -> Sheet:
    wall = dice.pick([(240, 226, 204), (214, 228, 222), (236, 214, 214)])
    sheet = Sheet(wall, wall, scale)
    x = dice.pick([24, 168])
    sheet.box(x - 4, 24, x + 68, 100, (250, 250, 250))
    sheet.box(x, 28, x + 30, 96, (168, 214, 244))
    sheet.box(x + 34, 28, x + 64, 96, (168, 214, 244))
    sheet.box(0, 186, 256, 256, (182, 134, 94))
    sheet.box(0, 182, 256, 188, (250, 246, 240))
    return sheet


PLACES: dict[str, Callable[[Dice, int], Sheet]] = {
    "night": _night,
    "beach": _beach,
    "sea": _sea,
    "forest": _forest,
    "snow": _snow,
    "city": _city,
    "desert": _desert,
    "mountains": _mountains,
    "field": _field,
    "rain": _rain,
    "sunset": _sunset,
    "space": _space,
    "room": _room,
}
