"""/api over real HTTP, with tiny models: made, watched, kept, found again."""

from __future__ import annotations

import base64
import io
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from reverie import drawing, media, tasks
from reverie.modalities.music import MusicRequest
from reverie.serve import clips, scores
from reverie.serve.shapes import GenerationSettings
from reverie.types import ImageRequest, LMRequest, VideoRequest
from serve_setup import DRAWER, WRITER, error, events, generate, load, served, until

PANDA = "a red panda riding a skateboard"
WRITE: dict[str, Any] = {"model": WRITER, "prompt": "the robot dog", "settings": {"max_tokens": 12, "seed": 7}}
DRAW: dict[str, Any] = {"model": DRAWER, "prompt": PANDA, "settings": {"steps": 6, "seed": 7}}
LONG = {"model": DRAWER, "prompt": PANDA, "settings": {"steps": 1000, "sampler": "euler"}}


@pytest.fixture(scope="module")
def api(models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with served(tmp_path_factory.mktemp("home"), models) as client:
        yield client


# --- made ---


def test_text_streams_in_pieces_that_are_the_whole(api: httpx.Client, models: dict[str, str]) -> None:
    told = generate(api, WRITE)
    name, done = told[-1]
    assert name == "done"
    pieces = [event["text"] or "" for name, event in told if name == "step"]
    wanted = load(models[WRITER]).generate(WRITE["prompt"], max_tokens=12, seed=7).text()
    assert "".join(pieces) == done["text"] == wanted
    assert done["state"] == "done"
    assert done["seed"] == 7
    assert done["finish_reason"] in ("stop", "length")
    assert done["timing"]["new_tokens"] > 0
    assert api.get(done["url"]).text == wanted
    assert api.get(done["url"]).headers["content-type"].startswith("text/plain")


def test_a_picture_sharpens_and_is_the_one_that_the_command_line_draws(
    api: httpx.Client, models: dict[str, str]
) -> None:
    told = generate(api, {**DRAW, "noisy": True})
    steps = [event for name, event in told if name == "step"]
    seen = [event for event in steps if event["image"]]
    assert seen
    for url in (seen[-1]["image"], seen[-1]["noisy"]):
        head, _, body = url.partition(",")
        assert head == "data:image/webp;base64"
        assert Image.open(io.BytesIO(base64.b64decode(body))).size == (64, 64)
    assert [event["index"] for event in steps] == sorted(event["index"] for event in steps)
    assert steps[-1]["index"] == steps[-1]["total"] == 6
    png = api.get(told[-1][1]["url"]).content
    alone = drawing.draw(load(models[DRAWER]), PANDA, steps=6, seed=7)
    assert (media.read_picture(png) == alone.picture).all()
    record = media.read_record(png)
    assert record == {**alone.record, "model": {**alone.record["model"], "name": DRAWER}}


def test_the_candidates_of_each_token_come_with_it(api: httpx.Client) -> None:
    told = generate(api, {**WRITE, "settings": {"max_tokens": 5, "seed": 1, "num_logprobs": 3}})
    tokens = [token for name, event in told if name == "step" for token in event["tokens"] or []]
    assert 1 <= len(tokens) <= 5
    for token in tokens:
        assert len(token["candidates"]) == 3
        assert token["candidates"][0]["logprob"] >= token["candidates"][1]["logprob"]
        assert token["logprob"] <= 0


def test_a_candidate_that_is_half_a_character_is_shown_as_its_byte(api: httpx.Client) -> None:
    told = generate(api, {**WRITE, "settings": {"max_tokens": 8, "seed": 1, "num_logprobs": 20}})
    tokens = [token for name, event in told if name == "step" for token in event["tokens"] or []]
    seen = [each for token in tokens for each in (token, *token["candidates"])]
    halves = [each for each in seen if each["bytes"] and each["bytes"][0] >= 0x80]
    assert halves
    assert all(each["text"] == "".join(f"<0x{byte:02X}>" for byte in each["bytes"]) for each in halves)
    assert all(each["text"].encode() == bytes(each["bytes"]) for each in seen if each["bytes"] and each not in halves)
    spelt = b"".join(bytes(token["bytes"]) for token in tokens)
    assert spelt.decode("utf-8", "replace") == told[-1][1]["text"]


def test_a_task_and_a_conversation_are_answered(api: httpx.Client) -> None:
    few = {"max_tokens": 3, "seed": 1}
    for task in ("write", "code", "ask", "summarize", "chat"):
        assert generate(api, {"model": WRITER, "prompt": "dogs", "task": task, "settings": few})[-1][0] == "done"
    turns = [
        {"role": "user", "content": "the dog"},
        {"role": "assistant", "content": "ran"},
        {"role": "user", "content": "?"},
    ]
    done = generate(api, {"model": WRITER, "messages": turns, "settings": few, "keep": False})[-1][1]
    assert done["item"] is None


def test_a_text_longer_than_the_context_is_summarised_as_the_command_line_does(
    api: httpx.Client, models: dict[str, str]
) -> None:
    tale = " ".join(f"The dog number {number} ran into the garden." for number in range(30))
    wanted = {"model": WRITER, "prompt": tale, "task": "summarize", "settings": {"max_tokens": 8, "seed": 1}}
    told = generate(api, wanted)
    name, done = told[-1]
    assert (name, done["state"]) == ("done", "done")
    assert done["timing"]["prompt_tokens"] > 128  # the model's context: it cannot have been read at once
    assert "".join(event["text"] or "" for name, event in told if name == "step") == done["text"]
    alone = tasks.summarize(load(models[WRITER]), tale, max_tokens=8, seed=1).text()
    assert generate(api, wanted)[-1][1]["text"] == done["text"] == alone


def test_a_picture_begins_from_another_and_keeps_what_the_mask_keeps(api: httpx.Client) -> None:
    rng = np.random.default_rng(0)
    init = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    mask = np.zeros((64, 64, 3), np.uint8)
    mask[:, 32:] = 255
    pictures = {name: base64.b64encode(media.to_png(data)).decode() for name, data in (("init", init), ("mask", mask))}
    done = generate(api, {**DRAW, "settings": {"steps": 4, "seed": 1, **pictures}})[-1][1]
    drawn = media.read_picture(api.get(done["url"]).content)
    assert (drawn[:, :24] == init[:, :24]).all()
    assert (drawn[:, 40:] != init[:, 40:]).any()
    again = api.get(f"/api/gallery/{done['item']}/again").json()
    repeated = generate(api, again)[-1][1]
    assert (media.read_picture(api.get(repeated["url"]).content) == drawn).all()


@pytest.mark.parametrize(
    ("wrong", "status", "says"),
    [
        ({"model": WRITER}, 400, "prompt or messages"),
        ({"model": "nobody", "prompt": "x"}, 404, "no model 'nobody'"),
        ({"modality": "smell", "prompt": "x"}, 400, "no medium"),
        ({"model": "minilm", "prompt": "x"}, 409, "makes nothing"),
        ({"model": WRITER, "prompt": "x", "context": "y"}, 400, "task 'ask'"),
        ({"model": WRITER, "prompt": "x", "settings": {"temperature": -1}}, 422, "greater than or equal to 0"),
        ({"model": WRITER, "prompt": "x", "settings": {"max_tokens": 10**9}}, 422, "less than or equal"),
        ({"model": WRITER, "prompt": "x", "settings": {"heat": 1}}, 422, "settings.heat"),
        ({"model": WRITER, "prompt": "x" * 500_000}, 422, "at most"),
        ({"model": DRAWER, "prompt": "x", "settings": {"init": "@@"}}, 400, "not base64"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_mistake_is_a_sentence(api: httpx.Client, wrong: dict[str, Any], status: int, says: str) -> None:
    assert says in error(api.post("/api/generate", json=wrong), status)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"model": WRITER, "prompt": "the " * 500}, "context"),
        ({"model": WRITER, "prompt": "x", "settings": {"steps": 3}}, "no setting 'steps'"),
        ({"model": DRAWER, "prompt": "x", "settings": {"size_px": 65}}, "multiple of"),
    ],
    ids=["too long", "another medium's", "odd size"],
)
def test_a_mistake_that_only_the_model_sees_is_told_too(api: httpx.Client, wrong: dict[str, Any], says: str) -> None:
    response = api.post("/api/generate", json=wrong)
    if response.status_code == 200:
        name, event = next(iter([*events(response)][-1:]))
        assert name == "error"
        assert says in event["error"]["message"]
    else:
        assert says in error(response, 400)


