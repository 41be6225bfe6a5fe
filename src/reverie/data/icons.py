"""Icons as pixels: one file that holds them all, and the arithmetic that sizes and colours them.

A file `icons-SIZE....safetensors` holds `rgba` (N, 4) uint8, the pixels of one icon after another with premultiplied
alpha; and `mass` (M,) uint8, how much of a pixel a new colour replaces, for those icons that are ever coloured. The
metadata lists the icons. The file is mapped into memory, so all processes share one copy. Whole numbers throughout:
every machine gets the same pixels.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reverie.types import ReverieError

Pixels = NDArray[np.uint8]
LIMIT = 1 << 24  # bytes that the list of icons may have
NO_MASS = -1


@dataclass(frozen=True)
class Icon:
    """One icon in the file. kind: "subjects", "vehicles", "objects" or "singles". role: "face", "body", "icons".

    start, mass_start: where its pixels begin in `rgba` and in `mass`. middle: the median brightness of its mass.
    """

    style: str
    kind: str
    name: str
    role: str
    height: int
    width: int
    start: int
    mass_start: int
    middle: int


class Icons:
    """The icons of one file, mapped when first needed; cheap to send to another process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[type[Icons], tuple[Path]]:
        return Icons, (self.path,)

    @functools.cached_property
    def _contents(self) -> tuple[list[Icon], Pixels, Pixels]:
        """The list of icons, `rgba` (N, 4) and `mass` (M,)."""
        try:
            with self.path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(min(length, LIMIT)))
            icons = [Icon(*row) for row in json.loads(header["__metadata__"]["icons"])]
            rgba, mass = (self._tensor(header[name], 8 + length) for name in ("rgba", "mass"))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ReverieError(f"{self.path} cannot be read: delete it and run `reverie data build scenes`.") from error
        return icons, rgba, mass

    def _tensor(self, entry: Mapping[str, Any], start: int) -> Pixels:
        return np.memmap(self.path, np.uint8, "r", start + entry["data_offsets"][0], tuple(entry["shape"]))

    @functools.cached_property
    def index(self) -> dict[tuple[str, str, str], dict[str, Icon]]:
        """(style, kind, name) -> role -> icon, in the order of the file."""
        index: dict[tuple[str, str, str], dict[str, Icon]] = {}
        for icon in self._contents[0]:
            index.setdefault((icon.style, icon.kind, icon.name), {})[icon.role] = icon
        return index

    def sprite(self, icon: Icon, width: int, height: int, shades: Pixels | None) -> Pixels:
        """The icon at a size in pixels, premultiplied (height, width, 4); shades (256, 4): its new colour."""
        _, all_rgba, all_mass = self._contents
        shape, area = (icon.height, icon.width), icon.height * icon.width
        rgba = resized(all_rgba[icon.start : icon.start + area].reshape(*shape, 4), width, height)
        if shades is None or icon.mass_start == NO_MASS:
            return rgba
        mass = all_mass[icon.mass_start : icon.mass_start + area].reshape(shape)
        return coloured(rgba, resized(mass, width, height), icon.middle, shades)


def resized(image: Pixels, width: int, height: int) -> Pixels:
    """(h, w) or (h, w, 4) -> (height, width, ...) by Pillow's integer arithmetic, each channel by itself."""
    if image.shape[:2] == (height, width):
        return image
    # Not "RGBA", which Pillow would multiply by alpha once more; a mask can be a little softer than a picture.
    mode, how = ("L", Image.Resampling.BILINEAR) if image.ndim == 2 else ("CMYK", Image.Resampling.BICUBIC)
    picture = Image.frombuffer(mode, (image.shape[1], image.shape[0]), image, "raw", mode, 0, 1)
    return np.asarray(picture.resize((width, height), how))


def brightness(image: Pixels) -> NDArray[np.uint8]:
    """(h, w, 3 or 4) -> (h, w): how bright each pixel looks (ITU-R BT.601, in 1/256)."""
    red, green, blue = (image[..., part].astype(np.uint16) for part in range(3))
    return ((red * 77 + green * 150 + blue * 29) >> 8).astype(np.uint8)


def coloured(rgba: Pixels, mass: Pixels, middle: int, shades: Pixels) -> Pixels:
    """(h, w, 4) premultiplied, with its mass (h, w) in the colour of `shades` (256, 4); light and shade are kept."""
    alpha = rgba[..., 3]
    # Where a pixel is see-through its brightness is filled up with the middle, so that edges have the plain colour.
    light = brightness(rgba) + ((255 - alpha.astype(np.uint16)) * middle >> 8).astype(np.uint8)
    by_light = shades[np.minimum(np.arange(256) * 128 // middle, 255)]
    paint = by_light.view(np.uint32)[:, 0][light].view(np.uint8).reshape(*rgba.shape)  # four bytes in one look-up
    kept = 255 - share()[mass, alpha].astype(np.uint16)
    mixed = (rgba * kept[..., None] + paint * mass.astype(np.uint16)[..., None] + 127) // 255
    mixed[..., 3] = alpha
    return mixed.astype(np.uint8)


@functools.cache
def share() -> Pixels:
    """(256, 256): mass / alpha, in 1/255 and at most 1."""
    mass, alpha = np.arange(256)[:, None], np.maximum(np.arange(256), 1)[None]
    return np.minimum(mass * 255 // alpha, 255).astype(np.uint8)


@functools.cache
def ramp(rgb: tuple[int, ...]) -> Pixels:
    """(256, 4): a colour from dark to light, opaque; 128 is the colour itself."""
    base = np.array([*rgb, 255], np.int64)
    at = np.arange(256)[:, None]
    dark = base * (at + 24) // 152
    light = base + (255 - base) * np.maximum(at - 128, 0) * 3 // (127 * 4)
    shades = np.where(at < 128, dark, light)
    shades[:, 3] = 255
    return shades.astype(np.uint8)
