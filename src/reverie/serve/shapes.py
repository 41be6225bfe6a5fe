"""Shapes of everything that goes in and out under /api: requests, replies and events.

The studio's types come from here. Unknown fields are refused, and every number has the bounds of `types.BOUNDS`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from reverie.types import BOUNDS, SAMPLERS

MOST_PROMPT_CHARS = 400_000
MOST_PICTURE_CHARS = 12_000_000  # of a picture as base64
MOST_BEGUN_CHARS = 20_000  # of a tune to go on from
MOST_PER_PAGE = 200

Task = Literal["write", "code", "ask", "summarize", "chat"]
State = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]


def bounded(name: str) -> Any:
    """The bounds of a number of `types.Request`, for pydantic."""
    least, most = BOUNDS[name]
    return Field(ge=least, le=most, allow_inf_nan=False) if isinstance(least, float) else Field(ge=least, le=most)


Short = Annotated[str, Field(min_length=1, max_length=200)]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Long = Annotated[str, Field(max_length=MOST_PROMPT_CHARS)]
Begun = Annotated[str, Field(max_length=MOST_BEGUN_CHARS, description="The beginning of a tune, in ABC")]
Base64 = Annotated[str, Field(max_length=MOST_PICTURE_CHARS, description="A PNG, JPEG or WebP: base64 or a data: URL")]


class Shape(BaseModel):
    """What all shapes have in common."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Failure(Shape):
    """What went wrong, in a sentence that says what to do."""

    message: str
    type: str


class FailureReply(Shape):
    """The body of every reply that is not 2xx."""

    error: Failure


# --- to make something ---


class Turn(Shape):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: Long


class GenerationSettings(Shape):
    """How to make it; the fields of what the media can be asked for. Left out: what suits the model.

    instrument, backing: who plays a tune, and whether a bass and chords go along. init: a picture to begin from; of a
    clip, the first one, and last: the last one. extend: a clip of the gallery to go on from.
    A setting that the model's medium does not have is refused.
    """

    seed: Annotated[int | None, bounded("seed")] = None
    max_tokens: Annotated[int | None, bounded("max_tokens")] = None
    temperature: Annotated[float | None, bounded("temperature")] = None
    top_k: Annotated[int | None, bounded("top_k")] = None
    top_p: Annotated[float | None, bounded("top_p")] = None
    min_p: Annotated[float | None, bounded("min_p")] = None
    repetition_penalty: Annotated[float | None, bounded("repetition_penalty")] = None
    frequency_penalty: Annotated[float | None, bounded("frequency_penalty")] = None
    presence_penalty: Annotated[float | None, bounded("presence_penalty")] = None
    stop: Annotated[list[Short] | None, Field(max_length=16)] = None
    num_logprobs: Annotated[int | None, Field(ge=0, le=20, description="How many candidates to show a token")] = None
    slide: bool | None = None
    steps: Annotated[int | None, bounded("steps")] = None
    guidance: Annotated[float | None, bounded("guidance")] = None
    sampler: Annotated[Literal[SAMPLERS] | None, Field()] = None  # type: ignore[valid-type]  # a tuple of names
    negative: Long | None = None
    size_px: Annotated[int | None, bounded("size_px")] = None
    init: Base64 | None = None
    strength: Annotated[float | None, bounded("strength")] = None
    mask: Base64 | None = None
    key: Short | None = None
    metre: Short | None = None
    rhythm: Short | None = None
    bars: Annotated[int | None, bounded("bars")] = None
    tempo_bpm: Annotated[int | None, bounded("tempo_bpm")] = None
    begin: Begun | None = None
    free: bool | None = None
    instrument: Short | None = None
    backing: bool | None = None
    frames: Annotated[int | None, bounded("frames")] = None
    fps: Annotated[int | None, bounded("fps")] = None
    loop: bool | None = None
    last: Base64 | None = None
    extend: Id | None = None


class GenerateRequest(Shape):
    """What to make.

    model: a name of /api/models; None: the default one of `modality`. prompt or messages: one of the two.
    task: puts the prompt into the words that a small model understands, with settings that suit; None: continued as
    it stands (or, of messages, answered). context: the text to answer from, with task "ask".
    keep: whether the result goes to the gallery; keep_steps: its previews too, to scrub through later.
    noisy: whether previews show the noisy state besides the guess.
    remix_of: the thing of which this is the same again with another prompt.
    """

    model: Short | None = None
    modality: Short | None = None
    task: Task | None = None
    prompt: Long | None = None
    messages: Annotated[list[Turn] | None, Field(min_length=1, max_length=1000)] = None
    context: Long | None = None
    settings: GenerationSettings = GenerationSettings()
    keep: bool = True
    keep_steps: bool = True
    noisy: bool = False
    remix_of: Id | None = None


class Candidate(Shape):
    """A token that could have come, and the logarithm of its probability.

    text: to be shown; a part of a character as <0xE2>, the end by its name. bytes: what it adds to the text.
    """

    text: str
    bytes: list[int]
    logprob: float


