"""From (seed, index) to a scene: what is in it, and how that is said."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TypeVar

from reverie.data import layout
from reverie.data.backgrounds import VARIANTS
from reverie.data.caption import Speaker
from reverie.data.dice import Dice
from reverie.data.icons import Icon, Icons
from reverie.data.scene import RELATIONS, Layer, Scene, Split
from reverie.data.vocabulary import Concept, Vocabulary, held_out
from reverie.types import ReverieError

T = TypeVar("T")
KINDS = (("riding", 45), ("object", 20), ("vehicle", 8), ("alone", 14), ("many", 8), ("single", 5))
HELD_OUT_KINDS = (("riding", 75), ("vehicle", 25))
JUDGE_KINDS = (("riding", 28), ("object", 28), ("vehicle", 28), ("alone", 6), ("many", 5), ("single", 5))
JUDGE_RELATIONS = (  # what is hard to tell, or can seldom be, more often
    "left of", "right of", "above", "under", *("in front of", "behind") * 2, *("holding",) * 3,
)  # fmt: skip
ONE_THING = {"single": "single", "thing": "objects", "machine": "vehicles"}  # kind -> what it is picked from
FLOATING = {"night", "space"}  # backgrounds without a ground
OWN_SIZE = {"big": 1350, "tiny": 560, "": 1000}  # of a subject beside another thing of 900
EXTENT = {"big": 960, "tiny": 340, "": 768}  # of a thing alone, in 1/1024 of the picture
TOGETHER = 900  # of more than one


class Composer:
    """Makes scenes from the icons there are."""

    def __init__(self, words: Vocabulary, icons: Icons, split: Split, styles: tuple[str, ...], synonyms: bool) -> None:
        self.words, self.icons, self.split = words, icons, split
        self.speaker = Speaker(words, synonyms)
        self.kinds = {"train": KINDS, "held_out": HELD_OUT_KINDS, "judge": JUDGE_KINDS}[split]
        self.relations = JUDGE_RELATIONS if split == "judge" else RELATIONS
        self.styles = [(style, max(words.styles[style].share, 1)) for style in styles]
        self.backgrounds = list(words.backgrounds.values())
        kinds = ("subjects", *ONE_THING.values())
        self.things = {(style, kind): self._things(style, kind) for style in styles for kind in kinds}
        self.pairs = {(style, kind): self._pairs(style, kind) for style in styles for kind in ("vehicles", "objects")}

    def _things(self, style: str, kind: str) -> list[str]:
        """Names of what a style has, those with a larger share more often."""
        if kind == "single":
            return [name for s, kind, name in self.icons.index if s == style and kind != "subjects"]
        table: dict[str, Concept] = getattr(self.words, kind)
        names = [name for s, k, name in self.icons.index if s == style and k == kind and name in table]
        return [name for name in names for _ in range(table[name].share)]

    def _pairs(self, style: str, kind: str) -> list[tuple[str, str]]:
        """All that a style can put together and this split may show: (subject, vehicle or object)."""
        pairs = itertools.product(self._things(style, "subjects"), self._things(style, kind))
        if kind == "objects" or self.split == "judge":
            return list(pairs)
        return [pair for pair in pairs if held_out(*pair) == (self.split == "held_out")]

    def scene(self, seed: int, index: int) -> Scene:
        """The scene that (seed, index) stands for."""
        dice = Dice(seed, index)
        kind, style, background = dice.weighted(self.kinds), dice.weighted(self.styles), dice.pick(self.backgrounds)
        scene = self.compose(kind, style, background.name, dice)
        return replace(scene, caption=self.speaker.caption(scene, dice))

    def compose(self, kind: str, style: str, background: str, dice: Dice) -> Scene:
        """A scene of a kind, without its caption. kind: of `KINDS`, or "thing" (an object) or "machine" (a vehicle)."""
        blank = Scene("", None, 1, "", "alone", None, None, background, dice.below(VARIANTS), style, "", ())
        if kind in ONE_THING:
            return self._single(blank, ONE_THING[kind], dice)
        if kind in ("alone", "many"):
            return self._alone(blank, dice.between(2, 3) if kind == "many" else 1, dice)
        return self._together(blank, kind, dice)

    def _single(self, blank: Scene, things: str, dice: Dice) -> Scene:
        """A picture of one thing that is no subject."""
        name = self._pick(self.things[blank.style, things], blank.style, dice)
        concept = self.speaker.concept(name)
        colour = None if name in self.words.singles else self._colour(concept, blank.background, dice)
        scene = replace(blank, subject=name, colour=colour)
        thing = layout.box(self._icon(scene.style, name, dice), colour)
        return replace(scene, layers=self._fitted([thing], EXTENT[""], scene))

    def _alone(self, blank: Scene, count: int, dice: Dice) -> Scene:
        """One, two or three of a subject."""
        subject = self._pick(self.things[blank.style, "subjects"], blank.style, dice)
        colour = self._colour(self.words.subjects[subject], blank.background, dice)
        size = dice.pick(("big", "tiny")) if count == 1 and dice.chance(5) else ""
        scene = replace(blank, subject=subject, colour=colour, count=count, size=size)
        one = layout.box(self._icon(scene.style, subject, dice), colour)
        extent = EXTENT[size] if count == 1 else TOGETHER
        return replace(scene, layers=self._fitted(layout.crowd(one, count, dice), extent, scene))

    def _together(self, blank: Scene, kind: str, dice: Dice) -> Scene:
        """A subject that rides a vehicle, or is somewhere with a vehicle or an object."""
        table = "objects" if kind == "object" else "vehicles"
        subject, name = self._pick(self.pairs[blank.style, table], blank.style, dice)
        other = self.speaker.concept(name)
        scene = replace(
            blank,
            subject=subject,
            colour=self._colour(self.words.subjects[subject], blank.background, dice),
            size=dice.pick(("big", "tiny")) if kind != "riding" and dice.chance(6) else "",
            relation="riding" if kind == "riding" else self._relation(other, dice),
            other=name,
            other_colour=self._colour(other, blank.background, dice),
        )
        return replace(scene, layers=self._two(scene, other, dice))

    def _relation(self, other: Concept, dice: Dice) -> str:
        return dice.pick([relation for relation in self.relations if relation != "holding" or other.holds])

    def _two(self, scene: Scene, other: Concept, dice: Dice) -> tuple[Layer, ...]:
        """Where a subject and another thing go."""
        two = layout.box(self._icon(scene.style, other.name, dice), scene.other_colour)
        if scene.relation == "riding":
            one = layout.box(self._icon(scene.style, scene.subject, dice), scene.colour)
            return self._fitted(layout.riding(one, two, other), TOGETHER, scene)
        one = layout.box(self._icon(scene.style, scene.subject, dice), scene.colour, OWN_SIZE[scene.size])
        return self._fitted(layout.related(one, two.scaled(90), scene.relation, dice), TOGETHER, scene)

    def _fitted(self, boxes: list[layout.Box], extent: int, scene: Scene) -> tuple[Layer, ...]:
        return layout.fitted(boxes, extent, self.grounded(scene.background))

    def grounded(self, background: str) -> bool:
        """Whether there is a ground to stand on."""
        return background not in FLOATING and not self.words.backgrounds[background].plain

    def _pick(self, choices: list[T], style: str, dice: Dice) -> T:
        if not choices:
            raise ReverieError(f"The style {style} has nothing for the split {self.split}: choose another style.")
        return dice.pick(choices)

    def _colour(self, concept: Concept, background: str, dice: Dice) -> str | None:
        """Its own colours half of the time, and never the colour of the background."""
        if dice.chance(2):
            return None
        free = [name for name in self.words.colours if concept.allows(name) and name != background]
        return dice.pick(free) if free else None

    def _icon(self, style: str, name: str, dice: Dice) -> Icon:
        """All of its body where a style has that, else any of the icons that it has there."""
        kind = next(
            kind for kind in ("subjects", "vehicles", "objects", "singles") if name in getattr(self.words, kind)
        )
        roles = self.icons.index[style, kind, name]
        return roles["body"] if "body" in roles else dice.pick(list(roles.values()))
