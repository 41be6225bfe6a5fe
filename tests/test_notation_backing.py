"""Chords that a musician would pick, and an accompaniment that goes with the tune."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from reverie.notation.backing import backing
from reverie.notation.harmony import chords, clash
from reverie.notation.musicxml import chord_name
from reverie.notation.theory import Key
from reverie.notation.tune import Bar, Metre, Tune, sounding, unfolded
from tunes import C_MAJOR, jig, line, tunes, twinkle, wild_tunes


def names(tune: Tune) -> list[str]:
    """The chords of each bar: "C", "G-C"."""
    found = chords(tune)
    return ["-".join(chord_name(c, tune.key) for c in found if c.bar == at) for at in range(len(tune.bars))]


def written(bars: list[str], key: Key, metre: Metre, rhythm: str = "", bpm: int = 110) -> Tune:
    steps = dict(zip("CDEFGABcdefgab", (60, 62, 64, 65, 67, 69, 71, 72, 74, 76, 77, 79, 81, 83), strict=True))
    raised = {step: pitch + (step.upper() in "FCGDAEB"[: max(0, key.sharps)]) for step, pitch in steps.items()}
    whole = [Bar(line(bar, raised)) for bar in bars]
    return Tune("", rhythm, metre, key, (*whole[:-1], Bar(whole[-1].notes, closes="final")), bpm)


def test_a_nursery_tune_gets_the_chords_of_the_books() -> None:
    assert names(twinkle()) == ["C", "F-C", "F-C", "G-C"]


def test_a_jig_in_d_has_three_chords_and_ends_at_home() -> None:
    found = names(jig())
    assert found[0] == ""  # the upbeat has none
    assert {found[at] for at in (1, 3, 8, 10)} == {"D"}
    assert found[7].startswith(("A", "G", "Em"))
    assert [found[at][-1] for at in (8, 17, 19)] == ["D", "D", "D"]  # at the end of each part


def test_a_dorian_reel_goes_between_its_tonic_and_the_chord_below() -> None:
    """Drowsy Maggie (traditional)."""
    bars = ["E2 B E d E B E", "E2 B E A F D F", "E2 B E d E B E", "B A B c d A F E"]
    found = "-".join(names(written(bars, Key("E", "dorian"), Metre(4, 4)))).split("-")
    assert set(found) <= {"Em", "D", "Bm"}
    assert found[:3] == ["Em", "Em", "D"]


def test_a_minor_tune_has_a_major_dominant_where_it_is_raised() -> None:
    tune = written(["A4 c2", "d2 e4", "B4 z2", "A6"], Key("A", "minor"), Metre(3, 4))
    raised = Bar(line("G6", {"G": 68}))
    assert names(Tune("", "", tune.metre, tune.key, (*tune.bars[:2], raised, tune.bars[3])))[2:] == ["E", "Am"]


def test_a_mixolydian_tune_has_the_chord_of_its_flat_seventh() -> None:
    tune = written(["A2 c2 e4", "g2 d2 B4", "A2 c2 e4", "g2 B2 A4"], Key("A", "mixolydian"), Metre(4, 4))
    assert names(tune)[:2] == ["A", "G"]
    assert names(tune)[3].endswith("A")


@settings(max_examples=60, deadline=None)
@given(tunes())
def test_each_whole_bar_is_filled_with_chords_and_no_upbeat_is(tune: Tune) -> None:
    found = chords(tune)
    for place, bar in enumerate(tune.bars):
        mine = [chord for chord in found if chord.bar == place]
        if place == 0 and bar.ticks < tune.metre.ticks:
            assert not mine
        else:
            assert sum(chord.ticks for chord in mine) == bar.ticks
            assert mine[0].at == 0
    assert found == chords(tune)


@settings(max_examples=60, deadline=None)
@given(wild_tunes())
def test_nothing_is_played_outside_the_tune(tune: Tune) -> None:
    end = sum(bar.ticks for bar in unfolded(tune.bars))
    for part in backing(tune, chords(tune)):
        assert all(note.start >= 0 and note.ticks > 0 and note.start + note.ticks <= end for note in part.notes)
        assert all(28 <= note.pitch <= 84 and 1 <= note.velocity <= 127 for note in part.notes)


def test_long_notes_of_the_melody_agree_with_their_chords() -> None:
    tune = jig()
    for chord in chords(tune):
        at = chord.at
        for pitch, start, ticks in sounding([tune.bars[chord.bar]]):
            if pitch is not None and ticks >= 72 and start == at:
                assert clash(pitch % 12, chord) == 0


@pytest.mark.parametrize(
    ("metre", "rhythm", "bass", "strums"),
    [
        ((6, 8), "jig", [0, 72], [24, 48, 96, 120]),
        ((9, 8), "slip jig", [0, 72, 144], [24, 48, 96, 120, 168, 192]),
        ((4, 4), "reel", [0, 96], [48, 72, 144, 168]),
        ((3, 4), "waltz", [0], [48, 96]),
        ((2, 4), "polka", [0, 48], [24, 72]),
        ((2, 2), "march", [0, 96], [48, 144]),
    ],
)
def test_the_pattern_is_the_dance(metre: tuple[int, int], rhythm: str, bass: list[int], strums: list[int]) -> None:
    beats, unit = metre
    tune = Tune("", rhythm, Metre(*metre), Key("C"), (Bar(line("C", C_MAJOR, beats * 192 // unit)),))
    low, high = backing(tune, chords(tune))
    assert [note.start for note in low.notes] == bass
    assert sorted({note.start - note.start % 24 for note in high.notes}) == strums


def test_a_bass_plays_the_root_and_then_the_fifth() -> None:
    tune = written(["C8", "C8"], Key("C"), Metre(4, 4))
    low, _ = backing(tune, chords(tune))
    assert [note.pitch % 12 for note in low.notes] == [0, 7, 0, 7]


def test_an_air_is_plucked() -> None:
    tune = written(["C2 E2 G2", "E6"], Key("C"), Metre(3, 4), "air")
    names_of = [part.name for part in backing(tune, chords(tune))]
    assert names_of == ["Bass", "Harp"]


def test_no_third_rubs_against_the_melody() -> None:
    """F over C: the guitar leaves its E out."""
    tune = written(["C6 F2", "C8"], Key("C"), Metre(4, 4))
    _, high = backing(tune, chords(tune))
    assert 4 not in {note.pitch % 12 for note in high.notes if 144 <= note.start < 192}
    assert 4 in {note.pitch % 12 for note in high.notes if 0 <= note.start < 144}
