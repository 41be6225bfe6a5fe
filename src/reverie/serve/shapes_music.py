"""Shapes of tunes: what a page needs to show, play and go on with one; and what `POST /v1/audio/generate` takes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from reverie.serve.shapes import Begun, Shape, Short, bounded

MOST_WORDS_CHARS = 4_000  # of the prompt of a tune: a few words are meant

FileKind = Literal["wav", "mp3", "ogg", "mid", "abc", "musicxml", "svg", "png", "pdf"]


class MusicOptions(Shape):
    """What can be chosen of a tune."""

    instruments: list[str]
    rhythms: list[str]
    metres: list[str]
    keys: list[str]
    files: list[str]


class ScoreNote(Shape):
    """A note head, in written order. id: of its element in the SVG. bar: its place among the bars, from 0.

    pitch: its MIDI number. starts_seconds: when it sounds, once for each repeat. word: its place in the `words`.
    """

    id: str
    bar: int
    pitch: int
    starts_seconds: list[float]
    seconds: float
    word: int


class ScoreBar(Shape):
    """A bar. number: as musicians count, upbeats with the bar that follows. words: how many come before it."""

    number: int
    is_upbeat: bool
    starts_seconds: list[float]
    words: int


class Score(Shape):
    """A tune as it can be shown and followed. svg: "" as long as there is no note; its k-th `.measure` is bar k.

    words: as the model writes them, without the title. seconds: how long it sounds.
    """

    title: str
    svg: str
    words: list[str]
    bars: list[ScoreBar]
    notes: list[ScoreNote]
    seconds: float
    model: str


class BegunTune(Shape):
    """The beginning of a tune, to go on from: what the setting `begin` takes. abc: None of no bar at all."""

    abc: str | None


class MusicRequestBody(Shape):
    """POST /v1/audio/generate. input: what kind of tune. begin: a tune in ABC to go on from.

    stream: server-sent events of the words as they come, and then the file in base64.
    """

    input: Annotated[str, Field(min_length=1, max_length=MOST_WORDS_CHARS)]
    model: Short | None = None
    response_format: FileKind = "wav"
    stream: bool | None = None
    seed: Annotated[int | None, bounded("seed")] = None
    temperature: Annotated[float | None, bounded("temperature")] = None
    top_k: Annotated[int | None, bounded("top_k")] = None
    top_p: Annotated[float | None, bounded("top_p")] = None
    min_p: Annotated[float | None, bounded("min_p")] = None
    key: Short | None = None
    metre: Short | None = None
    rhythm: Short | None = None
    bars: Annotated[int | None, bounded("bars")] = None
    tempo_bpm: Annotated[int | None, bounded("tempo_bpm")] = None
    begin: Begun | None = None
    free: bool | None = None
    instrument: Short | None = None
    backing: bool | None = None
