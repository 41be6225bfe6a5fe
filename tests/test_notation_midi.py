"""Tunes survive a MIDI file, and a stranger's file gives a tune or one clear sentence."""

from __future__ import annotations

import io
import random
import struct
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import mido
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reverie.notation.backing import backing
from reverie.notation.harmony import chords
from reverie.notation.listen import from_midi
from reverie.notation.midi import read_midi_record, to_midi
from reverie.notation.theory import Key
from reverie.notation.tune import Bar, Metre, Note, Tune, sounding, unfolded
from reverie.types import ReverieError
from tunes import jig, tunes, twinkle, wild_tunes

Played = list[tuple[int, int, int]]


def messages(data: bytes) -> list[Any]:
    return [message for track in mido.MidiFile(file=io.BytesIO(data)).tracks for message in track]


def played(tune: Tune) -> Played:
    """(pitch, start, ticks) as a tune is played; its first note begins at 0."""
    heard = [(pitch, at, ticks) for pitch, at, ticks in sounding(unfolded(tune.bars)) if pitch is not None]
    return [(pitch, at - heard[0][1], ticks) for pitch, at, ticks in heard]


def file_of(*events: tuple[int, Any], division: int = 480, kind: int = 0) -> bytes:
    """A file with one track of (delta ticks, message)."""
    file = mido.MidiFile(type=kind, ticks_per_beat=division)
    file.tracks.append(mido.MidiTrack([message.copy(time=delta) for delta, message in events]))
    sink = io.BytesIO()
    file.save(file=sink)
    return sink.getvalue()


def melody(notes: list[tuple[int, int, int]], *signs: Any, division: int = 480) -> bytes:
    """A file of (pitch, start, end) in ticks of the file."""
    events = [(start, 1, mido.Message("note_on", note=pitch, velocity=80)) for pitch, start, _ in notes]
    events += [(end, 0, mido.Message("note_off", note=pitch)) for pitch, _, end in notes]
    events.sort(key=lambda event: event[:2])
    times = [0, *(at for at, _, _ in events)]
    deltas = [after - before for before, after in pairwise(times)]
    return file_of(
        *((0, sign) for sign in signs),
        *((delta, message) for delta, (_, _, message) in zip(deltas, events, strict=True)),
        division=division,
    )


def time_signature(beats: int, unit: int) -> Any:
    return mido.MetaMessage("time_signature", numerator=beats, denominator=unit)


def test_a_tune_with_its_backing_comes_back() -> None:
    tune = jig()
    read = from_midi(to_midi(tune, backing(tune, chords(tune))))
    assert played(read) == played(tune)
    assert (read.title, read.metre, read.key, read.tempo_bpm) == (tune.title, tune.metre, tune.key, tune.tempo_bpm)
    assert read.bars[0].ticks == tune.bars[0].ticks


def without_rests(tune: Tune) -> Tune:
    """A rest right after a note could as well be a short note."""
    whole = tuple(Bar(tuple(Note(60 if n.pitch is None else n.pitch, n.ticks) for n in bar.notes)) for bar in tune.bars)
    return Tune("", "", tune.metre, tune.key, whole, tune.tempo_bpm)


@settings(max_examples=60, deadline=None)
@given(tunes(5).map(without_rests))
def test_every_tune_comes_back_note_for_note(tune: Tune) -> None:
    assert played(from_midi(to_midi(tune))) == played(tune)


@pytest.mark.parametrize("mode", ["major", "minor", "dorian", "mixolydian"])
def test_the_key_comes_back(mode: str) -> None:
    key = Key("D", mode)
    steps = [key.scale[at] - key.scale[0] for at in (0, 2, 4, 0, 1, 3, 0, 0)]
    tune = Tune("", "", Metre(4, 4), key, (Bar(tuple(Note(62 + step % 12, 24) for step in steps)),))
    assert from_midi(to_midi(tune)).key == key


def test_repeats_are_played_twice() -> None:
    bars = (Bar((Note(60, 192),), closes="repeat"), Bar((Note(62, 192),), closes="final"))
    found = [m.note for m in messages(to_midi(Tune("", "", Metre(4, 4), Key("C"), bars))) if m.type == "note_on"]
    assert found == [60, 60, 62]


@settings(max_examples=20, deadline=None)
@given(tunes(4))
def test_the_file_lasts_as_long_as_the_tune(tune: Tune) -> None:
    file = mido.MidiFile(file=io.BytesIO(to_midi(tune, backing(tune, chords(tune)))))
    assert file.length == pytest.approx(tune.seconds(), rel=1e-4)


@settings(max_examples=40, deadline=None)
@given(wild_tunes())
def test_anything_that_is_a_tune_can_be_played(tune: Tune) -> None:
    data = to_midi(tune, backing(tune, chords(tune)), record={"title": tune.title})
    assert read_midi_record(data) == {"title": tune.title}


