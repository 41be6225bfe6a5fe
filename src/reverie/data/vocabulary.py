"""The words of the scenes, read from scenes.toml: what there is, how it looks in each style, how it is called."""

from __future__ import annotations

import functools
import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from reverie.config import from_json

NEVER_RIDDEN = {("panda", "skateboard"), ("red panda", "skateboard")}  # held out by name: the picture we want most
SAYS_A = ("uni", "use", "ufo", "one", "euro", "ukulele")  # begin with a vowel that is not heard as one


@dataclass(frozen=True)
class Style:
    """A set of icons. word: its name in captions. share: how often training shows it; 0 is kept for judging."""

    name: str
    word: str
    share: int


@dataclass(frozen=True)
class Concept:
    """A thing that scenes combine.

    icons, face, body: names of icons; the first that a style has is drawn. share: how often, among others.
    styles: where alone it may be drawn; not_styles: where not. not_colours: which it never gets ("*": any).
    tint: it is another thing's icon, in this red, green and blue.
    say, held_out: what captions call it, in training and never in training. plural: of the first of these.
    on: words between a rider and this. seat: where on it a rider sits, in thousandths of its width and height.
    scale: a rider's size in thousandths of it. behind: the rider sits in it, half hidden. on_water: its icon shows
    water. holds: it can be held.
    """

    name: str
    icons: tuple[str, ...] = ()
    face: tuple[str, ...] = ()
    body: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    not_styles: tuple[str, ...] = ()
    not_colours: tuple[str, ...] = ()
    tint: tuple[int, ...] = ()
    say: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    plural: str = ""
    on: tuple[str, ...] = ()
    seat: tuple[int, ...] = (500, 300)
    scale: int = 800
    behind: bool = False
    on_water: bool = False
    holds: bool = False
    share: int = 1

    def drawn_in(self, style: str) -> bool:
        """Whether it may be drawn in this style at all."""
        return style not in self.not_styles and (not self.styles or style in self.styles)

    def allows(self, colour: str) -> bool:
        """Whether it may have this colour."""
        return "*" not in self.not_colours and colour not in self.not_colours


@dataclass(frozen=True)
class Colour:
    """rgb: its base. say: what captions call it now and then. held_out: what training captions never call it."""

    name: str
    rgb: tuple[int, ...]
    say: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Background:
    """say, held_out: phrases for it. plain: of one colour, and often left unsaid."""

    name: str
    say: tuple[str, ...]
    held_out: tuple[str, ...] = ()
    plain: bool = False


@dataclass(frozen=True)
class Single:
    """A thing that is only drawn by itself. phrase: what captions call it, with its article. icons: any of them."""

    name: str
    phrase: str
    icons: tuple[str, ...]
    not_styles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Vocabulary:
    """All tables by name, in the order of the file. turns: style -> name -> degrees clockwise."""

    turns: Mapping[str, Mapping[str, int]]
    styles: Mapping[str, Style]
    subjects: Mapping[str, Concept]
    vehicles: Mapping[str, Concept]
    objects: Mapping[str, Concept]
    colours: Mapping[str, Colour]
    backgrounds: Mapping[str, Background]
    singles: Mapping[str, Single]


@functools.cache
def vocabulary() -> Vocabulary:
    """The tables of scenes.toml and singles.toml."""
    tables = tomllib.loads(text("scenes.toml"))
    kinds = {"styles": Style, "colours": Colour, "backgrounds": Background}
    read: dict[str, Any] = {"turns": tables.pop("turns"), "singles": _singles()}
    for part, rows in tables.items():
        kind = kinds.get(part, Concept)
        read[part] = {name: from_json(kind, {"name": name, **row}) for name, row in rows.items()}
    return Vocabulary(**read)


def _singles() -> dict[str, Single]:
    tables = tomllib.loads(text("singles.toml"))
    phrases = {icon: article(icon.replace("-", " ")) for icon in tables["plain"]}
    phrases |= {icon: icon.replace("-", " ") for icon in tables["bare"]} | tables["say"]
    singles: dict[str, Single] = {}
    for icon in sorted(phrases):
        name = phrases[icon].removeprefix("a ").removeprefix("an ")
        icons = singles[name].icons if name in singles else ()
        hidden = tuple(style for style, icons in tables["not_in"].items() if icon in icons)
        singles[name] = Single(name, phrases[icon], (*icons, icon), hidden)
    return singles


def text(file: str) -> str:
    """A table as it stands."""
    return resources.files("reverie.data").joinpath(file).read_text(encoding="utf-8")


def article(noun: str) -> str:
    """ "a cat", "an owl", "a unicorn"."""
    vowel = noun[0].lower() in "aeiou" and not noun.lower().startswith(SAYS_A)
    return f"{'an' if vowel else 'a'} {noun}"


def held_out(subject: str, other: str) -> bool:
    """Whether training never shows this pair, in any relation: one pair in ten, and a panda on a skateboard.

    other: a vehicle, or a motion of motions.toml.
    """
    digest = hashlib.sha256(f"{subject}|{other}".encode()).digest()
    return int.from_bytes(digest[:8]) % 10 == 0 or (subject, other) in NEVER_RIDDEN
