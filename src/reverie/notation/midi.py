"""Tunes and their accompaniment -> MIDI files, with a record of how they were made.

Standard MIDI Files 1.0, format 1: https://midi.org/standard-midi-files
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import mido

from reverie import media
from reverie.notation.backing import Part
from reverie.notation.marks import MADE_BY, RECORD, SOURCE_TYPE, printable, read_record_text
from reverie.notation.midi_read import read_midi
from reverie.notation.theory import Key
from reverie.notation.tune import QUARTER, Bar, Metre, Tune, sounding, unfolded

TICKS_PER_QUARTER = 480
_TIMES = TICKS_PER_QUARTER // QUARTER
_GAP = 3  # ticks of a tune by which notes are shorter than written, so that the next is heard to begin
_MELODY_VELOCITY, _STRESSED, _ACCENTED = 92, 6, 12
_MIX = ((112, 56), (92, 64), (84, 84))  # volume and place, 64 is the middle: of melody, first part, the others
_SHARPS = {
    "major": "Cb Gb Db Ab Eb Bb F C G D A E B F# C#",
    "minor": "Abm Ebm Bbm Fm Cm Gm Dm Am Em Bm F#m C#m G#m D#m A#m",
}


def to_midi(
    tune: Tune, parts: Sequence[Part] = (), program: int = 40, record: Mapping[str, Any] | None = None
) -> bytes:
    """A MIDI file of a tune, repeats played out; the same tune gives the same bytes.

    parts: of `backing.backing`. program: the melody's instrument, of General MIDI from 0; 40 is a violin.
    record: how it was made, JSON values, kept for `read_midi_record`. That an AI made it is always said.
    """
    assert 0 <= program <= 127
    assert len(parts) <= 14
    file = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_QUARTER)
    bars = unfolded(tune.bars)
    end = sum(bar.ticks for bar in bars)
    file.tracks.append(_track(_head(tune, bars, record), end))
    file.tracks.append(_track([(0, 0, _name("Melody")), *_voice(_melody(tune, bars), 0, program)], end))
    for number, part in enumerate(parts, start=1):
        channel = number if number < 9 else number + 1  # the tenth channel is for drums
        notes = ((note.pitch, note.start, note.ticks, note.velocity) for note in part.notes)
        file.tracks.append(_track([(0, 0, _name(part.name)), *_voice(notes, channel, part.program)], end))
    sink = io.BytesIO()
    file.save(file=sink)
    return sink.getvalue()


def read_midi_record(data: bytes) -> dict[str, Any]:
    """What `to_midi` was told of how the tune was made; a `ReverieError` if the file does not tell."""
    texts = [message.text for track in read_midi(data).tracks for message in track if message.type == "text"]
    found = [text.removeprefix(f"{RECORD}: ") for text in texts if text.startswith(f"{RECORD}: ")]
    return read_record_text(found[0] if found else None)


_Event = tuple[int, int, Any]  # ticks of a tune, rank among those of one moment, message


def _head(tune: Tune, bars: Sequence[Bar], record: Mapping[str, Any] | None) -> list[_Event]:
    microseconds = round(60e6 * QUARTER / tune.metre.beat_ticks / tune.tempo_bpm)
    messages = [
        _name(tune.title),
        mido.MetaMessage("copyright", text=MADE_BY),
        mido.MetaMessage("text", text=SOURCE_TYPE),
        *([] if record is None else [mido.MetaMessage("text", text=f"{RECORD}: {media.record_text(record)}")]),
        mido.MetaMessage("set_tempo", tempo=min(max(microseconds, 1), 2**24 - 1)),
        mido.MetaMessage("key_signature", key=_signature(tune.key)),
    ]
    upbeat = bars[0].ticks if bars and bars[0].ticks < tune.metre.ticks else 0
    times = [(0, _upbeat_metre(upbeat)), (upbeat, tune.metre)] if upbeat else [(0, tune.metre)]
    return [(0, 0, message) for message in messages] + [(at, 1, _time(metre)) for at, metre in times]


def _upbeat_metre(ticks: int) -> Metre:
    """A metre of just so many ticks, so that bar lines stand right after an upbeat; 1/32 if there is none."""
    whole = 4 * QUARTER
    for unit in (4, 8, 16, 32):
        if ticks % (whole // unit) == 0:
            return Metre(ticks * unit // whole, unit)
    return Metre(1, 32)


def _time(metre: Metre) -> Any:
    clocks = 24 * metre.beat_ticks // QUARTER
    return mido.MetaMessage(
        "time_signature", numerator=metre.beats, denominator=metre.unit, clocks_per_click=min(clocks, 255)
    )


def _signature(key: Key) -> str:
    """A MIDI file knows major and minor alone: the other modes are given as the one with their third."""
    mode = "minor" if key.has_minor_third else "major"
    return _SHARPS[mode].split()[min(max(key.sharps, -7), 7) + 7]


def _name(text: str) -> Any:
    return mido.MetaMessage("track_name", name=printable(text).encode("latin-1", "replace").decode("latin-1"))


def _melody(tune: Tune, bars: Sequence[Bar]) -> Iterable[tuple[int, int, int, int]]:
    """(pitch, start, ticks, velocity), louder where the metre is felt."""
    lines = _bar_starts(tune, bars)
    beat, line = tune.metre.beat_ticks, 0
    for pitch, start, ticks in sounding(bars):
        while line + 1 < len(lines) and lines[line + 1] <= start:
            line += 1
        place = start - lines[line]
        stress = _ACCENTED if place == 0 else _STRESSED if place % beat == 0 else 0
        if pitch is not None and ticks > 0:
            yield pitch, start, max(1, ticks - _GAP, ticks * 15 // 16), _MELODY_VELOCITY + stress


def _bar_starts(tune: Tune, bars: Sequence[Bar]) -> list[int]:
    starts, at = [], 0
    for number, bar in enumerate(bars):
        is_upbeat = number == 0 and bar.ticks < tune.metre.ticks
        starts.append(at - (tune.metre.ticks - bar.ticks) if is_upbeat else at)
        at += bar.ticks
    return starts if starts else [0]


def _voice(notes: Iterable[tuple[int, int, int, int]], channel: int, program: int) -> list[_Event]:
    volume, pan = _MIX[min(channel, len(_MIX) - 1)]
    found: list[_Event] = [(0, 1, mido.Message("program_change", channel=channel, program=program))]
    found.append((0, 1, mido.Message("control_change", channel=channel, control=7, value=volume)))
    found.append((0, 1, mido.Message("control_change", channel=channel, control=10, value=pan)))
    for pitch, start, ticks, velocity in notes:
        found.append((start, 3, mido.Message("note_on", channel=channel, note=pitch, velocity=velocity)))
        found.append((start + ticks, 2, mido.Message("note_off", channel=channel, note=pitch, velocity=64)))
    return found


def _track(events: Sequence[_Event], end: int) -> Any:
    """A track that lasts for `end` ticks of a tune."""
    track, now = mido.MidiTrack(), 0
    for at, _, message in sorted(events, key=lambda event: event[:2]):
        track.append(message.copy(time=(at - now) * _TIMES))
        now = at
    track.append(mido.MetaMessage("end_of_track", time=max(0, end - now) * _TIMES))
    return track
