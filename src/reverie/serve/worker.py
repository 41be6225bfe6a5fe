"""The worker: the one thread that owns the models. Requests wait in line for it, and it goes from one to the next.

It works in rounds: what was called for; one token of every text that is being written, those of one model in a
single pass; then one longer step, which is a chunk of somebody's prompt or a look at somebody's picture.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeVar

from reverie import engine
from reverie.engine import Generation, Model
from reverie.serve.errors import Refused
from reverie.serve.library import Library
from reverie.serve.ticket import State, Ticket
from reverie.types import ReverieError, Step

T = TypeVar("T")

log = logging.getLogger("reverie.serve")

IDLE_SECONDS = 1.0  # between two signs of life when there is nothing to do
CALLS_SECONDS = 0.05  # of a round, after which no further call is begun
RETRY_SECONDS = 5
MOST_MODELS = 3  # in memory
UNFORESEEN = "Something went wrong in the server: its log says what."
STOPPING = "The server is stopping: ask again when it is back."


class Full(ReverieError):  # noqa: N818 - it says what is so
    """As many requests wait as may wait."""

    retry_after_seconds: int = RETRY_SECONDS


@dataclass(eq=False)
class Waiting:
    """A ticket in line. model: on its way, once it was asked for."""

    ticket: Ticket
    model: Future[Model] | None = None


@dataclass(eq=False)
class Call:
    """A function to be run on the worker's thread."""

    name: str
    function: Callable[[Model], Any]
    model: Future[Model] | None = None
    result: Future[Any] = field(default_factory=Future)


@dataclass(eq=False)
class Running:
    """A ticket whose generation is under way."""

    ticket: Ticket
    model: Model
    generation: Generation
    stepped: float = field(default_factory=time.monotonic)  # when its newest step was taken


