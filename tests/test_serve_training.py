"""Training from the studio: begun, watched, stopped, gone on with, and the model used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve_setup import error, events, generate, served, until, write_models

RUN = {"name": "dogs", "medium": "text", "data": "tale", "max_steps": 100_000, "batch": 2, "seed": 1}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    home = tmp_path_factory.mktemp("home")
    patch = pytest.MonkeyPatch()
    patch.setenv("REVERIE_HOME", str(home / "empty"))
    with served(home, write_models(tmp_path_factory.mktemp("models"))) as client:
        text = "the robot dog ran into the garden of the old house, barking at seven yellow butterflies. " * 200
        assert client.post("/api/train/texts", json={"name": "tale", "text": text}).status_code == 204
        yield client
    patch.undo()


def test_data_is_offered_to_the_media_that_can_read_it(api: httpx.Client) -> None:
    media = {medium["name"]: medium for medium in api.get("/api/train/options").json()["media"]}
    assert media["text"]["data"] == ["tale"]
    assert "tiny" in media["text"]["sizes"]
    assert media["image"]["data"] == []  # none is built here


@pytest.mark.parametrize(
    ("change", "says"),
    [({"medium": "smell"}, "no medium"), ({"size": "vast"}, "no size"), ({"data": "/etc/passwd"}, "no data")],
)
def test_a_run_is_of_what_there_is(api: httpx.Client, change: dict[str, Any], says: str) -> None:
    assert says in error(api.post("/api/train", json={**RUN, **change}), 400)
    assert api.get("/api/train").json() == {"runs": []}


def test_a_run_is_watched_stopped_resumed_and_its_model_used(api: httpx.Client) -> None:
    assert api.post("/api/train", json=RUN).json()["state"] == "running"
    assert "already" in error(api.post("/api/train", json=RUN), 409)
    assert "under way" in error(api.post("/api/train", json={**RUN, "name": "cats"}), 409)
    with api.stream("GET", "/api/train/dogs/events") as response:
        told = events(response)
        steps: list[int] = []
        while len(steps) < 3:
            name, event = next(told)
            steps += [event["step"]] if name == "point" else []
        assert steps == [1, 2, 3]
        api.post("/api/train/dogs/stop")
        *_, last = told
    assert last[0] == "run"
    assert last[1]["state"] == "stopped", last
    stopped_at = last[1]["last"]["step"]
    assert last[1]["model"] == "run:dogs"
    written = generate(api, {"model": "run:dogs", "prompt": "the", "settings": {"max_tokens": 4, "seed": 1}})
    assert written[-1][1]["state"] == "done"
    samples = api.get("/api/train/dogs/samples").json()["samples"]
    assert samples[-1]["step"] == stopped_at
    assert api.get(samples[-1]["url"]).text == samples[-1]["text"]
    assert api.post("/api/train/dogs/resume").json()["state"] == "running"
    until(lambda: api.get("/api/train/dogs").json()["last"]["step"] > stopped_at)
    assert error(api.delete("/api/train/dogs"), 409)
    api.post("/api/train/dogs/stop")
    until(lambda: api.get("/api/train/dogs").json()["state"] == "stopped")
    assert api.delete("/api/train/dogs").status_code == 204
    assert error(api.get("/api/train/dogs"), 404)


def test_a_run_that_fails_says_why(api: httpx.Client, tmp_path: Path) -> None:
    assert api.post("/api/train/texts", json={"name": "short", "text": "too short"}).status_code == 204
    assert api.post("/api/train", json={**RUN, "name": "short", "data": "short"}).status_code == 201
    run = until(lambda: (run := api.get("/api/train/short").json())["state"] != "running" and run)
    assert run["state"] == "failed"
    assert "too short" in run["error"]
