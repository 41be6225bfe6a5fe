"""Clips over HTTP: OpenAI's videos by its own client, and clips that are made, kept and gone on from."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from openai import OpenAI
from PIL import Image

import serve_setup
from reverie import animating, engine, media, moving
from serve_setup import ANIMATOR, DRAWER, WRITER, error, generate, served, until

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")  # theirs ends, the shape stays

CAT: dict[str, Any] = {"modality": "video", "prompt": "a red cat", "settings": {"seed": 3, "steps": 2, "frames": 6}}
BRIEF = {"seed": 3, "num_inference_steps": 2}


@pytest.fixture(scope="module")
def api(animators: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with served(tmp_path_factory.mktemp("home"), animators) as client:
        yield client


@pytest.fixture(scope="module")
def client(api: httpx.Client) -> OpenAI:
    return opened(api)


@pytest.fixture(scope="module")
def model(animators: dict[str, str]) -> engine.Model:
    """The one that animates, beside the server."""
    return serve_setup.load(animators[ANIMATOR])


@pytest.fixture(scope="module")
def cat(api: httpx.Client) -> dict[str, Any]:
    """The last event of a clip."""
    return dict(generate(api, CAT)[-1][1])


def opened(http: httpx.Client) -> OpenAI:
    """OpenAI's own client of a server."""
    return OpenAI(base_url=f"{http.base_url}/v1", api_key="none", max_retries=0)


def picture(shade: int) -> np.ndarray:
    """A picture that no model makes."""
    found = np.full((40, 40, 3), shade, np.uint8)
    found[10:20, 10:30] = (250, 20, 60)
    return found


def file_of(found: np.ndarray) -> io.BytesIO:
    file = io.BytesIO(media.to_png(found))
    file.name = "picture.png"
    return file


def url_of(found: np.ndarray) -> str:
    return f"data:image/png;base64,{base64.b64encode(media.to_png(found)).decode()}"


