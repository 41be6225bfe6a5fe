"""Exhibits and lessons over HTTP: any exhibit with the shapes that draw it, within bounds, and nothing that hangs."""

from __future__ import annotations

import base64
import io
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import tiny_tunes
import tiny_video
import tunes
from reverie.explain import about, exhibits
from reverie.learn.lessons import lessons
from reverie.notation import words
from reverie.serve.exhibits import Leash
from reverie.types import ReverieError
from serve_setup import ANIMATOR, DRAWER, WRITER, error, served, until, write_models
from tiny_tunes import COMPOSER

KINDS = {"bars", "matrix", "table", "words", "lines", "pictures"}
PROMPTS = {
    WRITER: "the dog ran to the dog of the house",
    DRAWER: "a red dog",
    COMPOSER: "a jig in D",
    ANIMATOR: "a red dog",
}
QUICK: dict[str, dict[str, Any]] = {  # the smallest that shows something, for time
    "context": {"word": "dog", "other": "the dog"},
    "noise": {"levels": 2},
    "seeds": {"num": 2, "steps": 2},
    "steps": {"values": "1,2"},
    "walk": {"num": 2, "steps": 2},
    "what-if": {"layer": 0},
    **{f"video-{each}": {"frames": 3, "steps": 2} for each in ("attention", "denoising", "given", "together")},
    "words": {"without": False, "steps": 1},
}
SLOW = {"steps": 2}
LONG = {"training", "all-at-once", "samplers"}  # these are made in the tests of explain/ alone


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    home = tmp_path_factory.mktemp("home")
    tiny_tunes.write_model(home / "models" / COMPOSER)
    tiny_video.write_model(home / "models" / ANIMATOR)
    others = {name: str(home / "models" / name) for name in (COMPOSER, ANIMATOR)}
    with served(home, {**write_models(home / "models"), **others}) as client:
        yield client


def model_of(name: str) -> str:
    """Which model shows an exhibit."""
    kind = about(name)
    by_family = DRAWER if kind.family == "diffusion" else WRITER
    return {"music": COMPOSER, "video": ANIMATOR}.get(str(kind.medium), by_family)


def ask(api: httpx.Client, name: str, model: str = WRITER, /, **more: Any) -> httpx.Response:
    """An exhibit, of this model's prompt if no other is given."""
    return api.post(f"/api/exhibits/{name}", json={"model": model, "prompt": PROMPTS[model]} | more)


def shown(response: httpx.Response) -> dict[str, Any]:
    """An exhibit that was made."""
    assert response.status_code == 200, response.text
    told: dict[str, Any] = response.json()
    return told


def picture(side: int = 700) -> str:
    """A photo, with a note in it that is nobody's business."""
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x010E] = "taken at home"
    Image.fromarray(noise).save(file, "JPEG", exif=exif)
    return base64.b64encode(file.getvalue()).decode()


# --- the list ---


def test_all_exhibits_are_listed_with_their_options(api: httpx.Client) -> None:
    told = {each["name"]: each for each in api.get("/api/exhibits").json()["exhibits"]}
    assert list(told) == exhibits()
    sampling = {option["name"]: option for option in told["sampling"]["options"]}
    assert sampling["temperature"] == {"name": "temperature", "kind": "float", "default": 0.7, "choices": []}
    view = {"name": "view", "kind": "str", "default": "head", "choices": ["head", "average", "rollout"]}
    assert view in told["attention"]["options"]
    assert {"name": "layer", "kind": "int", "default": None, "choices": []} in told["attention"]["options"]
    assert [name for name, each in told.items() if each["takes_picture"]] == ["noise", "parts"]
    music = [name for name, each in told.items() if each["medium"] == "music"]
    assert music == ["music-attention", "music-next", "music-surprise"]
    video = {name for name, each in told.items() if each["medium"] == "video"}
    assert video == {"video-attention", "video-denoising", "video-given", "video-together"}
    assert all(option["name"] != "picture" for each in told.values() for option in each["options"])


def test_a_model_lists_its_own(api: httpx.Client) -> None:
    names = {
        model: {each["name"] for each in api.get("/api/exhibits", params={"model": model}).json()["exhibits"]}
        for model in (WRITER, DRAWER)
    }
    assert names[WRITER] & names[DRAWER] == {"parameters"}
    assert "attention" in names[WRITER]
    assert "denoising" in names[DRAWER]
    assert "training" not in names[WRITER]  # it kept no checkpoints
    assert "no model" in error(api.get("/api/exhibits", params={"model": "../etc"}), 404)