class Worker:
    """Takes requests from any thread and answers them on its own.

    load: name -> model. most_running: requests that are worked on at a time; those whose reader is slow do not count.
    most_waiting: requests besides those. most_models: models in memory, unless more are in use.
    """

    def __init__(
        self,
        load: Callable[[str], Model] = engine.load,
        *,
        most_waiting: int = 32,
        most_running: int = 8,
        most_models: int = MOST_MODELS,
    ) -> None:
        self._most_running, self._most_live = most_running, most_running + most_waiting
        self._news = threading.Event()  # something has changed since the round began
        self._library = Library(load, most_models, self._news.set)
        self._lock = threading.Lock()  # of the next three
        self._line: deque[Waiting] = deque()
        self._calls: deque[Call] = deque()
        self._stop_at: float | None = None
        self._running: list[Running] = []  # the worker's thread changes it
        self._listener: Callable[[Step, float], None] = lambda step, seconds: None
        self._thread = threading.Thread(target=self._work, name="worker", daemon=True)
        self._beat = time.monotonic()

    def start(self) -> None:
        """Begins to work."""
        self._thread.start()

    def stop(self, *, finish_seconds: float) -> None:
        """Takes nothing new, cancels what waits, lets what runs finish for so long, and cancels the rest."""
        with self._lock:
            self._stop_at = time.monotonic() + finish_seconds
        self._news.set()
        if self._thread.is_alive():
            self._thread.join(finish_seconds + 2 * IDLE_SECONDS)

    def submit(self, model: str, prompt: Any, **settings: Any) -> Ticket:
        """Puts a request in line; settings are those of `engine.Model.generate`. `Full` if the line is too long.

        A mistake in the settings makes the ticket fail when its turn comes.
        """
        ticket = Ticket(model, prompt, settings, self._news.set)
        with self._lock:
            self._check_open()
            if len(self._line) + len(self._running) >= self._most_live:
                raise Full(f"The server is busy with others' requests: ask again in {RETRY_SECONDS} seconds.")
            self._line.append(Waiting(ticket))
        self._news.set()
        return ticket

    async def call(self, model: str, function: Callable[[Model], T]) -> T:
        """Runs function(model) on the worker's thread, between two steps of what runs there; keep it short."""
        call = Call(model, function)
        with self._lock:
            self._check_open()
            if len(self._calls) >= self._most_live:
                raise Full(f"The server is busy with others' requests: ask again in {RETRY_SECONDS} seconds.")
            self._calls.append(call)
        self._news.set()
        result: T = await asyncio.wrap_future(call.result)
        return result

    def listen(self, listener: Callable[[Step, float], None]) -> None:
        """Has each step of every request told, on the worker's thread, with the seconds since the one before it."""
        self._listener = listener

    @property
    def beat_seconds(self) -> float:
        """The age of the thread's last sign of life."""
        return time.monotonic() - self._beat

    def beat(self) -> None:
        """A sign of life from within a call that takes long."""
        self._beat = time.monotonic()

    def running(self) -> int:
        """How many requests are being worked on."""
        return len(self._running)

    def waiting(self) -> int:
        """How many requests are in line."""
        return len(self._line)

    def _check_open(self) -> None:
        if self._stop_at is not None:
            raise Refused(503, STOPPING)

    # --- on the worker's thread ---

    def _work(self) -> None:
        while not self._is_over():
            self._beat = time.monotonic()
            self._news.clear()
            try:
                busy = self._round()
            except Exception:  # of no one request: the thread lives on
                log.exception("a round of the worker failed")
                busy = False
            if not busy:
                self._news.wait(self._idle_seconds())
        self._close()

    def _round(self) -> bool:
        """One turn for everyone; whether there was anything to do."""
        self._drop_cancelled()
        busy = self._answer_calls()
        busy |= self._admit()
        busy |= self._write()
        return self._take_longer_step() or busy

    def _drop_cancelled(self) -> None:
        with self._lock:
            stopping = self._stop_at is not None
            dropped = [each for each in self._line if stopping or each.ticket.is_cancelled]
            self._line = deque(each for each in self._line if each not in dropped)
        for each in dropped:
            each.ticket.end("cancelled")
        for run in [run for run in self._running if run.ticket.is_cancelled]:
            self._end(run, "cancelled")

    def _answer_calls(self) -> bool:
        """Runs the calls whose model is there, until their share of the round is used up."""
        until, answered = time.monotonic() + CALLS_SECONDS, False
        with self._lock:
            calls = list(self._calls)
        for call in calls:
            if self._is_ready(call, call.name):
                with self._lock:
                    self._calls.remove(call)
                _answer(call)
                answered = True
            if time.monotonic() > until:
                break
        return answered

    def _admit(self) -> bool:
        """Begins the first request in line whose model is there, if there is room.

        One may overtake those whose model is being loaded, but none for whose model there is no room yet.
        """
        if sum(not run.ticket.is_paused for run in self._running) >= self._most_running:
            return False
        with self._lock:
            line = list(self._line)
        for waiting in line:
            if self._is_ready(waiting, waiting.ticket.model):
                self._begin(waiting)
                with self._lock:  # only now: until it runs it must count as one in line
                    self._line.remove(waiting)
                return True
            if waiting.model is None:
                break
        return False

    def _begin(self, waiting: Waiting) -> None:
        ticket = waiting.ticket
        assert waiting.model is not None
        try:
            model = waiting.model.result()
            generation = model.generate(ticket.prompt, **ticket.settings)
        except Exception as error:  # whatever it is, it is this ticket's
            ticket.end("failed", _told(error))
            return
        ticket.begin(generation.request, generation.condition, generation.timings, keeps_all=generation.is_text)
        self._running.append(Running(ticket, model, generation))

    def _is_ready(self, each: Waiting | Call, name: str) -> bool:
        """Whether the model that is asked for is there, or has failed to load."""
        if each.model is None:
            each.model = self._library.ask(name, self._names_in_use())
        return each.model is not None and each.model.done()

    def _names_in_use(self) -> set[str]:
        with self._lock:
            asked = [each.ticket.model for each in self._line if each.model is not None]
            asked += [call.name for call in self._calls if call.model is not None]
        return {*asked, *(run.ticket.model for run in self._running)}

    def _write(self) -> bool:
        """One token for every text that is being written."""
        writing = [run for run in self._running if run.generation.can_join and not run.ticket.is_paused]
        for _, runs in groupby(sorted(writing, key=_model_id), _model_id):
            self._write_together(list(runs))
        return bool(writing)

    def _write_together(self, runs: list[Running]) -> None:
        try:
            engine.advance([run.generation for run in runs])
        except Exception:  # each goes on alone, so that only the one that cannot fails
            log.exception("texts could not be written together")
        for run in runs:
            self._step(run)

    def _take_longer_step(self) -> bool:
        """One step of whoever reads a prompt or draws; next time it is another's turn."""
        for run in self._running:
            if not run.generation.can_join and not run.ticket.is_paused:
                self._running.remove(run)
                self._running.append(run)
                self._step(run)
                return True
        return False

    def _step(self, run: Running) -> None:
        """Takes one step and tells it."""
        try:
            step = next(run.generation, None)
        except Exception as error:  # whatever it is, it is this ticket's
            self._end(run, "failed", _told(error))
            return
        if step is not None:
            before, run.stepped = run.stepped, time.monotonic()
            self._listener(step, run.stepped - before)
            run.ticket.put(step)
        if step is None or "finish_reason" in step.info:
            self._end(run, "done")

    def _end(self, run: Running, state: State, error: ReverieError | None = None) -> None:
        self._running.remove(run)
        run.generation.close()
        run.ticket.end(state, error, run.generation.finish_reason)

    def _is_over(self) -> bool:
        """Whether it was told to stop, and nothing that may still finish is left."""
        return self._stop_at is not None and (not self._running or time.monotonic() >= self._stop_at)

    def _idle_seconds(self) -> float:
        left = math.inf if self._stop_at is None else self._stop_at - time.monotonic()
        return max(0.0, min(IDLE_SECONDS, left))

    def _close(self) -> None:
        for run in list(self._running):
            self._end(run, "cancelled")
        self._drop_cancelled()  # what waits
        while self._calls:
            call = self._calls.popleft()
            if call.result.set_running_or_notify_cancel():
                call.result.set_exception(Refused(503, STOPPING))
        self._library.close()


def _answer(call: Call) -> None:
    if not call.result.set_running_or_notify_cancel():
        return
    assert call.model is not None
    try:
        call.result.set_result(call.function(call.model.result()))
    except BaseException as error:  # it is for whoever called
        call.result.set_exception(error)


def _told(error: Exception) -> ReverieError:
    """What the one who asked is told; what was not foreseen goes to the log."""
    if isinstance(error, ReverieError):
        return error
    log.error("a request failed", exc_info=error)
    return Refused(500, UNFORESEEN)


def _model_id(run: Running) -> int:
    return id(run.model)