def test_what_is_struck_is_let_go() -> None:
    sounding_now: dict[tuple[int, int], int] = {}
    for message in mido.MidiFile(file=io.BytesIO(to_midi(jig(), backing(jig(), chords(jig()))))):
        if message.type in ("note_on", "note_off"):
            key = (message.channel, message.note)
            sounding_now[key] = sounding_now.get(key, 0) + (1 if message.type == "note_on" else -1)
            assert sounding_now[key] in (0, 1)
    assert not any(sounding_now.values())


def test_instruments_tempo_and_signatures_are_in_the_file() -> None:
    found = messages(to_midi(jig(), backing(jig(), chords(jig())), program=73))
    assert [m.program for m in found if m.type == "program_change"] == [73, 32, 25]
    assert [m.tempo for m in found if m.type == "set_tempo"] == [333333]  # 120 dotted quarters a minute
    assert [(m.numerator, m.denominator) for m in found if m.type == "time_signature"] == [(1, 8), (6, 8)]
    assert [m.key for m in found if m.type == "key_signature"] == ["D"]
    assert [m.name for m in found if m.type == "track_name"] == ["The Lively Test", "Melody", "Bass", "Guitar"]


def test_how_it_was_made_is_told_and_read_back() -> None:
    record = {"prompt": "a lively jig, für Zoë", "seed": 7, "temperature": 0.9}
    data = to_midi(jig(), record=record)
    assert read_midi_record(data) == record
    assert b"trainedAlgorithmicMedia" in to_midi(jig())
    assert data == to_midi(jig(), record=record)
    with pytest.raises(ReverieError, match="does not say how it was made"):
        read_midi_record(to_midi(jig()))


def test_played_notes_are_put_on_the_grid() -> None:
    """Eighths and a triplet of a player who is up to 15 ms early or late."""
    shaky = random.Random(5)
    exact = [0, 24, 48, 64, 80, 96, 120, 144, 168]
    starts = [round((at + shaky.uniform(-1.4, 1.4)) * 10) + 20 for at in exact]
    notes = [(60 + number, start, start + 90) for number, start in enumerate(starts)]
    tune = from_midi(melody(notes, time_signature(4, 4)))
    assert [note.ticks for note in tune.notes if note.pitch is not None][:8] == [24, 24, 16, 16, 16, 24, 24, 24]


def test_the_highest_voice_of_chords_is_taken() -> None:
    chordal = [
        (pitch, at * 480, at * 480 + 470) for at, top in enumerate([72, 74, 76, 72]) for pitch in (48, 55, 64, top)
    ]
    assert from_midi(melody(chordal)).pitches == [72, 74, 76, 72]


def test_drums_and_bass_are_not_the_melody() -> None:
    file = mido.MidiFile(ticks_per_beat=96)
    for channel, pitch in ((9, 38), (1, 36), (0, 74)):
        track = mido.MidiTrack()
        for _ in range(8):
            track.append(mido.Message("note_on", note=pitch, channel=channel, time=0))
            track.append(mido.Message("note_off", note=pitch, channel=channel, time=96))
        file.tracks.append(track)
    sink = io.BytesIO()
    file.save(file=sink)
    assert set(from_midi(sink.getvalue()).pitches) == {74}


def test_an_upbeat_after_rests_stays_one_and_silence_before_is_cut() -> None:
    notes = [(69, 480 * 7, 480 * 8), (74, 480 * 8, 480 * 10), (73, 480 * 10, 480 * 12)]
    tune = from_midi(melody(notes, time_signature(4, 4)))
    assert [bar.ticks for bar in tune.bars] == [48, 192]


def test_what_is_held_over_a_bar_line_is_tied() -> None:
    tune = from_midi(melody([(60, 0, 480 * 3), (62, 480 * 3, 480 * 5), (64, 480 * 5, 480 * 8)], time_signature(4, 4)))
    assert [(note.pitch, note.ticks, note.tied) for note in tune.notes][:3] == [
        (60, 144, False),
        (62, 48, True),
        (62, 48, False),
    ]


def test_without_a_key_the_one_that_is_heard_is_taken() -> None:
    notes = [(62 + step, at * 240, at * 240 + 240) for at, step in enumerate([0, 4, 7, 12, 11, 9, 7, 4, 2, 0])]
    assert from_midi(melody(notes)).key == Key("D")


def chunk(content: bytes) -> bytes:
    return b"MTrk" + struct.pack(">I", len(content)) + content


def header(kind: int = 0, tracks: int = 1, division: int = 96) -> bytes:
    return b"MThd" + struct.pack(">IHHH", 6, kind, tracks, division)