# --- any exhibit ---


@pytest.mark.parametrize("name", sorted({*exhibits()} - LONG))
def test_any_exhibit_comes_with_shapes_to_draw_it(api: httpx.Client, name: str) -> None:
    model = model_of(name)
    options = QUICK[name] if name in QUICK else {key: SLOW[key] for key in about(name).options if key in SLOW}
    told = shown(ask(api, name, model, options=options))
    made = told["exhibit"]
    assert made["name"] == name
    assert made["model"] == model
    assert made["prompt"] == PROMPTS[model]
    assert options.items() <= made["options"].items()
    assert made["says"]
    assert told["views"]
    assert {view["kind"] for view in told["views"]} <= KINDS
    assert "/" not in made["model"]
    assert str(Path.home()) not in json.dumps(told)


def test_a_conversation_is_looked_at_as_the_model_reads_it(api: httpx.Client) -> None:
    turns = [{"role": "user", "content": "the dog"}]
    assert shown(ask(api, "tokens", prompt=turns))["exhibit"]["prompt"] == turns
    assert "few words" in error(ask(api, "denoising", DRAWER, prompt=turns), 400)


def test_a_picture_of_the_readers_is_made_small_and_nothing_else_of_the_file_goes_on(api: httpx.Client) -> None:
    told = shown(ask(api, "noise", DRAWER, picture=picture(), options={"levels": 2}))
    assert told["exhibit"]["data"]["own"] is True
    assert told["exhibit"]["options"]["picture"] == "given"
    urls = re.findall(r"data:image/\w+;base64,([A-Za-z0-9+/=]+)", json.dumps(told))
    assert urls
    for url in urls:
        image = Image.open(io.BytesIO(base64.b64decode(url)))
        assert max(image.size) <= 128
        assert not image.getexif()


def test_without_a_model_the_first_of_the_family_is_taken(api: httpx.Client) -> None:
    reply = api.post("/api/exhibits/tokens", json={"prompt": "the dog"})
    assert shown(reply)["exhibit"]["model"] == WRITER
    reply = api.post("/api/exhibits/parts", json={"prompt": "a red dog"})
    assert shown(reply)["exhibit"]["model"] == DRAWER
    reply = api.post("/api/exhibits/music-next", json={"prompt": "a jig in D"})
    assert shown(reply)["exhibit"]["model"] == COMPOSER
    reply = api.post("/api/exhibits/video-together", json={"prompt": "a red dog", "options": QUICK["video-together"]})
    assert shown(reply)["exhibit"]["model"] == ANIMATOR


def test_the_words_of_a_score_are_looked_at_as_they_stand(api: httpx.Client) -> None:
    told = [f" {word}" for word in [*words.head(tunes.jig()), *words.body(tunes.jig().bars)]]
    data = shown(ask(api, "music-attention", COMPOSER, prompt="".join(told)))["exhibit"]["data"]
    assert data["tokens"][1:] == told
    assert [len(row) for row in data["weights"]] == list(range(1, len(told) + 2))


# --- what cannot be ---


@pytest.mark.parametrize(
    ("name", "model", "more", "status", "says"),
    [
        ("magic", WRITER, {}, 404, "no such exhibit"),
        ("attention", DRAWER, {}, 400, "does not show attention"),
        ("denoising", WRITER, {}, 400, "does not show denoising"),
        ("attention", WRITER, {"options": {"layer": 99}}, 400, "no layer 99"),
        ("attention", WRITER, {"options": {"layer": "one"}}, 400, "a whole number"),
        ("attention", WRITER, {"options": {"colour": "red"}}, 400, "no option 'colour'"),
        ("attention", WRITER, {"options": {"name": "x"}}, 400, "no option 'name'"),
        ("attention", WRITER, {"options": {"model": "x"}}, 400, "no option 'model'"),
        ("attention", WRITER, {"options": {"layer": [1]}}, 422, "options"),
        ("attention", WRITER, {"prompt": ""}, 400, "empty"),
        ("context", WRITER, {"options": {"word": "dog"}}, 400, "second sentence"),
        ("attention", WRITER, {"prompt": "x" * 20_001}, 422, "20000"),
        ("attention", WRITER, {"prompt": []}, 422, "prompt"),
        ("attention", WRITER, {"picture": "aGk="}, 400, "not a picture"),
        ("attention", WRITER, {"surprise": 1}, 422, "surprise"),
        ("noise", DRAWER, {"options": {"picture": "data:image/png;base64,aGk="}}, 400, "field picture"),
        ("noise", DRAWER, {"picture": "no base64!"}, 400, "base64"),
        ("tokens", DRAWER, {"model": "/etc/passwd"}, 404, "no model"),
    ],
)
def test_what_cannot_be_shown_is_a_sentence(
    api: httpx.Client, name: str, model: str, more: dict[str, Any], status: int, says: str
) -> None:
    assert says in error(ask(api, name, model, **more), status)