class TokenView(Candidate):
    """A token that came, and what else could have come."""

    candidates: list[Candidate]


class StepEvent(Shape):
    """Event `step`: how far it is.

    text: what is new since the last event. tokens: the same, token by token, if `num_logprobs` was set.
    image, noisy: data: URLs of a small picture of the guess and of the noisy state. t: of diffusion, 1 noise, 0 done.
    frames: of a clip, whose image and noisy show so many frames side by side.
    phase: "queued", then "prompt" while the prompt is read, then "making".
    """

    job: str
    index: int
    total: int
    phase: Literal["queued", "prompt", "making"]
    seconds_left: float | None = None
    t: float | None = None
    text: str | None = None
    tokens: list[TokenView] | None = None
    image: str | None = None
    noisy: str | None = None
    frames: int | None = None


class Timing(Shape):
    """How long it took, in seconds; of text, for how many tokens."""

    waited_seconds: float
    seconds: float
    prompt_tokens: int = 0
    new_tokens: int = 0


class DoneEvent(Shape):
    """Event `done`: the end. text: the whole text; url: of the file in the gallery, if kept; about: see `Item`."""

    job: str
    state: State
    item: str | None
    model: str
    media_type: str | None
    seed: int | None
    finish_reason: str | None
    timing: Timing
    text: str | None = None
    url: str | None = None
    about: dict[str, JsonValue] | None = None


# --- jobs ---


class Job(Shape):
    """Something that was asked for. Times are seconds since 1970. item: in the gallery. live: a page waits for it.

    A job that ran when the server was killed is "interrupted": `POST /api/jobs/{id}/again` starts it again.
    """

    id: str
    state: State
    live: bool
    request: GenerateRequest
    created: float
    started: float | None = None
    ended: float | None = None
    error: str | None = None
    item: str | None = None
    seed: int | None = None


class JobList(Shape):
    """All jobs, those that wait in their order, then the others from the newest. paused: none of those is begun."""

    paused: bool
    jobs: list[Job]


class Order(Shape):
    """The jobs that wait, in the order wished; those left out come after."""

    ids: Annotated[list[Id], Field(max_length=1000)]


class Paused(Shape):
    """Whether the line stands still."""

    paused: bool


# --- the gallery ---


class Item(Shape):
    """Something that was made. num_steps: how many previews there are. text: of a text, all of it.

    about: what more there is to tell of it; of a tune its title, what was assumed and the like.
    """

    id: str
    created: float
    model: str
    modality: str
    media_type: str
    prompt: str
    seed: int | None
    seconds: float
    num_steps: int
    text: str | None
    url: str
    thumbnail: str | None
    about: dict[str, JsonValue] | None = None


class Gallery(Shape):
    """A page of the gallery, newest first. next: what `before` must be for the next page; None on the last."""

    items: list[Item]
    next: int | None


class ReadPicture(Shape):
    """How a picture was made, by its own record; request: the same, ready to be sent."""

    record: dict[str, JsonValue]
    request: GenerateRequest


# --- models ---


class ModelView(Shape):
    """A model. usable: it makes something by itself. modality: what. pulling: whether it is being fetched."""

    name: str
    modality: str
    family: str
    licence: str
    notes: str
    size_bytes: int
    parameters: int
    context_tokens: int
    installed: bool
    default: bool
    usable: bool
    gated: bool
    removable: bool
    pulling: bool


class ModelList(Shape):
    """The catalogue, and whatever else is here."""

    models: list[ModelView]


class ModelName(Shape):
    """A model of the catalogue."""

    name: Short


class PullEvent(Shape):
    """Event `progress` of a pull, and its last, `done`."""

    name: str
    done_bytes: int
    total_bytes: int


class Freed(Shape):
    """What a removal gave back."""

    freed_bytes: int


# --- chats ---


class Chat(Shape):
    """A conversation with its branches; what `body` holds is the studio's own business."""

    title: Annotated[str, Field(max_length=300)]
    body: dict[str, JsonValue]


class ChatHead(Shape):
    """A saved conversation, without what was said."""

    id: str
    title: str
    updated: float


class ChatList(Shape):
    """All saved conversations, the last changed first."""

    chats: list[ChatHead]


class SavedChat(Shape):
    """A saved conversation."""

    id: str
    title: str
    updated: float
    body: dict[str, JsonValue]


# --- the rest ---


class About(Shape):
    """What this server is. features: the groups of routes under /api; pages of others are not to be shown."""

    version: str
    features: list[str]
    modalities: list[str]
    samplers: list[str]
    bounds: dict[str, list[float]]
    needs_key: bool


class Health(Shape):
    """Whether the worker is alive. beat_seconds: the age of its last sign of life."""

    status: Literal["ok", "stuck"]
    beat_seconds: float


class Key(Shape):
    """The key that the server was started with."""

    key: Annotated[str, Field(max_length=1000)]
