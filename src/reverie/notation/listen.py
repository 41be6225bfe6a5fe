"""MIDI files -> tunes: the melody is found, put on a grid of note values, and written in bars and a key."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from reverie.notation.marks import printable
from reverie.notation.midi_read import Heard, Score, Voice, read_score
from reverie.notation.theory import Key, at_pitch_class, heard_key
from reverie.notation.tune import LEAST_PITCH, MOST_PITCH, QUARTER, Bar, Metre, Note, Tune
from reverie.types import ReverieError

MAX_MELODY_NOTES, MAX_BARS = 5000, 2000
LEAST_BPM, MOST_BPM = 20, 400
_UNITS = (2, 4, 8, 16)

# Steps of the grids that a beat may be divided by, and what choosing each costs, in ticks of error (root mean square).
_GRIDS = {24: 0.0, 12: 0.4, 16: 0.6, 36: 1.4, 18: 1.8, 6: 1.8, 8: 2.0, 3: 3.0, 4: 3.2}
_ENDS = (24, 16, 12, 8, 6)  # what notes may end on
_LOST = 6.0  # what it costs that two notes fall together
_WORDS = {
    "melody": 3.0,
    "lead": 2.5,
    "vocal": 2.5,
    "voice": 2.5,
    "tune": 2.0,
    "solo": 2.0,
    "fiddle": 1.5,
    "violin": 1.0,
}
_WORDS |= {"flute": 1.5, "whistle": 1.5, "sopran": 2.0, "right": 1.5, "bass": -3.0, "drum": -5.0, "chord": -3.0}
_WORDS |= {"perc": -5.0, "pad": -2.0, "string": -1.0, "left": -1.5, "accomp": -3.0, "harmony": -1.5}
_RELATIVES = {"major": ("major", "mixolydian"), "minor": ("minor", "dorian")}

_Span = tuple[int, int, int]  # pitch, start and end in ticks of a tune


def from_midi(data: bytes) -> Tune:
    """The melody of a MIDI file as a tune: the highest voice of the track that looks most like a melody.

    Metre and tempo are the file's, the key too if it fits what is heard. A `ReverieError` if the file cannot be read,
    has no notes, or is too long.
    """
    score = read_score(data)
    voices = [voice for voice in score.voices if _highest(voice.notes)]
    if not voices:
        raise ReverieError("The MIDI file has no melody: give one with notes of a piano's range that are not drums.")
    voice = max(voices, key=lambda voice: (_likeness(voice, score), -voice.track, -voice.channel))
    line = _highest(voice.notes)
    if len(line) > MAX_MELODY_NOTES:
        raise ReverieError(f"The melody has more than {MAX_MELODY_NOTES:,} notes: give a shorter one.")
    anchor, metre = _metre(score, line)
    spans = _on_grid(line, score.division, anchor, metre)
    bars = tuple(_bars(spans, metre))
    return Tune(_title(score, voice), "", metre, _key(score, spans), bars, _tempo(score, metre))


def _likeness(voice: Voice, score: Score) -> float:
    """How much a voice looks like a melody."""
    line = _highest(voice.notes)
    alone = sum(note.end - note.start for note in line) / sum(note.end - note.start for note in voice.notes)
    height = sum(note.pitch for note in line) / len(line)
    busy = len(line) / max(len(other.notes) for other in score.voices)
    named = sum(weight for word, weight in _WORDS.items() if word in voice.name.lower())
    return 2 * alone + named + busy + (1.0 if 57 <= height <= 88 else 0.0) + (height - 60) / 40


def _highest(notes: Sequence[Heard]) -> list[Heard]:
    """One voice: of what sounds at a time the highest, each note up to where the next begins; out of range left out."""
    line: list[Heard] = []
    for note in notes:  # sorted by start, the highest first
        if not LEAST_PITCH <= note.pitch <= MOST_PITCH:
            continue
        last = line[-1] if line else None
        if last is None or note.start >= last.end:
            line.append(note)
        elif note.start > last.start and note.pitch > last.pitch:
            line[-1] = Heard(last.start, note.start, last.pitch)
            line.append(note)
    return line


def _metre(score: Score, line: Sequence[Heard]) -> tuple[int, Metre]:
    """The metre that lasts longest while the melody does, and the tick of the file at which it begins."""
    begin, end = line[0].start, line[-1].end
    found = [(at, Metre(*signs)) for at, signs in score.metres if 0 < signs[0] <= 32 and signs[1] in _UNITS]
    stops = [at for at, _ in found[1:]] + [end]
    lasting = [
        (max(0, min(stop, end) - max(at, begin)), -at, metre) for (at, metre), stop in zip(found, stops, strict=False)
    ]
    if not lasting:
        return 0, Metre(4, 4)
    _, at, metre = max(lasting, key=lambda each: each[:2])
    return -at, metre


def _on_grid(line: Sequence[Heard], division: int, anchor: int, metre: Metre) -> list[_Span]:
    """The line in ticks of a tune, on a grid that is chosen for each beat; 0 is the bar line at `anchor`."""
    exact = [((note.start - anchor) * QUARTER / division, (note.end - anchor) * QUARTER / division) for note in line]
    places = [(int(start // metre.ticks), start % metre.ticks) for start, _ in exact]  # beats are counted in their bar
    within: dict[tuple[int, int], list[float]] = {}
    for bar, at in places:
        within.setdefault((bar, int(at // metre.beat_ticks)), []).append(at)
    grids = {beat: _grid(starts, metre.beat_ticks) for beat, starts in within.items()}
    starts = [
        bar * metre.ticks + min(metre.ticks, _snap(at, grids[bar, int(at // metre.beat_ticks)])) for bar, at in places
    ]
    spans: list[_Span] = []
    for note, start, (_, end), after in zip(line, starts, exact, [*starts[1:], None], strict=True):
        if after is None or after > start:
            spans.append((note.pitch, start, _end(start, end, after)))
    return spans


def _grid(starts: Sequence[float], beat: int) -> int:
    """The step that fits best the notes that begin in one beat."""
    steps = [step for step in _GRIDS if beat % step == 0]
    return min(steps, key=lambda step: (_misfit(starts, step), -step))


def _misfit(starts: Sequence[float], step: int) -> float:
    snapped = [_snap(start, step) for start in starts]
    error = sum((start - place) ** 2 for start, place in zip(starts, snapped, strict=True)) / len(starts)
    return float(error**0.5) + _GRIDS[step] + _LOST * (len(snapped) - len(set(snapped)))


def _snap(value: float, step: int) -> int:
    return math.floor(value / step + 0.5) * step


def _end(start: int, end: float, after: int | None) -> int:
    """Where a note ends: at the next one, unless a rest was clearly meant."""
    own = _snap(end, min(_ENDS, key=lambda step: (_misfit([end], step), -step)))
    own = own if own > start else start + min(_ENDS)
    if after is None:
        return own
    gap, room = after - end, after - start
    is_short = gap < min(QUARTER, max(QUARTER / 3, 0.4 * room))
    return after if is_short or own >= after else own


def _bars(spans: Sequence[_Span], metre: Metre) -> Iterator[Bar]:
    """The melody cut at bar lines; what is before the first note is an upbeat's lack if it is half a bar or more."""
    first, last = spans[0][1], spans[-1][2]
    line = first // metre.ticks * metre.ticks
    begin = first if first - line >= metre.ticks / 2 else line
    if last - begin > MAX_BARS * metre.ticks:
        raise ReverieError(f"The melody is longer than {MAX_BARS:,} bars: give a shorter one.")
    bar: list[Note] = []
    at = begin
    for pitch, ticks in _with_rests(spans, begin):
        end = at + ticks
        while at < end:
            room = metre.ticks - at % metre.ticks
            taken = min(room, end - at)
            at += taken
            bar.append(Note(pitch, taken, tied=pitch is not None and at < end))
            if taken == room and at < last:
                yield Bar(tuple(bar))
                bar = []
    yield Bar(tuple(bar), closes="final")