def many_voices() -> bytes:
    notes = b"".join(b"\x00" + bytes((0x90 + at % 16, at % 128, 64)) for at in range(4000))
    return header() + chunk(notes + b"\x60\x80\x00\x00" + b"\x00\xff\x2f\x00")


NOTE = b"\x00\x90\x3c\x40\x60\x80\x3c\x00"
END = b"\x00\xff\x2f\x00"
HOSTILE: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "not a MIDI file": lambda: b"RIFF" + bytes(1000),
    "a text": lambda: b"X:1\nT:tune\n",
    "header alone": header,
    "no tracks": lambda: header(tracks=0),
    "too many tracks": lambda: header(1, 65535) + chunk(END) * 1000,
    "a division of 0": lambda: header(division=0) + chunk(NOTE + END),
    "film frames": lambda: header(division=0xE728) + chunk(NOTE + END),
    "cut off": lambda: to_midi(jig())[:200],
    "no notes": lambda: header() + chunk(END),
    "notes without length": lambda: header() + chunk(b"\x00\x90\x3c\x40\x00\x80\x3c\x00" + END),
    "only drums": lambda: header() + chunk(b"\x00\x99\x3c\x40\x60\x89\x3c\x00" + END),
    "lasts for years": lambda: header(division=1) + chunk(b"\x00\x90\x3c\x40\xff\xff\xff\x7f\x80\x3c\x00" + END),
    "a number without end": lambda: header() + chunk(b"\x81" * 400_000),
    "a message without end": lambda: header() + chunk(b"\x00\xff\x01\xff\xff\xff\x7f" + b"x" * 1000),
    "too many bytes": lambda: header() + chunk(NOTE * 100_000),
    "too many notes": lambda: (
        header(division=480) + chunk(b"\x00\x90\x3c\x40" + b"\x01\x3c\x00\x01\x3c\x40" * 25_000 + END)
    ),
    "a silence of thousands of bars": lambda: (
        header(division=1) + chunk(NOTE + b"\x81\x9b\x20\x90\x3c\x40\x60\x80\x3c\x00" + END)
    ),
}
ODD: dict[str, Callable[[], bytes]] = {
    "thousands of voices": many_voices,
    "a tempo of 0": lambda: header() + chunk(b"\x00\xff\x51\x03\x00\x00\x00" + NOTE + END),
    "a slow tempo": lambda: header() + chunk(b"\x00\xff\x51\x03\xff\xff\xff" + NOTE + END),
    "a metre of 0": lambda: header() + chunk(b"\x00\xff\x58\x04\x00\x00\x18\x08" + NOTE + END),
    "a metre of 255 over 2**60": lambda: header() + chunk(b"\x00\xff\x58\x04\xff\x3c\x18\x08" + NOTE + END),
    "never let go": lambda: header() + chunk(b"\x00\x90\x3c\x40\x60\xff\x2f\x00"),
    "the lowest note": lambda: header() + chunk(b"\x00\x90\x00\x40\x60\x80\x00\x00" + END),
    "one tick to a beat": lambda: header(division=1) + chunk(b"\x00\x90\x3c\x40\x02\x80\x3c\x00" + END),
    "most ticks to a beat": lambda: header(division=0x7FFF) + chunk(NOTE + END),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_give_one_sentence_in_time(name: str) -> None:
    data, begun = HOSTILE[name](), time.monotonic()
    with pytest.raises(ReverieError) as caught:
        from_midi(data)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("name", ODD)
def test_odd_files_give_a_tune_that_can_be_written_again(name: str) -> None:
    try:
        tune = from_midi(ODD[name]())
    except ReverieError:
        return
    assert 20 <= tune.tempo_bpm <= 400
    assert played(from_midi(to_midi(tune)))


def survives(data: bytes) -> None:
    try:
        tune = from_midi(data)
    except ReverieError as error:
        assert "\n" not in str(error)  # noqa: PT017 - most of the examples are refused
        return
    assert tune.pitches
    assert all(21 <= pitch <= 108 for pitch in tune.pitches)
    to_midi(tune)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 3), st.integers(0, 0xFFFF))
def test_random_bytes_are_refused_or_read(content: bytes, tracks: int, division: int) -> None:
    survives(content)
    survives(header(1, tracks, division) + chunk(content))


def test_notes_that_no_piano_has_are_no_melody() -> None:
    with pytest.raises(ReverieError, match="no melody"):
        from_midi(header(1, 1, 333) + chunk(bytes.fromhex("00900000000001010000")))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 255)), min_size=1, max_size=6), st.integers(0, 100_000)
)
def test_damaged_files_are_refused_or_read(changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(to_midi(twinkle(), backing(twinkle(), chords(twinkle()))))
    for place, value in changes:
        data[place % len(data)] = value
    survives(bytes(data[: max(20, cut % (2 * len(data)))]))
