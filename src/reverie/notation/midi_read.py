"""Strangers' MIDI files, read within bounds: notes, metre, key, tempo and names of the voices in them."""

from __future__ import annotations

import io
import re
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import mido

from reverie.types import ReverieError

MAX_FILE_BYTES, MAX_TRACKS, MAX_NOTES = 300_000, 100, 20_000
MAX_QUARTERS = 20_000  # how long a file may last
_MOST_NUMBER_BYTES = 1000  # mido reads a number of any length, in quadratic time
_DRUMS = 9
_HEADER = re.compile(rb"MThd\x00\x00\x00\x06\x00[\x00-\x02](..)(..)", re.DOTALL)


@dataclass(frozen=True)
class Heard:
    """A note of a file. start, end: in ticks of the file."""

    start: int
    end: int
    pitch: int


@dataclass
class Voice:
    """What one channel of one track plays. name: the track's."""

    track: int
    channel: int
    name: str = ""
    notes: list[Heard] = field(default_factory=list)


@dataclass
class Score:
    """What a file holds. division: ticks to a quarter note. metres, keys, tempos: (tick, value), in order."""

    division: int
    title: str = ""
    voices: list[Voice] = field(default_factory=list)
    metres: list[tuple[int, tuple[int, int]]] = field(default_factory=list)
    keys: list[tuple[int, str]] = field(default_factory=list)
    tempos: list[tuple[int, int]] = field(default_factory=list)


def read_midi(data: bytes) -> Any:
    """A `mido.MidiFile`, if it is one that can be trusted not to fill the memory; else a `ReverieError`."""
    if len(data) > MAX_FILE_BYTES:
        raise ReverieError(
            f"The MIDI file has {len(data):,} bytes, and {MAX_FILE_BYTES:,} are the most: give one melody."
        )
    header = _HEADER.match(data)
    if header is None:
        raise ReverieError("The file is not a MIDI file: give one that ends with .mid, as a music program writes it.")
    num_tracks, division = (int.from_bytes(number, "big") for number in header.groups())
    if num_tracks > MAX_TRACKS:
        raise ReverieError(f"The MIDI file has {num_tracks:,} tracks, and {MAX_TRACKS} are the most: give one melody.")
    if division == 0 or division >= 0x8000:
        raise ReverieError("The MIDI file counts in film frames and not in beats: export it with ticks per beat.")
    if re.search(rb"[\x80-\xff]{%d}" % _MOST_NUMBER_BYTES, data):
        raise _broken()
    try:
        return mido.MidiFile(file=io.BytesIO(data), clip=True)
    except Exception as error:  # mido's parser lets through whatever its parts raise
        raise _broken() from error


def read_score(data: bytes) -> Score:
    """The notes and signs of a MIDI file; a `ReverieError` if it cannot be read or is too long."""
    file = read_midi(data)
    score = Score(file.ticks_per_beat)
    for number, track in enumerate(file.tracks):
        _read_track(number, track, score)
    if sum(len(voice.notes) for voice in score.voices) > MAX_NOTES:
        raise ReverieError(f"The MIDI file has more than {MAX_NOTES:,} notes: give a shorter one.")
    score.metres.sort(key=lambda event: event[0])
    return score


def _broken() -> ReverieError:
    return ReverieError("The MIDI file is broken or cut off: export it again from the program that made it.")


def _read_track(number: int, track: Any, score: Score) -> None:
    now = 0
    voices: dict[int, Voice] = {}
    open_notes: dict[tuple[int, int], deque[int]] = {}
    name = ""
    for message in track:
        now += message.time
        if now > MAX_QUARTERS * score.division:
            raise ReverieError(f"The MIDI file lasts longer than {MAX_QUARTERS:,} beats: give a shorter one.")
        if message.type == "track_name":
            name = name if name else _decoded(message.name)
        elif message.is_meta:
            _read_sign(message, now, score)
        elif message.type in ("note_on", "note_off"):
            _read_note(message, now, open_notes, voices.setdefault(message.channel, Voice(number, message.channel)))
    for (channel, pitch), starts in open_notes.items():
        voices[channel].notes.extend(Heard(start, now, pitch) for start in starts if start < now)
    for voice in voices.values():
        voice.name = name
        voice.notes.sort(key=lambda note: (note.start, -note.pitch))
    if number == 0:
        score.title = name
    score.voices.extend(voice for voice in voices.values() if voice.notes and voice.channel != _DRUMS)


def _read_note(message: Any, now: int, open_notes: dict[tuple[int, int], deque[int]], voice: Voice) -> None:
    starts = open_notes.setdefault((message.channel, message.note), deque())
    if message.type == "note_on" and message.velocity > 0:
        starts.append(now)
    elif starts:
        start = starts.popleft()
        if start < now:
            voice.notes.append(Heard(start, now, message.note))


def _read_sign(message: Any, now: int, score: Score) -> None:
    if message.type == "time_signature":
        score.metres.append((now, (message.numerator, message.denominator)))
    elif message.type == "key_signature":
        score.keys.append((now, message.key))
    elif message.type == "set_tempo":
        score.tempos.append((now, message.tempo))


def _decoded(text: str) -> str:
    """mido takes text for Latin-1; most programs write UTF-8."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except ValueError:
        return text
