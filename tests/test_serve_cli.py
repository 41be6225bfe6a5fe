"""`reverie serve` as a person runs it: where it listens, how it ends, and what it refuses."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serve_setup import WRITER, environment, error, events, running, until, write_models

ENDLESS = {"model": WRITER, "prompt": "the", "settings": {"max_tokens": 1_000_000, "slide": True, "temperature": 0.0}}
KEY = "secret"
COMMAND = [sys.executable, "-m", "reverie", "serve", "--port"]


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_models(tmp_path_factory.mktemp("models"))[WRITER]


def refused(home: Path, *arguments: str) -> str:
    result = subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        env={**environment(home), "REVERIE_API_KEY": KEY},
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_it_ends_cleanly_and_what_ran_is_interrupted_and_starts_again(tmp_path: Path, writer: str) -> None:
    with running(tmp_path, "-m", writer, key=KEY) as (process, client):
        assert client.get("/healthz").json()["status"] == "ok"
        assert error(client.get("/api/jobs", headers={"Authorization": ""}), 401)  # it took the key of its environment
        assert "Another server" in refused(tmp_path, "0", "-m", writer)
        with client.stream("POST", "/api/generate", json=ENDLESS) as response:
            told = events(response)
            job = next(told)[1]["job"]
            while not next(told)[1]["text"]:
                pass
            process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            *_, (name, end) = told
        assert (name, end["state"]) == ("done", "interrupted")
        assert process.wait(30) == 0
        assert time.monotonic() - began < 20
        assert process.stderr is not None
        log = process.stderr.read()
        assert "Traceback" not in log
        lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
        assert "/healthz" in {line["route"] for line in lines if line["event"] == "request"}
    with running(tmp_path, "-m", writer, key=KEY) as (process, client):
        assert client.get(f"/api/jobs/{job}").json()["state"] == "interrupted"
        waits = client.post("/api/jobs", json=ENDLESS).json()["id"]
        until(lambda: client.get(f"/api/jobs/{waits}").json()["state"] == "running")
        process.send_signal(signal.SIGKILL)
    with running(tmp_path, "-m", writer, key=KEY) as (process, client):
        assert client.get(f"/api/jobs/{waits}").json()["state"] == "interrupted"
        again = client.post(f"/api/jobs/{waits}/again").json()["id"]
        until(lambda: client.get(f"/api/jobs/{again}").json()["state"] == "running")
        client.post(f"/api/jobs/{again}/cancel")
        assert client.get(f"/api/jobs/{again}").json()["state"] == "cancelled"


def test_what_it_refuses(tmp_path: Path) -> None:
    assert "give --api-key" in refused(tmp_path, "0", "--host", "0.0.0.0", "--api-key", "")
    assert "no model 'nobody'" in refused(tmp_path, "0", "-m", "nobody")
    assert "is not an origin" in refused(tmp_path, "0", "--allow-origin", "everyone")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "choose another --port" in refused(tmp_path, str(taken.getsockname()[1]))
