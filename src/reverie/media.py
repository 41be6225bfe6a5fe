"""Media: arrays <-> PNG and GIF, and what a PNG says about itself.

H height, W width, N pictures. A picture is uint8 (H, W, 3), sRGB.
"""

from __future__ import annotations

import io
import json
import math
import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin

from reverie.types import ReverieError

Picture = np.ndarray  # uint8 (H, W, 3)

MAX_FILE_BYTES = 64_000_000
MAX_PIXELS = 4096 * 4096
MAX_RECORD_CHARS = 64_000
FORMATS = ("PNG", "JPEG", "WEBP")  # that are read; Pillow's rarer readers are not for strangers' files
DAMAGE = (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error)  # what Pillow makes of a broken file
GIVEN = ("init", "begin", "end", "extend")  # in a record: the pictures of someone else that a thing was made from
RECORD, XMP = "reverie", "XML:com.adobe.xmp"  # the keywords of two text chunks

# The IPTC's word for what a generative model made: https://cv.iptc.org/newscodes/digitalsourcetype/
_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">
<Iptc4xmpExt:DigitalSourceType>{source_type}</Iptc4xmpExt:DigitalSourceType>
<xmp:CreatorTool>{software}</xmp:CreatorTool>
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{description}</rdf:li></rdf:Alt></dc:description>{more}
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""

_NO_XML = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")


def to_png(picture: Picture, record: Mapping[str, Any] | None = None) -> bytes:
    """A PNG; the same picture and record give the same bytes.

    record: how the picture was made, JSON values. It is kept word for word for `read_record`. Beside it stand fields
    that other programs show ("prompt" and "software" are used, "init" tells that a picture was changed), and the
    machine-readable mark that an AI made it (IPTC digital source type, in XMP).
    """
    _check(picture)
    words = PngImagePlugin.PngInfo()
    if record is not None:
        for keyword, text in _words(record).items():
            words.add_itxt(keyword, text)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", pnginfo=words, compress_level=6)
    return file.getvalue()


def read_picture(data: bytes) -> Picture:
    """The picture in a PNG, JPEG or WebP file, upright, on white where it was transparent."""
    return on_white(_upright(data))


def read_clear(data: bytes) -> np.ndarray:
    """How far the picture in a file lets through what is behind it: uint8 (H, W), 255 where it is transparent."""
    return 255 - np.asarray(_upright(data).getchannel("A"))


def read_record(data: bytes) -> dict[str, Any]:
    """What `to_png` was told of how a picture was made; a `ReverieError` if the file does not tell."""
    return read_record_text(open_image(data).info.get(RECORD), "a picture")


def to_gif(frames: Sequence[Picture], frame_seconds: float = 0.1, last_seconds: float = 2.0) -> bytes:
    """An endless film; the last frame stays for longer."""
    images = [Image.fromarray(_check(frame)).quantize(256, dither=Image.Dither.NONE) for frame in frames]
    durations = [round(1000 * frame_seconds)] * (len(images) - 1) + [round(1000 * last_seconds)]
    file = io.BytesIO()
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)
    return file.getvalue()


def grid(pictures: Sequence[Picture], columns: int | None = None, gap_px: int = 2) -> Picture:
    """Pictures of one size side by side, row by row on white; columns: about as many as rows if not given."""
    columns = math.ceil(math.sqrt(len(pictures))) if columns is None else columns
    rows = math.ceil(len(pictures) / columns)
    height, width, _ = pictures[0].shape
    sheet = np.full((rows * (height + gap_px) - gap_px, columns * (width + gap_px) - gap_px, 3), 255, np.uint8)
    for place, picture in enumerate(pictures):
        top, left = (place // columns) * (height + gap_px), (place % columns) * (width + gap_px)
        sheet[top : top + height, left : left + width] = _check(picture)
    return sheet


def fit(picture: Picture, size_px: int) -> Picture:
    """The middle square of a picture, size_px wide and high."""
    image = Image.fromarray(_check(picture))
    return np.asarray(ImageOps.fit(image, (size_px, size_px), Image.Resampling.LANCZOS))


def on_white(image: Image.Image) -> Picture:
    """An open image as it is seen on white paper."""
    clear = image.convert("RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB"))


