"""Streams: what a running job has told so far, for any number of watchers, and as server-sent events.

However slow a watcher is, nothing waits for it and nothing piles up: it gets all of the text, in larger pieces, and the
newest preview.
"""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from PIL import Image
from sse_starlette import ServerSentEvent

from reverie import media
from reverie.serve.shapes import Candidate, DoneEvent, Failure, FailureReply, Shape, StepEvent, TokenView
from reverie.types import Artifact

if TYPE_CHECKING:
    from reverie.lm.tokenizer import Tokenizer

PREVIEW_PX = 256  # the longer side of what is shown while it is made
THUMBNAIL_PX = 320
PING_SECONDS = 10

End = DoneEvent | FailureReply


@dataclass(frozen=True)
class Seen:
    """How much a watcher knows: version of the feed, pieces of text, previews."""

    version: int = -1
    pieces: int = 0
    previews: int = 0


class Feed:
    """What a job has told: all its text, its newest step, how it ended. Used on the event loop alone."""

    def __init__(self, job: str) -> None:
        self._step = StepEvent(job=job, index=0, total=0, phase="queued")
        self._pieces: list[str] = []
        self._tokens: list[TokenView] = []
        self._preview: dict[str, str] = {}
        self._num_previews = self._version = 0
        self.end: End | None = None
        self._changed = asyncio.Event()

    @property
    def text(self) -> str:
        """All the text so far."""
        return "".join(self._pieces)

    def tell(self, step: StepEvent, *, piece: str = "", token: TokenView | None = None) -> None:
        """A step was taken; its `image` and `noisy` are the newest preview."""
        if piece or token is not None:
            self._pieces.append(piece)
            self._tokens += [] if token is None else [token]
        if step.image is not None:
            self._preview = {"image": step.image} | ({} if step.noisy is None else {"noisy": step.noisy})
            self._num_previews += 1
        self._step = step.model_copy(update={"image": None, "noisy": None})
        self._change()

    def finish(self, end: End) -> None:
        """Nothing more will come."""
        self.end = end
        self._wake()

    def _change(self) -> None:
        self._version += 1
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def follow(self) -> AsyncIterator[Shape]:
        """All steps to come, and before them what was told already; the last is the end."""
        seen = Seen()
        while True:
            if seen.version != self._version:
                event, seen = self._since(seen)
                yield event
            elif self.end is not None:
                yield self.end
                return
            else:
                await self._changed.wait()

    def _since(self, seen: Seen) -> tuple[StepEvent, Seen]:
        new: dict[str, Any] = dict(self._preview) if seen.previews != self._num_previews else {}
        if self._pieces[seen.pieces :]:
            new["text"] = "".join(self._pieces[seen.pieces :])
            new["tokens"] = self._tokens[seen.pieces :] if self._tokens else None
        now = replace(seen, version=self._version, pieces=len(self._pieces), previews=self._num_previews)
        return self._step.model_copy(update=new), now


def sse(name: str, event: Shape) -> ServerSentEvent:
    """An event as it goes over the wire."""
    return ServerSentEvent(event.model_dump_json(), event=name)


def name_of(event: Shape) -> str:
    """How an event of a job's feed is called."""
    names: dict[type[Shape], str] = {StepEvent: "step", DoneEvent: "done", FailureReply: "error"}
    return names[type(event)]


def failure(message: str, kind: str) -> FailureReply:
    """What went wrong, as an event or a reply."""
    return FailureReply(error=Failure(message=message, type=kind))


def token_view(info: Mapping[str, Any], tokenizer: Tokenizer) -> TokenView:
    """The token of a step of text, and its candidates, which were asked for."""
    candidates = [Candidate(**_spelt(token, logprob, tokenizer)) for token, logprob in info["top_logprobs"]]
    return TokenView(**_spelt(info["token"], info["logprob"], tokenizer), candidates=candidates)


def _spelt(token: int, logprob: float, tokenizer: Tokenizer) -> dict[str, Any]:
    spelling = list(tokenizer.token_bytes(token))
    return {"text": tokenizer.token_text(token), "bytes": spelling, "logprob": max(float(logprob), -1e9)}


def small(artifact: Artifact, side_px: int = PREVIEW_PX) -> bytes | None:
    """A small WebP of anything that is a picture."""
    if not artifact.media_type.startswith("image/") or isinstance(artifact.data, str):
        return None
    image = Image.fromarray(media.read_picture(artifact.data))
    image.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=85, method=2)
    return file.getvalue()


def data_url(webp: bytes | None) -> str | None:
    """A picture inside an event."""
    return None if webp is None else f"data:image/webp;base64,{base64.b64encode(webp).decode()}"