def test_a_picture_goes_only_where_one_is_wanted(api: httpx.Client) -> None:
    assert "no option 'picture'" in error(ask(api, "tokens", picture=picture(8)), 400)


@pytest.mark.parametrize("name", [name for name in exhibits() if name != "training"])
def test_a_number_beyond_all_bounds_is_refused(api: httpx.Client, name: str) -> None:
    model = model_of(name)
    for option, kind in about(name).kinds.items():
        if kind not in ("int", "float"):
            continue
        for value in (10**30, -(10**30)):
            reply = ask(api, name, model, options={**QUICK.get(name, {}), option: value})
            assert "give" in error(reply, 400) or "choose" in error(reply, 400) or option in error(reply, 400)


# --- who goes away ---


def test_who_goes_away_ends_the_exhibit_and_the_model_is_free_again(
    api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    check = Leash._check

    def slow(leash: Leash, *given: Any) -> None:
        looks.append(leash)
        time.sleep(0.05)
        check(leash, *given)

    monkeypatch.setattr(Leash, "_check", slow)
    with pytest.raises(httpx.ReadTimeout):
        api.post(
            "/api/exhibits/seeds",
            json={"model": DRAWER, "prompt": "a red dog", "options": {"num": 6, "steps": 50}},
            timeout=0.5,
        )
    (leash,) = set(looks)
    until(leash._gone.is_set)
    count = len(looks)
    monkeypatch.undo()
    shown(ask(api, "tokens"))  # the worker's thread is free
    assert len(looks) <= count + 1


def test_an_exhibit_that_takes_too_long_ends_with_a_sentence(tmp_path: Path) -> None:
    from reverie import explain
    from serve_setup import load

    beats = []
    model = load(write_models(tmp_path)[WRITER])
    with pytest.raises(ReverieError, match="fewer steps"), Leash(-1.0, lambda: beats.append(0)).on(model):
        explain.exhibit("attention", model, "the dog")
    with Leash(60.0, lambda: beats.append(1)).on(model):
        made = explain.exhibit("attention", model, "the dog")
    assert made.says
    assert beats.count(1) > 1
    assert not model.core.blocks[0]._forward_pre_hooks


# --- lessons ---


def test_lessons_are_listed_in_order_and_each_can_be_read(api: httpx.Client) -> None:
    told = api.get("/api/lessons").json()["lessons"]
    assert [each["slug"] for each in told] == list(lessons())
    assert [each["number"] for each in told] == list(range(1, len(told) + 1))
    known, before = set(exhibits()), None
    for head in told:
        whole = api.get(f"/api/lessons/{head['slug']}").json()
        assert head.items() <= whole.items()
        assert whole["previous"] == before
        before = head["slug"]
        kinds = [part["kind"] for part in whole["parts"]]
        assert kinds[0] == kinds[-1] == "markdown"
        assert {part["name"] for part in whole["parts"] if part["kind"] == "exhibit"} <= known
        assert "```exhibit" not in json.dumps(whole)
    assert whole["next"] is None


def test_an_exhibit_of_a_lesson_can_be_asked_for_as_it_stands(api: httpx.Client) -> None:
    parts = api.get("/api/lessons/embeddings").json()["parts"]
    live = next(part for part in parts if part["kind"] == "exhibit")
    made = shown(ask(api, live["name"], prompt=live["prompt"], options=live["options"]))["exhibit"]
    assert (made["title"], made["question"]) == (live["title"], live["question"])


def test_a_lesson_that_is_not_there(api: httpx.Client) -> None:
    assert "no such lesson" in error(api.get("/api/lessons/magic"), 404)
    assert api.get("/api/lessons/..%2f..%2fetc").status_code in (404, 422)


def test_the_server_tells_that_it_has_both(api: httpx.Client) -> None:
    assert {"exhibits", "lessons"} <= set(api.get("/api/about").json()["features"])
    schemas = api.get("/openapi.json").json()["components"]["schemas"]
    assert {"Bars", "Matrix", "Table", "Words", "Lines", "Pictures", "ExhibitReply", "WholeLesson"} <= set(schemas)
