"""The models in memory: loaded beside the work, a few at a time, the least recently used forgotten first."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from reverie.engine import Model, NoRoomError
from reverie.serve.errors import Refused


class Library:
    """Models by name. Only one thread asks; loading goes on in another, so that what runs need not wait for it.

    loaded: is told, from that other thread, when a model is there or has failed to load.
    """

    def __init__(self, load: Callable[[str], Model], most: int, loaded: Callable[[], None]) -> None:
        self._load, self._most, self._loaded = load, most, loaded
        self._models: dict[str, Future[Model]] = {}  # least recently used first
        self._pool = ThreadPoolExecutor(1, "loading")

    def ask(self, name: str, in_use: Collection[str]) -> Future[Model] | None:
        """The model, now or soon; None: ask again, there is no room yet. A model that failed is tried anew.

        in_use: the names of models that must stay.
        """
        there = self._models.pop(name, None)
        if there is None or (there.done() and there.exception() is not None):
            if not self._make_room(in_use):
                return None
            there = self._pool.submit(self._open, name, [idle for idle in self._models if idle not in in_use])
            there.add_done_callback(lambda _: self._loaded())
        self._models[name] = there
        return there

    def close(self) -> None:
        """Loads nothing more, and forgets all."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._models.clear()

    def _open(self, name: str, idle: Collection[str]) -> Model:
        """Loads a model, on the other thread; if memory is short, those that nobody used are forgotten for it."""
        with suppress(NoRoomError):
            return self._load(name)
        for each in idle:
            self._models.pop(each, None)
        try:
            return self._load(name)
        except NoRoomError as error:
            raise Refused(503, str(error)) from error

    def _make_room(self, in_use: Collection[str]) -> bool:
        """Whether one more may be loaded, once those that nobody uses are gone."""
        if any(not model.done() for model in list(self._models.values())):
            return False
        for name in [name for name in list(self._models) if name not in in_use]:
            if len(self._models) < self._most:
                break
            del self._models[name]
        return len(self._models) < self._most
