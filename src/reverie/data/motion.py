"""What motions there are, read from motions.toml, and the clip: a scene and how it moves, as plain values."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from reverie.config import from_json
from reverie.data.scene import Scene
from reverie.data.vocabulary import held_out, text, vocabulary

Pair = tuple[str, str]


@dataclass(frozen=True)
class Words:
    """say, held_out: words that captions use, in training and never in training."""

    say: tuple[str, ...]
    held_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cast:
    """How often it is which kind of scene, as `Composer.compose` names them."""

    alone: int = 0
    riding: int = 0
    object: int = 0
    thing: int = 0
    machine: int = 0
    single: int = 0
    many: int = 0


@dataclass(frozen=True)
class Motion:
    """A kind of motion.

    share: how often training shows it.
    places: "any", or backgrounds with a "ground", "scenery" (no plain ones), "outdoors" (by day, without a sun).
    size: the least and the most that what moves is wide or high, in 1/1024 of the side.
    floor: the least and the most that feet are from the top, where there is a ground or the motion needs one.
    directions, speeds: which it can have; an even choice of the directions, and half of the time no word for speed.
    verbs: "moves|moving", of what moves. sentences: what happens to the scene, which follows. held_out: of either.
    """

    name: str
    share: int
    cast: Cast
    size: tuple[int, ...]
    floor: tuple[int, ...] = (900, 976)
    places: str = "any"
    directions: tuple[str, ...] = ("",)
    speeds: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Motions:
    """The tables of the file. words_of: a motion's own words for directions. The lists name icons."""

    faces_right: frozenset[str]
    nosed: frozenset[str]
    hovers: frozenset[str]
    words: Mapping[str, Words]
    words_of: Mapping[str, Mapping[str, Words]]
    motions: Mapping[str, Motion]

    def faces(self, style: str, name: str) -> str:
        """Which way an icon looks; one that looks ahead may be taken for one that looks to the left."""
        return "right" if {name, f"{style} {name}"} & self.faces_right else "left"


@dataclass(frozen=True)
class Clip:
    """A scene in motion. Its layers are as at rest: what has a direction faces it.

    motion: a name in motions.toml. direction: of the movement, "left", "right", "up", "down" or "" (of a camera:
    where it goes). speed: "", "slow" or "fast". at: where in the room it has, 0 to 1024. grounded: it stands on a
    ground. tilt: -90 or 90 degrees clockwise that it is turned all along, else 0.
    """

    scene: Scene
    motion: str
    direction: str
    speed: str
    caption: str
    at: int
    grounded: bool
    tilt: int = 0

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The (subject, vehicle) and (subject, motion) that it shows."""
        scene = self.scene
        moves = (scene.subject, self.motion)
        if scene.other is None or scene.other not in vocabulary().vehicles:
            return (moves,)
        return (scene.subject, scene.other), moves

    @property
    def held_out(self) -> tuple[Pair, ...]:
        """Those of its pairs that training never shows."""
        return tuple(pair for pair in self.pairs if held_out(*pair))


@functools.cache
def motions() -> Motions:
    """The tables of motions.toml."""
    tables = tomllib.loads(text("motions.toml"))
    return Motions(
        faces_right=frozenset(tables["faces_right"]),
        nosed=frozenset(tables["nosed"]),
        hovers=frozenset(tables["hovers"]),
        words=_words(tables["words"]),
        words_of={name: _words(rows) for name, rows in tables["words_of"].items()},
        motions={name: from_json(Motion, {"name": name, **row}) for name, row in tables["motions"].items()},
    )


def _words(rows: Mapping[str, Mapping[str, object]]) -> dict[str, Words]:
    return {name: from_json(Words, row) for name, row in rows.items()}
