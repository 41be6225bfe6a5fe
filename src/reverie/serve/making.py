"""Making: from a request to what the model is asked, and from its steps to events and the finished thing.

No medium is known here by name: what has "text" in a step's info is told as text, and whatever decodes to a picture is
shown as one. What a tune or a clip becomes beyond that is the matter of `scores.py` and `clips.py`.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from reverie import drawing, media, tasks
from reverie.hub.paths import shown_name
from reverie.serve import clips, scores, stream
from reverie.serve.shapes import MOST_PICTURE_CHARS, GenerateRequest, StepEvent, Timing, TokenView
from reverie.serve.store import Made
from reverie.types import Artifact, ImageRequest, LMRequest, Message, Request, ReverieError, Step

if TYPE_CHECKING:
    from reverie.composing import Composed
    from reverie.engine import Model
    from reverie.moving import Clip
    from reverie.serve.jobs import Live
    from reverie.serve.store import Store

MOST_KEPT_STEPS = 200
PICTURES = ("init", "mask", "last")  # settings that are pictures


@dataclass(frozen=True)
class Asked:
    """What the model is asked. shown: the prompt as a person knows it. before: the clip that is gone on from."""

    prompt: Any
    settings: Mapping[str, Any]
    shown: str
    before: Clip | None = None


def asked(request: GenerateRequest) -> Asked:
    """The words and settings of a request, as `engine.Model.generate` takes them; a mistake is a `ReverieError`."""
    given = request.settings.model_dump(exclude_none=True)
    if "stop" in given:
        given["stop"] = tuple(given["stop"])
    given |= {name: _setting(name, given[name]) for name in PICTURES if name in given}
    if (request.prompt is None) == (request.messages is None):
        raise ReverieError("Give either a prompt or messages: one of the two.")
    if request.context is not None and request.task != "ask":
        raise ReverieError("A context is what a question is answered from: give the task 'ask' with it.")
    if request.messages is not None:
        turns = [Message(turn.role, turn.content) for turn in request.messages]
        said = [turn.content for turn in turns if turn.role == "user"]
        return Asked(turns, {**tasks.SETTINGS["chat"], **given}, said[-1] if said else "")
    assert request.prompt is not None
    if request.task is None:
        return Asked(request.prompt, given, request.prompt)
    return Asked(_in_words(request), {**tasks.SETTINGS[request.task], **given}, request.prompt)


def fitting(asked: Asked, request: GenerateRequest, name: str, kind: type[Request], store: Store) -> Asked:
    """The same for a model that can be asked for a `kind`; a `ReverieError` for what is none of its business."""
    if kind is not LMRequest and (request.task is not None or request.messages is not None):
        what = "talk" if request.task is None else f"do the task {request.task!r}"
        raise ReverieError(f"{name} cannot {what}: choose a model that writes texts, or give it a prompt alone.")
    if clips.animates(kind):
        settings, before = clips.asked(asked.prompt, asked.settings, partial(clips.film, store))
        return replace(asked, settings=settings, before=before)
    if not scores.composes(kind):
        return asked
    scores.check(asked.prompt, asked.settings)
    settings = {name: value for name, value in asked.settings.items() if name not in scores.PLAYING}
    return replace(asked, settings=settings)


def _in_words(request: GenerateRequest) -> list[Message]:
    """A prompt in the words of its task."""
    assert request.prompt is not None
    match request.task:
        case "ask":
            return tasks.ask(request.prompt, request.context)
        case "summarize":
            return tasks.summary(request.prompt)
    return tasks.conversation(request.prompt)


def clean(request: GenerateRequest) -> GenerateRequest:
    """The request with its pictures written anew: what else was in the files is gone."""
    given = {name: getattr(request.settings, name) for name in PICTURES}
    fresh = {name: _reencoded(text) for name, text in given.items() if text is not None}
    return request.model_copy(update={"settings": request.settings.model_copy(update=fresh)}) if fresh else request


def with_seed(request: GenerateRequest, model: str, seed: int | None) -> GenerateRequest:
    """The request that would give the very same again."""
    settings = request.settings.model_copy(update={"seed": seed})
    return request.model_copy(update={"model": model, "settings": settings})


def timing(live: Live) -> Timing:
    """How long a job took."""
    told = getattr(live.ticket, "timings", None)
    tokens = {name: int(getattr(told, name, 0)) for name in ("prompt_tokens", "new_tokens")}
    waited = max((live.job.started or live.job.created) - live.job.created, 0.0)
    return Timing(waited_seconds=waited, seconds=time.monotonic() - live.began, **tokens)


def decode_picture(text: str) -> np.ndarray:
    """The picture in base64 or a data: URL, its pixels counted before they are decoded."""
    head, comma, body = text.partition(",")
    encoded = body if comma and head.startswith("data:") else text
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ReverieError("A picture is not base64: send a PNG, JPEG or WebP as base64 or as a data: URL.") from error
    return media.read_picture(data)


def _setting(name: str, text: str) -> np.ndarray:
    """A picture as the setting takes it; of a mask, how light it is."""
    picture = decode_picture(text)
    return picture.mean(axis=2).round().astype(np.uint8) if name == "mask" else picture


def _reencoded(text: str) -> str:
    fresh = data_url(decode_picture(text))
    if len(fresh) > MOST_PICTURE_CHARS:  # what is kept must be readable again
        raise ReverieError("A picture is too large to be kept with what is asked for: make it smaller.")
    return fresh


def data_url(picture: media.Picture) -> str:
    """A picture as a PNG in a data: URL, with nothing else."""
    return f"data:image/png;base64,{base64.b64encode(media.to_png(picture)).decode()}"


async def make(live: Live, worker: Any) -> Made | None:
    """Follows the steps of a job and tells them; gives the finished thing, or None if it was cancelled at once."""
    maker = Maker(live)
    async for step in live.ticket.steps():
        if maker.model is None:
            maker.model = live.model = await worker.call(live.path, lambda model: model)
        await maker.take(step)
    error = live.ticket.error
    if error is not None:
        raise error
    return None if maker.last is None else await asyncio.to_thread(maker.made)


class Maker:
    """What becomes of one job's steps."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.model: Model | None = None
        self.last: Step | None = None
        self._kept: list[tuple[bytes, bytes | None]] = []
        self._first: tuple[float, int] | None = None

    async def take(self, step: Step) -> None:
        """Tells one step."""
        now = time.monotonic()
        self.last = self.live.last = step
        in_prompt = step.info.get("phase") == "prompt"
        event = StepEvent(
            job=self.live.job.id, index=step.index, total=step.total, phase="prompt" if in_prompt else "making",
            seconds_left=self._seconds_left(step, now), t=step.info.get("t"),
        )  # fmt: skip
        if "text" in step.info:
            self.live.feed.tell(event, piece=step.info["text"], token=self._token(step))
            return
        unseen = in_prompt or self.live.ticket.is_cancelled
        shown = {} if unseen else await asyncio.to_thread(self._preview, step)
        self.live.feed.tell(event.model_copy(update=shown))

    def _seconds_left(self, step: Step, now: float) -> float | None:
        if self._first is None:
            self._first = (now, step.index)
        began, index = self._first
        done = step.index - index
        return (now - began) / done * (step.total - step.index) if done > 0 else None

    def _token(self, step: Step) -> TokenView | None:
        assert self.model is not None
        return stream.token_view(step.info, self.model.medium.tokenizer) if "top_logprobs" in step.info else None

    def _preview(self, step: Step) -> dict[str, Any]:
        """The guess, and the noisy state if wished, as small pictures; of what cannot be seen, nothing."""
        guess = self._seen(step.guess)
        if guess is None:
            return {}
        noisy = self._seen(step.state) if self.live.job.request.noisy else None
        every = math.ceil(step.total / MOST_KEPT_STEPS)
        if self.live.job.request.keep_steps and (step.index % every == 0 or step.index == step.total):
            self._kept.append((guess, noisy))
        frames = getattr(self.live.ticket.request, "frames", None)
        return {"image": stream.data_url(guess), "noisy": stream.data_url(noisy), "frames": frames}

    def _seen(self, x: Any) -> bytes | None:
        """A guess or a noisy state as a small picture; of a clip, all frames."""
        assert self.model is not None
        if clips.animates(self.model.medium.request):
            return clips.preview(self.model.medium.clip(x))
        return stream.small(self.model.medium.decode(x))

    def made(self) -> Made:
        """The finished thing."""
        assert self.model is not None
        assert self.last is not None
        about = thumbnail = frames = None
        if scores.composes(type(self.live.ticket.request)):
            tune = self._tune(self.model, self.last)
            artifact, about, thumbnail = scores.artifact(tune), scores.about(tune), scores.thumbnail(tune)
        elif clips.animates(type(self.live.ticket.request)):
            clip = clips.finished(
                self.model, self.live.name, self.live.ticket.request, self.last.guess, self.live.before
            )
            artifact, about, thumbnail = clips.artifact(clip), clips.about(clip), clips.thumbnail(clip)
            frames = clips.exact(clip)
        else:
            artifact = self._artifact(self.model, self.last)
            thumbnail = stream.small(artifact, stream.THUMBNAIL_PX)
        text, data = (artifact.data, None) if isinstance(artifact.data, str) else (None, artifact.data)
        return Made(
            model=self.live.name, modality=self.model.medium.name, media_type=artifact.media_type,
            prompt=self.live.prompt, seed=self.live.ticket.request.seed, text=text, data=data, frames=frames,
            seconds=time.monotonic() - self.live.began, thumbnail=thumbnail, steps=self._kept, about=about,
        )  # fmt: skip

    def _tune(self, model: Model, last: Step) -> Composed:
        playing = self.live.job.request.settings.model_dump(include=set(scores.PLAYING))
        return scores.composed(model, self.live.name, self.live.ticket, last.guess, playing)

    def _artifact(self, model: Model, last: Step) -> Artifact:
        """The file: a picture with the record of how it was made; a text as it was told, without what stopped it."""
        request = self.live.ticket.request
        if isinstance(request, ImageRequest):
            picture = model.medium.picture(last.guess, request)
            told = {**drawing.record(model, request), "model": self._model_record(model), "count": 1}
            return Artifact(media.to_png(picture, told), "image/png")
        artifact: Artifact = model.medium.decode(last.guess)
        return Artifact(self.live.feed.text, artifact.media_type) if isinstance(artifact.data, str) else artifact

    def _model_record(self, model: Model) -> dict[str, str]:
        """The model by the name that people ask for it."""
        return {"name": shown_name(self.live.name), **model.checkpoint.sha256s()}
