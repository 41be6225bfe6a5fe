"""ABC: what it reads, that what it writes is read again the same, and what it refuses."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tunes as examples
from reverie.notation.abc import from_abc, read_key, to_abc
from reverie.notation.abc import tunes as split
from reverie.notation.theory import Key
from reverie.notation.tune import QUARTER, Tune, unfolded
from reverie.types import ReverieError

EIGHTH = QUARTER // 2


def read(notes: str, head: str = "M:6/8\nL:1/8\nK:D") -> Tune:
    return from_abc(f"X:1\nT:A Test\n{head}\n{notes}")


def pitches(notes: str, head: str = "M:4/4\nL:1/8\nK:C") -> list[int | None]:
    return [note.pitch for note in read(notes, head).notes]


def lengths(notes: str, head: str = "M:4/4\nL:1/8\nK:C") -> list[int]:
    return [note.ticks for note in read(notes, head).notes]


def test_letters_octaves_and_accidentals_are_pitches() -> None:
    assert pitches("C, C c c' z ^F _B =B") == [48, 60, 72, 84, None, 66, 70, 71]


def test_an_accidental_holds_to_the_bar_line_in_its_octave() -> None:
    assert pitches("^F F f F | F") == [66, 66, 77, 66, 65]


@pytest.mark.parametrize(
    ("key", "expected"),
    [("D", 66), ("Em", 66), ("G dorian", 65), ("Amix", 66), ("F", 65), ("HP", 66), ("Bb major", 65), ("none", 65)],
)
def test_a_key_alters_its_notes(key: str, expected: int) -> None:
    assert pitches("F", f"M:4/4\nL:1/8\nK:{key}") == [expected]


def test_lengths_are_multiples_and_fractions_of_the_unit() -> None:
    assert lengths("C2 C/ C// C3/2 C3/4 C/4") == [48, 12, 6, 36, 18, 6]


def test_broken_rhythm_moves_length_from_one_note_to_the_other() -> None:
    assert lengths("C>D C<D C>>D C2>D2") == [36, 12, 12, 36, 42, 6, 72, 24]


def test_tuplets_are_shorter() -> None:
    assert lengths("(3CDE (3:2:2C2D (3C2D2E2 G") == [16, 16, 16, 32, 16, 32, 32, 32, 24]


def test_the_unit_follows_from_the_metre_where_nothing_says() -> None:
    assert lengths("C", "M:2/4\nK:C") == [12]
    assert lengths("C", "M:3/4\nK:C") == [24]


def test_what_is_no_melody_is_passed_over() -> None:
    tune = read('"Am"!trill!A ~B {cd}e u(fg) .a- a | [CEG]2 y "^slowly" c4 % a remark\nw:words of a song\n')
    assert [note.pitch for note in tune.notes] == [69, 71, 76, 78, 79, 81, 81, 67, 73]
    assert [note.tied for note in tune.notes][5:7] == [True, False]


def test_repeats_and_endings_are_played_as_written() -> None:
    tune = read("|:A6|B6|1 c6:|2 d6||e6|]")
    assert [bar.notes[0].pitch for bar in unfolded(tune.bars)] == [69, 71, 73, 69, 71, 74, 76]


@pytest.mark.parametrize("notes", ["A6::B6:|", "|:A6:||:B6:|", "|:A6:|:B6:|", "A6:: B6 :|"])
def test_double_repeats_have_many_spellings(notes: str) -> None:
    assert [bar.notes[0].pitch for bar in unfolded(read(notes).bars)] == [69, 69, 71, 71]


def test_bars_go_on_over_the_ends_of_lines() -> None:
    assert [len(bar.notes) for bar in read("ABc\nded | fga\\\nbaf |]").bars] == [6, 6]


def test_a_file_of_many_has_each_from_its_number_on() -> None:
    assert len(list(split("% a book\nX:1\nT:One\nK:C\nC\n\nX:2\nT:Two\nK:D\nD\n"))) == 2


def test_titles_are_read_as_they_are_said() -> None:
    assert from_abc("X:1\nT:Kesh, The\nK:C\nC").title == "The Kesh"


@pytest.mark.parametrize("make", [examples.jig, examples.twinkle, examples.scale])
def test_known_tunes_come_back_the_same(make: object) -> None:
    tune: Tune = make()  # type: ignore[operator]
    again = from_abc(to_abc(tune))
    assert (again.bars, again.key, again.metre, again.tempo_bpm) == (tune.bars, tune.key, tune.metre, tune.tempo_bpm)


@given(examples.tunes())
@settings(max_examples=60, deadline=None)
def test_every_tune_comes_back_the_same(tune: Tune) -> None:
    again = from_abc(to_abc(tune))
    assert [(bar.notes, bar.closes, bar.ending) for bar in again.bars] == [
        (bar.notes, bar.closes, bar.ending) for bar in tune.bars
    ]


@given(st.text(max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_text_is_a_tune_or_a_clear_error(text: str) -> None:
    with suppress(ReverieError):
        assert from_abc("X:1\nK:C\n" + text).bars


@given(st.text("abcABC|:[]()123456789/><-^_=z'\" \n{}!&,%XKML", max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_heap_of_its_own_signs_is_a_tune_or_a_clear_error(text: str) -> None:
    try:
        tune = from_abc("X:1\nM:4/4\nL:1/8\nK:C\n" + text)
    except ReverieError:
        return
    assert from_abc(to_abc(tune)).notes == tune.notes


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no note"),
        ("X:1\nK:C\n", "no note"),
        ("X:1\nK:C\nz4|z4|]", "no note"),
        ("X:1\nM:6/8\nK:C\nABc|\nM:4/4\nABcd|", "metre"),
        ("X:1\nM:7/0\nK:C\nA", "metre"),
        ("X:1\nM:999/8\nK:C\nA", "metre"),
        ("X:1\nL:0\nK:C\nA", "length"),
        ("X:1\nK:C\nA & B|", "voices"),
        ("X:1\nK:C\nV:1\nA|\nV:2\nB|", "voices"),
        ("X:1\nK:C\nc''''''", "piano"),
        ("X:1\nK:C\nA7/11", "length"),
        ("X:1\nK:C\nA999999999", "length"),
        ("X:1\nK:C\n" + "A" * 100_001, "characters"),
    ],
)
def test_what_cannot_be_read_says_why(text: str, says: str) -> None:
    with pytest.raises(ReverieError, match=says):
        from_abc(text)


@pytest.mark.parametrize(
    ("text", "key"),
    [("D", Key("D")), ("f#m", Key("F#", "minor")), ("Bb", Key("Bb")), ("A dorian", Key("A", "dorian")),
     ("E♭ major", Key("Eb")), ("Gmix", Key("G", "mixolydian")), ("H", Key("B")), ("Hm", Key("B", "minor"))],
)  # fmt: skip
def test_keys_are_read_as_people_write_them(text: str, key: Key) -> None:
    assert read_key(text) == key


@pytest.mark.parametrize("text", ["", "I", "HP", "D##", "A nonsense", "major", "D major or minor"])
def test_a_key_that_is_none_says_so(text: str) -> None:
    with pytest.raises(ReverieError, match="no key"):
        read_key(text)
