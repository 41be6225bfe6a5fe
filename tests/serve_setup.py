"""A whole server on a free port, with tiny models, for tests of what goes over HTTP."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import torch
import uvicorn

import tiny_drawing
import tiny_models
from reverie import engine
from reverie.serve.app import create_app
from reverie.serve.security import Settings
from reverie.serve.store import Store
from reverie.serve.worker import Worker

WRITER, DRAWER, ANIMATOR = "tiny-writer", "tiny-drawer", "tiny-animator"


def write_models(folder: Path) -> dict[str, str]:
    """A model that writes and one that draws: name -> folder."""
    tiny_models.save(folder / WRITER, tiny_models.decoder(tiny_models.LLAMA))
    tiny_drawing.write_model(folder / DRAWER)
    return {name: str(folder / name) for name in (WRITER, DRAWER)}


def load(name: str, **_: Any) -> engine.Model:
    """A model in exact arithmetic; the prompt of a tiny one that draws is read by `tiny_drawing.encoder`."""
    torch.set_num_threads(1)
    before = engine.prompt_encoder
    if "weights" not in Path(name).parts:  # of the package
        engine.prompt_encoder = lambda *args, **kwargs: tiny_drawing.encoder()
    try:
        return engine.load(name, place=engine.EXACT)
    finally:
        engine.prompt_encoder = before


@contextmanager
def served(home: Path, models: dict[str, str], **options: Any) -> Iterator[httpx.Client]:
    """A client of a server that keeps its files in `home`; afterwards the server has ended cleanly."""
    worker_options = {name: options.pop(name) for name in ("most_waiting", "most_running") if name in options}
    store = Store(home / "reverie.sqlite")
    settings = Settings(**{"served": models, "finish_seconds": 5.0, **options})
    app = create_app(Worker(load, **worker_options), store, settings=settings, home=home)
    config = uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=5, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(30)
        store.close()
        assert not thread.is_alive()


def environment(home: Path) -> dict[str, str]:
    """Of a program that keeps its files in `home` and fetches nothing."""
    return {**os.environ, "REVERIE_HOME": str(home), "REVERIE_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


@contextmanager
def running(
    home: Path, *arguments: str, port: int = 0, key: str = ""
) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """`reverie serve` as a process of its own, and a client of it; afterwards it is killed. port: 0 is any free one."""
    command = [sys.executable, "-m", "reverie", "serve", "--port", str(port), *arguments]
    own = {**environment(home), "REVERIE_API_KEY": key}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=own)
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        found = re.search(r"http://\S+", line)
        assert found is not None, line + process.stderr.read()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        with httpx.Client(base_url=found[0], timeout=30, headers=headers) as client:
            yield process, client
    finally:
        process.kill()
        process.wait()


def events(response: httpx.Response) -> Iterator[tuple[str, Any]]:
    """The server-sent events of a reply that streams: (name, data)."""
    name = ""
    for line in response.iter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def generate(api: httpx.Client, wanted: dict[str, Any]) -> list[tuple[str, Any]]:
    """All events of something that is made."""
    with api.stream("POST", "/api/generate", json=wanted) as response:
        assert response.status_code == 200, response.read()
        return list(events(response))


def until(found: Callable[[], Any]) -> Any:
    """Waits for something that is true."""
    for _ in range(400):
        if value := found():
            return value
        time.sleep(0.02)
    raise AssertionError("it never came")


def error(response: httpx.Response, status: int) -> str:
    """The sentence of an error, which must have this status."""
    assert response.status_code == status, response.text
    return str(response.json()["error"]["message"])
