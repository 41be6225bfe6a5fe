"""Moving pictures: arrays <-> MP4, GIF and WebP, and what such a file says about itself.

F frames, H height, W width. A clip is uint8 (F, H, W, 3), sRGB.
"""

from __future__ import annotations

import io
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from typing import Any
from xml.sax.saxutils import escape, unescape

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation
from av.video.stream import VideoStream
from PIL import Image

from reverie import media
from reverie.media import MAX_FILE_BYTES, MAX_PIXELS, Picture
from reverie.types import ReverieError

Clip = np.ndarray  # uint8 (F, H, W, 3)
Film = Iterator[tuple[Picture, float]]  # pictures, and for how many seconds each is shown

MAX_FRAMES = 1024  # that are kept of a file
MOST_FRAMES, MOST_PIXELS = 20_000, 1 << 30  # that are looked at, in all frames together: a minute of 640 x 480
MOST_KEPT_PIXELS = 1 << 27  # in all frames together
MOST_FPS, UNTOLD_SECONDS = 60, 0.1  # of frames that do not say how long they last, or less than a screen can show
KINDS = "an MP4, GIF or WebP"
CODECS = ("h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "mpeg4", "mjpeg", "prores")  # that cameras and browsers use

# The same bits on every machine: swscale's faster ways differ from one processor to the next.
_EXACT = (
    Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
    | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
)  # fmt: skip
# Threads would change the bytes, and so do x264's AVX-512 routines, which read memory that nobody has written.
_H264 = {"crf": "15", "preset": "slow", "tune": "animation", "threads": "1", "x264-params": "asm=0"}
_PALETTE_PIXELS = 8192  # that a GIF's colours are chosen by: more take long and find no better ones
_XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # of a box: XMP specification, part 3
_GIF_LOOP, _GIF_XMP = b"!\xff\x0bNETSCAPE2.0", b"!\xff\x0bXMP DataXMP"
_GIF_TRAILER = bytes([1, *range(255, -1, -1), 0])  # XMP specification, part 3: what skips blocks ends up at its end
_RECORD = re.compile(rb"<reverie:Record [^>]*>([^<]*)</reverie:Record>")
_DAMAGE = (*media.DAMAGE, Image.DecompressionBombError, IndexError, FFmpegError, ArithmeticError, MemoryError)


# --- writing ---


def to_file(clip: Clip, suffix: str, fps: float, record: Mapping[str, Any] | None = None) -> bytes:
    """The file of a clip with this suffix, one of `WRITERS`: it plays for ever, where the format can say so.

    record: how the clip was made, JSON values, kept for `read_record`, beside the machine-readable mark that an AI made
    it (IPTC digital source type). The same clip and record give the same bytes.
    """
    if suffix.lower() not in WRITERS:
        raise ReverieError(f"A clip cannot be written as {suffix[:20]!r}: choose {', '.join(WRITERS)}.")
    return WRITERS[suffix.lower()](clip, fps, record)


def to_mp4(clip: Clip, fps: float, record: Mapping[str, Any] | None = None) -> bytes:
    """H.264 that every browser and telephone plays, from its first bytes on; sides must be even."""
    frames, height, width, _ = _check(clip).shape
    if height % 2 or width % 2:
        raise ReverieError(f"A clip of {width} x {height} pixels cannot be an MP4: both sides must be even.")
    file = io.BytesIO()
    options = {"fflags": "+bitexact", "movflags": "+faststart"}
    with av.open(file, "w", format="mp4", options=options, io_open=lambda *_: _Reader(file)) as container:
        container.metadata.update({} if record is None else _tags(record))
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=_H264)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        _tell_colours(stream.codec_context)
        for number in range(frames):
            container.mux(stream.encode(_yuv(clip[number], number)))
        container.mux(stream.encode(None))
    return file.getvalue() + (b"" if record is None else _box(b"uuid", _XMP_UUID + media.xmp(record).encode()))


