"""Jobs: what was asked for, one task each, from the request to the thing in the gallery.

A job of a page that waits (`generate`) begins at once. The others stand in a line that the store keeps, one of them
under way at a time: they can be put in another order, paused, and are there after a restart.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from reverie.serve import making, stream, summary
from reverie.serve.errors import Refused, not_found
from reverie.serve.metrics import Metrics
from reverie.serve.models import Models
from reverie.serve.shapes import DoneEvent, GenerateRequest, Job, JobList, Shape, State, Timing
from reverie.serve.store import Made, Store
from reverie.types import ReverieError, Step

MOST_WAITING = 500
RETRY_SECONDS = 30
PAUSED = "paused"  # a fact in the store

log = logging.getLogger("reverie.serve")


class LineFullError(ReverieError):
    """No more jobs can wait."""

    retry_after_seconds = RETRY_SECONDS


@dataclass
class Live:
    """A job under way."""

    job: Job
    name: str  # of the model, for people
    path: str  # of the model, for the engine
    prompt: str  # for people
    ticket: Any
    feed: stream.Feed
    began: float = field(default_factory=time.monotonic)
    model: Any = None  # once it has begun
    last: Step | None = None  # that was taken
    before: Any = None  # of a clip: the one that it goes on from
    task: asyncio.Task[None] | None = None


class Jobs:
    """All jobs of a server. Used on its event loop alone; what may wait for the disk runs in threads."""

    def __init__(self, worker: Any, store: Store, models: Models, metrics: Metrics, *, log_prompts: bool) -> None:
        self.log_prompts = log_prompts
        self.worker, self.store, self.models, self.metrics = worker, store, models, metrics
        self._live: dict[str, Live] = {}
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()  # of whoever begins a job that waits, or cancels it
        self._line: asyncio.Task[None] | None = None
        self._ending = self._interrupting = False

    async def start(self) -> None:
        """Takes up the line where an earlier server left it."""
        await asyncio.to_thread(self.store.interrupt_jobs)
        self._wake.set()
        self._line = asyncio.create_task(self._serve_line())

    async def stop(self, finish_seconds: float) -> None:
        """Begins nothing new, waits for what runs, and interrupts what takes longer. May be called again."""
        self._ending = True
        if self._line is not None:
            self._line.cancel()
            with suppress(asyncio.CancelledError):
                await self._line
        tasks = [live.task for live in self._live.values() if live.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=finish_seconds)
            self._interrupting = True
            for live in list(self._live.values()):
                live.ticket.cancel()
            if late:
                await asyncio.wait(late, timeout=finish_seconds)

    # --- to ask for something ---

    async def generate(self, request: GenerateRequest) -> Live:
        """Begins at once; a full queue, or a mistake in the request, is a `ReverieError`."""
        request = await asyncio.to_thread(making.clean, request)
        job = Job(id=_new_id(), state="running", live=True, request=request, created=time.time(), started=time.time())
        live = await self._submit(job)
        try:
            await asyncio.to_thread(self.store.add_job, job)
        except BaseException:
            live.ticket.cancel()
            raise
        self._begin(live)
        return live

    async def enqueue(self, request: GenerateRequest) -> Job:
        """Puts a job into the line; what is wrong with it at first sight is a `ReverieError` now."""
        request = await asyncio.to_thread(making.clean, request)
        await asyncio.to_thread(self._asked, request, await asyncio.to_thread(self._name, request))
        if await asyncio.to_thread(self.store.num_waiting) >= MOST_WAITING:
            raise LineFullError(f"{MOST_WAITING} jobs wait already: cancel some, or come again later.")
        job = Job(id=_new_id(), state="queued", live=False, request=request, created=time.time())
        await asyncio.to_thread(self.store.add_job, job)
        self._change()
        return job

    async def again(self, job: str) -> Job:
        """Puts a job that has ended into the line once more, as a new one."""
        found = await self.find(job)
        if found.state in ("queued", "running"):
            raise Refused(409, "The job has not ended: wait for it, or cancel it first.")
        return await self.enqueue(found.request)

    # --- to watch and to change ---

    async def everything(self) -> JobList:
        """All jobs."""
        jobs = await asyncio.to_thread(self.store.jobs)
        return JobList(paused=bool(await asyncio.to_thread(self.store.fact, PAUSED)), jobs=jobs)

    async def find(self, job: str) -> Job:
        """A job by its id; a `Refused` if there is none."""
        found = await asyncio.to_thread(self.store.job, job)
        if found is None:
            raise not_found("job")
        return found

    def live(self, job: str) -> Live | None:
        """A job under way."""
        return self._live.get(job)

    async def watch_list(self) -> AsyncIterator[JobList]:
        """The list, again whenever it changes."""
        while True:
            changed = self._changed
            yield await self.everything()
            await changed.wait()

    async def watch(self, job: str) -> AsyncIterator[Shape]:
        """What a job tells, from its beginning; of one that waits, once it is under way; of one that ended, the end."""
        while True:
            changed = self._changed
            if job in self._live:
                async for event in self._live[job].feed.follow():
                    yield event
                return
            found = await self.find(job)
            if found.state not in ("queued", "running"):
                yield await asyncio.to_thread(self._end_of, found)
                return
            await changed.wait()

    async def cancel(self, job: str) -> Job:
        """Cancels a job that waits or runs; one that has ended stays as it is."""
        async with self._turn:
            found = await self.find(job)
            live = self._live.get(job)
            if live is None and found.state == "queued":
                await asyncio.to_thread(self.store.change_job, job, state="cancelled", ended=time.time())
                self._change()
        if live is not None:
            live.ticket.cancel()
            if live.task is not None:
                await asyncio.wait([live.task], timeout=5)
        return await self.find(job)

    async def forget(self, job: str) -> None:
        """Takes a job that has ended from the list."""
        found = await self.find(job)
        if found.state in ("queued", "running"):
            raise Refused(409, "The job has not ended: cancel it first.")
        await asyncio.to_thread(self.store.forget_job, job)
        self._change()

    async def order(self, wished: list[str]) -> None:
        """Puts the jobs that wait in another order."""
        await asyncio.to_thread(self.store.order_jobs, wished)
        self._change()

    async def pause(self, paused: bool) -> None:
        """Stops the line, or lets it go on; what runs is not touched."""
        await asyncio.to_thread(self.store.set_fact, PAUSED, paused)
        self._change()

    # --- within ---

    def _change(self) -> None:
        self._wake.set()
        self._changed.set()
        self._changed = asyncio.Event()

    async def _serve_line(self) -> None:
        """One job of the line after the other."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while (job := await asyncio.to_thread(self._next)) is not None:
                try:
                    await self._run_next(job)
                except Exception:  # the line goes on whatever becomes of one job
                    log.exception("a job could not be run")
                    await asyncio.sleep(1)

    def _next(self) -> Job | None:
        return None if self.store.fact(PAUSED) else self.store.next_job()

    async def _run_next(self, job: Job) -> None:
        try:
            live = await self._submit(job)
        except ReverieError as error:
            retry = getattr(error, "retry_after_seconds", None)
            if retry is not None:  # others keep the worker busy
                await asyncio.sleep(min(retry, 2))
                return
            await asyncio.to_thread(self.store.change_job, job.id, state="failed", ended=time.time(), error=str(error))
            self._change()
            return
        async with self._turn:
            now = await asyncio.to_thread(self.store.job, job.id)
            if now is None or now.state != "queued":  # it was cancelled meanwhile
                live.ticket.cancel()
                return
            await asyncio.to_thread(self.store.change_job, job.id, state="running", started=time.time())
            task = self._begin(live)
        await asyncio.wait([task])

    async def _submit(self, job: Job) -> Live:
        """Hands a job to the worker."""
        if self._ending:
            raise Refused(503, "The server is ending: come again in a moment.")
        name = await asyncio.to_thread(self._name, job.request)
        path = await asyncio.to_thread(self.models.resolve, name)
        asked = await asyncio.to_thread(self._asked, job.request, name)
        if self.log_prompts:
            log.info("asked", extra={"facts": {"job": job.id, "model": name, "prompt": asked.shown}})
        ticket = await self._ticket(job.request, path, asked)
        return Live(job, name, path, asked.shown, ticket, stream.Feed(job.id), before=asked.before)

    async def _ticket(self, request: GenerateRequest, path: str, asked: making.Asked) -> Any:
        if request.task == "summarize" and request.prompt is not None:
            settings = {"seed": secrets.randbelow(2**32), **asked.settings}
            return await summary.submit(self.worker, path, request.prompt, settings)
        return self.worker.submit(path, asked.prompt, **asked.settings)

    def _asked(self, request: GenerateRequest, name: str) -> making.Asked:
        """What the model `name` is asked; a `ReverieError` for what it cannot be."""
        return making.fitting(making.asked(request), request, name, self.models.kind(name), self.store)

    def _name(self, request: GenerateRequest) -> str:
        return self.models.default(request.modality) if request.model is None else request.model

    def _begin(self, live: Live) -> asyncio.Task[None]:
        self._live[live.job.id] = live
        live.task = asyncio.create_task(self._run(live))
        self._change()
        return live.task

    async def _run(self, live: Live) -> None:
        """Follows a job to its end, whatever that is, and notes it."""
        state: State = "failed"
        made: Made | None = None
        message: str | None = None
        try:
            made = await making.make(live, self.worker)
            unfinished: State = "interrupted" if self._interrupting else "cancelled"
            state = unfinished if live.ticket.state == "cancelled" else "done"
        except ReverieError as error:
            message = str(error)
        except Exception:
            log.exception("a job failed")
            message = "Something went wrong in the server: its log says what."
        try:
            await self._finish(live, state, made, message)
        finally:
            del self._live[live.job.id]
            self._change()

    async def _finish(self, live: Live, state: State, made: Made | None, message: str | None) -> None:
        seed = getattr(live.ticket.request, "seed", None)
        request = making.with_seed(live.job.request, live.name, seed)
        kept = made if state == "done" and live.job.request.keep else None
        try:
            item = await asyncio.to_thread(
                self.store.finish_job, live.job.id, kept, request, state=state, ended=time.time(), error=message,
                seed=seed,
            )  # fmt: skip
        except ReverieError as error:  # the disk is full
            state, message, item = "failed", str(error), None
        self.metrics.jobs.labels(state).inc()
        if message is not None:
            live.feed.finish(stream.failure(message, "failed"))
        else:
            live.feed.finish(self._done(live, state, made, item, seed))

    def _done(self, live: Live, state: State, made: Made | None, item: str | None, seed: int | None) -> DoneEvent:
        return DoneEvent(
            job=live.job.id, state=state, item=item, model=live.name, seed=seed,
            media_type=None if made is None else made.media_type, text=None if made is None else made.text,
            about=None if made is None or made.about is None else dict(made.about),
            finish_reason=getattr(live.ticket, "finish_reason", None), timing=making.timing(live),
            url=None if item is None else f"/api/gallery/{item}/file",
        )  # fmt: skip

    def _end_of(self, job: Job) -> Shape:
        """The last event of a job that ended before anyone watched."""
        if job.error is not None:
            return stream.failure(job.error, "failed")
        item = None if job.item is None else self.store.item(job.item)
        spent = 0.0 if job.started is None or job.ended is None else job.ended - job.started
        return DoneEvent(
            job=job.id, state=job.state, item=None if item is None else item.id, seed=job.seed, finish_reason=None,
            model="" if item is None else item.model, media_type=None if item is None else item.media_type,
            timing=Timing(waited_seconds=0.0, seconds=spent), text=None if item is None else item.text,
            url=None if item is None else item.url, about=None if item is None else item.about,
        )  # fmt: skip


def _new_id() -> str:
    return secrets.token_urlsafe(12)
