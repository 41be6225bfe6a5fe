"""Summaries of texts longer than the context: part by part, then of the parts' summaries (arXiv:2109.10862).

As `tasks.Summary` does it, but each generation is a ticket of its own, so that others get their turns in between.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from reverie import tasks
from reverie.types import ReverieError, Step

if TYPE_CHECKING:
    from reverie.engine import Model, Timings


async def submit(worker: Any, path: str, text: str, settings: Mapping[str, Any]) -> Any:
    """A ticket for the summary of a text of any length. settings: with a seed, and all that `tasks.SETTINGS` has."""
    parts = await worker.call(path, partial(split, text=text, max_tokens=settings["max_tokens"]))
    if len(parts) == 1:
        return worker.submit(path, tasks.summary(text), **settings)
    return Summary(worker, path, parts, settings)


def split(model: Model, *, text: str, max_tokens: int) -> list[str]:
    """A text in parts that fit the model's context together with their summaries."""
    if not hasattr(model.core.config, "max_tokens"):  # what is asked of it is told by the model itself
        return [text]
    room = model.context_tokens - max_tokens

    def fits(part: str) -> bool:
        return not part.strip() or model.count_tokens(tasks.summary(part)) <= room

    return tasks.split(text, fits)


class Summary:
    """Looks like one ticket, and is one after the other. While the parts are read, nothing is told of their text."""

    def __init__(self, worker: Any, path: str, parts: list[str], settings: Mapping[str, Any]) -> None:
        self._worker, self._path, self._parts, self._settings = worker, path, parts, settings
        self._done: list[Timings] = []
        self._ticket = self._submit(parts[0])
        self.is_cancelled = False
        self.error: ReverieError | None = None

    def cancel(self) -> None:
        """Ends the work before its next step."""
        self.is_cancelled = True
        self._ticket.cancel()

    @property
    def state(self) -> str:
        """That of the generation under way."""
        return "cancelled" if self.is_cancelled else str(self._ticket.state)

    @property
    def request(self) -> Any:
        """What was asked last."""
        return self._ticket.request

    @property
    def finish_reason(self) -> str | None:
        """How the last text ended."""
        reason: str | None = self._ticket.finish_reason
        return reason

    @property
    def timings(self) -> Timings:
        """Those of all generations together."""
        return tasks.total([*self._done, self._ticket.timings])

    async def steps(self) -> AsyncIterator[Step]:
        """The steps of all generations; only those of the last are told as text."""
        parts = self._parts
        while len(parts) > 1:
            summaries: list[str] = []
            for number, part in enumerate(parts):
                said: list[str] = []
                async for step in self._steps_of(part):
                    said.append(step.info.get("text", ""))
                    yield replace(step, index=number, total=len(parts), info={"phase": "prompt"})
                summaries.append("".join(said).strip())
                if self.error is not None or self.is_cancelled:
                    return
            parts = await self._split_again(sum(map(len, parts)), "\n\n".join(summaries))
            if self.error is not None:
                return
        async for step in self._steps_of(parts[0]):
            yield step

    async def _split_again(self, before: int, text: str) -> list[str]:
        if len(text) >= before:
            self.error = ReverieError("The parts' summaries are as long as the text: ask for a smaller max_tokens.")
            return []
        found: list[str] = await self._worker.call(
            self._path, partial(split, text=text, max_tokens=self._settings["max_tokens"])
        )
        return found

    async def _steps_of(self, part: str) -> AsyncIterator[Step]:
        if self._ticket.state in ("done", "failed", "cancelled"):  # all but the first, which was asked for at once
            self._done.append(self._ticket.timings)
            self._ticket = self._submit(part)
        async for step in self._ticket.steps():
            yield step
        self.error = self._ticket.error

    def _submit(self, part: str) -> Any:
        return self._worker.submit(self._path, tasks.summary(part), **self._settings)
