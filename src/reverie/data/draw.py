"""From the SVG pictures of a style to icons: rendered, cropped, and the mass found that a new colour may replace.

h, w pixels. Brightness and chroma are 0..255.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save_file

from reverie.data.icons import NO_MASS, Icon, Pixels, brightness, coloured, ramp
from reverie.data.vocabulary import Concept, Vocabulary

PARTS = ("subjects", "vehicles", "objects")
DARK, PALE, GREY = 70, 205, 36  # brightness below and above which, and chroma below which, a pixel has no hue
BIN = 64  # of the 1,536 hues: how finely they are counted
WATER = (740, 980)  # its hues
LOOK_PX = 48  # at which it is first seen where in its square a picture is
SEEN = 24  # alpha from which a pixel counts


@dataclass(frozen=True)
class Drawing:
    """What one SVG became. rgba: (h, w, 4) premultiplied. mass: (h, w), or None if it is never coloured.

    kind, name, role: as in `icons.Icon`. middle: the median brightness of the mass.
    """

    kind: str
    name: str
    role: str
    rgba: Pixels
    mass: Pixels | None = None
    middle: int = 128


def drawings(style: str, table: Mapping[str, Any], words: Vocabulary, size_px: int) -> Iterator[Drawing]:
    """All that scenes of `size_px` need of a style, whose pictures are in `table` (Iconify's JSON)."""
    for kind in PARTS:
        for concept in getattr(words, kind).values():
            for role, name in _roles(concept, style, table).items():
                turn = words.turns.get(style, {}).get(concept.name, 0)
                image = render(picture(table, name, turn), size_px * 15 // 16)
                yield _parted(Drawing(kind, concept.name, role, image), concept)
    for single in words.singles.values():
        for name in single.icons:
            if found(table, name) is not None and style not in single.not_styles:
                yield Drawing(
                    "singles", single.name, name, premultiplied(render(picture(table, name), size_px * 13 // 16))
                )


def save(path: Path, drawn: Iterable[tuple[str, Drawing]]) -> None:
    """Writes the file that `icons.Icons` reads, from (style, drawing)."""
    icons: list[Icon] = []
    rgba: list[Pixels] = []
    mass: list[Pixels] = []
    start = mass_start = 0
    for style, each in drawn:
        height, width = each.rgba.shape[:2]
        at = NO_MASS if each.mass is None else mass_start
        icons.append(Icon(style, each.kind, each.name, each.role, height, width, start, at, each.middle))
        rgba.append(each.rgba.reshape(-1, 4))
        start += height * width
        if each.mass is not None:
            mass.append(each.mass.reshape(-1))
            mass_start += height * width
    tensors = {"rgba": np.concatenate(rgba), "mass": np.concatenate(mass)}
    save_file(tensors, path, {"icons": json.dumps([astuple(icon) for icon in icons])})


def _roles(concept: Concept, style: str, table: Mapping[str, Any]) -> dict[str, str]:
    """Role -> the icon for it. A style with one icon for two roles has it once."""
    if not concept.drawn_in(style):
        return {}
    roles: dict[str, str] = {}
    for role in ("body", "face", "icons"):
        name = next((name for name in getattr(concept, role) if found(table, name) is not None), None)
        if name is not None and name not in roles.values():
            roles[role] = name
    return roles


def found(table: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """The picture of this name, or of the name that it stands for; None if there is none."""
    aliases = table.get("aliases", {})
    while name not in table["icons"] and name in aliases:
        name = aliases[name]["parent"]
    picture: Mapping[str, Any] | None = table["icons"].get(name)
    return picture


@dataclass(frozen=True)
class Picture:
    """An SVG: the body of the document, and the part of its plane that is looked at."""

    body: str
    left: float
    top: float
    width: float
    height: float

    def svg(self) -> str:
        """The whole document."""
        names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        return f'<svg {names} viewBox="{self.left} {self.top} {self.width} {self.height}">{self.body}</svg>'


def picture(table: Mapping[str, Any], name: str, turn: int = 0) -> Picture:
    """The picture of this name, turned clockwise by `turn` degrees."""
    entry = {"left": 0, "top": 0, "width": 16, "height": 16} | dict(table) | dict(found(table, name) or {})
    left, top, width, height = (entry[key] for key in ("left", "top", "width", "height"))
    middle = f"{left + width / 2} {top + height / 2}"
    return Picture(f'<g transform="rotate({turn} {middle})">{entry["body"]}</g>', left, top, width, height)


def render(picture: Picture, size_px: int) -> Pixels:
    """The picture with its longer side `size_px`, cropped to what can be seen: (h, w, 4), straight alpha."""
    # Always the whole square: resvg 0.48 fails on some pictures with filters when it draws a part of them.
    rows, columns = _seen(_rendered(picture, LOOK_PX))
    longest = max(rows.stop - rows.start, columns.stop - columns.start, LOOK_PX // 2)
    image = _rendered(picture, size_px * LOOK_PX // longest)
    return image[_seen(image)]


def _rendered(picture: Picture, size_px: int) -> Pixels:
    png = resvg_py.svg_to_bytes(svg_string=picture.svg(), width=size_px, height=size_px, skip_system_fonts=True)
    return np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGBA"))


def _seen(image: Pixels) -> tuple[slice, slice]:
    """The rows and columns with something in them."""
    solid = image[..., 3] > SEEN
    rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
    if not len(rows):
        return slice(0, 1), slice(0, 1)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def premultiplied(image: Pixels) -> Pixels:
    """Straight -> premultiplied alpha, (h, w, 4)."""
    alpha = image[..., 3:].astype(np.uint16)
    return np.concatenate([image[..., :3] * alpha // 255, alpha], axis=-1).astype(np.uint8)


def _parted(drawing: Drawing, concept: Concept) -> Drawing:
    """The drawing with its mass found, and tinted where its concept says so."""
    chosen = main_mass(drawing.rgba, concept.on_water)
    light = brightness(drawing.rgba)
    middle = max(int(np.median(light[chosen])), 1) if chosen.any() else 128
    mass = np.minimum(softened(chosen), drawing.rgba[..., 3])
    rgba = premultiplied(drawing.rgba)
    if concept.tint:
        rgba = coloured(rgba, mass, middle, ramp(concept.tint))
    return Drawing(drawing.kind, drawing.name, drawing.role, rgba, mass, middle)


def main_mass(image: Pixels, on_water: bool = False) -> NDArray[np.bool_]:
    """Which pixels (h, w) of a straight picture are the thing's main colour, in all its shades.

    Either all of one hue, or all that is pale, or all that is dark: whichever covers most. So eyes, mouths, outlines,
    windows and wheels stay. on_water: what has the hue of water is not it.
    """
    solid = image[..., 3] > SEEN // 2
    light, rgb = brightness(image), image[..., :3].astype(np.int32)
    chroma = rgb.max(-1) - rgb.min(-1)
    weak = (chroma < GREY) | ((light > PALE) & (chroma < 2 * GREY))
    dark = solid & (light < DARK) & (chroma < 2 * GREY)
    pale = solid & ~dark & weak
    tone = hue(rgb)
    hued = solid & ~dark & ~weak & ~(on_water & (tone > WATER[0]) & (tone < WATER[1]))
    areas = np.bincount(tone[hued] // BIN, minlength=1536 // BIN)
    around = areas + np.roll(areas, 1) + np.roll(areas, -1)
    best = int(around.argmax())
    of_hue, of_pale, of_dark = int(around[best]) * 5, int(pale.sum()) * 5, int(dark.sum()) * 3
    if of_hue >= max(of_pale, of_dark):
        apart = np.abs((tone - (best * BIN + BIN // 2) + 768) % 1536 - 768)
        return np.asarray(hued & (apart < 3 * BIN))
    return np.asarray(pale if of_pale >= of_dark else dark | (solid & weak & (light < 2 * DARK)))


def softened(chosen: NDArray[np.bool_]) -> Pixels:
    """(h, w) -> (h, w): 0..255, how much of the 3 x 3 pixels around each one are chosen, so that no edge is hard."""
    height, width = chosen.shape
    padded = np.pad(chosen.astype(np.uint16), 1, mode="edge")
    total = sum(padded[dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3))
    return (np.asarray(total) * 255 // 9).astype(np.uint8)


def hue(rgb: NDArray[np.int32]) -> NDArray[np.int32]:
    """(..., 3) -> (...): the hue as 0..1535, red at 0, green at 512, blue at 1024."""
    high, low = rgb.max(-1), rgb.min(-1)
    span = np.maximum(high - low, 1)
    red, green, blue = (rgb[..., part] for part in range(3))
    from_red = 256 * (green - blue) // span
    from_green = 512 + 256 * (blue - red) // span
    from_blue = 1024 + 256 * (red - green) // span
    tone: NDArray[np.int32] = np.where(high == red, from_red, np.where(high == green, from_green, from_blue)) % 1536
    return tone
