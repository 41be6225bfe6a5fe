"""The worker: everyone's turn comes, who leaves is gone at once, and what goes wrong for one is that one's alone."""

from __future__ import annotations

import asyncio
import copy
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
import torch

import serve_setup
import tiny_models
from reverie import engine
from reverie.engine import Model, Placement
from reverie.lm import generate
from reverie.serve import ticket as tickets
from reverie.serve.errors import Refused
from reverie.serve.ticket import Ticket
from reverie.serve.worker import UNFORESEEN, Full, Worker
from reverie.types import ReverieError, Step

T = TypeVar("T")

WRITER, DRAWER = serve_setup.WRITER, serve_setup.DRAWER
PACKED = Placement("cpu", torch.bfloat16, packed=True)
LONG = {"max_tokens": 100_000, "slide": True, "logit_bias": {tiny_models.bpe().token_to_id(tiny_models.END): -1000.0}}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """One that writes (in rows), and one that draws."""
    folders = serve_setup.write_models(tmp_path_factory.mktemp("models"))
    return {WRITER: engine.load(folders[WRITER], place=PACKED), DRAWER: serve_setup.load(folders[DRAWER])}


@dataclass
class Loader:
    """Gives models that are there, as slowly as `may_load` says, and notes what was asked of it."""

    models: dict[str, Model]
    asked: list[str] = field(default_factory=list)
    may_load: threading.Event = field(default_factory=threading.Event)

    def __call__(self, name: str) -> Model:
        self.asked.append(name)
        assert self.may_load.wait(20)
        if name not in self.models:
            raise ReverieError(f"There is no {name}.")
        return self.models[name]


@pytest.fixture
def loader(models: dict[str, Model]) -> Loader:
    made = Loader(dict(models))
    made.may_load.set()
    return made


@pytest.fixture
def worker(loader: Loader) -> Iterator[Worker]:
    with_few = Worker(loader, most_waiting=3, most_running=8)
    with_few.start()
    yield with_few
    with_few.stop(finish_seconds=0)


def run(work: Awaitable[T]) -> T:
    async def bounded() -> T:
        return await asyncio.wait_for(work, 30)

    return asyncio.run(bounded())


async def read(ticket: Ticket) -> list[Step]:
    return [step async for step in ticket.steps()]


async def until(found: Callable[[], bool]) -> None:
    while not found():
        await asyncio.sleep(0.005)


def text_of(steps: list[Step]) -> str:
    return "".join(step.info.get("text", "") for step in steps)


def test_eight_at_once_get_what_each_gets_alone(worker: Worker, models: dict[str, Model]) -> None:
    prompts = ["dog", "the old house", "seven yellow", "robot " * 9]
    asked = [(prompts[i % 4], {"seed": i, "temperature": 1.0, "max_tokens": 10 + 5 * i}) for i in range(8)]
    alone = [models[WRITER].generate(prompt, **settings).text() for prompt, settings in asked]

    async def all_of_them() -> list[list[Step]]:
        async def one(place: int) -> list[Step]:
            await asyncio.sleep(0.01 * (place * 3 % 8))
            return await read(worker.submit(WRITER, asked[place][0], **asked[place][1]))

        return await asyncio.gather(*map(one, range(8)))

    assert [text_of(steps) for steps in run(all_of_them())] == alone


def test_a_ticket_tells_how_it_went(worker: Worker) -> None:
    ticket = worker.submit(WRITER, "dog", max_tokens=5, **{"logit_bias": LONG["logit_bias"]})
    steps = run(read(ticket))
    assert (ticket.state, ticket.error, ticket.finish_reason) == ("done", None, "length")
    assert ticket.request.max_tokens == 5
    assert ticket.request.seed >= 0
    assert (ticket.timings.prompt_tokens, ticket.timings.new_tokens) == (2, 5)
    assert steps[-1].info["finish_reason"] == "length"
    assert run(read(ticket)) == []