def to_gif(clip: Clip, fps: float, record: Mapping[str, Any] | None = None) -> bytes:
    """256 colours for the whole clip, without dither: what stands still does not flicker."""
    colours = _colours(_check(clip))
    images = [Image.fromarray(picture).quantize(palette=colours, dither=Image.Dither.NONE) for picture in clip]
    durations = [
        10 * max(2, hundredths) for hundredths in _durations(len(clip), fps, 100)
    ]  # browsers slow down 1 to 10
    words = {} if record is None else {"comment": media.record_text(record).encode()}
    data = _saved(images, "GIF", durations, palette=colours.getpalette(), **words)
    if record is None:
        return data
    start = data.index(_GIF_LOOP) + len(_GIF_LOOP) + 5  # some programs want the loop before anything else
    return data[:start] + _GIF_XMP + media.xmp(record).encode() + _GIF_TRAILER + data[start:]


def to_webp(clip: Clip, fps: float, record: Mapping[str, Any] | None = None) -> bytes:
    """A tenth of what all pixels would take as they are, and hardly to be told from them."""
    images = [Image.fromarray(picture) for picture in _check(clip)]
    words = {} if record is None else {"xmp": media.xmp(record, _record_xml(record)).encode()}
    return _saved(images, "WEBP", _durations(len(clip), fps, 1000), quality=95, method=4, **words)


WRITERS: Mapping[str, Callable[[Clip, float, Mapping[str, Any] | None], bytes]] = {
    ".mp4": to_mp4,
    ".gif": to_gif,
    ".webp": to_webp,
}
MEDIA_TYPES = {".mp4": "video/mp4", ".gif": "image/gif", ".webp": "image/webp"}


class _Reader(io.RawIOBase):
    """Reads again what is being written to a file in memory: FFmpeg moves the head of an MP4 to its front so."""

    def __init__(self, file: io.BytesIO) -> None:
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, len(self._file.getbuffer()))[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        view = self._file.getbuffer()[self._at :]
        data = bytes(view if size < 0 else view[:size])
        self._at += len(data)
        return data


def _tell_colours(codec: Any) -> None:
    """Without these, one player takes the numbers for other colours than the next."""
    codec.colorspace, codec.color_range = Colorspace.ITU709, ColorRange.MPEG
    codec.color_primaries, codec.color_trc = ColorPrimaries.BT709, ColorTrc.IEC61966_2_1


def _yuv(picture: Picture, number: int) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    frame = frame.reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG, interpolation=_EXACT,
        threads=1,
    )  # fmt: skip
    frame.pts = number
    return frame


