"""Paths: where things are at each moment of a motion, and what the camera sees, as functions of time.

Lengths are parts of the picture's side; angles are whole turns, clockwise. Only + - * / of doubles, which are the same
on every machine: a library's sine need not be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

EDGE = 0.02  # of the picture that stays free
SPAN = {"slow": 0.18, "": 0.36, "fast": 0.6}  # how far things go, where there is room
HURRY = 0.6  # of the time, after which what is fast has arrived
STEPS = {"slow": 3, "": 4, "fast": 6}  # of one that walks
HOP, ROCK = 0.022, 0.012  # how high a step is, and how far one leans in it
LEAN, SWAY = 0.025, 0.012  # how far the top leans out, and how far what floats drifts
BOUNCES = {"slow": 1, "": 2, "fast": 4}
ROUNDS = {"": 1, "fast": 2}  # of spins and orbits
ROUND_WIDE, ROUND_HIGH = 0.32, 0.12  # half of the axes of an orbit
GAP = 0.05  # between two in a chase
ACROSS, DOWN = {"slow": 0.85, "": 0.7}, {"slow": 0.89, "": 0.79}  # the side of what a panning camera sees
ZOOM = {"slow": 0.76, "": 0.54}  # the side of the nearest view of a zooming one


@dataclass(frozen=True)
class Stage:
    """What a path must know. sizes: the width and the height of each that moves. at: where in its room, 0 to 1.

    floor: where feet are at rest. grounded: on a ground. walks: it has feet, or moves as if it had.
    """

    direction: str
    speed: str
    sizes: tuple[tuple[float, float], ...]
    floor: float
    at: float
    grounded: bool
    walks: bool


@dataclass(frozen=True)
class Pose:
    """Where one is: its middle across, its feet down. scale, wide, high: times as large, as wide, as high.

    lowest: turned as it is, its lowest point is where feet would be. actor: which one.
    """

    x: float
    floor: float
    scale: float = 1.0
    wide: float = 1.0
    high: float = 1.0
    turn: float = 0.0
    lowest: bool = False
    actor: int = 0


Path = Callable[[Stage, float], tuple[Pose, ...]]  # the time goes from 0 to 1; poses are drawn in their order


def sine(turns: float) -> float:
    """Of an angle in turns, to nine digits."""
    turns -= math.floor(turns + 0.25)
    x = (0.5 - turns if turns > 0.25 else turns) * 6.283185307179586
    square = x * x
    return x * (1 - square / 6 * (1 - square / 20 * (1 - square / 42 * (1 - square / 72 * (1 - square / 110)))))


def smooth(time: float) -> float:
    """From rest to rest."""
    return time * time * (3 - 2 * time)


def gentle(time: float) -> float:
    """Under way from the beginning to the end, a little faster between."""
    return (time + smooth(time)) / 2


def arriving(time: float) -> float:
    """From full speed to rest."""
    return time * (2 - time)


def _hurried(speed: str, time: float) -> float:
    """The time of what is fast runs ahead, and then stands still."""
    return min(time / HURRY, 1.0) if speed == "fast" else time


def _lane(stage: Stage, size: float, along: float) -> float:
    """The middle of what is `size` long and goes a part `along` of its way, in the direction of the stage."""
    room = 1 - 2 * EDGE - size
    span = min(SPAN[stage.speed], room)
    done = along if stage.direction in ("right", "down") else 1 - along
    return EDGE + size / 2 + (room - span) * stage.at + span * done


def _diagonal(stage: Stage) -> float:
    """The room that the first needs to turn in."""
    width, height = stage.sizes[0]
    return math.sqrt(width * width + height * height)


def _stepping(stage: Stage, pose: Pose, along: float) -> Pose:
    """As one walks: a paper figure that hops from foot to foot."""
    if not stage.walks:
        return pose
    swing = sine(along * STEPS[stage.speed] / 2)
    return replace(pose, floor=pose.floor - HOP * abs(swing), turn=ROCK * swing)


def _somewhere(stage: Stage, room: float) -> Pose:
    """At rest in a place where it has this much room across."""
    return Pose(EDGE + room / 2 + (1 - 2 * EDGE - room) * stage.at, stage.floor)


def still(stage: Stage, _: float) -> tuple[Pose, ...]:
    """Anywhere on its floor, always there."""
    return (_somewhere(stage, stage.sizes[0][0]),)


def travel(stage: Stage, time: float) -> tuple[Pose, ...]:
    """From one side to the other; the slower, the less far."""
    width, height = stage.sizes[0]
    hurried = _hurried(stage.speed, time)
    along = arriving(hurried) if stage.speed == "fast" else gentle(hurried)
    if stage.direction in ("up", "down"):
        return (replace(_somewhere(stage, width), floor=_lane(stage, height, along) + height / 2),)
    room = width + 2 * LEAN if stage.walks else width
    return (_stepping(stage, Pose(_lane(stage, room, along), stage.floor), along),)


def bounce(stage: Stage, time: float) -> tuple[Pose, ...]:
    """A whole number of throws, each a parabola; squashed where it touches the ground, stretched where it is fast."""
    phase = time * BOUNCES[stage.speed] % 1.0
    height = 4 * phase * (1 - phase)
    highest = min(0.34, stage.floor - stage.sizes[0][1] - EDGE)
    squash = 0.16 * max(1 - 5 * height, 0.0) - 0.05 * max(1 - abs(height - 0.45) / 0.35, 0.0)
    pose = _somewhere(stage, stage.sizes[0][0] * 1.13)
    return (replace(pose, floor=stage.floor - highest * height, wide=1 + squash * 0.8, high=1 - squash),)


def spin(stage: Stage, time: float) -> tuple[Pose, ...]:
    """Round its own middle, in the air."""
    pose = _somewhere(stage, _diagonal(stage))
    return (replace(pose, floor=0.5 + stage.sizes[0][1] / 2, turn=ROUNDS[stage.speed] * time),)


def roll(stage: Stage, time: float) -> tuple[Pose, ...]:
    """Once round while it crosses the picture, always touching the floor."""
    along = gentle(time)
    fast = replace(stage, speed="fast")  # the longest way that there is
    turn = along if stage.direction == "right" else -along
    return (Pose(_lane(fast, _diagonal(stage), along), stage.floor, turn=turn, lowest=True),)


def fall(stage: Stage, time: float) -> tuple[Pose, ...]:
    """Ever faster from the top to the floor, where it bounces a little and comes to rest."""
    landing, rest = 0.6, 0.84
    top = EDGE + stage.sizes[0][1]
    pose = _somewhere(stage, stage.sizes[0][0] * 1.14)
    if time < landing:
        return (replace(pose, floor=top + (stage.floor - top) * (time / landing) * (time / landing)),)
    after = min((time - landing) / (rest - landing), 1.0)
    squash = 0.14 * max(1 - 4 * after, 0.0)
    return (replace(pose, floor=stage.floor - 0.28 * after * (1 - after), wide=1 + squash, high=1 - squash),)


def drift(stage: Stage, time: float) -> tuple[Pose, ...]:
    """In the air, slowly up and down, with a little sway."""
    pose = _somewhere(stage, stage.sizes[0][0] + 2 * LEAN + 2 * SWAY)
    middle = 0.47 + stage.sizes[0][1] / 2
    sway = sine(time + 0.2)
    return (replace(pose, x=pose.x + SWAY * sway, floor=middle - 0.06 * sine(time), turn=ROCK * sway),)


def grow(stage: Stage, time: float) -> tuple[Pose, ...]:
    """From small to large, on its feet where there is a ground and round its middle elsewhere."""
    scale = 0.34 + 0.66 * gentle(time)
    height = stage.sizes[0][1]
    floor = stage.floor if stage.grounded else 0.5 + height * scale / 2
    return (Pose(0.5, floor, scale),)


def shrink(stage: Stage, time: float) -> tuple[Pose, ...]:
    """From large to small."""
    return grow(stage, 1 - time)


def orbit(stage: Stage, time: float) -> tuple[Pose, ...]:
    """The first goes round the second, to the left before it and to the right behind it, seen a little from above."""
    angle = ROUNDS[stage.speed] * time + 0.125
    depth, aside = sine(angle), sine(angle + 0.25)  # 1 in front, and 1 at the right
    floor = stage.floor - ROUND_HIGH if stage.grounded else 0.5 + stage.sizes[1][1] / 2
    one = Pose(0.5 + ROUND_WIDE * aside, floor + ROUND_HIGH * depth, 1 + 0.16 * depth)
    two = Pose(0.5, floor, actor=1)
    return (two, one) if depth > 0 else (one, two)


def chase(stage: Stage, time: float) -> tuple[Pose, ...]:
    """The second runs away, the first after it and a little nearer all the time."""
    (one, _), (two, _) = stage.sizes
    nearer = 0.05 * time
    along = gentle(time)
    middle = _lane(replace(stage, speed="fast"), one + GAP + two + 2 * LEAN, along)
    sign = 1 if stage.direction == "right" else -1
    apart = (one + GAP + two) / 2
    first = Pose(middle - sign * (apart - one / 2 - nearer / 2), stage.floor)
    second = Pose(middle + sign * (apart - two / 2 - nearer / 2), stage.floor, actor=1)
    quick = replace(stage, speed="fast")
    return _stepping(quick, first, along), _stepping(quick, second, along + 0.08)  # not in step


def enter(stage: Stage, time: float) -> tuple[Pose, ...]:
    """From outside to where it stays."""
    width = stage.sizes[0][0]
    along = arriving(_hurried(stage.speed, time))
    stays = 0.35 + 0.3 * stage.at
    outside = -width / 2 if stage.direction == "right" else 1 + width / 2
    return (_stepping(stage, Pose(outside + (stays - outside) * along, stage.floor), along),)


def leave(stage: Stage, time: float) -> tuple[Pose, ...]:
    """From where it was to outside, ever faster."""
    back = {"left": "right", "right": "left"}[stage.direction]
    return enter(replace(stage, direction=back), 1 - time)


PATHS: Mapping[str, Path] = {
    "still": still,
    "travel": travel,
    "bounce": bounce,
    "spin": spin,
    "roll": roll,
    "fall": fall,
    "float": drift,
    "grow": grow,
    "shrink": shrink,
    "orbit": orbit,
    "chase": chase,
    "enter": enter,
    "leave": leave,
}
LOOPS = {"bounce", "spin", "float", "orbit"}  # after the last frame comes the first


def moment(motion: str, frame: int, num_frames: int) -> float:
    """The time of a frame, from 0 to 1; what loops does not show its end, which is its beginning."""
    return frame / num_frames if motion in LOOPS else frame / max(num_frames - 1, 1)


@dataclass(frozen=True)
class View:
    """The square part of the picture that a camera sees."""

    left: float
    top: float
    side: float


def pan(direction: str, speed: str, centre: tuple[float, float], time: float) -> View:
    """Across the picture in a direction; `centre` is never far from the middle the other way."""
    side = (DOWN if direction in ("up", "down") else ACROSS)[speed]
    room, along = 1 - side, gentle(time)
    done = room * (along if direction in ("right", "down") else 1 - along)
    across, down = (min(max(at - side / 2, 0.0), room) for at in centre)
    return View(done, down, side) if direction in ("left", "right") else View(across, done, side)


def zoom(motion: str, speed: str, centre: tuple[float, float], time: float) -> View:
    """Nearer to `centre`, or away from it."""
    along = gentle(time if motion == "zoom in" else 1 - time)
    side = 1 - (1 - ZOOM[speed]) * along
    left, top = ((1 - side) * _aim(at, ZOOM[speed]) for at in centre)
    return View(left, top, side)


def _aim(at: float, side: float) -> float:
    """Where to go so that `at` comes to the middle of the nearest view, or as near as the picture lets it: 0 to 1."""
    return min(max((at - side / 2) / (1 - side), 0.0), 1.0)


def night(motion: str, time: float) -> float:
    """How dark it is, 0 to 1."""
    return smooth(time if motion == "day to night" else 1 - time)
