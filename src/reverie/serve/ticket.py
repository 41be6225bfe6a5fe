"""A ticket: one request at the worker, and its steps on their way from the worker's thread to whoever reads them."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any, Literal

from reverie.engine import Timings
from reverie.types import ReverieError, Step

State = Literal["queued", "running", "done", "failed", "cancelled"]

MOST_UNREAD = 64  # steps that wait for a slow reader


class Ticket:
    """One request. The worker changes it; anyone may look at it and cancel it; one reader takes its steps.

    request: as the model understood it, with its seed, once it has begun; condition: what it became for the core.
    error: why it failed.
    timings: grow while it runs. finish_reason: how a text ended.
    """

    def __init__(self, model: str, prompt: Any, settings: Mapping[str, Any], changed: Callable[[], None]) -> None:
        self.id = secrets.token_hex(8)
        self.model, self.prompt, self.settings = model, prompt, settings
        self.state: State = "queued"
        self.error: ReverieError | None = None
        self.request: Any = None
        self.condition: Any = None
        self.timings = Timings()
        self.finish_reason: str | None = None
        self.is_cancelled = False  # asked for; `state` says when it is so
        self._keeps_all = True
        self._unread: deque[Step] = deque()
        self._lock = threading.Lock()
        self._changed = changed
        self._wake: Callable[[], None] = lambda: None

    def cancel(self) -> None:
        """Ends the work before its next step; of what has ended nothing changes."""
        self.is_cancelled = True
        self._changed()

    async def steps(self) -> AsyncIterator[Step]:
        """The steps as they come, until the work ends, however it does. For one reader.

        Of pictures a slow reader misses the oldest; a text waits for its reader.
        """
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(arrived.set)  # type: ignore[assignment]
        while True:
            arrived.clear()
            ended = self.has_ended  # asked first: what came before the end is read below
            while self._unread:
                yield self._take()
            if ended:
                return
            await arrived.wait()

    @property
    def has_ended(self) -> bool:
        """Whether no more steps will come."""
        return self.state in ("done", "failed", "cancelled")

    @property
    def num_unread(self) -> int:
        """How many steps wait for the reader."""
        return len(self._unread)

    @property
    def is_paused(self) -> bool:
        """Whether the next step has to wait for the reader."""
        return self._keeps_all and len(self._unread) >= MOST_UNREAD

    def _take(self) -> Step:
        with self._lock:
            was_paused, step = self.is_paused, self._unread.popleft()
        if was_paused:
            self._changed()
        return step

    # --- for the worker ---

    def begin(self, request: Any, condition: Any, timings: Timings, *, keeps_all: bool) -> None:
        """It runs now. keeps_all: no step may be lost, as each adds to the ones before."""
        self.request, self.condition, self.timings, self._keeps_all = request, condition, timings, keeps_all
        self.state = "running"

    def put(self, step: Step) -> None:
        """A step for the reader."""
        with self._lock:
            if len(self._unread) >= MOST_UNREAD:
                assert not self._keeps_all
                self._unread.popleft()
            self._unread.append(step)
        self._tell()

    def end(self, state: State, error: ReverieError | None = None, finish_reason: str | None = None) -> None:
        """It is over; what the reader has not read yet stays to be read."""
        self.error, self.finish_reason = error, finish_reason
        self.state = state
        self._tell()

    def _tell(self) -> None:
        with suppress(RuntimeError):  # the reader's loop is closed: nobody reads
            self._wake()
