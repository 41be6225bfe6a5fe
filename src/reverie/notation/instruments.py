"""Instruments by the names that a person types: their sound, and the pitches that they can play.

The programs are those of General MIDI, counted from 0; the ranges are the usual written ones at sounding pitch.
"""

from __future__ import annotations

from dataclasses import dataclass

from reverie.types import ReverieError


@dataclass(frozen=True)
class Instrument:
    """program: of General MIDI, 0 to 127. lowest, highest: MIDI pitches."""

    name: str
    program: int
    lowest: int
    highest: int


INSTRUMENTS = {
    each.name: each
    for each in (
        Instrument("fiddle", 40, 55, 100),
        Instrument("flute", 73, 60, 96),
        Instrument("whistle", 74, 74, 98),  # the recorder sounds more like a tin whistle than the whistle does
        Instrument("recorder", 74, 72, 98),
        Instrument("piccolo", 72, 74, 108),
        Instrument("accordion", 21, 53, 93),
        Instrument("concertina", 22, 55, 96),
        Instrument("harmonica", 22, 60, 96),
        Instrument("bagpipe", 109, 67, 81),
        Instrument("banjo", 105, 48, 88),
        Instrument("guitar", 25, 40, 88),
        Instrument("mandolin", 25, 55, 93),
        Instrument("harp", 46, 24, 103),
        Instrument("dulcimer", 15, 50, 93),
        Instrument("piano", 0, 21, 108),
        Instrument("harpsichord", 6, 29, 89),
        Instrument("organ", 19, 36, 96),
        Instrument("celesta", 8, 60, 108),
        Instrument("music box", 10, 60, 108),
        Instrument("vibraphone", 11, 53, 89),
        Instrument("marimba", 12, 45, 96),
        Instrument("viola", 41, 48, 91),
        Instrument("cello", 42, 36, 81),
        Instrument("bass", 32, 28, 67),
        Instrument("oboe", 68, 58, 93),
        Instrument("bassoon", 70, 34, 75),
        Instrument("clarinet", 71, 50, 94),
        Instrument("saxophone", 65, 49, 81),
        Instrument("trumpet", 56, 54, 86),
        Instrument("trombone", 57, 40, 77),
        Instrument("horn", 60, 41, 77),
        Instrument("tuba", 58, 28, 65),
        Instrument("voice", 52, 48, 84),
        Instrument("ocarina", 79, 69, 89),
        Instrument("pan flute", 75, 60, 96),
        Instrument("sitar", 104, 48, 84),
        Instrument("koto", 107, 48, 84),
        Instrument("kalimba", 108, 55, 88),
        Instrument("ukulele", 24, 60, 93),
    )
}
_OTHER_NAMES = {
    "violin": "fiddle", "tin whistle": "whistle", "penny whistle": "whistle", "low whistle": "flute",
    "irish flute": "flute", "wooden flute": "flute", "bagpipes": "bagpipe", "pipes": "bagpipe",
    "uilleann pipes": "bagpipe", "squeezebox": "accordion", "melodeon": "accordion", "button accordion": "accordion",
    "bouzouki": "mandolin", "cittern": "mandolin", "hammered dulcimer": "dulcimer", "celtic harp": "harp",
    "acoustic guitar": "guitar", "double bass": "bass", "sax": "saxophone", "mouth organ": "harmonica",
    "church organ": "organ", "pipe organ": "organ", "choir": "voice", "french horn": "horn", "panpipes": "pan flute",
}  # fmt: skip


def instrument(name: str) -> Instrument:
    """The instrument of a name ("fiddle", "tin whistle", "Violin"); if there is none, an error that names all."""
    key = " ".join(name.lower().split())
    found = INSTRUMENTS.get(_OTHER_NAMES.get(key, key))
    if found is None:
        raise ReverieError(f"There is no instrument {name[:50]!r}: choose {', '.join(sorted(INSTRUMENTS))}.")
    return found


def named_in(words: str) -> Instrument | None:
    """The instrument that a prompt names ("a slow air for harp"), the longest name first; None if it names none."""
    text = f" {' '.join(''.join(letter if letter.isalpha() else ' ' for letter in words.lower()).split())} "
    names = sorted([*INSTRUMENTS, *_OTHER_NAMES], key=lambda name: (-len(name), name))
    found = next((name for name in names if f" {name} " in text), None)
    return None if found is None else instrument(found)