def test_pictures_and_texts_take_turns(worker: Worker, models: dict[str, Model]) -> None:
    expected = [step.guess for step in models[DRAWER].generate("a dog", seed=3, steps=12)]
    order: list[str] = []

    async def follow(name: str, ticket: Ticket) -> list[Step]:
        steps = []
        async for step in ticket.steps():
            order.append(name)
            steps.append(step)
        return steps

    async def both() -> list[Step]:
        text = worker.submit(WRITER, "dog", **LONG)
        text_task = asyncio.create_task(follow("text", text))
        await until(lambda: len(order) > 3)
        drawn = await follow("picture", worker.submit(DRAWER, "a dog", seed=3, steps=12))
        text.cancel()
        await text_task
        return drawn

    drawn = run(both())
    assert len(drawn) == len(expected)
    assert torch.equal(drawn[-1].guess, expected[-1])
    first, last = order.index("picture"), len(order) - order[::-1].index("picture")
    assert order[first:last].count("text") >= len(expected) // 2


# --- who leaves ---


def test_cancelled_in_line(loader: Loader) -> None:
    loader.may_load.clear()
    worker = Worker(loader)
    worker.start()

    async def leave() -> list[Step]:
        ticket = worker.submit(WRITER, "dog")
        ticket.cancel()
        steps = await read(ticket)
        assert ticket.state == "cancelled"
        assert worker.waiting() == 0
        return steps

    assert run(leave()) == []
    loader.may_load.set()
    worker.stop(finish_seconds=0)


