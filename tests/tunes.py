"""Tunes for tests: a few that a musician knows, and hypothesis strategies for valid ones."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from reverie.notation.theory import ACCIDENTALS, MODES, STEPS, Key
from reverie.notation.tune import Bar, Metre, Note, Tune

D_MAJOR = {"D": 62, "E": 64, "F": 66, "G": 67, "A": 69, "B": 71, "c": 73, "d": 74, "e": 76, "f": 78, "g": 79, "a": 81}
C_MAJOR = {"C": 60, "D": 62, "E": 64, "F": 65, "G": 67, "A": 69, "B": 71, "c": 72, "d": 74, "e": 76, "f": 77, "g": 79}

METRES = [(6, 8), (9, 8), (12, 8), (3, 8), (4, 4), (2, 2), (3, 4), (2, 4), (3, 2), (6, 4), (5, 4), (7, 8)]
_CELLS = {
    24: [(24,), (12, 12), (8, 8, 8), (16, 8)],
    48: [(48,), (24, 24), (36, 12), (12, 36), (16, 16, 16), (32, 16), (12, 12, 12, 12), (24, 12, 12)],
    72: [(72,), (48, 24), (24, 48), (24, 24, 24), (36, 36), (36, 12, 24), (12,) * 6, (16, 16, 16, 24)],
    96: [(96,), (48, 48), (24,) * 4, (72, 24), (84, 12), (32, 32, 32), (16, 16, 16, 24, 24)],
}


def line(text: str, letters: dict[str, int] = D_MAJOR, ticks: int = 24) -> tuple[Note, ...]:
    """ "A2 F d/ z a-" -> notes: the number counts `ticks`, "/" is half of them, z a rest, "-" ties."""
    found = []
    for word in text.split():
        body = word.rstrip("-")
        length = ticks // 2 if body[1:] == "/" else ticks * int(body[1:] or 1)
        found.append(Note(None if body[0] == "z" else letters[body[0]], length, word.endswith("-")))
    return tuple(found)


def jig() -> Tune:
    """A jig in D major with upbeats, two repeated parts, and endings in the second: 8 and 8 bars, twice each."""
    first = ["d2 f a g f", "e2 g a g e", "f e d A B c", "d3 A2 g", "f2 d g f e", "A B c d e f", "g f e A c e"]
    second = ["a3 f2 d", "g2 e c2 A", "d e f g a g", "f3 e2 A", "a2 f d2 f", "g2 e c2 A"]
    bars = [Bar(line("A")), *(Bar(line(bar)) for bar in first), Bar(line("d3 d2"), closes="repeat")]
    bars += [Bar(line("f"), opens=True), *(Bar(line(bar)) for bar in second)]
    bars += [Bar(line("d f e d c A"), ending=1), Bar(line("d3 d2"), closes="repeat", ending=1)]
    bars += [Bar(line("d f e d2 c"), ending=2), Bar(line("d3 d2"), closes="final", ending=2)]
    return Tune("The Lively Test", "jig", Metre(6, 8), Key("D"), tuple(bars), 120)


def twinkle() -> Tune:
    """The nursery tune in C major, whose chords everyone knows."""
    lines = ["C2 C2 G2 G2", "A2 A2 G4", "F2 F2 E2 E2", "D2 D2 C4"]
    bars = [Bar(line(bar, C_MAJOR)) for bar in lines]
    return Tune("Twinkle", "", Metre(4, 4), Key("C"), (*bars[:-1], Bar(bars[-1].notes, closes="final")), 100)


def scale() -> Tune:
    """A scale of F# minor up and down in 4/4, with its leading note and triplets."""
    up = [66, 68, 69, 71, 73, 74, 77, 78]
    bars = [
        Bar(tuple(Note(pitch, 24) for pitch in up)),
        Bar(tuple(Note(pitch, 16) for pitch in [*up[::-1], 66, 68, 66, 65])),
    ]
    bars.append(Bar((Note(66, 120, tied=False), Note(None, 48), Note(78, 24, tied=True))))
    bars.append(Bar((Note(78, 24), Note(76, 168)), closes="final"))
    return Tune("In F# minor", "reel", Metre(4, 4), Key("F#", "minor"), tuple(bars), 90)


