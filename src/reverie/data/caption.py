"""Captions: a scene in varied, natural English."""

from __future__ import annotations

from dataclasses import dataclass

from reverie.data.dice import Dice
from reverie.data.scene import Scene
from reverie.data.vocabulary import Background, Colour, Concept, Vocabulary, article

NUMBERS = {2: "two", 3: "three"}
SIZES = {"big": ("big", "large", "huge"), "tiny": ("tiny", "small", "little")}
MEDIA = ("picture", "drawing", "illustration", "image")
WITH = {
    "left of": ("to the left of", "left of", "on the left of"),
    "right of": ("to the right of", "right of", "on the right of"),
    "above": ("above", "over"),
    "under": ("under", "below", "beneath"),
    "next to": ("next to", "beside", "and"),
    "in front of": ("in front of",),
    "behind": ("behind",),
    "holding": ("holding", "with", "carrying"),
}
FINITE = {"riding": "rides", "driving": "drives", "sailing": "sails", "flying": "flies", "skating": "skates",
          "cycling": "cycles"}  # fmt: skip


@dataclass(frozen=True)
class Speaker:
    """Writes captions. synonyms: with words that training never uses, wherever there is one."""

    words: Vocabulary
    synonyms: bool = False

    def caption(self, scene: Scene, dice: Dice) -> str:
        """At most 24 words. Whatever is not said is natural: colour, size, or a plain background."""
        place = self.place(self.words.backgrounds[scene.background], dice)
        if dice.chance(10):
            return self._terse(scene, place, dice)
        style = self.style(scene, dice)
        if dice.chance(2) if style else dice.chance(4):
            return framed(self.said(scene, dice, whole=False), place, style, dice.pick(MEDIA))
        return unframed(self.said(scene, dice, whole=True), place, style, dice)

    def style(self, scene: Scene, dice: Dice) -> str:
        """The word for the style now and then, else ""."""
        return self.words.styles[scene.style].word if dice.chance(3) else ""

    def said(self, scene: Scene, dice: Dice, *, whole: bool) -> str:
        """The things and how they are to each other. whole: it may be a sentence ("rides", "is riding")."""
        subject = self.phrase(scene, dice)
        if scene.other is None:
            return subject
        other = self.other(scene, dice)
        if scene.relation != "riding":
            return f"{subject} {dice.pick(WITH[scene.relation])} {other}"
        how = dice.pick(self.concept(scene.other).on)
        return f"{subject} {dice.pick(forms(how)) if whole else how} {other}"

    def other(self, scene: Scene, dice: Dice) -> str:
        """The other thing with its article."""
        assert scene.other is not None
        return article(self._noun(scene.other_colour, "", self.concept(scene.other), 1, dice))

    def phrase(self, scene: Scene, dice: Dice) -> str:
        """The subject with its article or number: "a big red cat", "two cats"."""
        if scene.subject in self.words.singles:
            return self.words.singles[scene.subject].phrase
        noun = self._noun(scene.colour, scene.size, self.concept(scene.subject), scene.count, dice)
        return article(noun) if scene.count == 1 else f"{NUMBERS[scene.count]} {noun}"

    def concept(self, name: str) -> Concept:
        """By name, of whatever kind."""
        for table in (self.words.subjects, self.words.vehicles, self.words.objects):
            if name in table:
                return table[name]
        return Concept(name)

    def _noun(self, colour: str | None, size: str, concept: Concept, count: int, dice: Dice) -> str:
        noun = dice.pick(self._names(concept))
        if count > 1:
            noun = concept.plural if concept.plural and noun == self._names(concept)[0] else plural(noun)
        shade = self._shade(self.words.colours[colour], dice) if colour else ""
        return " ".join(part for part in (dice.pick(SIZES[size]) if size else "", shade, noun) if part)

    def _shade(self, colour: Colour, dice: Dice) -> str:
        if self.synonyms and colour.held_out:
            return dice.pick(colour.held_out)
        return dice.pick(colour.say) if colour.say and dice.chance(6) else colour.name

    def _names(self, concept: Concept) -> tuple[str, ...]:
        if self.synonyms and concept.held_out:
            return concept.held_out
        return concept.say if concept.say else (concept.name,)

    def place(self, background: Background, dice: Dice) -> str:
        """A phrase for where it is; one colour is often left unsaid."""
        if background.plain and dice.chance(2):
            return ""
        return dice.pick(background.held_out if self.synonyms and background.held_out else background.say)

    def _terse(self, scene: Scene, place: str, dice: Dice) -> str:
        number = f"{NUMBERS[scene.count]} " if scene.count > 1 else ""
        subject = number + self._noun(scene.colour, scene.size, self.concept(scene.subject), scene.count, dice)
        parts = [subject]
        if scene.other is not None:
            other = self._noun(scene.other_colour, "", self.concept(scene.other), 1, dice)
            parts = [f"{subject} on {other}" if scene.relation == "riding" else f"{subject} {scene.relation} {other}"]
        return ", ".join([*parts, *([place] if place else [])])


def forms(how: str) -> list[str]:
    """ "riding" -> "riding", "is riding", "rides"."""
    verb, _, rest = how.partition(" ")
    finite = [f"{FINITE[verb]} {rest}".strip()] if verb in FINITE else []
    return [how, f"is {how}", *finite]


def framed(said: str, place: str, style: str, medium: str) -> str:
    """ "a soft drawing of" it."""
    return f"{article(f'{style} {medium}'.strip())} of {said} {place}".strip()


def unframed(said: str, place: str, style: str, dice: Dice) -> str:
    """What is said as it is, with the place before or after it and the style at the end."""
    said = f"{place}, {said}" if place and dice.chance(6) else f"{said} {place}".strip()
    return said + (dice.pick((f", {style} style", f", in {article(style)} style")) if style else "")


def plural(noun: str) -> str:
    """More than one, by the rules; what breaks them says so in the table."""
    if noun.endswith(("s", "x", "sh", "ch")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"
