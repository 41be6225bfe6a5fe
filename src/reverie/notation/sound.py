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
import midirenderer
import mido
import numpy as np
from av.error import FFmpegError

from reverie import media
from reverie.notation.marks import MADE_BY, RECORD, SOURCE_TYPE, printable, read_record_text
from reverie.notation.midi_read import read_midi
from reverie.types import ReverieError

RATE_HZ = 48_000
TAIL_SECONDS = 2.0  # for the last notes and the room to die away
MAX_SECONDS = 900
MAX_FILE_BYTES = 400_000_000
_FADE_SECONDS = 0.3
_PEAK = 10 ** (-1 / 20)  # -1 dBFS
_ECHOES = (91, 93)  # controllers: how much of the synthesiser's reverb and chorus
_QUICK = "7"  # of LAME's ways to look at a sound: 5 takes half as long again, and is no nearer to it at this rate
_ROOM_SECONDS, _ROOM_DELAY_SECONDS, _WET = 1.3, 0.015, 0.22
_BLOCK = 1 << 16
_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
    "<Iptc4xmpExt:DigitalSourceType>{}</Iptc4xmpExt:DigitalSourceType></rdf:Description></rdf:RDF></x:xmpmeta>"
)


def render(midi: bytes, soundfont: Path) -> np.ndarray:
    """What a MIDI file sounds like: float32 (N, 2) with its peak at -1 dBFS, `TAIL_SECONDS` longer than the file lasts.

    The same file gives the same samples. A `ReverieError` if it cannot be read or lasts longer than `MAX_SECONDS`.
    """
    played = midirenderer.render_wave_from(soundfont.read_bytes(), _dry(midi))
    with wave.open(io.BytesIO(played)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)  # (N, 2)
    return _finished(_in_room(samples.astype(np.float32) / 32768))


def wav(samples: np.ndarray, title: str = "", record: Mapping[str, Any] | None = None) -> bytes:
    """A WAV file, 16 bit. title and record (JSON values, for `read_sound_record`) stand in its INFO list."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sink:
        sink.setnchannels(2)
        sink.setsampwidth(2)
        sink.setframerate(RATE_HZ)
        sink.writeframes(_whole(samples).astype("<i2").tobytes())
    words = {b"INAM": printable(title), b"ICOP": MADE_BY, b"ISFT": "Reverie"}
    if record is not None:
        words[b"ICMT"] = media.record_text(record)
    info = b"INFO" + b"".join(_chunk(name, text.encode() + b"\0") for name, text in words.items() if text)
    extra = _chunk(b"LIST", info) + _chunk(b"_PMX", _XMP.format(escape(SOURCE_TYPE)).encode())
    data = file.getvalue() + extra
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def ogg(samples: np.ndarray, title: str = "", record: Mapping[str, Any] | None = None) -> bytes:
    """An Ogg file with Opus at 128 kbit/s (RFC 7845); title and record as tags. The same samples, the same bytes."""
    return _encoded(samples, "ogg", "libopus", {}, _tags(title, record))


def mp3(samples: np.ndarray, title: str = "", record: Mapping[str, Any] | None = None) -> bytes:
    """An MP3 file at 192 kbit/s; title and record as ID3 tags. The same samples give the same bytes."""
    return _encoded(samples, "mp3", "libmp3lame", {"compression_level": _QUICK}, _tags(title, record))


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


def _dry(midi: bytes) -> bytes:
    """The same music on one track in ticks of 1/48,000 s, without the synthesiser's own echoes, and with a tail."""
    file = mido.MidiFile(type=0, ticks_per_beat=RATE_HZ // 2)  # a beat is half a second unless a file says otherwise
    still = [mido.Message("control_change", channel=at, control=echo, value=0) for at in range(16) for echo in _ECHOES]
    track, now, last = mido.MidiTrack(still), 0, 0
    for seconds, message in _timed(midi):
        last = round(seconds * RATE_HZ)
        if hasattr(message, "channel"):
            track.append(message.copy(time=last - now))
            now = last
    track.append(mido.MetaMessage("end_of_track", time=last - now + round(TAIL_SECONDS * RATE_HZ)))
    file.tracks.append(track)
    sink = io.BytesIO()
    file.save(file=sink)
    return sink.getvalue()


def _timed(midi: bytes) -> Iterator[tuple[float, Any]]:
    """(seconds, message) in order, up to the end of the longest track."""
    now = 0.0
    for message in read_midi(midi):
        now += message.time
        if now > MAX_SECONDS:
            raise ReverieError(f"The music lasts longer than {MAX_SECONDS // 60} minutes: give a shorter piece.")
        yield now, message


@cache
def _room() -> np.ndarray:
    """The answer of a small room to a clap: noise that dies away, different on each side. float32 (frames, 2)."""
    frames = round(_ROOM_SECONDS * RATE_HZ)
    noise = np.random.default_rng(1).standard_normal((frames + 8, 2))
    dull = np.mean([noise[shift : shift + frames] for shift in range(8)], axis=0)  # walls take the high tones away
    seconds = np.arange(frames)[:, None] / RATE_HZ
    answer = dull * np.exp(-6.9 * seconds / _ROOM_SECONDS) * (seconds >= _ROOM_DELAY_SECONDS)
    return np.asarray(answer / np.sqrt((answer**2).sum(0)), dtype=np.float32)


def _in_room(dry: np.ndarray) -> np.ndarray:
    """Dry sound with the room's answer added; block by block, so that memory stays small (overlap-add)."""
    answer = _room()
    size = 1 << (_BLOCK + len(answer) - 1).bit_length()
    spectrum = np.fft.rfft(answer, size, axis=0)
    wet = np.zeros((len(dry) + size, 2), dtype=np.float32)
    for start in range(0, len(dry), _BLOCK):
        block = np.fft.rfft(dry[start : start + _BLOCK], size, axis=0) * spectrum
        wet[start : start + size] += np.fft.irfft(block, size, axis=0)
    both: np.ndarray = dry + np.float32(_WET) * wet[: len(dry)]
    return both  # (N, 2)


def _finished(samples: np.ndarray) -> np.ndarray:
    """Faded out at the end, so that nothing clicks, and as loud as it may be."""
    fade = min(len(samples), round(_FADE_SECONDS * RATE_HZ))
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
    return tags if record is None else {**tags, RECORD: media.record_text(record)}


def _encoded(samples: np.ndarray, kind: str, codec: str, options: Mapping[str, str], tags: Mapping[str, str]) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=kind, options={"fflags": "+bitexact"}) as container:
        container.metadata.update(tags)
        stream: Any = container.add_stream(codec, rate=RATE_HZ, options={"flags": "+bitexact", **options})
        stream.layout = "stereo"
        stream.bit_rate = 128_000 if kind == "ogg" else 192_000
        frame = av.AudioFrame.from_ndarray(_whole(samples).reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate = RATE_HZ
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return file.getvalue()
