"""A clip as pixels: sprites at any place, size and angle between the pixels, a camera, and the fall of night.

F frames, S side of a picture, h, w pixels of a sprite. Sprites are premultiplied. Turning is in whole numbers and what
is between pixels is a multiple of 1/64 of one, so that all machines make the same.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from reverie.data import paths
from reverie.data.backgrounds import background
from reverie.data.dice import Dice
from reverie.data.icons import Pixels
from reverie.data.motion import Clip
from reverie.data.paths import PATHS, Pose, Stage, View
from reverie.data.scene import UNITS, Layer, extent
from reverie.data.scenes import Scenes, over

TURN = 1 << 12  # steps of a whole turn
PART = 64  # of a pixel
PAD = 16  # empty pixels around a sprite, for where it covers a part of a pixel
NIGHT = np.array([82, 98, 148], np.int32)  # of 256: how much red, green and blue the night leaves
GLOW = np.array([252, 246, 214], np.int32)  # of stars and the moon
SKIES = 6  # ways in which the stars stand
SEEN = 128  # alpha from which a pixel can touch the ground
LENS = 2  # times as fine as a frame is what a camera looks at
UNITS_OF_STARS = 256  # they are placed in 1/256 of the side

Box = tuple[float, float, float, float]  # left, top, right and bottom, in sides of the picture


def play(scenes: Scenes, clip: Clip, num_frames: int) -> Pixels:
    """(F, S, S, 3) uint8."""
    times = [paths.moment(clip.motion, frame, num_frames) for frame in range(num_frames)]
    if clip.motion in PATHS:
        return acted(scenes, clip, times)
    if "night" in clip.motion:
        return darkened(scenes, clip, times)
    return filmed(scenes, clip, times)


def acted(scenes: Scenes, clip: Clip, times: Sequence[float]) -> Pixels:
    """What moves before a background that does not."""
    side, scene = scenes.size_px, clip.scene
    behind = background(scene.background, scene.variant, side)
    actors = [Actor(scenes, scene.style, group, clip.tilt) for group in groups(clip)]
    place = stage(clip)
    frames = np.repeat(behind[None], len(times), axis=0)  # (F, S, S, 3)
    for frame, time in zip(frames, times, strict=True):
        for pose in PATHS[clip.motion](place, time):
            actors[pose.actor].draw(frame, pose)
    return frames


def groups(clip: Clip) -> list[tuple[Layer, ...]]:
    """The layers that move as one."""
    layers = clip.scene.layers
    return [(layer,) for layer in layers] if clip.scene.relation in ("chasing", "circling") else [layers]


def stage(clip: Clip) -> Stage:
    """What paths must know of it."""
    boxes = [extent(group) for group in groups(clip)]
    sizes = tuple((width / UNITS, height / UNITS) for _, _, width, height in boxes)
    if clip.tilt:
        sizes = tuple((height, width) for width, height in sizes)
    floor = (boxes[0][1] + boxes[0][3]) / UNITS
    walks = len(groups(clip)[0]) == 1 and clip.scene.layers[0].kind == "subjects"
    return Stage(clip.direction, clip.speed, sizes, floor, clip.at / UNITS, clip.grounded, walks)


@dataclass(frozen=True)
class Part:
    """A layer of an actor, (h, w, 4); the middle of the actor's feet is its origin, the picture's side its unit."""

    sprite: Pixels
    left: float
    top: float
    width: float
    height: float


class Actor:
    """One or more layers that move as one. tilt: degrees that it is turned before all else, by quarters."""

    def __init__(self, scenes: Scenes, style: str, layers: Sequence[Layer], tilt: int) -> None:
        left, top, width, height = extent(layers)
        middle, feet = left + width / 2, top + height
        self.parts = [
            Part(
                scenes.sprite(style, layer),
                (layer.left - middle) / UNITS,
                (layer.top - feet) / UNITS,
                layer.width / UNITS,
                layer.height / UNITS,
            )
            for layer in layers
        ]
        if tilt:
            self.parts = [tipped(part, tilt) for part in self.parts]
        self._looks: dict[tuple[int, int], Pixels] = {}

    def draw(self, canvas: Pixels, pose: Pose) -> None:
        """Over the canvas (S, S, 3), in place."""
        steps = round(pose.turn * TURN) % TURN
        for number, part in enumerate(self.parts):
            look = self._look(number, steps)
            put(canvas, look, _box(part, pose, look) if steps else _upright(part, pose))

    def _look(self, number: int, steps: int) -> Pixels:
        """A part turned and padded, which many frames may share."""
        if (number, steps) not in self._looks:
            self._looks[number, steps] = padded(turned(self.parts[number].sprite, steps))
        return self._looks[number, steps]


def tipped(part: Part, tilt: int) -> Part:
    """A part that stands alone, turned clockwise by a quarter or more, on its new feet."""
    sprite = np.ascontiguousarray(np.rot90(part.sprite, -tilt // 90))
    return Part(sprite, -part.height / 2, -part.width, part.height, part.width)


def _upright(part: Part, pose: Pose) -> Box:
    """Where a part is that is not turned."""
    wide, high = pose.scale * pose.wide, pose.scale * pose.high
    left, top = pose.x + part.left * wide, pose.floor + part.top * high
    return left, top, left + part.width * wide, top + part.height * high


def _box(part: Part, pose: Pose, look: Pixels) -> Box:
    """Where the square is that `turned` made of a part: round its middle, or with its lowest point where feet are."""
    height, width = part.sprite.shape[:2]
    across, down = part.width / width * pose.scale, part.height / height * pose.scale
    half = look.shape[0] / 2 - PAD
    left, top, right, bottom = _upright(part, pose)
    x, y = (left + right) / 2, (top + bottom) / 2
    if pose.lowest:
        solid = np.flatnonzero((look[..., 3] >= SEEN).any(1))
        y = pose.floor - (int(solid[-1]) + 1 - PAD - half) * down if len(solid) else y
    return x - half * across, y - half * down, x + half * across, y + half * down


def padded(sprite: Pixels) -> Pixels:
    """(h, w, 4) -> (h + 2 PAD, w + 2 PAD, 4): with nothing around it."""
    height, width = sprite.shape[:2]
    image = np.zeros((height + 2 * PAD, width + 2 * PAD, 4), np.uint8)
    image[PAD : PAD + height, PAD : PAD + width] = sprite
    return image


def put(canvas: Pixels, look: Pixels, box: Box) -> None:
    """Lays a padded sprite over the canvas (S, S, 3), in place, on a box that may begin and end between pixels."""
    left, top, right, bottom = (round(at * canvas.shape[0] * PART) / PART for at in box)
    first, last = (math.floor(left), math.floor(top)), (math.ceil(right), math.ceil(bottom))
    if min(last) <= 0 or max(first) >= canvas.shape[0] or right <= left or bottom <= top:
        return
    height, width = look.shape[:2]
    across, down = (width - 2 * PAD) / (right - left), (height - 2 * PAD) / (bottom - top)
    seen = (
        max(PAD + (first[0] - left) * across, 0.0),
        max(PAD + (first[1] - top) * down, 0.0),
        min(PAD + (last[0] - left) * across, float(width)),
        min(PAD + (last[1] - top) * down, float(height)),
    )
    # Not "RGBA", which Pillow would multiply by alpha once more.
    image = Image.frombuffer("CMYK", (width, height), look, "raw", "CMYK", 0, 1)
    size = (last[0] - first[0], last[1] - first[1])
    over(canvas, np.asarray(image.resize(size, Image.Resampling.BICUBIC, seen)), *first)


def turned(sprite: Pixels, steps: int) -> Pixels:
    """(h, w, 4) -> (d, d, 4): turned clockwise about its middle by steps / TURN, in a square that holds it all."""
    if steps == 0:
        return sprite
    height, width = sprite.shape[:2]
    side = math.isqrt(height * height + width * width) + 3
    cosine, sine = (round(paths.sine(steps / TURN + quarter) * 16384) for quarter in (0.25, 0.0))
    at = np.arange(1 - side, side, 2, dtype=np.int32)  # from the middle, in half pixels
    x = cosine * at + sine * at[:, None] + (width - 1) * 16384  # (d, d), in 1/32768 of a pixel of the sprite
    y = cosine * at[:, None] - sine * at + (height - 1) * 16384
    return _sampled(sprite, x, y)


def _sampled(sprite: Pixels, x: NDArray[np.int32], y: NDArray[np.int32]) -> Pixels:
    """(d, d, 4): the sprite at points in 1/32768 of a pixel, from the four pixels around each."""
    height, width = sprite.shape[:2]
    around = np.zeros((height + 3, width + 3, 4), np.uint8)
    around[1 : height + 1, 1 : width + 1] = sprite
    x, y = np.clip(x, -32768, width * 32768) + 32768, np.clip(y, -32768, height * 32768) + 32768
    at = (y >> 15) * (width + 3) + (x >> 15)
    right, low = (x >> 7 & 255).astype(np.uint32), (y >> 7 & 255).astype(np.uint32)
    both = right * low >> 8
    shares = (256 - right - low + both, right - both, low - both, both)
    pixels = around.reshape(-1, 4).view(np.uint32)[:, 0]
    even, odd = np.zeros_like(right), np.zeros_like(right)  # two of the four bytes in each, with room between
    for share, beside in zip(shares, (0, 1, width + 3, width + 4), strict=True):
        four = pixels[at + beside]
        even += (four & 0xFF00FF) * share
        odd += (four >> 8 & 0xFF00FF) * share
    return np.ascontiguousarray(even >> 8 & 0xFF00FF | odd & 0xFF00FF00).view(np.uint8).reshape(*x.shape, 4)


def filmed(scenes: Scenes, clip: Clip, times: Sequence[float]) -> Pixels:
    """A picture that stands still, seen by a camera that does not."""
    world = Image.fromarray(scenes.render(clip.scene, LENS * scenes.size_px))
    return np.stack([_shot(world, view(clip, time), scenes.size_px) for time in times])


def view(clip: Clip, time: float) -> View:
    """What the camera sees at a time."""
    left, top, width, height = extent(clip.scene.layers)
    centre = (left + width / 2) / UNITS, (top + height / 2) / UNITS
    if clip.motion == "pan":
        return paths.pan(clip.direction, clip.speed, centre, time)
    return paths.zoom(clip.motion, clip.speed, centre, time)


def _shot(world: Image.Image, seen: View, side: int) -> Pixels:
    ends = (seen.left, seen.top, seen.left + seen.side, seen.top + seen.side)
    left, top, right, bottom = (min(round(at * world.width * PART) / PART, world.width) for at in ends)
    return np.asarray(world.resize((side, side), Image.Resampling.BICUBIC, (left, top, right, bottom)))


def darkened(scenes: Scenes, clip: Clip, times: Sequence[float]) -> Pixels:
    """A picture by day that becomes the same by night, or the other way."""
    day = scenes.render(clip.scene).astype(np.int32)
    behind = background(clip.scene.background, clip.scene.variant, scenes.size_px)
    glow = stars(clip.at % SKIES, scenes.size_px) * (sky(behind) & (day == behind).all(-1))
    dark = day * NIGHT // 256
    dark += (GLOW - dark) * glow[..., None] // 255
    frames = [day + (dark - day) * round(paths.night(clip.motion, time) * 256) // 256 for time in times]
    return np.stack(frames).astype(np.uint8)


def sky(behind: Pixels) -> NDArray[np.bool_]:
    """(S, S, 3) -> (S, S): what has the colour of its row above the first edge that one meets from the top."""
    colours = behind.astype(np.int32)
    clear = np.logical_and.accumulate(np.abs(np.diff(colours, axis=0, prepend=colours[:1])).max(-1) <= 4, axis=0)
    rows = (colours * clear[..., None]).sum(1) // np.maximum(clear.sum(1), 1)[:, None]  # (S, 3)
    return np.asarray(np.abs(colours - rows[:, None]).max(-1) <= 8)


@functools.cache
def stars(variant: int, side: int) -> NDArray[np.int32]:
    """(S, S), 0 to 255: how much stars and a crescent moon glow there."""
    dice, image = Dice(variant, SKIES), Image.new("L", (4 * UNITS_OF_STARS, 4 * UNITS_OF_STARS))
    pen = ImageDraw.Draw(image)
    for _ in range(40):
        _disc(pen, dice.between(4, 252), dice.between(4, 180), dice.between(1, 2), 255)
    x, y = dice.pick((34, 222)), dice.between(28, 36)
    _disc(pen, x, y, 26, 0)
    _disc(pen, x, y, 19, 255)
    _disc(pen, x + 9, y - 5, 16, 0)
    return np.asarray(image.resize((side, side), Image.Resampling.BOX)).astype(np.int32)


def _disc(pen: ImageDraw.ImageDraw, x: int, y: int, radius: int, fill: int) -> None:
    pen.ellipse([4 * at for at in (x - radius, y - radius, x + radius, y + radius)], fill)