# --- watched, cancelled ---


def test_who_goes_away_cancels(api: httpx.Client) -> None:
    with api.stream("POST", "/api/generate", json=LONG) as response:
        told = events(response)  # kept: a stream that nobody reads any more is closed
        job = next(told)[1]["job"]
        assert api.get(f"/api/jobs/{job}").json()["state"] == "running"
    until(lambda: api.get(f"/api/jobs/{job}").json()["state"] == "cancelled")


def test_who_goes_away_before_the_first_event_cancels_too(api: httpx.Client) -> None:
    body = json.dumps({**LONG, "prompt": "a vanishing cat"}).encode()
    head = "POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    for _ in range(5):
        with socket.create_connection((api.base_url.host, api.base_url.port or 80)) as connection:
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def states() -> list[str]:
        jobs = api.get("/api/jobs").json()["jobs"]
        return [job["state"] for job in jobs if job["request"]["prompt"] == "a vanishing cat"]

    until(lambda: len(states()) == 5 and set(states()) == {"cancelled"})


def test_a_job_is_cancelled_by_another_request(api: httpx.Client) -> None:
    with api.stream("POST", "/api/generate", json=LONG) as response:
        told = events(response)
        job = next(told)[1]["job"]
        api.post(f"/api/jobs/{job}/cancel")
        name, end = list(told)[-1]
    assert (name, end["state"], end["item"]) == ("done", "cancelled", None)


