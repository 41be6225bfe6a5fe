"""Keys: their signatures, the spelling of notes in them, and which key a tune is heard in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reverie.types import ReverieError

FIFTHS = "FCGDAEB"  # the line of fifths; sharps come in this order
STEPS = "CDEFGAB"
NATURAL = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}  # semitones above C
MODES = {"major": 0, "lydian": 1, "mixolydian": -1, "dorian": -2, "minor": -3, "phrygian": -4, "locrian": -5}
SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "locrian": (0, 1, 3, 5, 6, 8, 10),
}
ACCIDENTALS = {"": 0, "#": 1, "b": -1}

# How well each semitone above the tonic fits: Krumhansl and Kessler (1982), the probe-tone profiles.
PROFILES = {
    "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
}


@dataclass(frozen=True)
class Key:
    """A tonic ("D", "F#", "Bb") and one of `MODES`."""

    tonic: str
    mode: str = "major"

    def __post_init__(self) -> None:
        step, accidental = self.tonic[:1], self.tonic[1:]
        if step not in NATURAL or not step or accidental not in ACCIDENTALS or self.mode not in MODES:
            raise ReverieError(
                f"There is no key {self.tonic[:20]!r} {self.mode[:20]!r}: write D, F# or Bb, and a mode."
            )

    @property
    def pitch_class(self) -> int:
        """Of the tonic: 0 is C."""
        return (NATURAL[self.tonic[0]] + ACCIDENTALS[self.tonic[1:]]) % 12

    @property
    def sharps(self) -> int:
        """In its signature; flats are negative."""
        return FIFTHS.index(self.tonic[0]) - 1 + 7 * ACCIDENTALS[self.tonic[1:]] + MODES[self.mode]

    @property
    def scale(self) -> tuple[int, ...]:
        """Pitch classes, from the tonic up."""
        return tuple((self.pitch_class + step) % 12 for step in SCALES[self.mode])

    @property
    def has_minor_third(self) -> bool:
        """Whether it sounds like minor rather than major."""
        return 3 in SCALES[self.mode]

    def __str__(self) -> str:
        return f"{self.tonic} {self.mode}"


def neighbours(key: Key) -> tuple[Key, Key]:
    """The keys that a tune in this one is most often taken for: the dominant's, and the relative minor or major."""
    relative = (3, "major") if key.has_minor_third else (9, "minor")
    found = ((7, key.mode), relative)
    dominant, other = (at_pitch_class((key.pitch_class + above) % 12, mode) for above, mode in found)
    return dominant, other


def signature(sharps: int) -> dict[str, int]:
    """What a signature makes of each step: {"F": 1, "C": 1, "D": 0, ...}."""
    raised = FIFTHS[: max(sharps, 0)]
    lowered = FIFTHS[len(FIFTHS) - max(-sharps, 0) :]
    return {step: (step in raised) - (step in lowered) for step in STEPS}


def spelled(pitch: int, key: Key) -> tuple[str, int, int]:
    """(step, alteration, octave) of a MIDI pitch as one writes it in a key; middle C is ("C", 0, 4).

    Of all spellings the one nearest to the middle of the key's scale on the line of fifths, which is its signature's.
    """
    near = min(
        (abs(place - key.sharps - 2.1), step, alter)
        for at, step in enumerate(FIFTHS)
        for alter in (-1, 0, 1)
        if (NATURAL[step] + alter - pitch) % 12 == 0
        for place in (at - 1 + 7 * alter,)
    )
    _, step, alter = near
    return step, alter, (pitch - alter - NATURAL[step]) // 12 - 1


def at_pitch_class(pitch_class: int, mode: str) -> Key:
    """The key on a pitch class (0 is C) with the smallest signature; F# rather than Gb."""
    keys = [
        Key(step + accidental, mode)
        for step in STEPS
        for accidental, alter in ACCIDENTALS.items()
        if (NATURAL[step] + alter - pitch_class) % 12 == 0
    ]
    return min(keys, key=lambda key: (abs(key.sharps), -key.sharps))


def heard_key(weights: Sequence[float]) -> Key:
    """The major or minor key that fits best what is heard: the weight of each pitch class (12,), by duration.

    Krumhansl and Schmuckler's algorithm: the highest correlation with one of `PROFILES`, turned to each tonic.
    """
    if len(weights) != 12 or not any(weights):
        raise ReverieError("No key can be heard where no note sounds: give a tune with notes.")
    best = max(
        (
            (correlation(weights, turned(profile, tonic)), -tonic, mode)
            for mode, profile in PROFILES.items()
            for tonic in range(12)
        ),
    )
    return at_pitch_class(-best[1], best[2])


def turned(profile: Sequence[float], tonic: int) -> list[float]:
    """A profile, which counts from its tonic, by pitch classes (12,)."""
    return [profile[(pitch - tonic) % 12] for pitch in range(12)]


def correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Pearson's, from -1 to 1; 0 where one of them does not change."""
    a_mean, b_mean = sum(a) / len(a), sum(b) / len(b)
    above = sum((x - a_mean) * (y - b_mean) for x, y in zip(a, b, strict=True))
    below = sum((x - a_mean) ** 2 for x in a) * sum((y - b_mean) ** 2 for y in b)
    return above / below**0.5 if below else 0.0