def book(num: int = 30) -> str:
    """So many jigs of eight bars at random, as one file of ABC: some are learnt from and some held out."""
    dice = random.Random(1)
    jigs = ("".join("".join(dice.choice("ABcdefg") for _ in range(6)) + "|" for _ in range(8)) for _ in range(num))
    return "\n".join(f"X:{at}\nT:Number {at}\nR:jig\nM:6/8\nL:1/8\nK:D\n{notes}\n" for at, notes in enumerate(jigs, 1))


keys = st.builds(
    Key,
    st.builds("".join, st.tuples(st.sampled_from(STEPS), st.sampled_from(list(ACCIDENTALS)))),
    st.sampled_from(list(MODES)),
)
titles = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
rhythms = st.sampled_from(["", "jig", "reel", "waltz", "polka", "march", "slip jig", "air"])


@st.composite
def bars(draw: st.DrawFn, ticks: int, beat: int) -> Bar:
    """A bar that is full: cells of beats, some notes of which are rests."""
    lengths: list[int] = []
    while ticks:
        cell = draw(st.sampled_from(_CELLS[min(beat, ticks) if min(beat, ticks) in _CELLS else 24]))
        if sum(cell) <= ticks:
            lengths.extend(cell)
            ticks -= sum(cell)
    pitches = draw(st.lists(st.none() | st.integers(55, 93), min_size=len(lengths), max_size=len(lengths)))
    return Bar(tuple(Note(pitch, length) for pitch, length in zip(pitches, lengths, strict=True)))


@st.composite
def tunes(draw: st.DrawFn, most_bars: int = 6) -> Tune:
    """A tune as one could be written: full bars but for upbeats, repeats, endings, ties, any key and usual metres."""
    metre = Metre(*draw(st.sampled_from(METRES)))
    whole = draw(st.lists(bars(metre.ticks, metre.beat_ticks), min_size=1, max_size=most_bars))
    if draw(st.booleans()):
        whole.insert(0, draw(bars(24, 24)))
    whole = [draw(_tied(bar)) for bar in whole]
    if not any(note.pitch is not None for bar in whole for note in bar.notes):
        whole.append(Bar((Note(60, metre.ticks),)))
    return Tune(
        draw(titles),
        draw(rhythms),
        metre,
        draw(keys),
        _signed(whole, draw(st.integers(0, 3))),
        draw(st.integers(40, 240)),
    )


@st.composite
def _tied(draw: st.DrawFn, bar: Bar) -> Bar:
    """Some neighbours become one pitch and tied."""
    notes = list(bar.notes)
    for at in range(len(notes) - 1):
        if notes[at].pitch is not None and draw(st.integers(0, 5)) == 0:
            notes[at], notes[at + 1] = (
                Note(notes[at].pitch, notes[at].ticks, True),
                Note(notes[at].pitch, notes[at + 1].ticks),
            )
    return Bar(tuple(notes))


def _signed(whole: list[Bar], form: int) -> tuple[Bar, ...]:
    """form: 0 no repeat, 1 all of it, 2 its second half, 3 with endings."""
    last = len(whole) - 1
    ends = {last: ("final", 0)}
    opens = -1
    if form == 1:
        ends = {last: ("repeat", 0)}
    elif form == 2 and last >= 2:
        opens = 1 + last // 2
        ends = {opens - 1: ("double", 0), last: ("repeat", 0)}
    elif form == 3 and last >= 2:
        ends = {last - 1: ("repeat", 1), last: ("final", 2)}
    return tuple(Bar(bar.notes, at == opens, *ends.get(at, ("", 0))) for at, bar in enumerate(whole))


@st.composite
def wild_tunes(draw: st.DrawFn) -> Tune:
    """What a bad file could make of a tune: lengths, ties, lines and endings without sense."""
    notes = st.builds(Note, st.none() | st.integers(21, 108), st.integers(1, 400), st.booleans())
    closes, endings = st.sampled_from(["", "", "repeat", "double", "final"]), st.sampled_from([0, 0, 1, 2])
    bar = st.builds(Bar, st.lists(notes, max_size=8).map(tuple), st.booleans(), closes, endings)
    metre = st.sampled_from([Metre(*each) for each in METRES])
    return Tune(
        draw(titles), draw(rhythms), draw(metre), draw(keys), tuple(draw(st.lists(bar, min_size=1, max_size=6)))
    )
