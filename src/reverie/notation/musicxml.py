"""Tunes as MusicXML 4.0 (https://www.w3.org/2021/06/musicxml40/), which notation programs read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from reverie.notation.harmony import Chord
from reverie.notation.marks import MADE_BY, printable
from reverie.notation.order import numbers, upbeats
from reverie.notation.theory import STEPS, Key, at_pitch_class, signature, spelled
from reverie.notation.tune import QUARTER, Bar, Metre, Tune, parts
from reverie.notation.values import Written, written

BARS_A_LINE, HEADS_A_LINE = 4, 44
_DOCTYPE = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 4.0 '
    'Partwise//EN" "http://www.musicxml.org/dtds/partwise.dtd">\n'
)
_ACCIDENTALS = {-1: "flat", 0: "natural", 1: "sharp"}
_BEAT_UNITS = {192: "whole", 96: "half", 48: "quarter", 24: "eighth", 12: "16th"}
_CLOSES = {"repeat": "light-heavy", "double": "light-light", "final": "light-heavy"}


@dataclass
class _Accidentals:
    """What a reader takes each (step, octave) for at a place of a bar."""

    key: Key
    seen: dict[tuple[str, int], int] = field(default_factory=dict)
    held: int | None = None  # the pitch that a tie brings into the note

    def name(self, step: str, alter: int, octave: int, pitch: int) -> str:
        """The accidental that must be printed, "" if none."""
        if self.held == pitch:  # a tie needs no accidental, and what follows it does not learn from it
            return ""
        expected = self.seen.get((step, octave), signature(self.key.sharps)[step])
        self.seen[step, octave] = alter
        return "" if alter == expected else _ACCIDENTALS[alter]


@dataclass(frozen=True)
class _Plan:
    """What the bars of a tune look like, by their places: attributes of measures, where lines begin, and so on."""

    attributes: list[dict[str, str]]
    is_upbeat: list[bool]
    lines: set[int]
    opened: set[int]
    chords: dict[int, list[Chord]]


def to_musicxml(tune: Tune, chords: Sequence[Chord] = (), composer: str = MADE_BY) -> str:
    """A tune as a MusicXML 4.0 document, with chord symbols over it; the same tune gives the same text.

    chords: of `harmony.chords`. composer: printed under the title. The note that is `tune.notes[7]` has the id
    "n7" (and "n7-1", "n7-2" where ties make up its length). That an AI made it stands in rights and software.
    """
    score = Element("score-partwise", version="4.0")
    _head(score, tune, composer)
    part = SubElement(score, "part", id="P1")
    key = written_key(tune.key)
    accidentals, plan, first = _Accidentals(key), _plan(tune, chords), 0
    for place, bar in enumerate(tune.bars):
        measure = SubElement(part, "measure", plan.attributes[place])
        if place in plan.lines:
            SubElement(measure, "print", {"new-system": "yes"})
        _left(measure, tune.bars, place, place in plan.opened)
        if place == 0:
            _attributes(measure, tune)
            _tempo(measure, tune)
        heads = written(bar, tune.metre, plan.is_upbeat[place])
        is_whole = bar.ticks >= tune.metre.ticks
        _bar(measure, heads, first, plan.chords.get(place, ()), accidentals, is_whole=is_whole)
        _right(measure, tune.bars, place)
        accidentals = _Accidentals(key, held=_held(bar))
        first += len(bar.notes)
    indent(score)
    return _DOCTYPE + tostring(score, encoding="unicode") + "\n"


def written_key(key: Key) -> Key:
    """The key itself, or the same pitches with a signature of at most seven sharps or flats."""
    return key if abs(key.sharps) <= 7 else at_pitch_class(key.pitch_class, key.mode)


def chord_name(chord: Chord, key: Key) -> str:
    """A chord as it is printed: "F#m", "Bb", "Bdim"."""
    step, alter, _ = spelled(chord.root + 60, key)
    return step + {-1: "b", 0: "", 1: "#"}[alter] + {"major": "", "minor": "m", "diminished": "dim"}[chord.quality]


def _held(bar: Bar) -> int | None:
    return bar.notes[-1].pitch if bar.notes and bar.notes[-1].tied else None


def _text(parent: Element, tag: str, content: object, **attributes: str) -> Element:
    element = SubElement(parent, tag, attributes)
    element.text = str(content)
    return element


def _head(score: Element, tune: Tune, composer: str) -> None:
    _text(SubElement(score, "work"), "work-title", printable(tune.title))
    identification = SubElement(score, "identification")
    if composer:
        _text(identification, "creator", printable(composer), type="composer")
    _text(identification, "rights", f"{MADE_BY} (trainedAlgorithmicMedia)")
    _text(SubElement(identification, "encoding"), "software", "Reverie")
    _credits(score, tune, composer)
    part = SubElement(SubElement(score, "part-list"), "score-part", id="P1")
    _text(part, "part-name", "Melody", **{"print-object": "no"})


def _credits(score: Element, tune: Tune, composer: str) -> None:
    """What is printed over the music."""
    for kind, side, size, words in (("title", "center", "22", tune.title), ("composer", "right", "11", composer)):
        if printable(words):
            credit = SubElement(score, "credit", page="1")
            _text(credit, "credit-type", kind)
            layout = {"justify": side, "valign": "top", "font-size": size}
            _text(credit, "credit-words", printable(words), **layout)


def _line_starts(tune: Tune) -> set[int]:
    """Where new lines begin: with each part, after four whole bars, and before a line would become too dense."""
    starts, place = set(), 0
    for part in parts(tune.bars):
        starts.add(place)
        whole = heads = 0
        for bar in part:
            is_whole = bar.ticks >= tune.metre.ticks
            full = whole > 0 and is_whole and whole % BARS_A_LINE == 0 and bar.ending != 2
            if full or (heads > 0 and heads + len(bar.notes) > HEADS_A_LINE):
                starts.add(place)
                whole = heads = 0
            whole, heads, place = whole + is_whole, heads + len(bar.notes), place + 1
    return starts - {0}


def _plan(tune: Tune, chords: Sequence[Chord]) -> _Plan:
    by_bar: dict[int, list[Chord]] = {}
    lines, last = _line_starts(tune), None
    for chord in chords:
        name = (chord.root, chord.quality)
        if name != last or chord.bar in lines:  # what goes on is not said again, but on a new line
            by_bar.setdefault(chord.bar, []).append(chord)
        last = name
    return _Plan(list(_measures(tune)), upbeats(tune), lines, set(_opened(tune.bars)), by_bar)


def _measures(tune: Tune) -> Iterator[dict[str, str]]:
    """Bars are counted from 1. An upbeat is not: it is 0 before them, and nameless between them."""
    for place, (number, is_upbeat) in enumerate(zip(numbers(tune), upbeats(tune), strict=True)):
        if is_upbeat:
            yield {"number": "0" if place == 0 else f"X{place}", "implicit": "yes"}
        else:
            yield {"number": str(number)}


def _bar(
    measure: Element,
    heads: Sequence[Written],
    first: int,
    chords: Sequence[Chord],
    accidentals: _Accidentals,
    *,
    is_whole: bool,
) -> None:
    """Chord symbols and notes; first: the place of the bar's first note among all."""
    start = 0
    for head in heads:
        for chord in chords:
            if start <= chord.at < start + head.ticks:
                _harmony(measure, chord, accidentals.key, chord.at - start)
        fills_bar = head.pitch is None and len(heads) == 1 and is_whole
        _note(measure, head, f"n{first + head.note}", accidentals, fills_bar)
        start += head.ticks


