"""Scene: what one picture shows and where, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "held_out", "judge"]
UNITS = 1024  # placements are in 1/1024 of the picture's side
RELATIONS = (
    "left of", "right of", "above", "under", "next to", "in front of", "behind", "holding",
)  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """One icon in the picture: which (kind, name, role), in which colour ("" is its own), its box in `UNITS`.

    mirrored: left and right change places.
    """

    kind: str
    name: str
    role: str
    colour: str
    left: int
    top: int
    width: int
    height: int
    mirrored: bool = False


@dataclass(frozen=True)
class Scene:
    """subject, other: names of concepts. relation: "alone", "riding" or one of `RELATIONS`. size: "", "big" or "tiny".
    In a clip also "chasing", where the other is a subject too, and "circling".

    colour, other_colour: a name, or None for its own colours. other: None where the subject is alone. count: 1 to 3.
    layers: bottom first.
    """

    subject: str
    colour: str | None
    count: int
    size: str
    relation: str
    other: str | None
    other_colour: str | None
    background: str
    variant: int
    style: str
    caption: str
    layers: tuple[Layer, ...]


def extent(layers: Sequence[Layer]) -> tuple[int, int, int, int]:
    """The left, top, width and height of a group, in `UNITS`."""
    left, top = min(layer.left for layer in layers), min(layer.top for layer in layers)
    right = max(layer.left + layer.width for layer in layers)
    return left, top, right - left, max(layer.top + layer.height for layer in layers) - top
