"""Who may ask the server for what: one test for each attack that happened to a program of this kind."""

from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from reverie.serve import making, pages
from reverie.serve.app import create_app
from reverie.serve.metrics import JsonLines
from reverie.serve.models import Models
from reverie.serve.openapi import NoWorker
from reverie.serve.security import MOST_BODY_BYTES, Settings
from reverie.serve.shapes import GenerateRequest
from reverie.serve.store import Store
from reverie.types import ReverieError

KEY = "correct horse battery staple"


class Idle(NoWorker):
    """A worker that is never asked for anything."""

    def start(self) -> None:
        """Nothing."""

    def stop(self, *, finish_seconds: float) -> None:
        """Nothing."""


def client(tmp_path: Path, **settings: Any) -> TestClient:
    app = create_app(Idle(), Store(None), settings=Settings(**settings), home=tmp_path)
    return TestClient(app, base_url="http://localhost:8321", raise_server_exceptions=False)


@pytest.fixture
def local(tmp_path: Path) -> Iterator[TestClient]:
    with client(tmp_path) as found:
        yield found


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[TestClient]:
    with client(tmp_path, host="0.0.0.0", api_key=KEY) as found:
        yield found


# --- where it listens ---


def test_it_listens_on_this_machine_unless_told_otherwise() -> None:
    assert Settings().is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_elsewhere_needs_a_key(host: str) -> None:
    with pytest.raises(ReverieError, match="--api-key"):
        Settings(host=host)
    with pytest.raises(ReverieError, match="--api-key"):
        Settings(host=host, api_key="")
    Settings(host=host, api_key=KEY)


# --- by which name, and from which page ---


@pytest.mark.parametrize("host", ["localhost", "localhost:8321", "127.0.0.1:1", "[::1]:8321", "LOCALHOST:8321"])
def test_own_names_are_answered(local: TestClient, host: str) -> None:
    assert local.get("/api/jobs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example:8321", "127.0.0.1.nip.io", "", "[::1", "127.0.0.1@evil.example"]
)
def test_dns_rebinding_is_refused(local: TestClient, host: str) -> None:
    for path in ("/api/jobs", "/", "/healthz", "/v1/models"):
        assert local.get(path, headers={"Host": host}).status_code == 403, path


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:9999"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_pages_of_other_sites_are_refused(local: TestClient, headers: dict[str, str]) -> None:
    assert local.get("/api/jobs", headers=headers).status_code == 403
    assert local.put("/api/jobs/paused", json={"paused": True}, headers=headers).status_code == 403
    assert local.get("/api/jobs").json()["paused"] is False


def test_own_pages_and_allowed_ones_are_answered(tmp_path: Path) -> None:
    with client(tmp_path, allow_origins=("https://friend.example",)) as asked:
        own = {"Origin": "http://localhost:8321", "Sec-Fetch-Site": "same-origin"}
        assert asked.get("/api/jobs", headers=own).status_code == 200
        friend = {"Origin": "https://friend.example", "Sec-Fetch-Site": "cross-site"}
        found = asked.get("/api/jobs", headers=friend)
        assert found.status_code == 200
        assert found.headers["access-control-allow-origin"] == "https://friend.example"
        assert asked.get("/api/jobs", headers=FOREIGN[0]).status_code == 403


def test_a_preflight_of_an_allowed_page_needs_no_key(tmp_path: Path) -> None:
    wish = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    with client(tmp_path, api_key=KEY, allow_origins=("https://friend.example",)) as asked:
        assert asked.options("/api/jobs", headers={"Origin": "https://friend.example", **wish}).status_code == 200
        assert asked.options("/api/jobs", headers={"Origin": "https://evil.example", **wish}).status_code == 403


@pytest.mark.parametrize("origin", ["*", "example.org", "https://a.example/path", "ftp://a.example", ""])
def test_an_origin_is_written_out(origin: str) -> None:
    with pytest.raises(ReverieError, match="origin"):
        Settings(allow_origins=(origin,))


# --- with the key ---


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": f"Bearer {KEY}x"},
        {"X-Api-Key": KEY},
        {"Cookie": "reverie_session=" + KEY},
        {"Authorization": b"Bearer \xff\xfe"},
    ],
    ids=str,
)
def test_without_the_key_there_is_nothing(locked: TestClient, headers: Any) -> None:
    for path in ("/api/jobs", "/api/about", "/v1/models", "/metrics", "/openapi.json"):
        found = locked.get(path, headers=headers)
        assert found.status_code == 401, path
        assert "Bearer" in found.json()["error"]["message"]
    assert locked.get("/healthz").status_code == 200


