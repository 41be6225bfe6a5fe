"""The chords that go with a tune, found by dynamic programming over the triads of its key.

The costs are those of a player who accompanies folk tunes: few chords, changes on bar lines, cadences at the ends of
parts. Viterbi's algorithm finds the cheapest path (doi:10.1109/TIT.1967.1054010).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from reverie.notation.order import upbeats
from reverie.notation.tune import Bar, Metre, Tune, parts, sounding

QUALITIES = {"major": (0, 4, 7), "minor": (0, 3, 7), "diminished": (0, 3, 6)}  # semitones above the root

# For each mode: semitones above the tonic, quality, and how unlike an accompanist it is to play it (0: at home).
_TRIADS: dict[str, tuple[tuple[int, str, float], ...]] = {
    "major": (
        (0, "major", 0),
        (5, "major", 0.15),
        (7, "major", 0.1),
        (9, "minor", 0.4),
        (2, "minor", 0.45),
        (4, "minor", 0.7),
    ),
    "mixolydian": (
        (0, "major", 0),
        (10, "major", 0.1),
        (5, "major", 0.15),
        (7, "minor", 0.5),
        (2, "minor", 0.5),
        (9, "minor", 0.6),
    ),
    "dorian": (
        (0, "minor", 0),
        (10, "major", 0.1),
        (5, "major", 0.3),
        (3, "major", 0.35),
        (7, "minor", 0.4),
        (2, "minor", 0.7),
    ),
    "minor": (
        (0, "minor", 0),
        (10, "major", 0.15),
        (7, "major", 0.3),
        (5, "minor", 0.25),
        (3, "major", 0.25),
        (8, "major", 0.3),
        (7, "minor", 0.4),
    ),
    "lydian": ((0, "major", 0), (2, "major", 0.3), (7, "major", 0.15), (9, "minor", 0.4), (4, "minor", 0.6)),
    "phrygian": (
        (0, "minor", 0),
        (1, "major", 0.2),
        (10, "minor", 0.3),
        (3, "major", 0.3),
        (8, "major", 0.4),
        (5, "minor", 0.4),
    ),
    "locrian": (
        (0, "diminished", 0),
        (1, "major", 0.2),
        (3, "minor", 0.3),
        (8, "major", 0.3),
        (10, "minor", 0.3),
        (5, "minor", 0.3),
    ),
}
_DOMINANTS = {
    "major": (7,),
    "lydian": (7, 2),
    "minor": (7, 10),
    "dorian": (10, 7),
    "mixolydian": (10, 7),
    "phrygian": (1, 10),
    "locrian": (1, 10),
}
_CHANGE_WITHIN_BAR, _CHANGE, _STAY = 0.55, 0.0, 0.1
_NOT_HOME_AT_END, _NOT_HOME_AT_START, _NO_CADENCE = 2.5, 0.5, 0.35
_FIT = 2.2  # how much the melody weighs against all that


@dataclass(frozen=True)
class Chord:
    """A triad. bar: its place in `Tune.bars`. at, ticks: where in the bar it begins, and how long it lasts.

    root: a pitch class, 0 is C. quality: "major", "minor" or "diminished".
    """

    bar: int
    at: int
    ticks: int
    root: int
    quality: str = "major"

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        """Root, third, fifth; 0 is C."""
        return tuple((self.root + step) % 12 for step in QUALITIES[self.quality])


@dataclass(frozen=True)
class _Slot:
    """A stretch of a bar that has one chord; heard: (pitch class, weight) of what is sung over it."""

    bar: int
    at: int
    ticks: int
    heard: tuple[tuple[int, float], ...]
    ends_part: bool
    is_fresh: bool  # what is written before is not what is played before


def chords(tune: Tune) -> list[Chord]:
    """The chords of a tune in written order, repeats once; upbeats have none, and the same chord is not said twice.

    A chord that goes on over a bar line is given again in the next bar, so that each whole bar has its own.
    """
    slots = _slots(tune)
    if not slots:
        return []
    triads = _TRIADS[tune.key.mode]
    found = [
        Chord(slot.bar, slot.at, slot.ticks, (tune.key.pitch_class + triads[state][0]) % 12, triads[state][1])
        for slot, state in zip(slots, _path(slots, tune), strict=True)
    ]
    return _merged(found)


def clash(pitch_class: int, chord: Chord) -> float:
    """How badly a melody note fits a chord: 0 is a note of it, 1 is a semitone above one of its notes."""
    if pitch_class in chord.pitch_classes:
        return 0.0
    above = (pitch_class - chord.root) % 12
    if above == 10 or (above == 9 and chord.quality == "major"):  # the seventh and the sixth are at home too
        return 0.45
    if any((pitch_class - member) % 12 == 1 for member in chord.pitch_classes):
        return 1.0
    return 0.7


def _merged(found: list[Chord]) -> list[Chord]:
    """The same with neighbours of one bar that are equal made one."""
    merged: list[Chord] = []
    for chord in found:
        last = merged[-1] if merged else None
        if last is not None and (last.bar, last.root, last.quality) == (chord.bar, chord.root, chord.quality):
            merged[-1] = replace(last, ticks=last.ticks + chord.ticks)
        else:
            merged.append(chord)
    return merged


def _slot_ticks(metre: Metre) -> tuple[int, ...]:
    """How a bar is divided among chords: halves, where a metre has them, and two beats and one of a slip jig."""
    beats, beat = metre.ticks // metre.beat_ticks, metre.beat_ticks
    if beats * beat != metre.ticks or (beats in (1, 3) and beat != 72):
        return (metre.ticks,)
    if beats == 3:
        return (2 * beat, beat)
    if beats == 2 and metre.unit == 4:  # 2/4 is too short for two
        return (metre.ticks,)
    return (metre.ticks // 2, metre.ticks // 2) if beats % 2 == 0 else (metre.ticks,)


def _slots(tune: Tune) -> list[_Slot]:
    is_upbeat = upbeats(tune)
    ends = _ends(tune)
    found: list[_Slot] = []
    for place, bar in enumerate(tune.bars):
        if is_upbeat[place] or not bar.ticks:
            continue
        inner = _divided(bar.ticks, _slot_ticks(tune.metre))
        for number, (at, ticks) in enumerate(inner):
            last = place in ends and number == len(inner) - 1
            fresh = number == 0 and bar.ending == 2 and place > 0 and tune.bars[place - 1].ending == 1
            found.append(_Slot(place, at, ticks, _heard(bar, at, ticks, tune.metre), last, fresh))
    return found


def _ends(tune: Tune) -> set[int]:
    """The bars with which parts end, first endings too."""
    ends, place = set(), 0
    for part in parts(tune.bars):
        ends |= {place + at for at, bar in enumerate(part) if bar.closes or at == len(part) - 1}
        place += len(part)
    return ends


def _divided(ticks: int, slots: Sequence[int]) -> list[tuple[int, int]]:
    """(at, ticks) of the slots that fit into a bar; what is left over goes to the last."""
    found, at = [], 0
    for slot in slots:
        if at < ticks:
            found.append((at, min(slot, ticks - at)))
            at += slot
    at, last = found[-1]
    return [*found[:-1], (at, max(last, ticks - at))]


def _heard(bar: Bar, at: int, ticks: int, metre: Metre) -> tuple[tuple[int, float], ...]:
    weights: dict[int, float] = {}
    for pitch, start, length in sounding([bar]):
        inside = min(start + length, at + ticks) - max(start, at)
        if pitch is not None and inside > 0:
            weight = inside * _stress(max(start, at) - at, metre)
            weights[pitch % 12] = weights.get(pitch % 12, 0.0) + weight
    total = sum(weights.values())
    return tuple((pitch, weight / total) for pitch, weight in sorted(weights.items()))


def _stress(at: int, metre: Metre) -> float:
    """How strongly a note is felt that begins so many ticks after its chord."""
    if at == 0:
        return 2.0
    return 1.3 if at % metre.beat_ticks == 0 else 0.8


def _path(slots: Sequence[_Slot], tune: Tune) -> list[int]:
    """The cheapest chord (its place in `_TRIADS`) for each slot."""
    states = range(len(_TRIADS[tune.key.mode]))
    costs = [_fit(slots[0], state, tune) + (_NOT_HOME_AT_START if state else 0.0) for state in states]
    back: list[list[int]] = []
    for before, slot in pairwise(slots):
        came = [min(states, key=lambda old: (costs[old] + _step(before, slot, old, new, tune), old)) for new in states]
        costs = [costs[came[new]] + _step(before, slot, came[new], new, tune) + _fit(slot, new, tune) for new in states]
        back.append(came)
    path = [min(states, key=lambda state: (costs[state], state))]
    for came in reversed(back):
        path.append(came[path[-1]])
    return path[::-1]


def _fit(slot: _Slot, state: int, tune: Tune) -> float:
    """What a chord costs over the melody of a slot, and at its place in the tune."""
    degree, quality, rarity = _TRIADS[tune.key.mode][state]
    chord = Chord(slot.bar, slot.at, slot.ticks, (tune.key.pitch_class + degree) % 12, quality)
    cost = rarity * 0.5 + _FIT * sum(weight * clash(pitch, chord) for pitch, weight in slot.heard)
    if slot.ends_part and state != 0:
        is_open = degree in _DOMINANTS[tune.key.mode]  # a part may stop on the dominant
        cost += _NOT_HOME_AT_END * (0.6 if is_open and slot.bar != len(tune.bars) - 1 else 1.0)
    return cost


def _step(before: _Slot, slot: _Slot, old: int, new: int, tune: Tune) -> float:
    """What going from one chord to another costs."""
    if slot.is_fresh:
        return 0.0
    triads, mode = _TRIADS[tune.key.mode], tune.key.mode
    if old == new:
        return 0.0 if before.bar == slot.bar else _STAY
    cost = _CHANGE_WITHIN_BAR if before.bar == slot.bar else _CHANGE
    cost += 0.15 if (triads[old][0] - triads[new][0]) % 12 not in (7, 5, 2, 10) else 0.0
    if slot.ends_part and before.bar == slot.bar and new == 0 and triads[old][0] in _DOMINANTS[mode]:
        cost -= _NO_CADENCE
    is_leading = new == 0 or triads[old][1:2] != ("major",) or triads[old][0] != 7
    return cost + (0.0 if is_leading else 0.15)