def test_a_line_is_worked_off_in_the_order_wished(api: httpx.Client) -> None:
    api.put("/api/jobs/paused", json={"paused": True})
    ids = [api.post("/api/jobs", json={**DRAW, "prompt": f"cat {n}"}).json()["id"] for n in range(3)]
    wished = [ids[2], ids[0], ids[1]]
    assert api.put("/api/jobs/order", json={"ids": wished}).status_code == 204
    listed = api.get("/api/jobs").json()
    assert listed["paused"] is True
    assert [job["id"] for job in listed["jobs"] if job["state"] == "queued"] == wished
    api.post(f"/api/jobs/{ids[0]}/cancel")
    api.put("/api/jobs/paused", json={"paused": False})
    with api.stream("GET", f"/api/jobs/{ids[1]}/events") as response:
        assert list(events(response))[-1][0] == "done"
    ended = {job["id"]: job for job in api.get("/api/jobs").json()["jobs"]}
    assert [ended[job]["state"] for job in ids] == ["cancelled", "done", "done"]
    assert ended[ids[2]]["ended"] <= ended[ids[1]]["started"]
    with api.stream("GET", f"/api/jobs/{ids[1]}/events") as response:  # who comes late sees the end
        assert [name for name, _ in events(response)] == ["done"]
    assert api.delete(f"/api/jobs/{ids[1]}").status_code == 204
    assert error(api.get(f"/api/jobs/{ids[1]}"), 404)
    assert api.get(f"/api/gallery/{ids[1]}").status_code == 200


def test_the_list_is_watched(api: httpx.Client) -> None:
    with api.stream("GET", "/api/jobs/events") as response:
        told = events(response)
        next(told)
        job = api.post("/api/jobs", json=DRAW).json()["id"]
        states = []
        for name, event in told:
            assert name == "jobs"
            states += [each["state"] for each in event["jobs"] if each["id"] == job]
            if states and states[-1] == "done":
                break


def test_a_full_queue_says_when_to_come_again(models: dict[str, str], tmp_path: Path) -> None:
    with served(tmp_path, models, most_waiting=1, most_running=1) as api:
        replies = []
        with api.stream("POST", "/api/generate", json=LONG), api.stream("POST", "/api/generate", json=LONG):
            replies = [api.post("/api/generate", json={**LONG, "keep": False}) for _ in range(1)]
        assert int(replies[-1].headers["retry-after"]) > 0
        assert error(replies[-1], 429)


def test_the_line_survives_a_restart_and_what_ran_can_be_started_again(models: dict[str, str], tmp_path: Path) -> None:
    with served(tmp_path, models, finish_seconds=0.2) as api:
        ran = api.post("/api/jobs", json=LONG).json()["id"]
        until(lambda: api.get(f"/api/jobs/{ran}").json()["state"] == "running")
        api.put("/api/jobs/paused", json={"paused": True})
        waits = api.post("/api/jobs", json=DRAW).json()["id"]
        began = time.monotonic()
    assert time.monotonic() - began < 5  # what runs is cancelled if it takes longer than the bound
    with served(tmp_path, models) as api:
        assert api.get("/api/jobs").json()["paused"] is True
        assert api.get(f"/api/jobs/{ran}").json()["state"] == "interrupted"
        assert api.get(f"/api/jobs/{waits}").json()["state"] == "queued"
        again = api.post(f"/api/jobs/{ran}/again").json()
        assert again["state"] == "queued"
        assert again["request"]["prompt"] == PANDA
        api.post(f"/api/jobs/{again['id']}/cancel")
        api.put("/api/jobs/paused", json={"paused": False})
        until(lambda: api.get(f"/api/jobs/{waits}").json()["state"] == "done")


# --- kept ---


def test_what_was_made_is_found_scrubbed_and_deleted(api: httpx.Client) -> None:
    done = generate(api, {**DRAW, "prompt": "a zebra on the moon", "noisy": True})[-1][1]
    listed = api.get("/api/gallery", params={"search": "zeb"}).json()["items"]
    assert [item["id"] for item in listed] == [done["item"]]
    item = listed[0]
    assert Image.open(io.BytesIO(api.get(item["thumbnail"]).content)).format == "WEBP"
    assert item["num_steps"] >= 1
    for number in range(item["num_steps"]):
        for noisy in (False, True):
            step = api.get(f"/api/gallery/{item['id']}/steps/{number}", params={"noisy": noisy})
            assert Image.open(io.BytesIO(step.content)).format == "WEBP"
    assert error(api.get(f"/api/gallery/{item['id']}/steps/{item['num_steps']}"), 404)
    assert api.get(f"/api/gallery/{item['id']}/again").json()["settings"]["seed"] == 7
    assert api.delete(f"/api/gallery/{item['id']}").status_code == 204
    for path in ("", "/file", "/thumbnail", "/again", "/steps/0"):
        assert error(api.get(f"/api/gallery/{item['id']}{path}"), 404)