def _attributes(measure: Element, tune: Tune) -> None:
    attributes = SubElement(measure, "attributes")
    _text(attributes, "divisions", QUARTER)
    key = SubElement(attributes, "key")
    _text(key, "fifths", written_key(tune.key).sharps)
    _text(key, "mode", tune.key.mode)
    time = SubElement(attributes, "time")
    _text(time, "beats", tune.metre.beats)
    _text(time, "beat-type", tune.metre.unit)
    clef = SubElement(attributes, "clef")
    _text(clef, "sign", "F" if _is_low(tune) else "G")
    _text(clef, "line", 4 if _is_low(tune) else 2)


def _is_low(tune: Tune) -> bool:
    """Whether a bass clef needs fewer ledger lines."""
    pitches = tune.pitches
    return bool(pitches) and sum(pitches) / len(pitches) < 57


def _tempo(measure: Element, tune: Tune) -> None:
    direction = SubElement(measure, "direction", placement="above")
    if tune.rhythm:
        words = printable(tune.rhythm)
        _text(SubElement(direction, "direction-type"), "words", words[:1].upper() + words[1:])
    metronome = SubElement(SubElement(direction, "direction-type"), "metronome")
    name, is_dotted = _beat(tune.metre)
    _text(metronome, "beat-unit", name)
    if is_dotted:
        SubElement(metronome, "beat-unit-dot")
    _text(metronome, "per-minute", tune.tempo_bpm)
    SubElement(direction, "sound", tempo=f"{tune.tempo_bpm * tune.metre.beat_ticks / QUARTER:g}")


