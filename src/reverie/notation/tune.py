"""A tune of one voice as it is written down: bars of notes, with their repeats.

Lengths are whole numbers of ticks, `QUARTER` to a quarter note: triplets of sixteenths still come out even.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from reverie.notation.theory import Key

QUARTER = 48  # ticks
LEAST_PITCH, MOST_PITCH = 21, 108  # MIDI: those of a piano


@dataclass(frozen=True)
class Note:
    """A note or a rest. pitch: its MIDI number, None is a rest. tied: it goes on into the next note."""

    pitch: int | None
    ticks: int
    tied: bool = False


@dataclass(frozen=True)
class Metre:
    """beats over unit: 6/8 is Metre(6, 8)."""

    beats: int
    unit: int

    @property
    def ticks(self) -> int:
        """Of a full bar."""
        return self.beats * 4 * QUARTER // self.unit

    @property
    def beat_ticks(self) -> int:
        """Of what the foot taps: a dotted note where eighths come in threes, else a quarter, or the unit if longer."""
        if self.unit >= 8 and self.beats % 3 == 0:
            return 3 * 4 * QUARTER // self.unit
        return max(QUARTER, 4 * QUARTER // self.unit)

    @property
    def tap_ticks(self) -> int:
        """Of the longest beat that comes more than once in a bar and is no half note: a tune may close on each."""
        beat = self.beat_ticks
        return beat if beat < self.ticks and self.unit > 2 else min(QUARTER, 4 * QUARTER // self.unit)

    def __str__(self) -> str:
        return f"{self.beats}/{self.unit}"


@dataclass(frozen=True)
class Bar:
    """What stands between two bar lines.

    opens: a repeat begins here. closes: "" (a plain line follows), "repeat" (go back to where it opened), "double"
    (a part ends) or "final". ending: 1 or 2 within a first or second ending, else 0.
    """

    notes: tuple[Note, ...]
    opens: bool = False
    closes: str = ""
    ending: int = 0

    @property
    def ticks(self) -> int:
        """The sum of its notes' lengths."""
        return sum(note.ticks for note in self.notes)


CLOSES = ("", "repeat", "double", "final")


@dataclass(frozen=True)
class Tune:
    """A tune of one voice. rhythm: what kind it is ("jig"), "" if that is not known.

    tempo_bpm: beats (`Metre.beat_ticks`) a minute. A bar may be short where a part begins (an upbeat) and where one
    ends.
    """

    title: str
    rhythm: str
    metre: Metre
    key: Key
    bars: tuple[Bar, ...]
    tempo_bpm: int = 110

    @property
    def notes(self) -> list[Note]:
        """All that is written, rests too, in order; repeats once."""
        return [note for bar in self.bars for note in bar.notes]

    @property
    def pitches(self) -> list[int]:
        """Of the notes as they are struck: tied ones once."""
        return [pitch for pitch, _, _ in sounding(self.bars) if pitch is not None]

    def transposed(self, semitones: int, key: Key) -> Tune:
        """The same, higher by so many semitones, in `key`."""
        bars = tuple(replace(bar, notes=tuple(_higher(note, semitones) for note in bar.notes)) for bar in self.bars)
        return replace(self, bars=bars, key=key)

    def seconds(self) -> float:
        """How long it takes to play, repeats included."""
        return sum(bar.ticks for bar in unfolded(self.bars)) / self.metre.beat_ticks * 60 / self.tempo_bpm


def _higher(note: Note, semitones: int) -> Note:
    return note if note.pitch is None else replace(note, pitch=note.pitch + semitones)


def sounding(bars: Sequence[Bar]) -> Iterator[tuple[int | None, int, int]]:
    """(pitch, ticks from the beginning, ticks) of each note and rest as it is heard; tied notes are one."""
    start, held = 0, None
    for note in (note for bar in bars for note in bar.notes):
        if held is not None and held[0] == note.pitch:
            held = (held[0], held[1], held[2] + note.ticks)
        else:
            if held is not None:
                yield held
            held = (note.pitch, start, note.ticks)
        start += note.ticks
        if not note.tied:
            yield held
            held = None
    if held is not None:
        yield held


def unfolded(bars: Sequence[Bar]) -> list[Bar]:
    """The bars in the order in which they are played: repeats twice, first endings left out the second time."""
    played: list[Bar] = []
    start = at = 0
    is_second = False
    while at < len(bars):
        bar = bars[at]
        if bar.opens and not is_second:
            start = at
        if bar.ending == 1 and is_second:
            at = _after_first_ending(bars, at)
            start, is_second = at, False
            continue
        played.append(bar)
        at += 1
        if bar.closes == "repeat" and not is_second and bar.ending != 2:
            at, is_second = start, True
        elif bar.closes != "":
            start, is_second = at, False
    return played


def _after_first_ending(bars: Sequence[Bar], at: int) -> int:
    while at < len(bars) and bars[at].ending == 1:
        at += 1
        if bars[at - 1].closes == "repeat":
            break
    return at


def parts(bars: Sequence[Bar]) -> list[list[Bar]]:
    """The bars of each part: a part ends at a repeat or a double line, and before a repeat opens; endings go along."""
    found: list[list[Bar]] = [[]]
    for bar, after in zip(bars, [*bars, None][1:], strict=True):
        found[-1].append(bar)
        ends = bar.closes != "" or (after is not None and after.opens)
        if ends and after is not None and not (after.ending == 2 and bar.ending == 1):
            found.append([])
    return found
