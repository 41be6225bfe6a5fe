"""Clips survive being written and read, their files say how they were made, and a hostile file gets one sentence."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import subprocess
import sys
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from reverie import media, moving
from reverie.moving import Clip
from reverie.types import ReverieError

RECORD = {"prompt": 'a <red> "cat" & a dog – über\nλ', "seed": 7, "guidance": 4.5, "software": "Reverie 0.1.0"}
FORMATS = list(moving.WRITERS)
LEAST_DB = {".mp4": 29, ".gif": 35, ".webp": 29}  # the first and the last store colours for two by two pixels ...
LEAST_LIGHT_DB = 36  # ... and how light they are for each

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def scene(frames: int = 8, height: int = 48, width: int = 64) -> Clip:
    """A soft sky, a meadow, and a ball that rolls to the right."""
    row, column = np.mgrid[:height, :width]
    sky = np.stack([100 + row, 160 + row, 230 - row // 4], 2)
    still = np.where((row > height * 0.7)[..., None], (70, 150, 60), sky)
    pictures = []
    for number in range(frames):
        ball = np.hypot(row - height * 0.6, column - 8 - 4 * number) < height / 6
        pictures.append(np.where(ball[..., None], (220, 60, 40), still))
    return np.stack(pictures).astype(np.uint8)


CLIP = scene()
SMALL = scene(3, 16, 16)


def likeness_db(one: Clip, other: Clip) -> float:
    assert one.shape == other.shape
    return float(10 * np.log10(255**2 / max(np.mean((one.astype(float) - other) ** 2), 1e-9)))


def light(clip: Clip) -> np.ndarray:
    grey: np.ndarray = clip @ np.array([0.2126, 0.7152, 0.0722])
    return grey


# --- what is written ---


@pytest.mark.parametrize("suffix", FORMATS)
def test_clip_and_record_come_back(suffix: str) -> None:
    data = moving.to_file(CLIP, suffix, 8, RECORD)
    clip, fps = moving.read_clip(data)
    assert likeness_db(clip, CLIP) > LEAST_DB[suffix]
    assert likeness_db(light(clip), light(CLIP)) > LEAST_LIGHT_DB
    assert fps == pytest.approx(8)
    assert moving.read_record(data) == RECORD
    assert moving.suffix_of(data) == suffix


def digests() -> list[str]:
    return [hashlib.sha256(moving.to_file(CLIP, suffix, 8, RECORD)).hexdigest() for suffix in FORMATS]


def test_the_same_clip_and_record_give_the_same_bytes_in_another_process_too() -> None:
    for suffix in FORMATS:
        again = moving.to_file(CLIP.copy(), suffix.upper(), 8, dict(reversed(RECORD.items())))
        assert again == moving.to_file(CLIP, suffix, 8, RECORD)
    run = [sys.executable, "-c", "from test_moving import digests; print(*digests())"]
    other = {**os.environ, "MALLOC_PERTURB_": "77"}  # glibc: memory that nobody has written holds something else
    there = subprocess.run(
        run, capture_output=True, text=True, check=True, cwd=Path(__file__).parent, env=other, timeout=60
    )
    assert there.stdout.split() == digests()


@settings(deadline=None, max_examples=40)
@given(record=st.dictionaries(st.text(max_size=9), json_values, max_size=4), suffix=st.sampled_from(FORMATS))
def test_every_record_comes_back(record: dict[str, Any], suffix: str) -> None:
    assert moving.read_record(moving.to_file(SMALL, suffix, 8, record)) == record


@pytest.mark.parametrize("suffix", FORMATS)
def test_long_prompts_have_room_and_endless_ones_are_refused(suffix: str) -> None:
    long = {"prompt": "a red panda & its <b>skateboard</b> " * 500}
    assert moving.read_record(moving.to_file(SMALL, suffix, 8, long)) == long
    with pytest.raises(ReverieError, match="shorten"):
        moving.to_file(SMALL, suffix, 8, {"prompt": "é" * 20_000})


def xmp(data: bytes) -> ElementTree.Element:
    start, end = data.index(b"<x:xmpmeta"), data.index(b"</x:xmpmeta>") + len(b"</x:xmpmeta>")
    return ElementTree.fromstring(data[start:end])


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("given", [None, "begin", "end", "extend"])
def test_a_clip_is_marked_as_made_by_a_model(suffix: str, given: str | None) -> None:
    data = moving.to_file(SMALL, suffix, 8, RECORD if given is None else {**RECORD, given: "00"})
    (mark,) = xmp(data).iter("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType")
    kind = "trainedAlgorithmicMedia" if given is None else "compositeWithTrainedAlgorithmicMedia"
    assert mark.text == f"http://cv.iptc.org/newscodes/digitalsourcetype/{kind}"
    assert RECORD["prompt"] in [text.text for text in xmp(data).iter()]


def boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found.append((data[at + 4 : at + 8], data[at + 8 : at + size]))
        at += size
    return found


def test_an_mp4_plays_everywhere_and_from_its_first_bytes_on() -> None:
    data = moving.to_mp4(CLIP, 8, RECORD)
    names = [name for name, _ in boxes(data)]
    assert names == [b"ftyp", b"moov", b"free", b"mdat", b"uuid"] or names == [b"ftyp", b"moov", b"mdat", b"uuid"]
    assert dict(boxes(data))[b"uuid"][:16].hex() == "be7acfcb97a942e89c71999491e3afac"  # XMP's
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 8
        assert stream.frames == len(CLIP)
        assert container.metadata["title"] == 'a <red> "cat" & a dog – über λ'
        frame = next(container.decode(stream))
        assert (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc) == (1, 1, 1, 13)


def test_colours_are_kept() -> None:
    for suffix in FORMATS:
        for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 120, 40)):
            plain = np.full((2, 16, 16, 3), colour, np.uint8)
            clip, _ = moving.read_clip(moving.to_file(plain, suffix, 8))
            assert np.abs(clip.astype(int) - plain).max() <= 6, (suffix, colour)


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animated_pictures_repeat_for_ever(suffix: str) -> None:
    for record in (None, RECORD):
        assert Image.open(io.BytesIO(moving.to_file(CLIP, suffix, 8, record))).info["loop"] == 0


def test_a_gif_does_not_flicker_where_nothing_moves() -> None:
    image = Image.open(io.BytesIO(moving.to_gif(CLIP, 8)))
    clip, _ = moving.read_clip(moving.to_gif(CLIP, 8))
    still = np.ptp(CLIP, axis=0).max(axis=2) == 0
    assert still.mean() > 0.4
    assert (clip[:, still] == clip[0, still]).all()
    assert len(np.unique(clip.reshape(-1, 3), axis=0)) <= 256
    assert image.n_frames == len(CLIP)  # type: ignore[attr-defined]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("fps", [1, 7, 12, 30, 50])
def test_the_speed_comes_back(suffix: str, fps: int) -> None:
    clip, told = moving.read_clip(moving.to_file(CLIP, suffix, fps))
    assert len(clip) == len(CLIP)
    assert told == pytest.approx(fps, rel=0.05)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_frame_that_is_held_is_still_as_many_frames(suffix: str) -> None:
    held = CLIP[[0, 0, 0, 1, 2, 3, 3, 4]]
    clip, fps = moving.read_clip(moving.to_file(held, suffix, 8, RECORD))
    assert likeness_db(clip, held) > LEAST_DB[suffix]
    assert fps == pytest.approx(8, rel=0.05)


@pytest.mark.parametrize("suffix", FORMATS)
def test_one_frame_is_a_clip_too(suffix: str) -> None:
    for one in (CLIP[:1], CLIP[[0, 0, 0]]):
        data = moving.to_file(one, suffix, 8, RECORD)
        clip, _ = moving.read_clip(data)
        assert likeness_db(clip[:1], one[:1]) > LEAST_DB[suffix]
        assert moving.read_record(data) == RECORD


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(ReverieError, match="even"):
        moving.to_mp4(scene(2, 15, 16), 8)
    with pytest.raises(ReverieError, match=r"\.avi.*\.mp4, \.gif, \.webp"):
        moving.to_file(CLIP, ".avi", 8)


# --- the clips of strangers ---


def filmed(clip: Clip, kind: str, codec: str, fps: Fraction = Fraction(30), **options: str) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream: Any = container.add_stream(codec, rate=fps, options=options)
        stream.height, stream.width = clip.shape[1:3]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.thread_count = 1
        for picture in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()


def sounding(kind: str, codec: str) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream: Any = container.add_stream(codec, rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "codec"),
    [("mov", "libx264"), ("mov", "mjpeg"), ("webm", "libvpx-vp9"), ("webm", "libvpx"), ("mp4", "mpeg4")],
)
def test_films_of_other_programs_are_read_and_fitted(kind: str, codec: str) -> None:
    data = filmed(scene(12, 96, 160), kind, codec, Fraction(30000, 1001))
    clip, fps = moving.read_clip(data, size_px=32)
    fitted = np.stack([media.fit(picture, 32) for picture in scene(12, 96, 160)])
    assert clip.shape == (12, 32, 32, 3)
    assert likeness_db(clip, fitted) > 20  # 601 or 709, none of them says
    assert fps == pytest.approx(29.97, rel=0.01)
    last, _ = moving.read_clip(data, size_px=32, most=4)
    assert (last == clip[-4:]).all()


def test_a_telephone_held_upright_is_seen_upright() -> None:
    data = filmed(scene(4, 32, 64), "mov", "libx264")
    lying = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    upright = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)  # a quarter clockwise
    at = data.index(lying, data.index(b"tkhd"))
    clip, _ = moving.read_clip(data[:at] + upright + data[at + len(upright) :])
    assert clip.shape == (4, 64, 32, 3)
    assert likeness_db(clip, np.rot90(scene(4, 32, 64), -1, (1, 2))) > 25


def test_a_gif_with_frames_of_different_lengths_keeps_its_time() -> None:
    images = [Image.fromarray(picture) for picture in CLIP[:3]]
    file = io.BytesIO()
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=[100, 300, 200])
    clip, fps = moving.read_clip(file.getvalue())
    assert len(clip) == 6
    assert fps == pytest.approx(10)
    assert [bool((clip[i] == clip[i + 1]).all()) for i in range(5)] == [False, True, True, False, True]


def test_a_gif_that_tells_no_time_is_shown_as_browsers_do_and_on_white() -> None:
    images = [Image.new("RGBA", (8, 8), (255, 0, 0, alpha)) for alpha in (0, 255)]
    file = io.BytesIO()
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=0, disposal=2)
    clip, fps = moving.read_clip(file.getvalue())
    assert fps == 10
    assert (clip[0] == 255).all()
    assert (clip[1] == (255, 0, 0)).all()


def test_another_speed_is_as_long() -> None:
    numbered = np.arange(30, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    assert moving.resampled(numbered, 30, 10)[:, 0, 0, 0].tolist() == [0, 3, 6, 9, 12, 15, 18, 21, 24, 27]
    assert moving.resampled(numbered[:3], 4, 8)[:, 0, 0, 0].tolist() == [0, 0, 1, 1, 2, 2]
    assert (moving.resampled(numbered, 8, 8) == numbered).all()
    assert len(moving.resampled(numbered[:1], 30, 8)) == 1


# --- hostile files ---


def vp8x(width: int, height: int) -> bytes:
    """A WebP that claims to be animated and so large."""
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    whole = moving.to_webp(SMALL, 8)
    at = whole.index(b"VP8X") + 12
    return whole[:at] + sides + whole[at + 6 :]


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + moving.to_gif(SMALL, 8)[10:]


PLAIN = moving.to_mp4(SMALL, 8)
HOSTILE = {
    "nothing": b"",
    "no clip": b"hello, this is a text and no film at all",
    "a picture": media.to_png(CLIP[0]),
    "a box and nothing in it": PLAIN[:36],
    "no pictures": PLAIN[: PLAIN.index(b"mdat") + 4],
    "an MP4 cut off in its head": PLAIN[:700],
    "a GIF cut off": moving.to_gif(SMALL, 8)[:300],
    "a WebP cut off": moving.to_webp(SMALL, 8)[:60],
    "a GIF without frames": moving.to_gif(SMALL, 8)[:781] + b";",
    "a large WebP": vp8x(16_383, 16_383),
    "a large GIF": gif(65_535, 65_535),
    "a large MP4": filmed(np.zeros((1, 4608, 4608, 3), np.uint8), "mp4", "libx264", preset="ultrafast"),
    "a sound": sounding("mp4", "aac"),
    "a sound in WebM": sounding("webm", "libopus"),
    "another film": filmed(SMALL, "avi", "mpeg4"),
    "an MP4 in name only": b"\0\0\0\x20ftypisom" + bytes(2000),
    "a Matroska in name only": b"\x1a\x45\xdf\xa3" + bytes(2000),
    "a codec that nobody needs": filmed(SMALL, "matroska", "ffv1"),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_clips_are_refused_in_a_sentence(data: bytes) -> None:
    with pytest.raises(ReverieError, match=r"^[A-Z].*:.*\.$"):
        moving.read_clip(data)
    with pytest.raises(ReverieError, match=r"^[A-Z].*:.*\.$"):
        moving.read_record(data)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_clip_of_someone_else_does_not_say_how_it_was_made(suffix: str) -> None:
    with pytest.raises(ReverieError, match="does not say how it was made"):
        moving.read_record(moving.to_file(SMALL, suffix, 8))


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    ("limit", "least"), [("MAX_FILE_BYTES", 99), ("MOST_FRAMES", 2), ("MOST_PIXELS", 600), ("MOST_KEPT_PIXELS", 600)]
)
def test_there_is_an_end_to_what_is_read(suffix: str, limit: str, least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = moving.to_file(SMALL, suffix, 8)
    moving.read_clip(data)
    monkeypatch.setattr(moving, limit, least)
    with pytest.raises(ReverieError, match=r"shorter"):
        moving.read_clip(data)


WHOLE = {suffix: moving.to_file(SMALL, suffix, 8, RECORD) for suffix in FORMATS} | {
    ".webm": filmed(SMALL, "webm", "libvpx"),
    ".mov": filmed(SMALL, "mov", "mjpeg"),
}


@settings(deadline=None, max_examples=300)
@given(data=st.data(), suffix=st.sampled_from(list(WHOLE)))
def test_damaged_files_give_a_clip_or_a_sentence(data: st.DataObject, suffix: str) -> None:
    broken = bytearray(WHOLE[suffix])
    for place in data.draw(st.lists(st.integers(0, len(broken) - 1), min_size=1, max_size=8)):
        broken[place] = data.draw(st.integers(0, 255))
    for read in (moving.read_clip, moving.read_record):
        with suppress(ReverieError):
            read(bytes(broken))


@settings(deadline=None, max_examples=100)
@given(data=st.data(), suffix=st.sampled_from(list(WHOLE)))
def test_files_cut_off_give_a_clip_or_a_sentence(data: st.DataObject, suffix: str) -> None:
    part = WHOLE[suffix][: data.draw(st.integers(0, len(WHOLE[suffix]) - 1))]
    for read in (moving.read_clip, moving.read_record):
        with suppress(ReverieError):
            read(part)
