"""Pictures survive being written and read, a PNG says how it was made, and a hostile file gets one sentence."""

from __future__ import annotations

import io
import json
import struct
import zlib
from contextlib import suppress
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from reverie import media
from reverie.types import ReverieError

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)
RECORD = {"prompt": 'a <red> "cat" & a dog – über\nλ', "seed": 7, "guidance": 4.5, "software": "Reverie 0.1.0"}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def png(width: int = 1, height: int = 1, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of the given chunks; the pixels are those of one white pixel, whatever its header says."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0\xff\xff\xff")
    parts = [(b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    body = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def itxt(text: bytes, keyword: bytes = b"reverie", *, compressed: bool = False) -> tuple[bytes, bytes]:
    flags = b"\1\0" if compressed else b"\0\0"
    return b"iTXt", keyword + b"\0" + flags + b"\0\0" + (zlib.compress(text) if compressed else text)


def test_picture_and_record_come_back_as_they_were() -> None:
    data = media.to_png(PICTURE, RECORD)
    assert (media.read_picture(data) == PICTURE).all()
    assert media.read_record(data) == RECORD
    assert data == media.to_png(PICTURE.copy(), dict(reversed(RECORD.items())))


@settings(deadline=None, max_examples=50)
@given(record=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), json_values, max_size=4))
def test_every_record_comes_back(record: dict[str, Any]) -> None:
    assert media.read_record(media.to_png(PICTURE, record)) == record


def xmp(data: bytes) -> ElementTree.Element:
    return ElementTree.fromstring(Image.open(io.BytesIO(data)).info["XML:com.adobe.xmp"].strip())


@pytest.mark.parametrize(
    ("init", "kind"), [(None, "trainedAlgorithmicMedia"), ("sha256:00", "compositeWithTrainedAlgorithmicMedia")]
)
def test_a_drawing_is_marked_as_made_by_a_model(init: str | None, kind: str) -> None:
    data = media.to_png(PICTURE, {**RECORD, "init": init})
    name = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
    (mark,) = xmp(data).iter(name)
    assert mark.text == f"http://cv.iptc.org/newscodes/digitalsourcetype/{kind}"
    assert RECORD["prompt"] in [text.text for text in xmp(data).iter()]


def test_other_programs_read_what_a_drawing_is() -> None:
    image = Image.open(io.BytesIO(media.to_png(PICTURE, RECORD)))
    assert isinstance(image, PngImagePlugin.PngImageFile)
    assert image.text["Description"] == RECORD["prompt"]
    assert image.text["Software"] == "Reverie 0.1.0"


def test_control_characters_in_a_prompt_leave_the_mark_readable() -> None:
    data = media.to_png(PICTURE, {"prompt": "a\x00\x0b\x1bcat"})
    assert "acat" in [text.text for text in xmp(data).iter()]
    assert media.read_record(data)["prompt"] == "a\x00\x0b\x1bcat"


def saved(image: Image.Image, kind: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def test_other_pictures_are_read_upright_and_on_white() -> None:
    tall = Image.new("RGB", (4, 8), "red")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    assert media.read_picture(saved(tall, "JPEG", exif=exif)).shape == (4, 8, 3)
    clear = Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    assert (media.read_picture(saved(clear, "PNG")) == 255).all()
    grey = Image.new("L", (2, 2), 128)
    assert (media.read_picture(saved(grey, "WEBP", lossless=True)) == 128).all()


HOSTILE = {
    "nothing": b"",
    "not a picture": b"hello",
    "cut off": media.to_png(PICTURE)[:100],
    "pixels missing": png(64, 64),
    "a bomb of pixels": png(100_000, 100_000),
    "a large picture": png(8192, 8192),
    "another format": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n",
    "a bomb of text": png(1, 1, itxt(b"0" * 100_000_000, compressed=True)),
    "many bombs of text": png(1, 1, *[itxt(b"0" * 1_000_000, b"k%d" % i, compressed=True) for i in range(99)]),
    "a bomb of colour": png(1, 1, (b"iCCP", b"x\0\0" + zlib.compress(b"0" * 100_000_000))),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_pictures_are_refused_in_a_sentence(data: bytes) -> None:
    with pytest.raises(ReverieError, match=r":.*\.$"):
        media.read_record(data)
    if data != HOSTILE["a bomb of colour"]:  # the profile is ignored, and so is no danger
        with pytest.raises(ReverieError, match=r":.*\.$"):
            media.read_picture(data)


RECORDS = [b"", b"{", b"[1]", b"[" * 60_000, b'{"a": ' + b"9" * 60_000 + b"}", b'{"prompt": "' + b"a" * 70_000 + b'"}']


@pytest.mark.parametrize("text", RECORDS, ids=lambda text: text[:5].decode())
def test_broken_records_are_refused_in_a_sentence(text: bytes) -> None:
    with pytest.raises(ReverieError, match="record is"):
        media.read_record(png(1, 1, itxt(text)))


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_damaged_files_give_a_picture_or_a_sentence(data: st.DataObject) -> None:
    whole = bytearray(media.to_png(PICTURE, RECORD))
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=8)):
        whole[place] = data.draw(st.integers(0, 255))
    for read in (media.read_picture, media.read_record):
        with suppress(ReverieError):
            read(bytes(whole))


def test_a_grid_and_a_film_hold_all_pictures() -> None:
    pictures = [np.full((4, 6, 3), level, np.uint8) for level in (0, 100, 200)]
    sheet = media.grid(pictures, columns=2, gap_px=1)
    assert sheet.shape == (9, 13, 3)
    assert (sheet[5:, :6] == 200).all()
    assert (sheet[5:, 7:] == 255).all()
    film = Image.open(io.BytesIO(media.to_gif(pictures)))
    assert film.n_frames == 3  # type: ignore[attr-defined]
    film.seek(2)
    assert abs(int(np.asarray(film.convert("RGB"))[0, 0, 0]) - 200) < 8
    assert film.info["duration"] == 2000
    assert media.to_gif(pictures) == media.to_gif(pictures)


def test_fitting_keeps_the_middle() -> None:
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 255
    assert (media.fit(wide, 16)[:, 4:12] > 250).all()
    assert media.fit(wide, 16).shape == (16, 16, 3)


def test_the_record_is_plain_json() -> None:
    assert json.loads(Image.open(io.BytesIO(media.to_png(PICTURE, RECORD))).info["reverie"]) == RECORD