def test_a_dropped_picture_tells_how_it_was_made(api: httpx.Client) -> None:
    done = generate(api, DRAW)[-1][1]
    told = api.post("/api/gallery/read", content=api.get(done["url"]).content).json()
    assert told["request"]["prompt"] == PANDA
    assert told["request"]["model"] == DRAWER
    assert told["request"]["settings"]["seed"] == 7
    assert "does not say" in error(
        api.post("/api/gallery/read", content=media.to_png(np.zeros((8, 8, 3), np.uint8))), 400
    )
    assert "not a picture" in error(api.post("/api/gallery/read", content=b"%PDF"), 400)


@pytest.mark.parametrize("strange", ["NaN", '"\\ud800"', "-1e999", "[" * 50 + "]" * 50, '{"\\u0000": 1}'])
def test_a_strange_record_breaks_nothing(api: httpx.Client, strange: str) -> None:
    told = {"reverie": 1, "prompt": "\ud800", "seed": 1, "steps": 3, "guidance": 1, "sampler": "euler", "negative": ""}
    record = json.dumps({**told, "size_px": None, "strength": None})[:-1] + f', "model": {strange}}}'
    words, file = PngImagePlugin.PngInfo(), io.BytesIO()
    words.add_itxt("reverie", record)
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=words)
    assert api.post("/api/gallery/read", content=file.getvalue()).status_code == 200


def test_chats_are_saved(api: httpx.Client) -> None:
    assert api.put("/api/chats/one", json={"title": "Dogs", "body": {"turns": [1]}}).status_code == 200
    assert [chat["title"] for chat in api.get("/api/chats").json()["chats"]] == ["Dogs"]
    assert api.get("/api/chats/one").json()["body"] == {"turns": [1]}
    assert api.delete("/api/chats/one").status_code == 204
    assert error(api.get("/api/chats/one"), 404)


def test_every_setting_is_one_of_a_model() -> None:
    known = {field.name for kind in (LMRequest, ImageRequest, MusicRequest, VideoRequest) for field in fields(kind)}
    assert set(GenerationSettings.model_fields) - {*scores.PLAYING, *clips.OTHERS} <= known


# --- models, health ---


def test_models_are_listed_with_what_is_known(api: httpx.Client) -> None:
    found = {model["name"]: model for model in api.get("/api/models").json()["models"]}
    assert found[DRAWER]["installed"]
    assert found[DRAWER]["usable"]
    assert found[DRAWER]["modality"] != found[WRITER]["modality"]
    assert found["smollm2"]["licence"] == "Apache-2.0"
    assert not found["minilm"]["usable"]


def test_about_lists_what_pages_there_are(api: httpx.Client) -> None:
    about = api.get("/api/about").json()
    assert {"generate", "jobs", "gallery", "models", "train", "chats"} <= set(about["features"])
    assert about["bounds"]["steps"] == [1, 1000]
    assert about["needs_key"] is False


def test_health_asks_the_worker_and_metrics_count(api: httpx.Client) -> None:
    generate(api, WRITE)
    health = api.get("/healthz")
    assert health.status_code == 200
    assert health.json()["status"] == "ok"
    figures = dict(line.rsplit(" ", 1) for line in api.get("/metrics").text.splitlines() if not line.startswith("#"))
    assert float(figures["reverie_tokens_total"]) >= 1
    assert float(figures['reverie_jobs_total{state="done"}']) >= 1
    assert float(figures["reverie_waiting"]) == 0
    assert float(figures["reverie_step_seconds_count"]) > 0
    assert any(name.startswith('reverie_requests_total{method="POST",route="/api/generate"') for name in figures)


def test_a_stuck_worker_is_not_healthy(api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from reverie.serve.worker import Worker

    monkeypatch.setattr(Worker, "beat_seconds", property(lambda self: 1e6))
    assert api.get("/healthz").status_code == 503


def test_the_document_knows_every_event(api: httpx.Client) -> None:
    document = api.get("/openapi.json").json()
    assert {"StepEvent", "DoneEvent", "JobList", "PullEvent", "TrainPoint"} <= set(document["components"]["schemas"])
    assert json.dumps(document).count('"#/$defs') == 0
