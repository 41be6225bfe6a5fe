"""Servers under load, side by side: `reverie serve` and llama-cpp-python's server, the same file, the same requests.

    python benchmarks/serve_load.py [--model FILE.gguf] [--clients 1 2 4 8] [--tokens 64] [--rounds 3]

Each client streams `/v1/completions` over real HTTP, one request after the other; the servers are loaded in turn in one
run. The peer is installed for this alone: pip install -c constraints.txt "llama-cpp-python[server]".
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import httpx

START_SECONDS = 180
PROMPT_CHARS = 400
REQUESTS = 2  # that each client makes, one after the other


@dataclass(frozen=True)
class Answer:
    """One streamed text: seconds until its first piece, and how many pieces; each is a token."""

    first_seconds: float
    num_tokens: int


@dataclass(frozen=True)
class Load:
    """What one round of load gave."""

    tokens_per_second: float
    first_seconds: list[float]


@dataclass(frozen=True)
class Server:
    """A server that listens. model: the name it gives to what it serves."""

    url: str
    model: str


def command(name: str, model: str, port: int, threads: int) -> list[str]:
    """How each contender is started."""
    match name:
        case "reverie":
            return [sys.executable, "-m", "reverie", "serve", "--port", str(port), "--model", model, "--offline"]
        case "llama.cpp":
            settings = {"model": model, "port": port, "n_threads": threads, "n_threads_batch": threads, "n_ctx": 2048}
            # As it comes, a new request ends the one before it.
            options = {**settings, "interrupt_requests": False, "verbose": False}
            return [sys.executable, "-m", "llama_cpp.server", *(f"--{key}={value}" for key, value in options.items())]
    raise SystemExit(f"There is no contender {name}.")


@contextmanager
def started(name: str, model: str, threads: int, home: str) -> Iterator[Server]:
    """A contender's server, which ends afterwards."""
    port = free_port()
    log = Path(home) / f"{name}.log"
    environment = {**os.environ, "REVERIE_HOME": home, "OMP_NUM_THREADS": str(threads)}
    with log.open("w") as output:
        process = subprocess.Popen(
            command(name, model, port, threads), env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield ready(process, f"http://127.0.0.1:{port}", log)
        finally:
            process.terminate()
            process.wait(30)


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ready(process: subprocess.Popen[bytes], url: str, log: Path) -> Server:
    """Waits until the server answers."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            return Server(url, str(httpx.get(f"{url}/v1/models", timeout=30).json()["data"][0]["id"]))
        except httpx.TransportError:
            time.sleep(0.2)
    raise SystemExit(f"{url} does not answer:\n{log.read_text()[-2000:]}")


async def ask(client: httpx.AsyncClient, server: Server, prompt: str, seed: int, max_tokens: int) -> Answer:
    """Streams one text."""
    body = {"model": server.model, "prompt": prompt, "seed": seed, "max_tokens": max_tokens, "temperature": 0.7}
    began, first, num = time.perf_counter(), 0.0, 0
    async with client.stream("POST", f"{server.url}/v1/completions", json={**body, "stream": True}) as response:
        if response.status_code != 200:
            raise SystemExit(f"{server.url}: {(await response.aread()).decode()}")
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            chunk: Any = json.loads(line.removeprefix("data: "))
            if "error" in chunk:
                raise SystemExit(f"{server.url}: {chunk['error']}")
            if any(choice["text"] for choice in chunk["choices"]):
                first = first if num else time.perf_counter() - began
                num += 1
    return Answer(first, num)


async def load(server: Server, prompts: Sequence[str], num_clients: int, max_tokens: int) -> Load:
    """So many clients at once."""
    async with httpx.AsyncClient(timeout=600) as client:

        async def visits(number: int) -> list[Answer]:
            places = range(number * REQUESTS, (number + 1) * REQUESTS)
            return [await ask(client, server, prompts[place % len(prompts)], place, max_tokens) for place in places]

        began = time.perf_counter()
        answers = list(chain.from_iterable(await asyncio.gather(*map(visits, range(num_clients)))))
        seconds = time.perf_counter() - began
    return Load(sum(answer.num_tokens for answer in answers) / seconds, [answer.first_seconds for answer in answers])


def prompts_of(text: str) -> list[str]:
    """Pieces of a text to go on with, each another."""
    words = Path(text).read_text(encoding="utf-8")
    return [words[start : start + PROMPT_CHARS] for start in range(0, 16 * PROMPT_CHARS, PROMPT_CHARS)]


def table(found: dict[str, dict[int, list[Load]]]) -> str:
    """Medians over the rounds; the ratio is to one client of the same server."""
    lines = [f"{'':<12}{'clients':>8}{'tok/s':>10}{'ratio':>8}{'first token s':>15}{'slowest s':>11}"]
    for name, by_clients in found.items():
        speeds = {
            num: statistics.median(each.tokens_per_second for each in rounds) for num, rounds in by_clients.items()
        }
        alone = speeds[min(speeds)]
        for num, rounds in by_clients.items():
            firsts = [seconds for each in rounds for seconds in each.first_seconds]
            lines.append(
                f"{name:<12}{num:>8}{speeds[num]:>10.1f}{speeds[num] / alone:>7.2f}x"
                f"{statistics.median(firsts):>15.2f}{max(firsts):>11.2f}"
            )
    return "\n".join(lines)


def compare(options: Any, model: str) -> dict[str, dict[int, list[Load]]]:
    """Starts the servers, warms them, and loads them in turn."""
    prompts, names = prompts_of(options.text), ["reverie", *options.peers]
    found: dict[str, dict[int, list[Load]]] = {name: {num: [] for num in options.clients} for name in names}
    with tempfile.TemporaryDirectory() as home, ExitStack() as stack:
        servers = {name: stack.enter_context(started(name, model, options.threads, home)) for name in names}
        for server in servers.values():
            asyncio.run(load(server, prompts, 1, 8))
        for _ in range(options.rounds):
            for num in options.clients:
                for name, server in servers.items():
                    found[name][num].append(asyncio.run(load(server, prompts, num, options.tokens)))
    return found


def main() -> None:
    """Parses, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a GGUF file; default: the installed smollm2")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--text", default=str(Path(__file__).parent.parent / "LICENSE"))
    parser.add_argument("--peers", nargs="*", default=["llama.cpp"])
    options = parser.parse_args()
    if options.model is None:
        from reverie.hub.catalogue import entry
        from reverie.hub.sources import fetch

        options.model = str(fetch(entry("smollm2")))
    print(table(compare(options, str(Path(options.model).absolute()))))


if __name__ == "__main__":
    main()
