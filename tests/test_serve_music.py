"""Tunes over HTTP: composed now or in their turn, as files of every kind, on a server of tiny models."""

from __future__ import annotations

import io
import json
import time
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import mido
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import serve_setup
import tiny_tunes
from reverie import composing, engine
from reverie.notation import abc, words
from serve_setup import WRITER, error, events, generate, served, until
from tiny_tunes import COMPOSER

FIRST_BYTES = {
    "wav": b"RIFF", "ogg": b"OggS", "mp3": b"ID3", "mid": b"MThd", "abc": b"X:1", "musicxml": b"<?xml", "svg": b"<svg",
    "png": b"\x89PNG", "pdf": b"%PDF",
}  # fmt: skip
JIG: dict[str, Any] = {"modality": "music", "prompt": "a jig in D major for flute", "settings": {"seed": 3}}
SLOW_SECONDS = 0.05


@pytest.fixture(scope="module")
def composer(models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The tiny models, and one that composes."""
    folder = tmp_path_factory.mktemp("composer")
    tiny_tunes.write_model(folder)
    return {**models, COMPOSER: str(folder)}


@pytest.fixture(scope="module")
def api(composer: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with served(tmp_path_factory.mktemp("home"), composer) as client:
        yield client


@pytest.fixture(scope="module")
def tune(api: httpx.Client) -> dict[str, Any]:
    """The last event of a tune."""
    return dict(generate(api, JIG)[-1][1])


def as_model(composer: dict[str, str]) -> engine.Model:
    return serve_setup.load(composer[COMPOSER])


# --- /api ---


def test_a_tune_is_told_word_by_word_and_kept_with_its_record(api: httpx.Client, composer: dict[str, str]) -> None:
    told = generate(api, JIG)
    text = "".join(data["text"] or "" for name, data in told if name == "step")
    done = told[-1][1]
    assert text.startswith(" rhythm=jig metre=6/8 key=D mode=major bars=")
    item = api.get(f"/api/gallery/{done['item']}").json()
    assert item["text"] == done["text"]
    assert item["about"] == done["about"]
    here = composing.compose(as_model(composer), JIG["prompt"], seed=3)
    assert abc.from_abc(item["text"]) == here.tune
    record = composing.read_record(item["text"].encode())
    assert record["model"]["name"] == COMPOSER
    assert {**here.record, "model": None} == {**record, "model": None}
    assert (done["about"]["corrected"], done["about"]["asked"]) == (here.corrected, here.asked)
    assert done["about"]["instrument"] == "flute"
    assert set(done["about"]["assumed"]) == {"bars"}


@pytest.mark.parametrize("kind", FIRST_BYTES)
def test_a_kept_tune_is_a_file_of_any_kind(
    api: httpx.Client, tune: dict[str, Any], composer: dict[str, str], kind: str
) -> None:
    reply = api.get(f"/api/gallery/{tune['item']}/files/{kind}")
    assert reply.status_code == 200, reply.text
    assert reply.content.startswith(FIRST_BYTES[kind])
    made = composing.compose(as_model(composer), JIG["prompt"], seed=3)
    record = composing.read_record(tune["text"].encode())
    assert reply.content == composing.written(composing.Composed(made.tune, record, {}, 0, 0), f".{kind}")


def test_a_player_gets_ranges_of_a_sound(api: httpx.Client, tune: dict[str, Any]) -> None:
    url = f"/api/gallery/{tune['item']}/files/ogg"
    whole = api.get(url)
    assert whole.headers["accept-ranges"] == "bytes"
    part = api.get(url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole.content)}"
    rest = api.get(url, headers={"Range": "bytes=20-"})
    assert rest.content == whole.content[20:]
    assert api.get(url, headers={"Range": "bytes=999999999-"}).status_code == 416
    assert api.get(url, headers={"Range": "bytes=nonsense"}).content == whole.content


def test_the_score_says_when_each_note_sounds(api: httpx.Client, tune: dict[str, Any]) -> None:
    score = api.get(f"/api/gallery/{tune['item']}/score").json()
    kept = abc.from_abc(tune["text"])
    assert len(score["words"]) == len([*words.head(kept), *words.body(kept.bars)])
    assert score["svg"].count('class="measure"') == len(kept.bars) == len(score["bars"])
    for note in score["notes"]:
        assert f'id="{note["id"]}"' in score["svg"]
        told = words.word_note(score["words"][note["word"]])
        assert told is not None
        assert told.pitch is not None
        assert (told.pitch - note["pitch"]) % 12 == 0  # in the octave that the model has words for
        assert all(0 <= start < score["seconds"] for start in note["starts_seconds"])
    for at, bar in enumerate(score["bars"]):
        first = words.word_note(score["words"][bar["words"]])
        assert first is not None
        assert first.ticks == kept.bars[at].notes[0].ticks
    midi = mido.MidiFile(file=io.BytesIO(api.get(f"/api/gallery/{tune['item']}/files/mid").content))
    assert abs(midi.length - score["seconds"]) < 0.1


def test_a_score_is_as_wide_as_it_will_be_shown(api: httpx.Client, tune: dict[str, Any]) -> None:
    def width(**asked: int) -> str:
        reply = api.get(f"/api/gallery/{tune['item']}/score", params=asked)
        return str(reply.raise_for_status().json()["svg"]).partition('viewBox="0 0 ')[2].partition(" ")[0]

    assert (width(), width(width_px=360), width(width_px=100), width(width_px=9000)) == ("2100", "1000", "800", "2100")
    assert api.get(f"/api/gallery/{tune['item']}/score", params={"width_px": 5}).status_code == 422


def test_a_bar_is_changed_and_the_rest_goes_on(api: httpx.Client) -> None:
    tune = generate(api, {**JIG, "settings": {"seed": 3, "bars": 8, "instrument": "piano"}})[-1][1]
    before = abc.from_abc(tune["text"])
    begin = api.get(f"/api/gallery/{tune['item']}/begin", params={"bars": 3}).json()["abc"]
    wanted = {"seed": 9, "begin": begin, "bars": 8, "instrument": "piano"}
    done = generate(api, {**JIG, "settings": wanted})[-1][1]
    after = abc.from_abc(done["text"])
    assert [bar.notes for bar in after.bars[:3]] == [bar.notes for bar in before.bars[:3]]
    assert after.bars[3:] != before.bars[3:]
    assert api.get(f"/api/gallery/{done['item']}/again").json()["settings"]["begin"] == begin
    assert api.get(f"/api/gallery/{tune['item']}/begin", params={"bars": 0}).json() == {"abc": None}


def test_who_plays_and_with_what_changes_the_sound_alone(api: httpx.Client, tune: dict[str, Any]) -> None:
    wanted = {**JIG["settings"], "instrument": "tin whistle", "backing": True}
    done = generate(api, {**JIG, "settings": wanted})[-1][1]
    assert done["about"]["instrument"] == "whistle"
    assert done["about"]["backing"] is True
    tracks = [
        len(mido.MidiFile(file=io.BytesIO(api.get(f"/api/gallery/{item}/files/mid").content)).tracks)
        for item in (tune["item"], done["item"])
    ]
    assert tracks[1] > tracks[0]


def test_a_tune_waits_in_the_line_like_all_else(api: httpx.Client) -> None:
    job = api.post("/api/jobs", json={**JIG, "settings": {"seed": 4}}).json()["id"]
    found = until(lambda: (now := api.get(f"/api/jobs/{job}").json())["state"] == "done" and now)
    assert api.get(f"/api/jobs/{job}/score").json() == api.get(f"/api/gallery/{found['item']}/score").json()
    assert api.get(f"/api/gallery/{found['item']}/thumbnail").headers["content-type"] == "image/webp"


def test_the_score_grows_and_a_cancelled_tune_is_not_kept(
    composer: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = serve_setup.load

    def slow(name: str, **options: Any) -> engine.Model:
        model = quick(name, **options)
        model.core.blocks[0].register_forward_hook(lambda *_: time.sleep(SLOW_SECONDS))
        return model

    monkeypatch.setattr(serve_setup, "load", slow)
    with served(tmp_path, composer) as client:
        job = client.post("/api/jobs", json=JIG).json()["id"]
        until(lambda: client.get(f"/api/jobs/{job}/score").status_code == 200)
        first = until(lambda: (now := client.get(f"/api/jobs/{job}/score").json()).get("notes") and now)
        more = until(lambda: len((now := client.get(f"/api/jobs/{job}/score").json())["notes"]) > 5 and now)
        head, so_far = len(words.HEAD), len(first["words"]) - 1  # it ends with |] and tells how many bars there are
        assert more["words"][head:so_far] == first["words"][head:-1]
        assert client.post(f"/api/jobs/{job}/cancel").json()["state"] == "cancelled"
        assert client.get("/api/gallery").json()["items"] == []
        assert "No tune is being composed" in error(client.get(f"/api/jobs/{job}/score"), 409)


def test_what_can_be_chosen_is_listed(api: httpx.Client) -> None:
    told = api.get("/api/music").json()
    assert set(told["files"]) == set(FIRST_BYTES)
    assert "fiddle" in told["instruments"]
    assert "music" in api.get("/api/about").json()["features"]
    for key in told["keys"]:
        abc.read_key(key)


# --- what one kind of model cannot be asked ---


@pytest.mark.parametrize(
    "wanted",
    [
        {"prompt": "x", "task": "write"},
        {"prompt": "x", "task": "summarize"},
        {"messages": [{"role": "user", "content": "x"}]},
    ],
)
@pytest.mark.parametrize("route", ["/api/generate", "/api/jobs"])
def test_a_model_that_composes_does_no_tasks(api: httpx.Client, route: str, wanted: dict[str, Any]) -> None:
    assert "a model that writes texts" in error(api.post(route, json={"model": COMPOSER, **wanted}), 400)


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}),
        ("/v1/completions", {"prompt": "x"}),
        ("/v1/responses", {"input": "x"}),
        ("/tokenize", {"prompt": "x"}),
        ("/v1/images/generations", {"prompt": "x"}),
    ],
)
def test_routes_of_texts_and_pictures_refuse_one_that_composes(
    api: httpx.Client, route: str, body: dict[str, Any]
) -> None:
    assert "makes music" in error(api.post(route, json={**body, "model": COMPOSER}), 400)


def test_the_default_of_a_route_is_of_its_kind(composer: dict[str, str], tmp_path: Path) -> None:
    served_first = {COMPOSER: composer[COMPOSER], WRITER: composer[WRITER]}
    with served(tmp_path, served_first) as client:
        turns = [{"role": "user", "content": "the robot"}]
        said = client.post("/v1/chat/completions", json={"messages": turns, "max_tokens": 2})
        assert said.json()["model"] == WRITER
        assert client.post("/v1/audio/generate", json={"input": "a jig", "response_format": "abc"}).status_code == 200


def test_one_that_writes_neither_composes_nor_plays(api: httpx.Client) -> None:
    body = {"input": "a jig", "model": WRITER}
    assert "makes text" in error(api.post("/v1/audio/generate", json=body), 400)
    told = generate(api, {"model": WRITER, "prompt": "x", "settings": {"instrument": "flute"}})
    assert told[-1][0] == "error"
    assert "no setting 'instrument'" in told[-1][1]["error"]["message"]
    text = generate(api, {"model": WRITER, "prompt": "the robot", "settings": {"max_tokens": 2}})[-1][1]["item"]
    for path in ("score", "files/wav", "begin?bars=1"):
        assert "not a tune" in error(api.get(f"/api/gallery/{text}/{path}"), 409)
    assert "such item" in error(api.get("/api/gallery/nothing/score"), 404)


# --- /v1/audio/generate ---


@pytest.mark.parametrize("kind", FIRST_BYTES)
def test_a_client_gets_a_file(api: httpx.Client, kind: str) -> None:
    body = {"input": "a jig in D major", "response_format": kind, "seed": 5, "bars": 8, "instrument": "harp"}
    reply = api.post("/v1/audio/generate", json=body)
    assert reply.status_code == 200, reply.text
    assert reply.content.startswith(FIRST_BYTES[kind])
    again = api.post("/v1/audio/generate", json=body)
    assert reply.content == again.content


def test_a_client_sees_the_words_and_then_gets_the_file(api: httpx.Client) -> None:
    body = {"input": "a jig in D major", "response_format": "mid", "seed": 5}
    with api.stream("POST", "/v1/audio/generate", json={**body, "stream": True}) as reply:
        told = list(events(reply))
    pieces = "".join(data["delta"] for name, data in told if name == "music.words.delta")
    name, last = told[-1]
    assert name == "music.completed"
    assert pieces.startswith(" rhythm=jig")
    assert last["seed"] == 5
    assert b64decode(last["b64_data"]) == api.post("/v1/audio/generate", json=body).content


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({}, "input"),
        ({"input": ""}, "input"),
        ({"input": "x" * 4001}, "input"),
        ({"input": "x", "bars": 0}, "bars"),
        ({"input": "x", "bars": 10**30}, "bars"),
        ({"input": "x", "tempo_bpm": -1}, "tempo_bpm"),
        ({"input": "x", "tempo_bpm": 120.5}, "tempo_bpm"),
        ({"input": "x", "temperature": 1e300}, "temperature"),
        ({"input": "x", "seed": -1}, "seed"),
        ({"input": "x", "response_format": "exe"}, "response_format"),
        ({"input": "x", "instrument": "a saw"}, "no instrument"),
        ({"input": "x", "key": "Hx"}, "no key"),
        ({"input": "x", "metre": "13/7"}, "no metre"),
        ({"input": "x", "rhythm": "tango"}, "no rhythm"),
        ({"input": "x", "voice": "alloy"}, "'voice' is not supported"),
        ({"input": "x", "begin": "x" * 20_001}, "begin"),
        ({"input": "x", "begin": "X:1\nR:jig\nM:6/8\nK:D\nABc ABc|d|ABc ABc|"}, "add up"),
        ({"input": "x", "begin": "X:1\nM:6/8\nK:D\n"}, "no note"),
        ({"input": "x", "begin": "X:1\nM:0/0\nK:D\nABc"}, "metre"),
        ({"input": "x", "begin": "X:1\nM:6/8\nK:D\nd9999999999|"}, "length"),
        ({"input": "x", "begin": "X:1\nM:4/4\nL:1/4\nK:C\n" + "C4|" * 5000}, "bars already"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_openais_shape(api: httpx.Client, wanted: dict[str, Any], says: str) -> None:
    began = time.monotonic()
    reply = api.post("/v1/audio/generate", json=wanted)
    assert says in error(reply, 400)
    assert reply.json()["error"]["type"] == "invalid_request_error"
    assert time.monotonic() - began < 5


def test_a_client_that_leaves_takes_its_tune_along(api: httpx.Client) -> None:
    with api.stream("POST", "/v1/audio/generate", json={"input": "a jig", "stream": True}) as reply:
        next(reply.iter_lines())
    until(lambda: "reverie_running 0.0" in api.get("/metrics").text)


begun = st.text(st.sampled_from("XTMLKQR:|[]12(3)ABCdefgz^_='/,<>-&!\"%\\{}~\n 468" + "é\u2028𝄞"), max_size=200)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(begun, begun.map(lambda text: f"X:1\nM:6/8\nK:D\n{text}")), st.text(max_size=40))
def test_no_beginning_breaks_the_server(api: httpx.Client, begin: str, prompt: str) -> None:
    given_ = {"begin": begin, "seed": 1, "temperature": 0.0}
    try:
        body = json.dumps({"modality": "music", "prompt": prompt, "settings": given_}).encode()
    except UnicodeEncodeError:
        return
    with api.stream("POST", "/api/generate", content=body, headers={"content-type": "application/json"}) as reply:
        assert reply.status_code in (200, 400), reply.read()
        told = list(events(reply)) if reply.status_code == 200 else []
    if told and told[-1][0] == "error":
        message = told[-1][1]["error"]["message"]
        assert "Something went wrong" not in message, (begin, message)
        assert message.endswith(".")