def _colours(clip: Clip) -> Image.Image:
    """A palette for all frames; rare colours (an eye) have a place in it too."""
    pixels = clip.reshape(-1, 3)
    some = np.ascontiguousarray(pixels[:: len(pixels) // _PALETTE_PIXELS | 1])  # an odd step meets all columns
    few = Image.fromarray(some[None])
    return few.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)


def _durations(frames: int, fps: float, per_second: int) -> list[int]:
    """How long each frame is shown, in whole parts of a second: some longer than others, so that all end in time."""
    ends = [round(per_second * number / fps) for number in range(frames + 1)]
    return [end - start for start, end in pairwise(ends)]


def _saved(images: list[Image.Image], kind: str, durations: list[int], **settings: Any) -> bytes:
    file = io.BytesIO()
    images[0].save(file, kind, save_all=True, append_images=images[1:], duration=durations, loop=0, **settings)
    return file.getvalue()


def _check(clip: Clip) -> Clip:
    assert clip.dtype == np.uint8
    assert clip.ndim == 4
    assert clip.shape[0] >= 1
    assert clip.shape[3] == 3
    return clip


# --- what a file says about itself ---


def read_record(data: bytes) -> dict[str, Any]:
    """What `to_file` was told of how a clip was made; a `ReverieError` if the file does not tell."""
    suffix = suffix_of(data)
    words = {".mp4": _mp4_words, ".gif": _gif_words, ".webp": _webp_words}[suffix](data)
    return media.read_record_text(words, KINDS)


def suffix_of(data: bytes) -> str:
    """How a file of one of the three formats is called, by its first bytes; a `ReverieError` for any other."""
    if data[4:8] == b"ftyp":
        return ".mp4"
    if data[:4] == b"GIF8":
        return ".gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    raise ReverieError(f"The file is not a clip that Reverie made: give {KINDS}.")


def _tags(record: Mapping[str, Any]) -> dict[str, str]:
    """Of an MP4: players show the title, and a program that copies the film into another file keeps them all."""
    title = "".join(letter if letter.isprintable() else " " for letter in str(record.get("prompt", ""))[:200])
    return {"title": title, "copyright": "Made by a generative model, Reverie", "comment": media.record_text(record)}


def _record_xml(record: Mapping[str, Any]) -> str:
    """WebP has no place for words but XMP."""
    return f'\n<reverie:Record xmlns:reverie="urn:reverie">{escape(media.record_text(record))}</reverie:Record>'


def _box(name: bytes, content: bytes) -> bytes:
    """ISO/IEC 14496-12, section 4.2."""
    return (len(content) + 8).to_bytes(4, "big") + name + content


def _mp4_words(data: bytes) -> str | None:
    with _container(data) as container:
        return container.metadata.get("comment")


def _gif_words(data: bytes) -> str | None:
    comments = media.open_image(data, ("GIF",)).info.get("comment", b"").split(b"\n")
    return next((line.decode("ascii", "replace") for line in comments if line.startswith(b"{")), None)


def _webp_words(data: bytes) -> str | None:
    found = _RECORD.search(media.open_image(data, ("WEBP",)).info.get("xmp", b""))
    return None if found is None else unescape(found[1].decode("ascii", "replace"))


# --- reading ---


def read_clip(data: bytes, size_px: int | None = None, most: int = MAX_FRAMES) -> tuple[Clip, float]:
    """The clip in an MP4, MOV, WebM, MKV, GIF or WebP file, on white where it was transparent, and its frames a second.

    size_px: the middle square of each frame, so large; None: frames as they are. most: only the last so many.
    A frame that is shown for longer than others is there as often. What is no clip, broken, or too much for a laptop,
    is a `ReverieError`.
    """
    if len(data) > MAX_FILE_BYTES:
        raise ReverieError(f"The clip has {len(data):,} bytes, and {MAX_FILE_BYTES:,} are the most: cut it shorter.")
    kept = deque[tuple[Picture, float]](maxlen=most)
    try:
        for picture, seconds in _bounded(_images(data) if data[:4] in (b"GIF8", b"RIFF") else _frames(data)):
            kept.append((picture if size_px is None else media.fit(picture, size_px), seconds))
            if len(kept) * kept[-1][0].size > 3 * MOST_KEPT_PIXELS:
                raise _too_much()
    except _DAMAGE as error:
        raise _broken() from error
    if not kept or any(picture.shape != kept[0][0].shape for picture, _ in kept):
        raise _broken()
    return _even(kept, most)


def resampled(clip: Clip, fps: float, to_fps: float) -> Clip:
    """The clip for another number of frames a second, as long as before: frames are left out or shown again."""
    frames = max(1, round(len(clip) * to_fps / fps))
    shown = np.minimum((np.arange(frames) * fps / to_fps + 1e-6).astype(int), len(clip) - 1)
    again: Clip = clip[shown]
    return again


def _bounded(film: Film) -> Film:
    """The film, as long as it is not more than a laptop can look at."""
    frames = pixels = 0
    for picture, seconds in film:
        frames, pixels = frames + 1, pixels + picture.shape[0] * picture.shape[1]
        if frames > MOST_FRAMES or pixels > MOST_PIXELS:
            raise _too_much()
        yield picture, seconds


def _even(kept: deque[tuple[Picture, float]], most: int) -> tuple[Clip, float]:
    """Frames that are all shown equally long: what lasts twice as long as the shortest is there twice."""
    seconds = np.array([shown for _, shown in kept])
    tick = max(seconds.min(), 1 / MOST_FPS)
    times = np.maximum(1, np.round(np.minimum(seconds / tick, most))).astype(int)
    shown = np.repeat(np.arange(len(kept)), times)
    if len(shown[-most:]) * kept[0][0].size > 3 * MOST_KEPT_PIXELS:
        raise _too_much()
    clip = np.stack([kept[number][0] for number in shown[-most:]])
    return clip, float(min(MOST_FPS, len(shown) / seconds.sum()))


def _images(data: bytes) -> Film:
    """Of a GIF or WebP."""
    image = media.open_image(data, ("GIF", "WEBP"))
    for number in range(MOST_FRAMES + 1):
        try:
            image.seek(number)
        except EOFError:
            return
        if image.width * image.height > MAX_PIXELS:  # frames of a GIF may enlarge it
            raise _too_much()
        picture = media.on_white(image)
        seconds = image.info.get("duration", 0) / 1000
        yield picture, seconds if seconds > 1 / 99 else UNTOLD_SECONDS


def _frames(data: bytes) -> Film:
    """Of a film with a codec."""
    with _container(data) as container:
        streams = [each for each in container.streams.video if not each.disposition & Disposition.attached_pic]
        if not streams:
            raise ReverieError("The file holds no moving pictures, only sound or text: give a film.")
        stream = streams[0]
        codec = stream.codec_context
        if codec is None or codec.name not in CODECS:
            raise ReverieError(f"The film's codec is not one of {', '.join(CODECS)}: save it as an MP4 with H.264.")
        codec.options, codec.thread_count = {"max_pixels": str(MAX_PIXELS)}, 1
        if codec.width * codec.height > MAX_PIXELS:
            raise _too_much()
        rate = stream.average_rate
        usual = UNTOLD_SECONDS if rate is None or rate <= 0 else float(1 / rate)
        yield from _timed(container, stream, usual)


def _timed(container: InputContainer, stream: VideoStream, usual_seconds: float) -> Film:
    """Each picture is shown until the next one comes."""
    before, since = None, 0.0
    for frame in container.decode(stream):
        now = since + usual_seconds if frame.time is None else frame.time
        if before is not None:
            yield before, now - since if now > since else usual_seconds
        before, since = _rgb(frame), now
    if before is not None:
        yield before, usual_seconds


def _rgb(frame: av.VideoFrame) -> Picture:
    """A picture as it was taken: telephones film lying on their side, and say so."""
    if frame.width * frame.height > MAX_PIXELS:
        raise _too_much()
    rgb = frame.reformat(format="rgb24", interpolation=_EXACT, threads=1).to_ndarray()
    return np.ascontiguousarray(np.rot90(rgb, round(frame.rotation / 90)), np.uint8)


@contextmanager
def _container(data: bytes) -> Iterator[InputContainer]:
    """An open film; only what a stranger may give is tried."""
    if data[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        kind = "mov"
    elif data[:4] == b"\x1a\x45\xdf\xa3":
        kind = "matroska"
    else:
        raise _broken()
    options = {"codec_whitelist": ",".join(CODECS), "max_pixels": str(MAX_PIXELS), "max_streams": "16"}
    try:
        with av.open(io.BytesIO(data), "r", format=kind, options=options, metadata_errors="replace") as container:
            yield container
    except _DAMAGE as error:
        raise _broken() from error


def _too_much() -> ReverieError:
    return ReverieError("The clip has more or larger pictures than can be read: make it shorter or smaller.")


def _broken() -> ReverieError:
    return ReverieError("The file is not a clip that can be read: give a whole MP4, MOV, WebM, GIF or WebP.")