def frames_of(http: httpx.Client, item: str) -> np.ndarray:
    """The frames of a kept clip, as they are: (F, S, S, 3)."""
    reply = http.get(f"/api/gallery/{item}/frames")
    assert reply.headers["content-type"] == "image/webp"
    strip = media.read_picture(reply.content)
    return np.stack(np.split(strip, strip.shape[1] // strip.shape[0], axis=1))


# --- OpenAI's client ---


def test_a_client_asks_waits_and_fetches(client: OpenAI, api: httpx.Client, model: engine.Model) -> None:
    first = client.videos.create(prompt="a red cat", seconds="0.75", size="64x64", extra_body=BRIEF)  # type: ignore[arg-type]
    assert (first.object, first.model, first.progress) == ("video", ANIMATOR, 0)
    assert first.status in ("queued", "in_progress")
    assert (first.seconds, first.size, first.prompt) == ("0.75", "64x64", "a red cat")
    video = client.videos.create_and_poll(
        prompt="a red cat", seconds="0.75", poll_interval_ms=50, extra_body={**BRIEF, "fps": 8}  # type: ignore[arg-type]
    )  # fmt: skip
    assert (video.status, video.progress, video.size, video.seconds) == ("completed", 100, "64x64", "0.75")
    assert video.completed_at is not None
    assert video.created_at <= video.completed_at
    film = client.videos.download_content(video.id).read()
    assert animating.verify(film, model).same_bytes
    again = animating.animate(model, "a red cat", seed=3, steps=2, frames=6)
    strip = media.read_picture(client.videos.download_content(video.id, variant="spritesheet").read())
    assert np.array_equal(strip, media.grid(list(again.clip), columns=6))
    thumbnail = client.videos.download_content(video.id, variant="thumbnail").read()
    assert media.read_picture(thumbnail).shape == (64, 64, 3)
    assert api.get(f"/api/gallery/{video.id.removeprefix('video_')}").json()["modality"] == "video"


def test_the_first_and_the_last_picture_are_kept_to_the_pixel(client: OpenAI, api: httpx.Client) -> None:
    ends = {"end_reference": {"image_url": url_of(picture(200))}}
    asked: Any = {"prompt": "a red cat", "seconds": "1", "input_reference": file_of(picture(90))}
    video = client.videos.create_and_poll(**asked, poll_interval_ms=50, extra_body={**BRIEF, **ends})
    clip = frames_of(api, video.id.removeprefix("video_"))
    assert np.array_equal(clip[0], media.fit(picture(90), 64))
    assert np.array_equal(clip[-1], media.fit(picture(200), 64))
    same = api.post("/v1/videos", json={"prompt": "x", "seconds": "1", "input_reference": ends["end_reference"]})
    assert same.status_code == 200, same.text


def test_videos_are_listed_page_by_page_and_deleted_for_good(animators: dict[str, str], tmp_path: Path) -> None:
    with served(tmp_path, animators) as http:
        client = opened(http)
        assert http.get("/v1/videos").json() == {
            "object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False,
        }  # fmt: skip
        ids = [
            client.videos.create_and_poll(prompt=f"cat {n}", seconds="0.5", poll_interval_ms=20, extra_body=BRIEF).id  # type: ignore[arg-type]
            for n in range(3)
        ]  # fmt: skip
        assert [video.id for video in client.videos.list(limit=1)] == ids[::-1]  # three pages
        assert [video.id for video in client.videos.list(order="asc", after=ids[0])] == ids[1:]
        assert client.videos.delete(ids[1]).deleted
        assert [video.id for video in client.videos.list()] == [ids[2], ids[0]]
        for _ in range(5):  # deleted while it waits, is begun, or runs
            client.videos.delete(client.videos.create(prompt="a dog", extra_body=BRIEF).id)
        assert [video.id for video in client.videos.list()] == [ids[2], ids[0]]
        http.delete(f"/api/jobs/{ids[0].removeprefix('video_')}")  # the list of jobs forgets it, the gallery does not
        assert client.videos.retrieve(ids[0]).status == "completed"
        for path in (f"/{ids[1]}", f"/{ids[1]}/content", "/nothing", "?after=nothing"):
            reply = http.get(f"/v1/videos{path}")
            assert "no such video" in error(reply, 404)
            assert reply.json()["error"]["code"] == "video_not_found"


def test_a_remix_is_the_same_noise_with_other_words(client: OpenAI, api: httpx.Client) -> None:
    source = client.videos.create_and_poll(prompt="a red cat", seconds="0.5", poll_interval_ms=20, extra_body=BRIEF)  # type: ignore[arg-type]
    remix = client.videos.remix(source.id, prompt="a blue cat")
    assert (remix.remixed_from_video_id, remix.prompt) == (source.id, "a blue cat")
    done = until(lambda: (now := client.videos.retrieve(remix.id)).status == "completed" and now)
    assert (done.remixed_from_video_id, done.seconds) == (source.id, "0.5")
    asked = api.get(f"/api/gallery/{remix.id.removeprefix('video_')}/again").json()
    assert (asked["settings"]["seed"], asked["settings"]["frames"]) == (3, 4)


@pytest.mark.parametrize(
    ("wanted", "says", "param"),
    [
        ({}, "Field required", "prompt"),
        ({"prompt": ""}, "prompt", "prompt"),
        ({"prompt": "x", "seconds": "4"}, "makes up to 2 at 8 frames a second (16 frames)", "seconds"),
        ({"prompt": "x", "seconds": "2", "fps": 24}, "makes up to 0.666667 at 24", "seconds"),
        ({"prompt": "x", "seconds": "0"}, "greater than 0", "seconds"),
        ({"prompt": "x", "seconds": "long"}, "seconds", "seconds"),
        ({"prompt": "x", "size": "1280x720"}, "videos are square", "size"),
        ({"prompt": "x", "size": "100x100"}, "multiple of", None),
        ({"prompt": "x", "fps": 0}, "fps", "fps"),
        ({"prompt": "x", "audio": True}, "'audio' is not supported", "audio"),
        ({"prompt": "x", "input_reference": {"file_id": "file-1"}}, "'file_id' is not supported", None),
        ({"prompt": "x", "input_reference": {"image_url": "http://example.org/a.png"}}, "image_url", None),
        ({"prompt": "x", "input_reference": {"image_url": "data:image/png;base64,AAAA"}}, "picture", "input_reference"),
        ({"prompt": "x", "loop": True, "input_reference": {"image_url": url_of(picture(9))}}, "loops", None),
        ({"prompt": "x", "model": DRAWER}, "makes image: choose one that animates", "model"),
        ({"prompt": "x", "model": "nothing"}, "no model", None),
    ],
)
def test_what_cannot_be_had_is_told_at_once(
    api: httpx.Client, wanted: dict[str, Any], says: str, param: str | None
) -> None:
    before = len(api.get("/api/jobs").json()["jobs"])
    reply = api.post("/v1/videos", json=wanted)
    assert says in error(reply, 404 if wanted.get("model") == "nothing" else 400)
    assert param is None or reply.json()["error"]["param"] == param
    assert len(api.get("/api/jobs").json()["jobs"]) == before


def test_forms_that_make_no_sense_are_refused(api: httpx.Client) -> None:
    def refuse(says: str, **sent: Any) -> None:
        assert says in error(api.post("/v1/videos", **sent), 400)

    refuse("not JSON", content=b"{", headers={"content-type": "application/json"})
    refuse("not supported", data={"prompt": "x"}, files={"video": b"x"})
    refuse("not a picture", data={"prompt": "x"}, files={"input_reference": b"x"})
    refuse("twice", data={"prompt": ["x", "y"]}, files={"input_reference": b"x"})
    refuse("prompt", files={"input_reference": b"x"})


def test_a_video_outlives_the_server(animators: dict[str, str], tmp_path: Path) -> None:
    with served(tmp_path, animators) as http:
        http.put("/api/jobs/paused", json={"paused": True})
        video = opened(http).videos.create(prompt="a red cat", seconds="0.5", extra_body=BRIEF)  # type: ignore[arg-type]
    with served(tmp_path, animators) as http:
        client = opened(http)
        assert client.videos.retrieve(video.id).status == "queued"
        with pytest.raises(openai.ConflictError, match="queued"):
            client.videos.download_content(video.id)
        http.put("/api/jobs/paused", json={"paused": False})
        until(lambda: client.videos.retrieve(video.id).status == "completed")
        assert moving.read_clip(client.videos.download_content(video.id).read())[0].shape == (4, 64, 64, 3)


def test_progress_is_told_and_what_runs_is_stopped_by_deleting_it(
    animators: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = serve_setup.load

    def slow(name: str, **options: Any) -> engine.Model:
        found = quick(name, **options)
        found.core.blocks[0].register_forward_hook(lambda *_: time.sleep(0.03))
        return found

    monkeypatch.setattr(serve_setup, "load", slow)
    with served(tmp_path, animators) as http:
        client = opened(http)
        asked: Any = {"prompt": "a cat", "seconds": "0.5", "extra_body": {"num_inference_steps": 100}}
        video, waiting = client.videos.create(**asked), client.videos.create(**asked)
        until(lambda: 0 < client.videos.retrieve(video.id).progress < 100)
        assert client.videos.retrieve(video.id).status == "in_progress"
        assert client.videos.delete(waiting.id).deleted
        assert client.videos.delete(video.id).deleted
        assert list(client.videos.list()) == []
        until(lambda: "reverie_running 0.0" in http.get("/metrics").text)
        cancelled = client.videos.create(**asked).id
        http.post(f"/api/jobs/{cancelled.removeprefix('video_')}/cancel")
        found = client.videos.retrieve(cancelled)
        assert (found.status, found.error and found.error.code) == ("failed", "cancelled")


# --- /api ---


def test_all_frames_sharpen_at_once_and_the_clip_is_kept_with_its_record(
    api: httpx.Client, model: engine.Model
) -> None:
    told = generate(api, {**CAT, "noisy": True})
    steps = [data for name, data in told if name == "step" and data["image"]]
    assert [step["frames"] for step in steps] == [6] * len(steps)
    for step in steps:
        for strip in (step["image"], step["noisy"]):
            shown = Image.open(io.BytesIO(base64.b64decode(strip.partition(",")[2])))
            assert (shown.format, shown.size) == ("WEBP", (6 * 64, 64))
    done = told[-1][1]
    assert done["about"] == {
        "frames": 6, "fps": 8, "seconds": 0.75, "size_px": 64, "columns": 6, "before": 0, "loop": False, "given": [],
    }  # fmt: skip
    item = api.get(f"/api/gallery/{done['item']}").json()
    assert (item["modality"], item["media_type"], item["about"]) == ("video", "video/mp4", done["about"])
    assert item["num_steps"] == len(steps)
    here = animating.animate(model, "a red cat", seed=3, steps=2, frames=6)
    assert np.array_equal(frames_of(api, done["item"]), here.clip)
    record = moving.read_record(api.get(done["url"]).content)
    assert record["model"]["name"] == ANIMATOR
    assert {**here.record, "model": None, "software": None} == {**record, "model": None, "software": None}
    step = api.get(f"/api/gallery/{done['item']}/steps/0", params={"noisy": True})
    assert step.headers["content-type"] == "image/webp"


@pytest.mark.parametrize("kind", ["mp4", "gif", "webp", "png"])
def test_a_kept_clip_is_a_file_of_any_kind_that_replays(
    api: httpx.Client, cat: dict[str, Any], model: engine.Model, kind: str
) -> None:
    reply = api.get(f"/api/gallery/{cat['item']}/clip/{kind}")
    assert reply.status_code == 200, reply.text
    assert animating.verify(reply.content, model).same_bytes
    part = api.get(f"/api/gallery/{cat['item']}/clip/{kind}", headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, reply.content[5:10])


def test_a_clip_goes_on_from_another(api: httpx.Client, cat: dict[str, Any], model: engine.Model) -> None:
    wanted = {"seed": 4, "steps": 2, "frames": 7, "extend": cat["item"]}
    done = generate(api, {**CAT, "settings": wanted})[-1][1]
    film = moving.read_clip(api.get(cat["url"]).content)[0]
    assert (done["about"]["frames"], done["about"]["before"], done["about"]["given"]) == (9, 2, ["extend"])
    assert np.array_equal(frames_of(api, done["item"])[:6], film)
    assert animating.verify(api.get(done["url"]).content, model, extend=film).same_bytes
    third = generate(api, {**CAT, "settings": {**wanted, "extend": done["item"]}})[-1][1]
    assert (third["about"]["frames"], third["about"]["before"]) == (12, 5)
    assert api.get(f"/api/gallery/{third['item']}/again").json()["settings"]["extend"] == done["item"]


def test_a_picture_of_the_gallery_is_set_in_motion(api: httpx.Client) -> None:
    drawn = generate(api, {"model": DRAWER, "prompt": "a cat", "settings": {"steps": 2}})[-1][1]
    still = media.read_picture(api.get(drawn["url"]).content)
    settings = {**CAT["settings"], "init": url_of(still), "last": url_of(picture(50))}
    done = generate(api, {**CAT, "settings": settings})[-1][1]
    clip = frames_of(api, done["item"])
    assert np.array_equal(clip[0], still)
    assert np.array_equal(clip[-1], media.fit(picture(50), 64))
    assert done["about"]["given"] == ["begin", "end"]


@pytest.mark.parametrize(
    ("changes", "says", "status"),
    [
        ({"extend": "nothing"}, "no such clip", 404),
        ({"loop": True, "init": url_of(picture(1))}, "loops", 400),
        ({"frames": 1}, "greater than or equal to 2", 422),
        ({"frames": 65}, "frames", 422),
        ({"init": "data:image/png;base64,AAAA"}, "not a picture", 400),
    ],
)
@pytest.mark.parametrize("route", ["/api/generate", "/api/jobs"])
def test_clips_that_make_no_sense_are_refused(
    api: httpx.Client, route: str, changes: dict[str, Any], says: str, status: int
) -> None:
    assert says in error(api.post(route, json={**CAT, "settings": changes}), status)


def test_a_clip_and_a_picture_are_not_taken_for_each_other(api: httpx.Client, cat: dict[str, Any]) -> None:
    drawn = generate(api, {"model": DRAWER, "prompt": "a cat", "settings": {"steps": 2}})[-1][1]["item"]
    for path in ("frames", "clip/mp4"):
        assert "not a clip" in error(api.get(f"/api/gallery/{drawn}/{path}"), 409)
        assert "no such clip" in error(api.get(f"/api/gallery/nothing/{path}"), 404)
    assert "not a clip" in error(api.post("/api/generate", json={**CAT, "settings": {"extend": drawn}}), 409)
    both = {"extend": cat["item"], "init": url_of(picture(1))}
    assert "leave out init" in error(api.post("/api/generate", json={**CAT, "settings": both}), 400)
    for name in (WRITER, DRAWER):
        told = generate(api, {"model": name, "prompt": "x", "settings": {"frames": 4}})
        assert "no setting 'frames'" in told[-1][1]["error"]["message"]
    assert "There is no such item" in error(api.get("/api/gallery/nothing"), 404)
    assert "not a tune" in error(api.get(f"/api/gallery/{cat['item']}/score"), 409)


def test_a_clip_does_not_grow_without_end(api: httpx.Client) -> None:
    item = generate(api, {**CAT, "settings": {"steps": 1}})[-1][1]["item"]
    for _ in range(4):
        item = generate(api, {**CAT, "settings": {"steps": 1, "extend": item}})[-1][1]["item"]
    assert api.get(f"/api/gallery/{item}").json()["about"]["frames"] == 64
    wanted = {**CAT, "settings": {"steps": 1, "extend": item}}
    assert "76 frames, and 64 are the most" in error(api.post("/api/generate", json=wanted), 400)


def test_a_picture_that_could_not_be_read_again_is_not_kept(api: httpx.Client) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1800, 1800, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "JPEG", quality=60)
    wanted = {**CAT, "settings": {"init": base64.b64encode(file.getvalue()).decode()}}
    assert "make it smaller" in error(api.post("/api/jobs", json=wanted), 400)
    assert api.get("/api/jobs").status_code == 200


def test_what_can_be_asked_of_a_clip_is_listed(api: httpx.Client) -> None:
    told = api.get("/api/video").json()
    assert (told["frames"], told["fps"], told["context"]) == (16, 8, animating.CONTEXT)
    assert told["files"] == ["mp4", "gif", "webp", "png"]
    assert "video" in api.get("/api/about").json()["features"]
