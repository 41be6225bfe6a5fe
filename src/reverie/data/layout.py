"""Where the icons of a scene go: groups of boxes in any unit, then fitted into the picture."""

from __future__ import annotations

from dataclasses import dataclass, replace

from reverie.data.dice import Dice
from reverie.data.icons import Icon
from reverie.data.scene import UNITS, Layer
from reverie.data.vocabulary import Concept

LEAST = 8  # units that an icon is wide and high
GAP = 120  # between things that stand apart, where one is 1000
CELL = UNITS // 16  # units of the grid: 8 of 128 pixels, which a codec makes one latent


@dataclass(frozen=True)
class Box:
    """An icon placed in any unit; colour: "" is its own."""

    icon: Icon
    colour: str
    left: int
    top: int
    width: int
    height: int

    def scaled(self, percent: int) -> Box:
        """The same at another size."""
        return replace(self, width=self.width * percent // 100, height=self.height * percent // 100)


def box(icon: Icon, colour: str | None, long_side: int = 1000) -> Box:
    """The icon at the origin."""
    longest = max(icon.width, icon.height)
    width, height = icon.width * long_side // longest, icon.height * long_side // longest
    return Box(icon, "" if colour is None else colour, 0, 0, width, height)


def crowd(one: Box, count: int, dice: Dice) -> list[Box]:
    """So many of a kind: in a row, or three with one above."""
    step = one.width * 107 // 100
    if count == 3 and dice.chance(2):
        above = replace(one, left=step // 2, top=-one.height)
        return [above, one, replace(one, left=step)]
    return [replace(one, left=step * number) for number in range(count)]


def riding(rider: Box, vehicle: Box, concept: Concept) -> list[Box]:
    """The rider's feet at the vehicle's seat; half hidden by it where one sits inside."""
    rider = rider.scaled(concept.scale // 10)
    across, down = (
        side * part // 1000 for side, part in zip((vehicle.width, vehicle.height), concept.seat, strict=True)
    )
    if concept.behind:  # one that is low must not sink out of sight
        down = min(down, rider.height * 45 // 100)
    rider = replace(rider, left=across - rider.width // 2, top=down - rider.height)
    return [rider, vehicle] if concept.behind else [vehicle, rider]


def related(one: Box, two: Box, relation: str, dice: Dice) -> list[Box]:
    """The subject `one` and the other thing `two`, placed as the relation says."""
    side = dice.pick((-1, 1))
    floor = one.height - two.height  # the top of `two` when both stand on one floor
    middle = (one.width - two.width) // 2
    match relation:
        case "left of" | "right of" | "next to":
            first = relation == "left of" or (relation == "next to" and side < 0)
            return [one, replace(two, left=one.width + GAP if first else -two.width - GAP, top=floor)]
        case "above" | "under":
            top = one.height + GAP if relation == "above" else -two.height - GAP
            return [one, replace(two, left=middle, top=top)]
        case "holding":
            return [one, _held(one, two, side)]
        case "in front of":
            return [_aside(one, two.scaled(125), side, -60), one]
        case "behind":
            return [one, _aside(one, two, side, 60)]
    raise AssertionError(relation)


def _held(one: Box, two: Box, side: int) -> Box:
    """Small, at the left or right edge of the one who holds it, near the ground."""
    two = two.scaled(45)
    edge = one.width * (90 if side > 0 else 10) // 100
    return replace(two, left=edge - two.width // 2, top=one.height * 95 // 100 - two.height)


def _aside(one: Box, two: Box, side: int, lower: int) -> Box:
    """Partly over or under `one`, to one side; both can still be told."""
    shift = side * (one.width + two.width) * 27 // 100
    return replace(two, left=(one.width - two.width) // 2 + shift, top=one.height - two.height + lower)


def fitted(boxes: list[Box], extent: int, ground: bool) -> tuple[Layer, ...]:
    """The group brought to `extent` at its longer side and to the middle, or onto the ground where there is one."""
    left, top = min(box.left for box in boxes), min(box.top for box in boxes)
    width = max(box.left + box.width for box in boxes) - left
    height = max(box.top + box.height for box in boxes) - top
    longest = max(width, height)
    free_x, free_y = UNITS - width * extent // longest, UNITS - height * extent // longest
    x, y = free_x // 2, free_y * 4 // 5 if ground else free_y // 2
    return tuple(
        _snapped(
            replace(
                box,
                left=x + (box.left - left) * extent // longest,
                top=y + (box.top - top) * extent // longest,
                width=max(box.width * extent // longest, LEAST),
                height=max(box.height * extent // longest, LEAST),
            )
        )
        for box in boxes
    )


def _snapped(box: Box) -> Layer:
    """The box on a coarse grid, in one of few sizes, its feet where they were: so that what stands elsewhere is the
    same picture moved, in pixels and in the latents of a codec. A little lower rather than higher, for no gap shows.
    """
    longest = max(box.width, box.height)
    size = 2 * CELL * max(round(longest / (2 * CELL)), 1)
    width, height = box.width * size // longest, box.height * size // longest
    left = 2 * CELL * round((box.left + (box.width - width) // 2) / (2 * CELL))
    top = CELL * round((box.top + box.height - height + CELL // 4) / CELL)
    left, top = min(max(left, 0), UNITS - width), min(max(top, 0), UNITS - height)
    return Layer(box.icon.kind, box.icon.name, box.icon.role, box.colour, left, top, width, height)
