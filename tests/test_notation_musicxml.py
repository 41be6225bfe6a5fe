"""Scores say what tunes say: pitches, lengths, repeats, accidentals and beams, read back by music21."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any
from xml.etree import ElementTree

import music21
import pytest
from hypothesis import given, settings

from reverie.notation.abc import from_abc
from reverie.notation.harmony import chords
from reverie.notation.musicxml import to_musicxml
from reverie.notation.theory import Key
from reverie.notation.tune import QUARTER, Bar, Metre, Note, Tune, unfolded
from reverie.notation.words import num_bars
from tunes import jig, line, scale, tunes, twinkle, wild_tunes


def parsed(tune: Tune) -> Any:
    return music21.converter.parseData(to_musicxml(tune, chords(tune)), format="musicxml")


def notes_of(score: Any) -> list[tuple[int | None, Fraction]]:
    """(pitch, quarters) of each note and rest; what is tied is one."""
    found: list[tuple[int | None, Fraction]] = []
    held = False
    for each in score.recurse().notesAndRests:
        if isinstance(each, music21.harmony.Harmony):
            continue
        pitch = None if each.isRest else each.pitch.midi
        quarters = Fraction(each.duration.quarterLength).limit_denominator(1000)
        if held:
            found[-1] = (pitch, found[-1][1] + quarters)
        else:
            found.append((pitch, quarters))
        held = each.tie is not None and each.tie.type in ("start", "continue")
    return found


def written(tune: Tune) -> list[tuple[int | None, Fraction]]:
    found: list[tuple[int | None, Fraction]] = []
    held = False
    for note in tune.notes:
        quarters = Fraction(note.ticks, QUARTER)
        if held:
            found[-1] = (note.pitch, found[-1][1] + quarters)
        else:
            found.append((note.pitch, quarters))
        held = note.tied
    return found


def elements(tune: Tune, path: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(to_musicxml(tune)).findall(path)


def one_bar(*notes: Note, key: Key = Key("C"), metre: Metre = Metre(4, 4)) -> Tune:  # noqa: B008
    return Tune("", "", metre, key, (Bar(notes),))


@settings(max_examples=40, deadline=None)
@given(tunes(4))
def test_another_program_reads_the_same_pitches_and_lengths(tune: Tune) -> None:
    assert notes_of(parsed(tune)) == written(tune)


@settings(max_examples=100, deadline=None)
@given(wild_tunes())
def test_any_tune_is_well_formed_and_adds_up(tune: Tune) -> None:
    root = ElementTree.fromstring(to_musicxml(tune))
    for bar, measure in zip(tune.bars, root.findall("part/measure"), strict=True):
        assert sum(int(each.text or 0) for each in measure.findall("note/duration")) == bar.ticks


@pytest.mark.parametrize(
    ("key", "sharps"), [(Key("F#", "minor"), 3), (Key("E", "dorian"), 2), (Key("A", "mixolydian"), 2), (Key("Bb"), -2)]
)
def test_the_key_and_its_mode_are_given(key: Key, sharps: int) -> None:
    tune = one_bar(Note(60, 192), key=key)
    (signature,) = elements(tune, "part/measure/attributes/key")
    assert signature.findtext("fifths") == str(sharps)
    assert signature.findtext("mode") == key.mode


def test_accidentals_are_printed_where_they_are_needed() -> None:
    """In G major: F natural, again (not printed), F sharp; in the next bar it is sharp of itself."""
    bars = (Bar((Note(65, 48), Note(65, 48), Note(66, 48), Note(77, 48))), Bar((Note(66, 48), Note(67, 144))))
    found = elements(Tune("", "", Metre(4, 4), Key("G"), bars), "part/measure/note")
    assert [note.findtext("accidental") for note in found] == ["natural", None, "sharp", "natural", None, None]


def test_the_leading_note_of_f_sharp_minor_is_e_sharp() -> None:
    steps = [(p.findtext("step"), p.findtext("alter")) for p in elements(scale(), "part/measure/note/pitch")]
    assert steps[6] == ("E", "1")
    assert ("D", None) in steps


def test_a_tie_over_a_bar_line_needs_no_accidental_and_teaches_none() -> None:
    bars = (Bar((Note(65, 192, tied=True),)), Bar((Note(65, 48), Note(65, 144))))
    found = elements(Tune("", "", Metre(4, 4), Key("G"), bars), "part/measure/note")
    assert [note.findtext("accidental") for note in found] == ["natural", None, "natural"]


def test_eighths_of_a_jig_are_beamed_in_threes_and_of_a_reel_in_fours() -> None:
    def groups(tune: Tune) -> list[int]:
        beams = [each.text for each in elements(tune, "part/measure/note/beam[@number='1']")]
        return [len(run) + 2 for run in re.findall("b(c*)e", "".join(str(beam)[0] for beam in beams))]

    eighths = tuple(Note(60, 24) for _ in range(6))
    assert groups(one_bar(*eighths, metre=Metre(6, 8))) == [3, 3]
    assert groups(one_bar(*eighths, metre=Metre(3, 4))) == [2, 2, 2]
    assert groups(one_bar(*eighths, Note(60, 24), Note(60, 24))) == [4, 4]
    assert groups(one_bar(*(Note(60, 12) for _ in range(16)))) == [4, 4, 4, 4]


def test_a_triplet_has_its_bracket_and_its_values() -> None:
    tune = one_bar(*(Note(60, 16) for _ in range(3)), Note(60, 144))
    found = elements(tune, "part/measure/note")
    assert [note.findtext("type") for note in found] == ["eighth", "eighth", "eighth", "half"]
    assert [note.findtext("time-modification/actual-notes") for note in found] == ["3", "3", "3", None]
    assert [each.get("type") for each in elements(tune, "part/measure/note/notations/tuplet")] == ["start", "stop"]


def test_a_length_without_a_value_of_its_own_is_tied_on_the_beat() -> None:
    found = elements(one_bar(Note(60, 24), Note(60, 120), Note(60, 48)), "part/measure/note")
    assert [int(note.findtext("duration", "")) for note in found] == [24, 72, 48, 48]
    assert [[tie.get("type") for tie in note.findall("tie")] for note in found] == [[], ["start"], ["stop"], []]


def test_upbeats_repeats_and_endings_are_marked() -> None:
    measures = elements(jig(), "part/measure")
    assert [measure.get("number") for measure in measures[:3]] == ["0", "1", "2"]
    assert measures[0].get("implicit") == "yes"
    repeats = [(at, each.get("direction")) for at, m in enumerate(measures) for each in m.findall("barline/repeat")]
    assert repeats == [(8, "backward"), (9, "forward"), (17, "backward")]
    endings = [
        (at, e.get("number"), e.get("type")) for at, m in enumerate(measures) for e in m.findall("barline/ending")
    ]
    assert endings == [(16, "1", "start"), (17, "1", "stop"), (18, "2", "start"), (19, "2", "stop")]


def test_an_upbeat_and_the_short_bar_before_it_are_one_measure() -> None:
    tune = from_abc("X:1\nM:3/4\nL:1/4\nK:G\nD|GAB|GG:|\n|:D|GAB|1 GG:|2 GG|]")
    measures = [(m.get("number"), m.get("implicit")) for m in elements(tune, "part/measure")]
    assert measures == [
        ("0", "yes"), ("1", None), ("2", None), ("X3", "yes"), ("3", None), ("4", None), ("5", None)
    ]  # fmt: skip
    assert int(measures[-1][0] or 0) == num_bars(tune)


def test_another_program_plays_the_repeats_as_we_do() -> None:
    played = [bar.ticks for bar in unfolded(jig().bars)]
    expanded = parsed(jig()).parts[0].expandRepeats()
    lengths = [round(measure.duration.quarterLength * QUARTER) for measure in expanded.getElementsByClass("Measure")]
    assert lengths == played


def test_a_repeat_without_a_beginning_goes_back_to_the_double_line() -> None:
    bars = (Bar(line("d6")), Bar(line("e6"), closes="double"), Bar(line("f6")), Bar(line("g6"), closes="repeat"))
    measures = elements(Tune("", "", Metre(6, 8), Key("D"), bars), "part/measure")
    assert [
        at for at, measure in enumerate(measures) for each in measure.findall("barline/repeat[@direction='forward']")
    ] == [2]


def test_chord_symbols_stand_over_the_notes() -> None:
    tune = twinkle()
    symbols = parsed(tune).recurse().getElementsByClass("ChordSymbol")
    assert [symbol.figure for symbol in symbols][:3] == ["C", "F", "C"]


def test_who_made_it_is_told() -> None:
    root = ElementTree.fromstring(to_musicxml(jig()))
    assert "generative model" in root.findtext("identification/rights", "")
    assert root.findtext("identification/encoding/software") == "Reverie"
    assert root.findtext("work/work-title") == "The Lively Test"


def test_a_title_cannot_break_the_document() -> None:
    root = ElementTree.fromstring(to_musicxml(Tune("</work>\x00\ud800 & <b>", "", Metre(4, 4), Key("C"), (Bar(()),))))
    assert "</work>" in root.findtext("work/work-title", "")
