"""From (seed, index) to a clip: what moves, how, where it is at rest, and how that is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reverie.data.compose import FLOATING, Composer
from reverie.data.dice import Dice
from reverie.data.icons import Icons
from reverie.data.motion import Clip, Motion, motions
from reverie.data.narrate import Narrator
from reverie.data.scene import UNITS, Layer, Scene, Split, extent
from reverie.data.vocabulary import Vocabulary
from reverie.types import ReverieError

TRIES = 4000  # before a style is taken to have nothing for a split
DAYLIGHT = ("forest", "snow", "city", "mountains", "field", "sea")  # outdoors, and no sun that would stay at night
GAP = 40  # between two at rest


class Director:
    """Makes clips from the icons there are."""

    def __init__(self, words: Vocabulary, icons: Icons, split: Split, styles: tuple[str, ...], synonyms: bool) -> None:
        self.words, self.split = words, split
        self.composer = Composer(words, icons, "judge", styles, synonyms)  # any pair; `_allowed` chooses
        self.narrator = Narrator(self.composer.speaker)
        self.motions = [(motion, motion.share if split != "judge" else 1) for motion in motions().motions.values()]
        names = list(words.backgrounds)
        self.places = {
            "any": names,
            "air": [name for name in names if words.backgrounds[name].plain or name in FLOATING],
            "ground": [name for name in names if name not in FLOATING and name != "sea"],
            "scenery": [name for name in names if not words.backgrounds[name].plain],
            "outdoors": [name for name in names if name in DAYLIGHT],
        }

    def clip(self, seed: int, index: int) -> Clip:
        """The clip that (seed, index) stands for."""
        dice = Dice(seed, index)
        motion = dice.weighted(self.motions)
        for _ in range(TRIES):
            clip = self._tried(motion, dice)
            if self._suits(clip) and self._allowed(clip):
                clip = self._staged(clip, motion, dice)
                return replace(clip, caption=self.narrator.caption(clip, dice))
        raise ReverieError(f"The styles have no {motion.name} for the split {self.split}: choose other styles.")

    def _tried(self, motion: Motion, dice: Dice) -> Clip:
        """A clip of this motion, which may not suit; its layers are where a still scene would have them."""
        direction = dice.pick(motion.directions)
        speed = dice.pick(motion.speeds) if motion.speeds and dice.chance(2) else ""
        flies = motion.name == "travel" and direction in ("up", "down")
        background = dice.pick(self.places["air" if flies else motion.places])
        style = dice.weighted(self.composer.styles)
        kind = dice.weighted(list(vars(motion.cast).items()))
        scene = self.composer.compose(kind, style, background, dice)
        if motion.name == "chase":
            scene = self._chase(scene, self.composer.compose(kind, style, background, dice))
        elif motion.name == "orbit":
            scene = self._orbit(scene)
        grounded = self.composer.grounded(background)
        return Clip(scene, motion.name, direction, speed, "", dice.below(UNITS + 1), grounded)

    def _chase(self, scene: Scene, other: Scene) -> Scene:
        layers = (*scene.layers, *other.layers)
        return replace(scene, other=other.subject, other_colour=other.colour, relation="chasing", layers=layers)

    def _orbit(self, scene: Scene) -> Scene:
        """The subject's layer first, whatever was the relation."""
        layers = sorted(scene.layers, key=lambda layer: layer.name != scene.subject)
        return replace(scene, relation="circling", layers=tuple(layers))

    def _suits(self, clip: Clip) -> bool:
        """Whether it makes sense: no word for a size, two that differ, and no bicycle that goes up."""
        scene = clip.scene
        if scene.size or scene.subject == scene.other:
            return False
        if clip.motion != "travel" or clip.direction in ("left", "right"):
            return True
        if scene.other is not None:
            return scene.other in motions().hovers
        return scene.subject not in self.words.vehicles or scene.subject in motions().nosed | motions().hovers

    def _allowed(self, clip: Clip) -> bool:
        """Whether the split may show it."""
        return self.split == "judge" or bool(clip.held_out) == (self.split == "held_out")

    def _staged(self, clip: Clip, motion: Motion, dice: Dice) -> Clip:
        """With its layers at rest, in a size and on a floor for its motion, and facing where it goes."""
        scene = clip.scene
        low = dice.between(motion.floor[0], motion.floor[1])
        floor = low if clip.grounded or motion.places == "ground" else 0
        size = dice.between(motion.size[0], motion.size[1])
        two = scene.relation in ("chasing", "circling")
        groups = [(layer,) for layer in scene.layers] if two else [scene.layers]
        if clip.direction in ("left", "right") and motion.verbs:
            groups = [_facing(group, clip.direction, scene.style) for group in groups]
        tilt = {"up": -90, "down": 90}.get(clip.direction, 0) if scene.subject in motions().nosed else 0
        placed = _beside([_at_rest(group, size, floor) for group in groups], clip.direction == "right")
        return replace(clip, scene=replace(scene, layers=placed), tilt=tilt if motion.name == "travel" else 0)


def _at_rest(layers: Sequence[Layer], size: int, floor: int) -> tuple[Layer, ...]:
    """The group with its longer side `size`, in the middle, its feet on the floor or, where that is 0, in the air."""
    left, top, width, height = extent(layers)
    longest = max(width, height)
    x = (UNITS - width * size // longest) // 2
    y = (floor if floor else (UNITS + height * size // longest) // 2) - height * size // longest
    return tuple(
        replace(
            layer,
            left=x + (layer.left - left) * size // longest,
            top=y + (layer.top - top) * size // longest,
            width=max(layer.width * size // longest, 1),
            height=max(layer.height * size // longest, 1),
        )
        for layer in layers
    )


def _beside(groups: Sequence[tuple[Layer, ...]], ahead: bool) -> tuple[Layer, ...]:
    """One group where it is; of two, the first at the left of the second, which is `ahead` to the right, or not."""
    if len(groups) == 1:
        return groups[0]
    widths = [extent(group)[2] for group in groups]
    start = (UNITS - sum(widths) - GAP) // 2
    lefts = (start, start + widths[0] + GAP) if ahead else (start + widths[1] + GAP, start)
    return tuple(replace(layer, left=left) for group, left in zip(groups, lefts, strict=True) for layer in group)


def _facing(layers: Sequence[Layer], direction: str, style: str) -> tuple[Layer, ...]:
    """The group as it goes in a direction: all look there, and a rider keeps the seat."""
    left, _, width, _ = extent(layers)
    steers = max(layers, key=lambda layer: layer.kind == "vehicles")
    turns = motions().faces(style, steers.name) != direction
    return tuple(
        replace(
            layer,
            mirrored=motions().faces(style, layer.name) != direction,
            left=2 * left + width - layer.left - layer.width if turns else layer.left,
        )
        for layer in layers
    )
