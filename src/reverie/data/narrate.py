"""Captions of clips: what moves and how, in varied, natural English."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reverie.data.caption import Speaker, forms, framed, unframed
from reverie.data.dice import Dice
from reverie.data.motion import Clip, Motion, Words, motions
from reverie.data.scene import Scene

MEDIA = ("video", "film", "animation")
ARTICLES = ("a ", "an ", "the ")


@dataclass(frozen=True)
class Narrator:
    """Writes the captions of clips with the words of a speaker of scenes, and held-out ones where the speaker does."""

    speaker: Speaker

    def caption(self, clip: Clip, dice: Dice) -> str:
        """At most 24 words. Natural speed and plain backgrounds may be left unsaid, as all that `Speaker` leaves."""
        speaker, scene = self.speaker, clip.scene
        motion = motions().motions[clip.motion]
        place = speaker.place(speaker.words.backgrounds[scene.background], dice)
        if motion.sentences:
            style = speaker.style(scene, dice) if scene.other is None else ""  # else there is enough to say
            return unframed(self._sentence(clip, motion, dice), place, style, dice)
        if dice.chance(10):
            said = _bare(self._moves(clip, motion, dice, whole=False))
            return f"{said}, {place}" if place else said
        style = speaker.style(scene, dice)
        if dice.chance(2) if style else dice.chance(4):
            return framed(self._moves(clip, motion, dice, whole=False), place, style, dice.pick(MEDIA))
        return unframed(self._moves(clip, motion, dice, whole=True), place, style, dice)

    def _sentence(self, clip: Clip, motion: Motion, dice: Dice) -> str:
        """What happens to the scene as a whole."""
        said = self.speaker.said(clip.scene, dice, whole=False)
        sentence = dice.pick(self._either(motion.sentences, motion.held_out))
        sentence = sentence.format(toward=self._toward(clip, dice), speed=self._speed(clip, dice))
        return " ".join(f"{sentence} {said}".split())

    def _moves(self, clip: Clip, motion: Motion, dice: Dice, *, whole: bool) -> str:
        """What moves, and how. whole: it may be a sentence ("moves", "is moving")."""
        scene = clip.scene
        subject = self.speaker.phrase(scene, dice)
        other = self.speaker.other(scene, dice) if scene.other is not None else ""
        verb = dice.pick(self._either(motion.verbs, motion.held_out))
        finite, _, moving = verb.partition("|")
        said = [moving, f"is {moving}", finite]
        if scene.relation == "riding":
            how = dice.pick(self._hows(scene, clip.motion))
            if clip.motion == "travel" and "ing" in how:  # the verb is said already
                said = forms(how)
            else:
                subject, other = f"{subject} {how} {other}", ""
        return self._joined(subject, dice.pick(said) if whole else said[0], other, clip, dice)

    def _hows(self, scene: Scene, motion: str) -> Sequence[str]:
        """Words between a rider and a vehicle; one who stands still is only on it or in it."""
        assert scene.other is not None
        hows = self.speaker.concept(scene.other).on
        return [how for how in hows if how in ("on", "in")] if motion == "still" else hows

    def _joined(self, subject: str, verb: str, other: str, clip: Clip, dice: Dice) -> str:
        """The parts in order, with the speed where it may stand."""
        toward, speed = self._toward(clip, dice), self._speed(clip, dice)
        if other and toward in ("left", "right"):  # "rides a sled left on the snow" is not clear
            toward = f"to the {toward}"
        parts = [subject, verb, other, toward]
        before = speed.endswith("ly") and not verb.startswith("is ")
        parts.insert(dice.pick((1, 3, 4) if before else (3, 4)), speed)
        return " ".join(part for part in parts if part)

    def _toward(self, clip: Clip, dice: Dice) -> str:
        words = motions().words_of.get(clip.motion, motions().words)
        return self._pick(words[clip.direction], dice) if clip.direction in words else ""

    def _speed(self, clip: Clip, dice: Dice) -> str:
        return self._pick(motions().words[clip.speed], dice) if clip.speed else ""

    def _pick(self, words: Words, dice: Dice) -> str:
        return dice.pick(self._either(words.say, words.held_out))

    def _either(self, say: tuple[str, ...], held_out: tuple[str, ...]) -> tuple[str, ...]:
        return held_out if self.speaker.synonyms and held_out else say


def _bare(said: str) -> str:
    """Without its article."""
    first = next((article for article in ARTICLES if said.startswith(article)), "")
    return said.removeprefix(first)
