"""MIDI -> sound: a SoundFont's instruments in a small room, and WAV, Ogg and MP3 files of it.

N frames. Samples are float32 (N, 2), from -1 to 1.
"""

from __future__ import annotations

import io
import struct
import wave
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import av
import numpy as np
from av.error import FFmpegError

from reverie.notation.marks import MADE_BY, RECORD, SOURCE_TYPE, printable, read_record_text, record_text
from reverie.notation.midi_read import read_midi
from reverie.types import ReverieError

RATE_HZ = 48_000
TAIL_SECONDS = 2.0  # for the last notes and the room to die away
MAX_SECONDS = 900
MAX_FILE_BYTES = 400_000_000
_FADE_SECONDS = 0.3
_PEAK = 10 ** (-1 / 20)  # -1 dBFS
_GAIN_DB = -12.0  # of the synthesizer, so that many notes at once do not matter; the peak is set afterwards
_ROOM_SECONDS, _ROOM_DELAY_SECONDS, _WET = 1.3, 0.015, 0.22
_BLOCK = 1 << 16
_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
    "<Iptc4xmpExt:DigitalSourceType>{}</Iptc4xmpExt:DigitalSourceType></rdf:Description></rdf:RDF></x:xmpmeta>"
)


def render(midi: bytes, soundfont: Path, rate_hz: int = RATE_HZ) -> np.ndarray:
    """What a MIDI file sounds like: float32 (N, 2) with its peak at -1 dBFS, `TAIL_SECONDS` longer than the file lasts.

    The same file gives the same samples. A `ReverieError` if it cannot be read or lasts longer than `MAX_SECONDS`.
    """
    import tinysoundfont  # noqa: PLC0415 - `hub.soundfont` may have to fetch it first

    events = list(_timed(midi))
    synth = tinysoundfont.Synth(gain=_GAIN_DB, samplerate=rate_hz)
    font = synth.sfload(str(soundfont))
    for channel in range(16):
        synth.program_select(channel, font, 128 if channel == 9 else 0, 0, channel == 9)
    pieces: list[np.ndarray] = []
    done = 0
    for seconds, message in events:
        due = round(seconds * rate_hz)
        if due > done:
            pieces.append(_generated(synth, due - done))
            done = due
        _perform(synth, message)
    pieces.append(_generated(synth, round(TAIL_SECONDS * rate_hz)))
    return _finished(_in_room(np.concatenate(pieces), rate_hz), rate_hz)


