"""Tunes on the server: what becomes of a finished one, its files on demand, and what a page needs to show it."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from PIL import Image

from reverie import composing
from reverie.composing import Composed
from reverie.hub.paths import shown_name
from reverie.media import MAX_RECORD_CHARS
from reverie.modalities.music import MusicRequest
from reverie.notation import abc, engrave, words
from reverie.notation.harmony import Chord
from reverie.notation.instruments import Instrument
from reverie.notation.musicxml import to_musicxml
from reverie.notation.order import numbers, played_with_start, upbeats
from reverie.notation.tune import Tune
from reverie.serve import stream
from reverie.serve.errors import Refused
from reverie.serve.shapes_music import MOST_WORDS_CHARS, BegunTune, Score, ScoreBar, ScoreNote
from reverie.types import Artifact, ReverieError

if TYPE_CHECKING:
    from reverie.engine import Model

PLAYING = ("instrument", "backing")  # settings of a tune that no model is asked for
READABLE = Instrument("any", 0, 55, 88)  # the pitches that a model has words for
MOST_ASKED_CHARS = MAX_RECORD_CHARS - 4_000  # of prompt and beginning, as they stand in a record
PX_A_TENTH = 0.36  # of a millimetre of the score: its notes are 4 px high
THUMBNAIL_WIDTH_PX, THUMBNAIL_SIDE_PX = 880, 600
MEDIA_TYPES = {
    "wav": "audio/wav", "mp3": "audio/mpeg", "ogg": "audio/ogg", "mid": "audio/midi", "abc": "text/vnd.abc",
    "musicxml": "application/vnd.recordare.musicxml+xml", "svg": "image/svg+xml", "png": "image/png",
    "pdf": "application/pdf",
}  # fmt: skip
SOUNDS = ("wav", "mp3", "ogg")
_sounding = threading.Lock()  # sound takes much memory: one at a time


def composes(kind: type) -> bool:
    """Whether models that are asked for a `kind` make tunes."""
    return issubclass(kind, MusicRequest)


def check(prompt: Any, settings: Mapping[str, Any]) -> None:
    """A `ReverieError` for what could not be written into the record of a tune, or who cannot play."""
    begin = settings.get("begin")
    if isinstance(prompt, str) and len(prompt) > MOST_WORDS_CHARS:
        raise ReverieError(f"The prompt has {len(prompt):,} characters: a tune needs no more than a few words.")
    if len(json.dumps([prompt, begin])) > MOST_ASKED_CHARS:
        raise ReverieError("The tune to go on from is too long: leave out its comments, or give fewer bars.")
    composing.who_plays("", settings.get("instrument"))


def composed(model: Model, name: str, ticket: Any, guess: Any, playing: Mapping[str, Any]) -> Composed:
    """The tune of a ticket that has come to its end. name: of the model, as people know it."""
    player = composing.who_plays(ticket.request.prompt, playing.get("instrument"))
    made = composing.finished(model, ticket, guess, player, playing.get("backing") is True)
    named = {"name": shown_name(name), **model.checkpoint.sha256s()}
    return replace(made, record={**made.record, "model": named})


def artifact(made: Composed) -> Artifact:
    """What is kept of a tune: ABC with its record; whatever else there is of it is made from that."""
    return Artifact(composing.written(made, ".abc").decode(), MEDIA_TYPES["abc"])


def about(made: Composed) -> dict[str, Any]:
    """What is told of a tune beside its notes."""
    tune = made.tune
    return {
        "title": tune.title, "rhythm": tune.rhythm, "key": str(tune.key), "metre": str(tune.metre),
        "bars": words.num_bars(tune) if tune.bars else 0, "tempo_bpm": tune.tempo_bpm, "seconds": tune.seconds(),
        "instrument": made.played_by.name, "backing": bool(made.record["backing"]), "assumed": dict(made.assumed),
        "corrected": made.corrected, "asked": made.asked,
        "brought_home": made.brought_home, "notes": list(made.notes),
    }  # fmt: skip


def thumbnail(made: Composed) -> bytes | None:
    """The first lines of the score as a small picture; None of a tune without a note."""
    if not made.tune.pitches:
        return None
    page = Image.open(io.BytesIO(engrave.png(to_musicxml(made.tune, made.chords), THUMBNAIL_WIDTH_PX))).convert("RGB")
    square = Image.new("RGB", (THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_PX), "white")
    square.paste(page, (0, 0))
    file = io.BytesIO()
    square.save(file, "PNG", compress_level=1)
    return stream.small(Artifact(file.getvalue(), "image/png"), stream.THUMBNAIL_PX)


def kept(text: str | None) -> Composed:
    """The tune that `artifact` wrote; a `Refused` if it is none."""
    try:
        assert text is not None
        return Composed(abc.from_abc(text), composing.read_record(text.encode()), {}, 0, 0)
    except (ReverieError, AssertionError) as error:
        raise Refused(409, "This is not a tune: there are scores and sounds of tunes alone.") from error


def file(made: Composed, kind: str) -> bytes:
    """The file of a tune; kind: one of `MEDIA_TYPES`."""
    if kind not in SOUNDS:
        return composing.written(made, f".{kind}")
    with _sounding:
        return composing.written(made, f".{kind}")


@lru_cache(maxsize=2)
def kept_file(text: str | None, kind: str) -> bytes:
    """The file of a kept tune; the last ones are remembered, as players ask for a sound piece by piece."""
    return file(kept(text), kind)


def begun(tune: Tune, num_bars: int) -> BegunTune:
    """The first bars, as a model can go on from them."""
    first = replace(tune, bars=tune.bars[:num_bars])
    return BegunTune(abc=abc.to_abc(composing.in_range(first, READABLE)) if first.pitches else None)


def page_width(width_px: int | None) -> int:
    """Of a score that is to be shown so wide: as many tenths of a millimetre as can be read on a screen."""
    asked = engrave.WIDTH if width_px is None else round(width_px / PX_A_TENTH, -2)
    return int(min(max(asked, engrave.LEAST_WIDTH), engrave.WIDTH))


def score(tune: Tune, model: str, chords: list[Chord] | None = None, width_px: int | None = None) -> Score:
    """A tune, or what there is of it, to show and to follow. width_px: how wide it will be shown; None: as a page."""
    page = ""
    if tune.pitches:
        (page,) = engrave.svg(to_musicxml(tune, [] if chords is None else chords), width=page_width(width_px))
    places = _places(tune)
    written = composing.in_range(tune, READABLE)  # a tuba's octave has no words
    told = [*words.head(written), *words.body(written.bars)] if tune.bars else []
    return Score(
        title=tune.title, svg=page, words=told, bars=list(_bars(tune, places)), notes=list(_notes(tune, places)),
        seconds=tune.seconds(), model=model,
    )  # fmt: skip


def _places(tune: Tune) -> list[int]:
    """Where in the words each note of a tune stands."""
    body = words.body(tune.bars) if tune.bars else ()
    return [place for place, word in enumerate(body, len(words.HEAD)) if words.word_note(word) is not None]


def _notes(tune: Tune, places: list[int]) -> Iterator[ScoreNote]:
    bars = [place for place, bar in enumerate(tune.bars) for _ in bar.notes]
    for head in engrave.cursor(tune):
        note = int(head.id[1:].partition("-")[0])
        pitch = tune.notes[note].pitch
        assert pitch is not None
        yield ScoreNote(
            id=head.id, bar=bars[note], pitch=pitch, starts_seconds=list(head.starts_seconds), seconds=head.seconds,
            word=places[note],
        )  # fmt: skip


def _bars(tune: Tune, places: list[int]) -> Iterator[ScoreBar]:
    seconds_a_tick = 60 / tune.tempo_bpm / tune.metre.beat_ticks
    starts: dict[int, list[float]] = {}
    for place, start in played_with_start(tune):
        starts.setdefault(place, []).append(start * seconds_a_tick)
    first = 0
    for place, (bar, number, is_upbeat) in enumerate(zip(tune.bars, numbers(tune), upbeats(tune), strict=True)):
        yield ScoreBar(number=number, is_upbeat=is_upbeat, starts_seconds=starts.get(place, []), words=places[first])
        first += len(bar.notes)
