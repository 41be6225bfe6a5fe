"""What is heard: the right pitch for the right time, without clicks, the same each time, and saying who made it."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from reverie.hub.soundfont import soundfont
from reverie.notation import sound
from reverie.notation.backing import backing
from reverie.notation.harmony import chords
from reverie.notation.instruments import INSTRUMENTS, instrument, named_in
from reverie.notation.midi import to_midi
from reverie.notation.theory import Key
from reverie.notation.tune import Bar, Metre, Note, Tune
from reverie.types import ReverieError
from tunes import jig

WRITERS = (sound.wav, sound.ogg, sound.mp3)
RECORD = {"prompt": "a lively jig, für Zoë", "seed": 7}


@pytest.fixture(scope="module")
def font() -> Path:
    """The SoundFont, fetched as for a user."""
    return soundfont()


def one(pitch: int | None, quarters: int = 2) -> Tune:
    return Tune("", "", Metre(4, 4), Key("C"), (Bar((Note(pitch, 48 * quarters),)),), 60)


@pytest.fixture(scope="module")
def short(font: Path) -> np.ndarray:
    return sound.render(to_midi(one(69), program=0), font)


def loudest_hz(samples: np.ndarray, rate_hz: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples.mean(1) * np.hanning(len(samples)), 1 << 18))
    return float(np.argmax(spectrum) * rate_hz / (1 << 18))


@pytest.mark.parametrize("pitch", [69, 81])
def test_a_note_sounds_at_its_pitch(font: Path, pitch: int) -> None:
    samples = sound.render(to_midi(one(pitch), program=0), font)
    expected = 440 * 2 ** ((pitch - 69) / 12)
    assert loudest_hz(samples[4800:52_800], sound.RATE_HZ) == pytest.approx(expected, rel=0.006)


def test_a_file_is_as_long_as_the_tune_and_its_tail(font: Path) -> None:
    tune = jig()
    samples = sound.render(to_midi(tune, backing(tune, chords(tune))), font)
    assert len(samples) / sound.RATE_HZ == pytest.approx(tune.seconds() + sound.TAIL_SECONDS, abs=0.01)
    assert samples.dtype == np.float32
    assert float(np.abs(samples).max()) == pytest.approx(10 ** (-1 / 20), abs=1e-3)
    assert float(np.abs(samples[-200:]).max()) < 1e-3  # no click at the end
    assert float(np.abs(samples[:20]).max()) < 0.02  # nor at the beginning


def test_the_same_tune_gives_the_same_bytes(font: Path, short: np.ndarray) -> None:
    again = sound.render(to_midi(one(69), program=0), font)
    assert np.array_equal(short, again)
    for write in WRITERS:
        assert write(short, record=RECORD) == write(again, record=RECORD)


def test_silence_stays_silent(font: Path) -> None:
    samples = sound.render(to_midi(one(None, 1)), font)
    assert not samples.any()


def test_each_instrument_sounds_over_its_range(font: Path) -> None:
    for each in {
        (e.program, e.lowest, e.highest) for e in INSTRUMENTS.values() if e.name in ("fiddle", "bagpipe", "harp")
    }:
        program, *ends = each
        bar = Bar(tuple(Note(pitch, 24) for pitch in ends))
        samples = sound.render(to_midi(Tune("", "", Metre(4, 4), Key("C"), (bar,), 120), program=program), font)
        assert np.abs(samples[: sound.RATE_HZ // 4]).max() > 0.01
        assert np.abs(samples[sound.RATE_HZ // 4 : sound.RATE_HZ // 2]).max() > 0.01


def test_a_wav_is_one(short: np.ndarray) -> None:
    data = sound.wav(short, title="Zoë", record=RECORD)
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, sound.RATE_HZ)
        assert file.getnframes() == len(short)
    assert int.from_bytes(data[4:8], "little") == len(data) - 8


@pytest.mark.parametrize("write", WRITERS)
def test_other_programs_can_play_a_file_and_read_what_it_says(write: Callable[..., bytes], short: np.ndarray) -> None:
    data = write(short, title="Zoë", record=RECORD)
    with av.open(io.BytesIO(data), "r") as container:
        words = container.metadata | container.streams[0].metadata
        frames = np.concatenate([frame.to_ndarray().astype(float).reshape(-1) for frame in container.decode(audio=0)])
        seconds = (container.duration or 0) / 1e6
    assert seconds == pytest.approx(len(short) / sound.RATE_HZ, abs=0.06)
    assert np.abs(frames).max() > 0
    assert words.get("title") == "Zoë"
    assert "generative model" in words.get("copyright", "")
    assert b"trainedAlgorithmicMedia" in data
    assert sound.read_sound_record(data) == RECORD


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", b"RIFF\0\0\0\0WAVELIST\xff\xff\xff\xffINFO", b"OggS" + bytes(99), b"ID3" + bytes(99)]
)
def test_files_without_a_record_are_told(data: bytes) -> None:
    with pytest.raises(ReverieError) as caught:
        sound.read_sound_record(data)
    assert "\n" not in str(caught.value)


def test_music_without_end_is_refused(font: Path) -> None:
    slow = Tune("", "", Metre(4, 4), Key("C"), tuple(Bar((Note(60, 192),)) for _ in range(400)), 40)
    with pytest.raises(ReverieError, match="longer than 15 minutes"):
        sound.render(to_midi(slow), font)


def test_instruments_have_names_programs_and_ranges() -> None:
    assert instrument("Violin") == instrument("fiddle")
    assert instrument(" tin  whistle ").name == "whistle"
    assert all(0 <= each.program <= 127 and 21 <= each.lowest < each.highest <= 108 for each in INSTRUMENTS.values())
    with pytest.raises(ReverieError, match="choose accordion, "):
        instrument("vuvuzela")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("a slow air for harp", "harp"),
        ("a jig on the tin whistle!", "whistle"),
        ("harpist's jig", None),
        ("a reel", None),
    ],
)
def test_an_instrument_is_found_in_a_prompt(words: str, name: str | None) -> None:
    found = named_in(words)
    assert (None if found is None else found.name) == name