def wav(samples: np.ndarray, rate_hz: int = RATE_HZ, title: str = "", record: Mapping[str, Any] | None = None) -> bytes:
    """A WAV file, 16 bit. title and record (JSON values, for `read_sound_record`) stand in its INFO list."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sink:
        sink.setnchannels(2)
        sink.setsampwidth(2)
        sink.setframerate(rate_hz)
        sink.writeframes(_whole(samples).astype("<i2").tobytes())
    words = {b"INAM": printable(title), b"ICOP": MADE_BY, b"ISFT": "Reverie"}
    if record is not None:
        words[b"ICMT"] = record_text(record)
    info = b"INFO" + b"".join(_chunk(name, text.encode() + b"\0") for name, text in words.items() if text)
    extra = _chunk(b"LIST", info) + _chunk(b"_PMX", _XMP.format(escape(SOURCE_TYPE)).encode())
    data = file.getvalue() + extra
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def ogg(samples: np.ndarray, rate_hz: int = RATE_HZ, title: str = "", record: Mapping[str, Any] | None = None) -> bytes:
    """An Ogg file with Opus at 128 kbit/s (RFC 7845); title and record as tags. The same samples, the same bytes."""
    return _encoded(samples, rate_hz, "ogg", "libopus", _tags(title, record))


def mp3(samples: np.ndarray, rate_hz: int = RATE_HZ, title: str = "", record: Mapping[str, Any] | None = None) -> bytes:
    """An MP3 file at 192 kbit/s; title and record as ID3 tags. The same samples give the same bytes."""
    return _encoded(samples, rate_hz, "mp3", "libmp3lame", _tags(title, record))


def read_sound_record(data: bytes) -> dict[str, Any]:
    """The record in a file of `wav`, `ogg` or `mp3`; a `ReverieError` if it has none."""
    if len(data) > MAX_FILE_BYTES:
        raise ReverieError(f"The file has more than {MAX_FILE_BYTES:,} bytes: give one that Reverie composed.")
    if data[:4] == b"RIFF":
        return read_record_text(dict(_info(data)).get(b"ICMT"))
    kind = "ogg" if data[:4] == b"OggS" else "mp3"
    try:
        with av.open(io.BytesIO(data), format=kind) as container:
            tags = [container.metadata, *(stream.metadata for stream in container.streams)]
    except (FFmpegError, ValueError, EOFError) as error:
        raise ReverieError("The file is not a sound that can be read: give a WAV, Ogg or MP3 file.") from error
    found = [text for words in tags for name, text in words.items() if name.lower() == RECORD]
    return read_record_text(found[0] if found else None)


def _timed(midi: bytes) -> Iterator[tuple[float, Any]]:
    """(seconds, message) in order, up to the end of the longest track."""
    now = 0.0
    for message in read_midi(midi):
        now += message.time
        if now > MAX_SECONDS:
            raise ReverieError(f"The music lasts longer than {MAX_SECONDS // 60} minutes: give a shorter piece.")
        yield now, message


def _perform(synth: Any, message: Any) -> None:
    if message.type == "note_on":
        synth.noteon(message.channel, message.note, message.velocity)
    elif message.type == "note_off":
        synth.noteoff(message.channel, message.note)
    elif message.type == "program_change":
        synth.program_change(message.channel, message.program, message.channel == 9)
    elif message.type == "control_change":
        synth.control_change(message.channel, message.control, message.value)
    elif message.type == "pitchwheel":
        synth.pitchbend(message.channel, message.pitch + 8192)


def _generated(synth: Any, frames: int) -> np.ndarray:
    samples: np.ndarray = np.frombuffer(synth.generate(frames), dtype=np.float32)
    return samples.reshape(-1, 2)  # (frames, 2)


@cache
def _room(rate_hz: int) -> np.ndarray:
    """The answer of a small room to a clap: noise that dies away, different on each side. float32 (frames, 2)."""
    frames = round(_ROOM_SECONDS * rate_hz)
    noise = np.random.default_rng(1).standard_normal((frames + 8, 2))
    dull = np.mean([noise[shift : shift + frames] for shift in range(8)], axis=0)  # walls take the high tones away
    seconds = np.arange(frames)[:, None] / rate_hz
    answer = dull * np.exp(-6.9 * seconds / _ROOM_SECONDS) * (seconds >= _ROOM_DELAY_SECONDS)
    return np.asarray(answer / np.sqrt((answer**2).sum(0)), dtype=np.float32)


def _in_room(dry: np.ndarray, rate_hz: int) -> np.ndarray:
    """Dry sound with the room's answer added; block by block, so that memory stays small (overlap-add)."""
    answer = _room(rate_hz)
    size = 1 << (_BLOCK + len(answer) - 1).bit_length()
    spectrum = np.fft.rfft(answer, size, axis=0)
    wet = np.zeros((len(dry) + size, 2), dtype=np.float32)
    for start in range(0, len(dry), _BLOCK):
        block = np.fft.rfft(dry[start : start + _BLOCK], size, axis=0) * spectrum
        wet[start : start + size] += np.fft.irfft(block, size, axis=0)
    both: np.ndarray = dry + np.float32(_WET) * wet[: len(dry)]
    return both  # (N, 2)


def _finished(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Faded out at the end, so that nothing clicks, and as loud as it may be."""
    fade = min(len(samples), round(_FADE_SECONDS * rate_hz))
    samples[len(samples) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)[:, None]
    peak = float(np.abs(samples).max(initial=0.0))
    return samples * np.float32(_PEAK / peak) if peak > 0 else samples


def _whole(samples: np.ndarray) -> np.ndarray:
    assert samples.ndim == 2
    assert samples.shape[1] == 2
    whole: np.ndarray = np.clip(np.rint(samples * 32767), -32768, 32767).astype(np.int16)
    return whole


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _info(data: bytes) -> Iterator[tuple[bytes, str]]:
    """(name, text) of each field in the INFO lists of a RIFF file."""
    for name, content in _chunks(data[12:]):
        if name == b"LIST" and content[:4] == b"INFO":
            for field, text in _chunks(content[4:]):
                yield field, text.rstrip(b"\0").decode(errors="replace")


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def _tags(title: str, record: Mapping[str, Any] | None) -> dict[str, str]:
    tags = {"title": printable(title), "copyright": MADE_BY, "encoded_by": "Reverie", "digitalsourcetype": SOURCE_TYPE}
    return tags if record is None else {**tags, RECORD: record_text(record)}


def _encoded(samples: np.ndarray, rate_hz: int, kind: str, codec: str, tags: Mapping[str, str]) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=kind, options={"fflags": "+bitexact"}) as container:
        container.metadata.update(tags)
        stream: Any = container.add_stream(codec, rate=RATE_HZ, options={"flags": "+bitexact"})
        stream.layout = "stereo"
        stream.bit_rate = 128_000 if kind == "ogg" else 192_000
        frame = av.AudioFrame.from_ndarray(_whole(samples).reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate = rate_hz
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return file.getvalue()