def test_cancelled_while_the_prompt_is_read(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    ticket: Ticket | None = None
    whole = generate.read

    def noted(model: Any, tokens: torch.Tensor, cache: Any) -> torch.Tensor:
        assert ticket is not None
        reads.append(tokens.shape[1])
        ticket.cancel()
        return whole(model, tokens, cache)

    monkeypatch.setattr(generate, "read", noted)
    monkeypatch.setattr(generate, "CHUNK_TOKENS", 8)
    ticket = worker.submit(WRITER, list(range(60)))
    steps = run(read(ticket))
    assert ticket.state == "cancelled"
    assert reads == [8]
    assert not any("token" in step.info for step in steps)


@pytest.mark.parametrize(("name", "settings"), [(WRITER, LONG), (DRAWER, {"steps": 1000})])
def test_cancelled_while_it_is_made(worker: Worker, name: str, settings: dict[str, Any]) -> None:
    """Within one step: at most the step under way is still told."""

    async def leave() -> tuple[int, int]:
        ticket, seen = worker.submit(name, "dog", **settings), 0

        def cancel(_: Model) -> int:
            ticket.cancel()
            return ticket.num_unread

        async for step in ticket.steps():
            if step.index < 3:
                continue
            if not ticket.is_cancelled:
                seen = -await worker.call(WRITER, cancel)
            seen += 1
        assert ticket.state == "cancelled"
        return seen, worker.running()

    seen, running = run(leave())
    assert seen <= 2
    assert running == 0


# --- bounds ---


def test_a_slow_reader_pauses_its_text_and_nobody_elses(worker: Worker, models: dict[str, Model]) -> None:
    async def both() -> tuple[int, str]:
        slow = worker.submit(WRITER, "dog", **{**LONG, "seed": 1, "max_tokens": 200})
        await until(lambda: slow.is_paused)
        other = text_of(await read(worker.submit(WRITER, "dog", seed=2, max_tokens=20)))
        assert slow.state == "running"
        waiting = slow.num_unread
        assert (
            text_of(await read(slow)) == models[WRITER].generate("dog", **{**LONG, "seed": 1, "max_tokens": 200}).text()
        )
        return waiting, other

    waiting, other = run(both())
    assert waiting == tickets.MOST_UNREAD
    assert other == models[WRITER].generate("dog", seed=2, max_tokens=20).text()


def test_slow_readers_do_not_keep_others_out(loader: Loader) -> None:
    worker = Worker(loader, most_running=1, most_waiting=1)
    worker.start()

    async def two() -> None:
        slow = worker.submit(WRITER, "dog", **LONG)
        await until(lambda: slow.is_paused)
        assert len(await read(worker.submit(WRITER, "dog", max_tokens=3, logit_bias=LONG["logit_bias"]))) == 4
        slow.cancel()

    run(two())
    worker.stop(finish_seconds=0)


def test_a_slow_reader_of_pictures_gets_the_newest(worker: Worker) -> None:
    async def late() -> list[Step]:
        ticket = worker.submit(DRAWER, "a dog", steps=90)
        await until(lambda: ticket.state == "done")
        return await read(ticket)

    steps = run(late())
    assert len(steps) == tickets.MOST_UNREAD
    assert steps[-1].index == steps[-1].total == 90


def test_a_full_line_refuses(loader: Loader) -> None:
    loader.may_load.clear()
    worker = Worker(loader, most_waiting=2, most_running=1)
    worker.start()
    held = [worker.submit(WRITER, "dog", max_tokens=2) for _ in range(3)]
    with pytest.raises(Full, match="ask again in") as refused:
        worker.submit(WRITER, "dog")
    assert refused.value.retry_after_seconds > 0
    loader.may_load.set()

    async def all_of_them() -> None:
        for ticket in held:
            await read(ticket)
            assert ticket.state == "done"
        worker.submit(WRITER, "dog").cancel()

    run(all_of_them())
    worker.stop(finish_seconds=0)


# --- what goes wrong ---


def test_a_model_that_cannot_be_loaded_fails_its_tickets_only(worker: Worker, loader: Loader) -> None:
    async def three() -> tuple[Ticket, Ticket]:
        bad, good = worker.submit("nobody", "dog"), worker.submit(WRITER, "dog", max_tokens=3)
        await asyncio.gather(read(bad), read(good))
        with pytest.raises(ReverieError, match="There is no nobody"):
            await worker.call("nobody", lambda model: model)
        return bad, good

    bad, good = run(three())
    assert (bad.state, str(bad.error)) == ("failed", "There is no nobody.")
    assert good.state == "done"
    assert loader.asked.count("nobody") == 2  # it is tried anew


@pytest.mark.parametrize(
    ("prompt", "settings", "message"),
    [
        ("dog", {"temperature": -1.0}, "temperature is -1.0"),
        ("dog", {"colour": "red"}, "There is no setting 'colour'"),
        ("", {}, "The prompt is empty"),
        ("dog " * 200, {}, "this model's context is 128"),
        (7, {}, UNFORESEEN),
    ],
)
def test_a_mistake_is_the_tickets_failure(worker: Worker, prompt: Any, settings: dict[str, Any], message: str) -> None:
    ticket = worker.submit(WRITER, prompt, **settings)
    assert run(read(ticket)) == []
    assert ticket.state == "failed"
    assert message in str(ticket.error)


def test_a_step_that_fails_fails_alone(
    worker: Worker, models: dict[str, Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the common pass fails because of it: the others go on without it."""

    def fails(writings: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("reverie.lm.batch.advance", fails)

    async def two() -> tuple[Ticket, list[Step]]:
        schema = '{"type": "string", "minLength": 20}'
        doomed = worker.submit(WRITER, "dog", max_tokens=2, json_schema=schema)
        fine = worker.submit(WRITER, "dog", seed=5, max_tokens=12)
        _, steps = await asyncio.gather(read(doomed), read(fine))
        return doomed, steps

    doomed, steps = run(two())
    assert doomed.state == "failed"
    assert "raise max_tokens" in str(doomed.error)
    assert text_of(steps) == models[WRITER].generate("dog", seed=5, max_tokens=12).text()


def test_a_call_that_fails_is_the_callers(worker: Worker) -> None:
    async def calls() -> str:
        with pytest.raises(ZeroDivisionError):
            await worker.call(WRITER, lambda model: 1 // 0)
        return await worker.call(WRITER, lambda model: f"{model.name} on {threading.current_thread().name}")

    assert run(calls()).endswith("on worker")


# --- models, life and end ---


def test_few_models_stay_and_those_in_use_do(models: dict[str, Model]) -> None:
    loader = Loader(dict.fromkeys("abc", models[WRITER]))
    loader.may_load.set()
    worker = Worker(loader, most_models=2)
    worker.start()

    async def visits() -> None:
        busy = worker.submit("a", "dog", **LONG)
        await until(lambda: busy.state == "running")
        for name in ("b", "c", "b", "a"):
            await worker.call(name, lambda model: model)
        busy.cancel()
        await read(busy)

    run(visits())
    worker.stop(finish_seconds=0)
    assert loader.asked == ["a", "b", "c", "b"]


def test_models_that_nobody_uses_make_room_for_one_that_does_not_fit(models: dict[str, Model]) -> None:
    """As if two models had room in memory at a time."""
    held: list[weakref.ref[Model]] = []

    def load(name: str) -> Model:
        if name == "giant" or sum(each() is not None for each in held) >= 2:
            raise engine.NoRoomError(f"{name} needs more than there is.")
        model = copy.copy(models[WRITER])
        held.append(weakref.ref(model))
        return model

    worker = Worker(load)
    worker.start()

    async def visits() -> None:
        busy = worker.submit("a", "dog", **LONG)
        await until(lambda: busy.state == "running")
        for name in ("b", "c"):  # c has the place of b: a is in use
            assert await worker.call(name, lambda model: model.name) == models[WRITER].name
        for _ in range(2):
            with pytest.raises(Refused, match="giant needs more") as caught:
                await worker.call("giant", lambda model: model)
            assert caught.value.status == 503
        assert busy.state == "running"
        busy.cancel()
        await read(busy)

    run(visits())
    worker.stop(finish_seconds=0)


def test_a_loading_model_holds_nobody_else_up(loader: Loader, models: dict[str, Model]) -> None:
    worker = Worker(loader)
    worker.start()

    async def two() -> None:
        await worker.call(WRITER, lambda model: model)
        loader.may_load.clear()
        drawn = worker.submit(DRAWER, "dog", steps=2)
        assert await read(worker.submit(WRITER, "dog", max_tokens=3))
        assert drawn.state == "queued"
        loader.may_load.set()
        assert await read(drawn)

    run(two())
    worker.stop(finish_seconds=0)


def test_signs_of_life(worker: Worker) -> None:
    time.sleep(0.3)
    assert worker.beat_seconds < 2

    def long(_: Model) -> float:
        time.sleep(0.2)
        return worker.beat_seconds

    assert run(worker.call(WRITER, long)) >= 0.2


def test_stopping_finishes_what_runs_and_cancels_what_waits(loader: Loader) -> None:
    worker = Worker(loader, most_running=1)
    worker.start()

    async def end() -> tuple[Ticket, Ticket]:
        runs, waits = worker.submit(WRITER, "dog", max_tokens=40), worker.submit(WRITER, "dog")
        await until(lambda: runs.state == "running")
        reading = asyncio.create_task(read(runs))
        await asyncio.to_thread(worker.stop, finish_seconds=20)
        await reading
        return runs, waits

    runs, waits = run(end())
    assert (runs.state, waits.state) == ("done", "cancelled")
    with pytest.raises(ReverieError, match="is stopping"):
        worker.submit(WRITER, "dog")


def test_stopping_waits_no_longer_than_it_should(loader: Loader) -> None:
    worker = Worker(loader)
    worker.start()

    async def end() -> tuple[Ticket, float]:
        ticket = worker.submit(WRITER, "dog", **LONG)
        await until(lambda: ticket.state == "running")
        reading = asyncio.create_task(read(ticket))
        began = time.monotonic()
        await asyncio.to_thread(worker.stop, finish_seconds=0.1)
        await reading
        return ticket, time.monotonic() - began

    ticket, seconds = run(end())
    assert ticket.state == "cancelled"
    assert seconds < 3
