"""An accompaniment: a bass and a guitar that play a tune's chords in the manner of its dance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from reverie.notation.harmony import Chord, clash
from reverie.notation.order import played_with_start, upbeats
from reverie.notation.tune import QUARTER, Metre, Tune, sounding, unfolded

BASS_PROGRAM, GUITAR_PROGRAM, HARP_PROGRAM = 32, 25, 46  # General MIDI, from 0: upright bass, steel guitar, harp
_EIGHTH = QUARTER // 2
_LOWEST_BASS, _LOWEST_STRUM, _HIGHEST_STRUM = 36, 52, 69
_SLOW_BPM = 64


@dataclass(frozen=True)
class Struck:
    """A note of an accompaniment. start, ticks: as it is played, repeats included. velocity: 1 to 127."""

    pitch: int
    start: int
    ticks: int
    velocity: int


@dataclass(frozen=True)
class Part:
    """What one instrument plays. program: of General MIDI, from 0."""

    name: str
    program: int
    notes: tuple[Struck, ...] = field(repr=False)


@dataclass(frozen=True)
class _Hit:
    """One stroke of a pattern. at, ticks: from where its cell begins. voice: "bass", "strum", or a step of "pluck"."""

    at: int
    ticks: int
    voice: str
    velocity: int
    step: int = 0


@dataclass(frozen=True)
class _Pattern:
    """Strokes that repeat every `ticks`."""

    ticks: int
    hits: tuple[_Hit, ...]


def _strummed(ticks: int, bass: Sequence[int], strums: Sequence[tuple[int, int]]) -> _Pattern:
    """bass: where it is struck. strums: (where, velocity)."""
    low = tuple(_Hit(at, ticks * 9 // 10 if at == 0 else ticks - at, "bass", 84) for at in bass)
    high = tuple(_Hit(at, _EIGHTH, "strum", velocity) for at, velocity in strums)
    return _Pattern(ticks, low + high)


def _plucked(ticks: int, steps: Sequence[int]) -> _Pattern:
    """A broken chord in eighths that ring on; steps: which note of it, from the bass up."""
    hits = tuple(
        _Hit(at * _EIGHTH, ticks - at * _EIGHTH, "pluck", 60 - 4 * (at % 2), step) for at, step in enumerate(steps)
    )
    return _Pattern(ticks, (_Hit(0, ticks, "bass", 70), *hits))


_OOM_PAH_PAH = _strummed(72, (0,), ((24, 44), (48, 60)))  # a dotted quarter of a jig
_BOOM_CHICK = _strummed(96, (0,), ((48, 66), (72, 42)))  # half a bar of a reel
_QUICK_BOOM_CHICK = _strummed(48, (0,), ((24, 64),))  # a beat of a polka
_OOM_CHA_CHA = _strummed(144, (0,), ((48, 58), (96, 54)))
_MARCH = _strummed(96, (0,), ((48, 70),))
_AIRS = {72: _plucked(72, (0, 1, 2)), 96: _plucked(96, (0, 1, 2, 3)), 144: _plucked(144, (0, 1, 2, 3, 2, 1))}


def backing(tune: Tune, chords: Sequence[Chord]) -> list[Part]:
    """The parts of the instruments that go with a tune, repeats played out: a bass, and a guitar or a harp.

    chords: of `harmony.chords(tune)`. A pattern fits the kind of dance (`Tune.rhythm`), else the metre.
    """
    band = _Band(_pattern(tune), _Heard(tune))
    for chord, start, ticks in _sounding_chords(tune, chords):
        band.play(chord, start, ticks)
    is_plucked = any(hit.voice == "pluck" for hit in band.pattern.hits)
    name, program = ("Harp", HARP_PROGRAM) if is_plucked else ("Guitar", GUITAR_PROGRAM)
    return [Part("Bass", BASS_PROGRAM, tuple(band.bass)), Part(name, program, tuple(band.high))]


class _Heard:
    """What the melody sounds at each moment."""

    def __init__(self, tune: Tune) -> None:
        self.notes = [(start, start + ticks, pitch) for pitch, start, ticks in sounding(unfolded(tune.bars))]
        self.at = 0

    def pitch_class(self, tick: int) -> int | None:
        """Of the note at a tick; ask in order."""
        while self.at > 0 and self.notes[self.at][0] > tick:
            self.at -= 1
        while self.at + 1 < len(self.notes) and self.notes[self.at][1] <= tick:
            self.at += 1
        pitch = self.notes[self.at][2] if self.notes else None
        return None if pitch is None else pitch % 12


def _pattern(tune: Tune) -> _Pattern:
    metre, rhythm = tune.metre, tune.rhythm.lower()
    cell = _cell(metre)
    is_slow = tune.tempo_bpm <= _SLOW_BPM or any(word in rhythm for word in ("air", "lament", "lullaby", "carol"))
    if is_slow and cell in _AIRS:
        return _AIRS[cell]
    if cell == 144:
        return _OOM_CHA_CHA
    if cell == 72:
        return _OOM_PAH_PAH
    if cell == 96:
        return _MARCH if any(word in rhythm for word in ("march", "barndance", "strathspey")) else _BOOM_CHICK
    if cell == 48:
        return _QUICK_BOOM_CHICK
    return _strummed(cell, (0,), ((cell // 2, 56),))


def _cell(metre: Metre) -> int:
    """How long a pattern is before it begins again, in ticks."""
    if metre.unit >= 8 and metre.beats % 3 == 0:
        return metre.beat_ticks
    if (metre.beats, metre.unit) in ((3, 4), (6, 4)):
        return 144
    if metre.ticks % 96 == 0 and metre.ticks > 96:
        return 96
    return metre.beat_ticks


def _sounding_chords(tune: Tune, chords: Sequence[Chord]) -> Iterator[tuple[Chord, int, int]]:
    """(chord, start, ticks) as they are played. Over an upbeat that follows a part, the chord before goes on."""
    is_upbeat = upbeats(tune)
    last: Chord | None = None
    for place, start in played_with_start(tune):
        mine = [chord for chord in chords if chord.bar == place]
        for chord in mine:
            yield chord, start + chord.at, chord.ticks
        last = mine[-1] if mine else last
        if is_upbeat[place] and last is not None and start > 0:
            yield last, start, tune.bars[place].ticks


@dataclass
class _Band:
    """The two who accompany, and what they have played so far."""

    pattern: _Pattern
    heard: _Heard
    bass: list[Struck] = field(default_factory=list)
    high: list[Struck] = field(default_factory=list)

    def play(self, chord: Chord, start: int, ticks: int) -> None:
        """Adds what is played on one chord."""
        for number, cell in enumerate(range(start, start + ticks, self.pattern.ticks)):
            for hit in self.pattern.hits:
                left = start + ticks - (cell + hit.at)
                if left > 0:
                    self._strike(chord, number, cell, hit, min(hit.ticks, left))

    def _strike(self, chord: Chord, number: int, cell: int, hit: _Hit, ticks: int) -> None:
        at = cell + hit.at
        if hit.voice == "bass":
            last = self.bass[-1].pitch if self.bass else _LOWEST_BASS + 6
            self.bass.append(Struck(_bass_pitch(chord, number, last), at, ticks, hit.velocity))
        elif hit.voice == "strum":
            pitches = _voicing(chord, self.heard.pitch_class(at))
            self.high.extend(_strum(pitches[::-1] if hit.at % QUARTER else pitches, at, ticks, hit.velocity))
        else:
            self.high.append(Struck(_voicing(chord, None)[hit.step % 4], at, ticks, hit.velocity))


def _bass_pitch(chord: Chord, number: int, last: int) -> int:
    """The root, and the fifth at every other stroke; each near the note before."""
    pitch_class = chord.pitch_classes[2 if number % 2 else 0]
    pitches = [pitch for pitch in range(_LOWEST_BASS, _LOWEST_BASS + 14) if pitch % 12 == pitch_class]
    return min(pitches, key=lambda pitch: (abs(pitch - last), pitch))


def _strum(pitches: Sequence[int], at: int, ticks: int, velocity: int) -> Iterator[Struck]:
    """The strings one after another; all end together."""
    for order, pitch in enumerate(pitches):
        late = min(order, ticks - 1)
        yield Struck(pitch, at + late, ticks - late, velocity - 3 * order)


def _voicing(chord: Chord, melody: int | None) -> list[int]:
    """Four notes of a chord, from the lowest root or fifth up; without a third that rubs against the melody."""
    rubs = melody is not None and clash(melody, chord) > 0 and (melody - chord.pitch_classes[1]) % 12 in (1, 11)
    wanted = [chord.pitch_classes[0], chord.pitch_classes[2]] if rubs else list(chord.pitch_classes)
    pitches = [pitch for pitch in range(_LOWEST_STRUM, _HIGHEST_STRUM + 12) if pitch % 12 in wanted]
    first = next(at for at, pitch in enumerate(pitches) if pitch % 12 != chord.pitch_classes[1])
    return pitches[first : first + 4]