def _beat(metre: Metre) -> tuple[str, bool]:
    if metre.beat_ticks in _BEAT_UNITS:
        return _BEAT_UNITS[metre.beat_ticks], False
    return _BEAT_UNITS[metre.beat_ticks * 2 // 3], True


def _harmony(measure: Element, chord: Chord, key: Key, offset: int) -> None:
    harmony = SubElement(measure, "harmony")
    step, alter, _ = spelled(chord.root + 60, written_key(key))
    root = SubElement(harmony, "root")
    _text(root, "root-step", step)
    if alter:
        _text(root, "root-alter", alter)
    text = {"major": "", "minor": "m", "diminished": "dim"}[chord.quality]
    _text(harmony, "kind", chord.quality, text=text)
    if offset:
        _text(harmony, "offset", offset)


def _note(measure: Element, head: Written, name: str, accidentals: _Accidentals, fills_bar: bool) -> None:
    element = SubElement(measure, "note", id=name if head.piece == 0 else f"{name}-{head.piece}")
    accidental = _pitch(element, head.pitch, accidentals, fills_bar)
    _text(element, "duration", head.ticks)
    came_tied = head.pitch is not None and accidentals.held == head.pitch
    for kind, applies in (("stop", came_tied), ("start", head.tied)):
        if applies:
            SubElement(element, "tie", type=kind)
    accidentals.held = head.pitch if head.tied else None
    if not fills_bar:
        _value(element, head, accidental)
    _notations(element, head, came_tied)


def _pitch(element: Element, pitch: int | None, accidentals: _Accidentals, fills_bar: bool) -> str:
    """Writes the pitch or a rest; gives the accidental that must be printed."""
    if pitch is None:
        SubElement(element, "rest", {"measure": "yes"} if fills_bar else {})
        return ""
    step, alter, octave = spelled(pitch, accidentals.key)
    assert step in STEPS
    inner = SubElement(element, "pitch")
    _text(inner, "step", step)
    if alter:
        _text(inner, "alter", alter)
    _text(inner, "octave", octave)
    return accidentals.name(step, alter, octave, pitch)


def _value(element: Element, head: Written, accidental: str) -> None:
    _text(element, "voice", 1)
    _text(element, "type", head.type)
    for _ in range(head.dots):
        SubElement(element, "dot")
    if accidental:
        _text(element, "accidental", accidental)
    if head.triplet:
        change = SubElement(element, "time-modification")
        _text(change, "actual-notes", 3)
        _text(change, "normal-notes", 2)
    for number, beam in enumerate(head.beams, start=1):
        _text(element, "beam", beam, number=str(number))


def _notations(element: Element, head: Written, came_tied: bool) -> None:
    marks = [("tied", kind) for kind, applies in (("stop", came_tied), ("start", head.tied)) if applies]
    if head.tuplet:
        marks.append(("tuplet", head.tuplet))
    if marks:
        notations = SubElement(element, "notations")
        for tag, kind in marks:
            SubElement(notations, tag, type=kind)


def _opened(bars: Sequence[Bar]) -> Iterator[int]:
    """The bars to which a repeat goes back; the first bar needs no sign."""
    start = 0
    for place, bar in enumerate(bars):
        start = place if bar.opens else start
        if bar.opens or (bar.closes == "repeat" and bar.ending != 2 and start > 0):
            yield start
        start = place + 1 if bar.closes else start


def _left(measure: Element, bars: Sequence[Bar], place: int, opens: bool) -> None:
    ending = _ending(bars, place, "start")
    if not opens and not ending:
        return
    line = SubElement(measure, "barline", location="left")
    if opens:
        _text(line, "bar-style", "heavy-light")
    if ending:
        _text(line, "ending", f"{ending}.", number=str(ending), type="start")
    if opens:
        SubElement(line, "repeat", direction="forward")


def _right(measure: Element, bars: Sequence[Bar], place: int) -> None:
    bar, ending = bars[place], _ending(bars, place, "stop")
    if not bar.closes and not ending:
        return
    line = SubElement(measure, "barline", location="right")
    repeats = bar.closes == "repeat" and bar.ending != 2  # a second ending goes on, whatever its line looks like
    is_last = place == len(bars) - 1
    if bar.closes:
        style = "light-light" if bar.closes == "repeat" and not repeats and not is_last else _CLOSES[bar.closes]
        _text(line, "bar-style", style)
    if ending:
        SubElement(line, "ending", number=str(ending), type="stop" if bar.closes else "discontinue")
    if repeats:
        SubElement(line, "repeat", direction="backward")


def _ending(bars: Sequence[Bar], place: int, side: str) -> int:
    """The ending that starts (or stops) with a bar, else 0."""
    bar = bars[place]
    if side == "start":
        before = bars[place - 1] if place > 0 else None
        goes_on = before is not None and before.ending == bar.ending and not before.closes
    else:
        after = bars[place + 1] if place + 1 < len(bars) else None
        goes_on = after is not None and after.ending == bar.ending and not bar.closes
    return 0 if goes_on else bar.ending