# --- what a file says about itself ---


def xmp(record: Mapping[str, Any], more: str = "") -> str:
    """The machine-readable mark that an AI made it, alone or out of what was given, as XMP. more: XML to add to it."""
    given = any(record.get(name) is not None for name in GIVEN)
    kind = "compositeWithTrainedAlgorithmicMedia" if given else "trainedAlgorithmicMedia"
    prompt, software = _prompt_and_software(record)
    return _XMP.format(source_type=_SOURCE_TYPE + kind, software=_xml(software), description=_xml(prompt), more=more)


def record_text(record: Mapping[str, Any]) -> str:
    """A record (JSON values) as ASCII text, which survives every file format; the same record, the same text."""
    text = json.dumps(record, ensure_ascii=True, sort_keys=True)
    if len(text) > MAX_RECORD_CHARS:
        raise ReverieError(f"The record of how it was made is longer than {MAX_RECORD_CHARS:,} letters: shorten it.")
    return text


def read_record_text(words: object, kind: str) -> dict[str, Any]:
    """The record in the JSON `words` of a file; a `ReverieError` if they are none. kind: of file, like "a PNG"."""
    if not isinstance(words, str):
        raise ReverieError(f"The file does not say how it was made: give {kind} that Reverie made.")
    if len(words) > MAX_RECORD_CHARS:
        raise ReverieError(f"The file's record is too long: give {kind} as Reverie wrote it.")
    try:
        record = json.loads(words)
    except (ValueError, RecursionError) as error:
        raise ReverieError(f"The file's record is broken: give {kind} as Reverie wrote it.") from error
    if not isinstance(record, dict):
        raise ReverieError(f"The file's record is not an object: give {kind} as Reverie wrote it.")
    return record


def _words(record: Mapping[str, Any]) -> dict[str, str]:
    """Keyword -> text, of everything a PNG says about itself."""
    prompt, software = _prompt_and_software(record)
    return {
        RECORD: json.dumps(record, ensure_ascii=False, sort_keys=True),
        XMP: xmp(record),
        "Description": prompt,
        "Software": software,
        "Disclaimer": "This picture was made by a generative model.",
    }


def _prompt_and_software(record: Mapping[str, Any]) -> tuple[str, str]:
    return str(record.get("prompt", "")), str(record.get("software", "Reverie"))


def _xml(text: str) -> str:
    """Text as it may stand in XML, which has no place for control characters and half letters, not even escaped."""
    return escape(_NO_XML.sub("", text))


# --- files of strangers ---


def open_image(data: bytes, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """A file's header and text chunks, all within bounds; no pixel is decoded yet."""
    if len(data) > MAX_FILE_BYTES:
        raise ReverieError(
            f"The picture has {len(data):,} bytes, and {MAX_FILE_BYTES:,} are the most: make it smaller."
        )
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
    except Image.DecompressionBombError as error:
        raise _too_large() from error
    except DAMAGE as error:
        raise _unreadable(formats) from error
    if image.width * image.height > MAX_PIXELS:
        raise _too_large()
    return image


def _upright(data: bytes) -> Image.Image:
    """The picture in a file, RGBA, turned as it was taken."""
    image = open_image(data)
    try:
        return ImageOps.exif_transpose(image).convert("RGBA")
    except DAMAGE as error:
        raise _unreadable(FORMATS) from error


def _too_large() -> ReverieError:
    return ReverieError(f"The picture has more than {MAX_PIXELS:,} pixels: make it smaller.")


def _unreadable(formats: Sequence[str]) -> ReverieError:
    return ReverieError(f"The file is not a picture that can be read: give a whole {', '.join(formats)}.")


def _check(picture: Picture) -> Picture:
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    return picture
