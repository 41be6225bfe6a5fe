"""Media: arrays <-> PNG and GIF, and what a PNG says about itself.

H height, W width, N pictures. A picture is uint8 (H, W, 3), sRGB.
"""

from __future__ import annotations

import io
import json
import math
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
RECORD, XMP = "reverie", "XML:com.adobe.xmp"  # the keywords of two text chunks

# The IPTC's word for what a generative model made: https://cv.iptc.org/newscodes/digitalsourcetype/
_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">
<Iptc4xmpExt:DigitalSourceType>{source_type}</Iptc4xmpExt:DigitalSourceType>
<xmp:CreatorTool>{software}</xmp:CreatorTool>
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{description}</rdf:li></rdf:Alt></dc:description>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


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
    image = _open(data)
    try:
        upright = ImageOps.exif_transpose(image).convert("RGBA")
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error) as error:
        raise _unreadable() from error
    white = Image.new("RGBA", upright.size, "white")
    return np.asarray(Image.alpha_composite(white, upright).convert("RGB"))


def read_clear(data: bytes) -> np.ndarray:
    """How far the picture in a file lets through what is behind it: uint8 (H, W), 255 where it is transparent."""
    image = _open(data)
    try:
        upright = ImageOps.exif_transpose(image).convert("RGBA")
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error) as error:
        raise _unreadable() from error
    return 255 - np.asarray(upright.getchannel("A"))


def read_record(data: bytes) -> dict[str, Any]:
    """What `to_png` was told of how a picture was made; a `ReverieError` if the file does not tell."""
    words = _open(data).info.get(RECORD)
    if not isinstance(words, str):
        raise ReverieError("The file does not say how it was made: give a PNG that Reverie drew.")
    if len(words) > MAX_RECORD_CHARS:
        raise ReverieError("The file's record is too long: give a PNG as Reverie wrote it.")
    try:
        record = json.loads(words)
    except (ValueError, RecursionError) as error:
        raise ReverieError("The file's record is broken: give a PNG as Reverie wrote it.") from error
    if not isinstance(record, dict):
        raise ReverieError("The file's record is not an object: give a PNG as Reverie wrote it.")
    return record


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


def _words(record: Mapping[str, Any]) -> dict[str, str]:
    """Keyword -> text, of everything a PNG says about itself."""
    prompt, software = str(record.get("prompt", "")), str(record.get("software", "Reverie"))
    kind = "trainedAlgorithmicMedia" if record.get("init") is None else "compositeWithTrainedAlgorithmicMedia"
    xmp = _XMP.format(source_type=_SOURCE_TYPE + kind, software=_xml(software), description=_xml(prompt))
    return {
        RECORD: json.dumps(record, ensure_ascii=False, sort_keys=True),
        XMP: xmp,
        "Description": prompt,
        "Software": software,
        "Disclaimer": "This picture was made by a generative model.",
    }


def _xml(text: str) -> str:
    """Text as it may stand in XML, which has no place for control characters, not even escaped."""
    return escape("".join(letter for letter in text if letter >= " " or letter in "\t\n"))


def _open(data: bytes) -> Image.Image:
    """A file's header and text chunks, all within bounds; no pixel is decoded yet."""
    if len(data) > MAX_FILE_BYTES:
        raise ReverieError(
            f"The picture has {len(data):,} bytes, and {MAX_FILE_BYTES:,} are the most: make it smaller."
        )
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise _too_large() from error
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error) as error:
        raise _unreadable() from error
    if image.width * image.height > MAX_PIXELS:
        raise _too_large()
    return image


def _too_large() -> ReverieError:
    return ReverieError(f"The picture has more than {MAX_PIXELS:,} pixels: make it smaller.")


def _unreadable() -> ReverieError:
    return ReverieError(f"The file is not a picture that can be read: give a whole {', '.join(FORMATS)}.")


def _check(picture: Picture) -> Picture:
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    return picture