def _with_rests(spans: Sequence[_Span], begin: int) -> Iterator[tuple[int | None, int]]:
    """(pitch, ticks) without gaps."""
    at = begin
    for pitch, start, end in spans:
        if start > at:
            yield None, start - at
        yield pitch, end - start
        at = end


def _key(score: Score, spans: Sequence[_Span]) -> Key:
    """The file's key, or what is heard if the file has none or only the one that programs write by themselves."""
    weights = [0.0] * 12
    for pitch, start, end in spans:
        weights[pitch % 12] += end - start
    heard = heard_key(weights)
    given = _named(score.keys[0][1]) if score.keys else None
    if given is None or (str(given) == "C major" and heard.sharps != 0):
        return heard
    last = spans[-1][0] % 12
    relatives = [
        at_pitch_class((given.pitch_class + (7 if mode == "mixolydian" else 5)) % 12, mode)
        for mode in _RELATIVES[given.mode][1:]
    ]
    for key in relatives:
        if key.pitch_class == last and key.sharps == given.sharps and weights[last] > weights[given.pitch_class]:
            return key
    return given


def _named(name: str) -> Key | None:
    """mido's "F#m" -> Key("F#", "minor")."""
    mode = "minor" if name.endswith("m") else "major"
    try:
        return Key(name.removesuffix("m"), mode)
    except ReverieError:
        return None


def _tempo(score: Score, metre: Metre) -> int:
    microseconds = score.tempos[0][1] if score.tempos else 500_000
    quarters = 60e6 / max(1, microseconds)
    return round(min(max(quarters * QUARTER / metre.beat_ticks, LEAST_BPM), MOST_BPM))


def _title(score: Score, voice: Voice) -> str:
    name = score.title if voice.track > 0 else voice.name
    return printable(name, 100)
