"""Running a server: its store, its worker, its log, and a clean end on Ctrl-C or SIGTERM."""

from __future__ import annotations

import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import uvicorn
from fastapi import FastAPI

from reverie import engine
from reverie.hub import files, paths
from reverie.serve.app import create_app
from reverie.serve.metrics import JsonLines
from reverie.serve.security import Settings
from reverie.serve.store import Store
from reverie.serve.worker import Worker
from reverie.types import ReverieError

DATABASE = "reverie.sqlite"


@contextmanager
def lent(settings: Settings, *, offline: bool = False) -> Iterator[FastAPI]:
    """The app with the person's own store, which no other server may have at the same time."""
    home = paths.data_home()
    with files.lock(paths.inside(home, "server.lock"), wait=False) as ours:
        if not ours:
            raise ReverieError(f"Another server keeps its files in {home}: stop it, or set REVERIE_HOME to a folder.")
        store = Store(paths.inside(home, DATABASE))
        try:
            # What is not here yet is for `/api/models/pull`: a request must never wait for a download.
            yield create_app(Worker(partial(engine.load, offline=True)), store, settings=settings, home=home)
        finally:
            store.close()


def run(app: FastAPI, settings: Settings, ready: Callable[[str], None]) -> None:
    """Serves until a signal; `ready` is told the address once requests are answered."""
    with _listening(settings) as listener:
        log_to_stderr()
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))  # called once the server has ended cleanly
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, date_header=True,
            timeout_graceful_shutdown=2, h11_max_incomplete_event_size=65_536,
        )  # fmt: skip
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        _Server(app, config, partial(ready, f"http://{shown}:{port}")).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Tells when it is ready; once told to end, lets jobs finish before their streams are closed."""

    def __init__(self, app: FastAPI, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.app, self._ready = app, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens."""
        await super().startup(sockets=sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends."""
        await self.app.state.jobs.stop(self.app.state.settings.finish_seconds)
        await super().shutdown(sockets=sockets)


def _listening(settings: Settings) -> socket.socket:
    """A socket that listens; a port that is taken is a `ReverieError`."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        where = f"{settings.host}:{settings.port}"
        raise ReverieError(f"The server cannot listen at {where} ({error.strerror}): choose another --port.") from error
    return listener


def log_to_stderr() -> None:
    """The log as lines of JSON on stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name, level in (("reverie.serve", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