def test_with_the_key_there_is_everything(locked: TestClient) -> None:
    assert locked.get("/api/jobs", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200


def test_a_browser_gives_the_key_once(locked: TestClient) -> None:
    assert locked.post("/api/session", json={"key": "wrong"}).status_code == 401
    given = locked.post("/api/session", json={"key": KEY})
    assert given.status_code == 204
    cookie = given.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert KEY not in cookie
    assert locked.get("/api/jobs").status_code == 200  # the client keeps cookies
    assert locked.get("/api/jobs", headers=FOREIGN[0]).status_code == 403  # which no other page may use


# --- what comes in ---


def test_a_body_has_a_bound_whatever_its_header_claims(local: TestClient) -> None:
    assert (
        local.post("/api/jobs", headers={"Content-Length": str(MOST_BODY_BYTES + 1)}, content=b"{").status_code == 413
    )

    def endless() -> Iterator[bytes]:
        for _ in range(MOST_BODY_BYTES // 1_000_000 + 2):
            yield b" " * 1_000_000

    found = local.post("/api/jobs", content=endless(), headers={"Content-Type": "application/json"})
    assert found.status_code == 413
    assert local.post("/api/jobs", headers={"Content-Length": "ten"}, content=b"{").status_code == 400


def test_a_picture_is_measured_before_it_is_decoded() -> None:
    file = io.BytesIO()
    Image.new("1", (6000, 6000)).save(file, "PNG")
    with pytest.raises(ReverieError, match="pixels"):
        making.decode_picture(base64.b64encode(file.getvalue()).decode())


def test_a_picture_is_written_anew() -> None:
    file = io.BytesIO()
    image, secret = Image.new("RGB", (8, 8), "red"), Image.Exif()
    secret[0x010E] = "where I live"
    image.save(file, "PNG", exif=secret)
    given = base64.b64encode(file.getvalue()).decode()
    request = GenerateRequest.model_validate({"prompt": "a cat", "settings": {"init": given}})
    cleaned = making.clean(request).settings.init
    assert cleaned is not None
    data = base64.b64decode(cleaned.partition(",")[2])
    assert b"where I live" in file.getvalue()
    assert b"where I live" not in data
    assert Image.open(io.BytesIO(data)).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("text", ["", "!!!", "data:image/png;base64,", "data:,x", base64.b64encode(b"GIF89a").decode()])
def test_what_is_no_picture_is_a_clear_mistake(text: str) -> None:
    with pytest.raises(ReverieError, match="picture"):
        making.decode_picture(text)


HOSTILE = [
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    "run:../../x",
    "run:..",
    "hf:../../x",
    "C:\\x",
    "a\x00b",
    "file:///etc",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_model_name_is_never_a_path(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    (tmp_path / "x").mkdir()
    with pytest.raises(ReverieError, match="There is no model"):
        Models({}, tmp_path / "home" / "runs").resolve(name)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_path_from_a_request_reaches_the_disk(local: TestClient, name: str) -> None:
    run = {"name": name, "medium": "text", "data": "x"}
    assert local.post("/api/train", json=run).status_code == 422
    assert local.post("/api/train", json={**run, "name": "a", "data": name}).status_code == 400
    assert local.post("/api/train/texts", json={"name": name, "text": "x"}).status_code == 422
    assert local.post("/api/models/remove", json={"name": name}).status_code == 404
    assert local.post("/api/models/pull", json={"name": name}).status_code == 404
    for path in ("gallery", "jobs", "chats", "train"):
        assert local.get(f"/api/{path}/{quote(name, safe='')}").status_code in (404, 422)


# --- what goes out ---


def test_browsers_are_told_to_be_careful(local: TestClient) -> None:
    for path in ("/", "/api/jobs", "/nowhere"):
        headers = local.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_errors_have_the_shape_of_their_clients(local: TestClient) -> None:
    own = local.post("/api/generate", json={"prompt": "x", "surprise": 1}).json()
    assert own == {"error": {"message": "surprise: Extra inputs are not permitted.", "type": "invalid_request"}}
    theirs = local.get("/v1/nowhere").json()
    assert set(theirs["error"]) == {"message", "type", "param", "code"}
    assert theirs["error"]["type"] == "invalid_request_error"


def test_a_bug_tells_the_client_nothing(local: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Store) -> None:
        raise RuntimeError("secret /home/me")

    monkeypatch.setattr(Store, "chats", broken)
    found = local.get("/api/chats")
    assert found.status_code == 500
    assert "secret" not in found.text
    assert "Traceback" not in found.text


def test_the_log_has_no_word_of_what_was_asked(local: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "reverie.serve"):
        local.get("/api/gallery?search=mysecret")
        local.post("/api/jobs", json={"prompt": "mysecret", "model": "nobody"})
    lines = [json.loads(JsonLines().format(record)) for record in caplog.records if record.name.startswith("reverie")]
    assert [(line["method"], line["status"]) for line in lines if line["event"] == "request"] == [
        ("GET", 200),
        ("POST", 404),
    ]
    assert "mysecret" not in json.dumps(lines)


def test_the_studio_is_kept_by_name_and_its_page_never(tmp_path: Path) -> None:
    from fastapi import FastAPI

    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<p>studio")
    (tmp_path / "assets" / "main-3f2a.js").write_text("1")
    app = FastAPI()
    pages.add(app, tmp_path)
    asked = TestClient(app)
    for path in ("/", "/draw", "/gallery/some-id"):  # addresses of the studio's own
        assert asked.get(path).text == "<p>studio"
        assert asked.get(path).headers["cache-control"] == "no-cache"
    assert "immutable" in asked.get("/assets/main-3f2a.js").headers["cache-control"]
    for path in (
        "/api",
        "/api/nowhere",
        "/v1/nowhere",
        "/assets/gone.js",
        "/%2e%2e/secret.txt",
        "/..%2f..%2fsecret.txt",
    ):
        assert asked.get(path).status_code == 404, path
