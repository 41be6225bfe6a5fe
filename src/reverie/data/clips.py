"""Clips: captioned scenes in motion as a function of (seed, index), to learn from and to judge with.

F frames, S side of a picture in pixels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from reverie.data import film
from reverie.data.direct import Director
from reverie.data.icons import Pixels
from reverie.data.motion import Clip
from reverie.data.scene import Split
from reverie.data.scenes import Scenes
from reverie.data.vocabulary import vocabulary

FRAMES_HZ = 8  # at which speeds look as their words say
NUM_FRAMES = 16


class Clips:
    """An endless supply of captioned clips; send it to other processes as it is. Its file is that of the scenes.

    split: "train" never shows a held-out (subject, vehicle) or (subject, motion), style or word; "held_out" shows only
    clips with such a pair, which `Clip.held_out` tells; "judge" anything, and each motion equally often.
    styles: which to draw in; by default those that training has. synonyms: captions use words that training never does.
    """

    def __init__(
        self,
        path: Path,
        size_px: int,
        split: Split = "train",
        styles: tuple[str, ...] = (),
        num_frames: int = NUM_FRAMES,
        *,
        synonyms: bool = False,
    ) -> None:
        self.path, self.size_px, self.split, self.synonyms = path, size_px, split, synonyms
        self.num_frames = num_frames
        self.scenes = Scenes(path, size_px, split, styles, synonyms)
        self.styles = self.scenes.styles

    def __reduce__(self) -> tuple[Callable[..., Clips], tuple[object, ...]]:
        kind = functools.partial(Clips, synonyms=self.synonyms)
        return kind, (self.path, self.size_px, self.split, self.styles, self.num_frames)

    @functools.cached_property
    def _director(self) -> Director:
        return Director(vocabulary(), self.scenes.icons, self.split, self.styles, self.synonyms)

    def item(self, seed: int, index: int) -> tuple[Pixels, str, Clip]:
        """((F, S, S, 3) uint8, caption, clip)."""
        clip = self.clip(seed, index)
        return self.render(clip), clip.caption, clip

    def clip(self, seed: int, index: int) -> Clip:
        """What (seed, index) stands for, without its pixels."""
        return self._director.clip(seed, index)

    def render(self, clip: Clip) -> Pixels:
        """(F, S, S, 3) uint8."""
        return film.play(self.scenes, clip, self.num_frames)
