"""Repositories of a hub that this test plays itself: what is taken, verified, refused, and said."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from reverie.hub import sources
from reverie.hub.catalogue import entry
from reverie.hub.huggingface import choose
from reverie.types import ReverieError

WEIGHTS = safetensors.torch.save({"a": torch.arange(50_000.0)})
CONFIG = b'{"model_type": "llama"}'
COMMIT = "c" * 40


def lfs(digest: Any) -> dict[str, Any]:
    return {"sha256": digest, "size": 1, "pointerSize": 134}


@dataclass
class Hub:
    """What the hub serves at owner/name. refuse: (status, error code) for every request. short: files to cut off.

    says: what it lists of a file by name, where that is not the truth.
    """

    files: dict[str, bytes] = field(default_factory=lambda: {"model.safetensors": WEIGHTS, "config.json": CONFIG})
    says: dict[str, dict[str, Any]] = field(default_factory=dict)
    refuse: tuple[int, str] | None = None
    short: dict[str, int] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def info(self) -> dict[str, Any]:
        return {"id": "owner/name", "sha": COMMIT, "siblings": [self.sibling(name) for name in self.files]}

    def sibling(self, name: str) -> dict[str, Any]:
        data = self.files[name]
        found: dict[str, Any] = {"rfilename": name, "size": len(data)}
        if name.endswith(".safetensors"):
            found |= {"blobId": "0" * 40, "lfs": lfs(hashlib.sha256(data).hexdigest())}
        else:
            found["blobId"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        return found | self.says.get(name, {})


class Handler(http.server.BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        self.hub.requests.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())
        name = self.path.rpartition("/")[2]
        if self.hub.refuse is not None:
            self.send_response(self.hub.refuse[0])
            self.send_header("X-Error-Code", self.hub.refuse[1])
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path.startswith("/api/models/owner/name/"):
            self.send(json.dumps(self.hub.info()).encode(), body)
        elif name in self.hub.files:
            self.send(self.hub.files[name], body, name)
        else:
            self.send_error(404)

    def send(self, data: bytes, body: bool, name: str = "") -> None:
        first = int(self.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(data) - first))
        if "Range" in self.headers:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if body:
            self.wfile.write(data[first : self.hub.short.get(name, len(data))])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    made = Hub()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": made})) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
        monkeypatch.delenv("REVERIE_OFFLINE", raising=False)
        yield made
        server.shutdown()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def pull(**options: Any) -> Path:
    return sources.fetch(entry("hf:owner/name"), **options)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_repository_is_fetched_once_and_verified(hub: Hub, home: Path) -> None:
    hub.files |= {"pytorch_model.bin": b"\x80", "run.py": b"", "onnx/model.safetensors": b"", "tokenizer.json": b"{}"}
    seen = list[tuple[int, int]]()
    folder = pull(progress=lambda done, total: seen.append((done, total)))
    assert folder == home / "models" / "hf--owner--name"
    assert names(folder) == ["SHA256SUMS", "config.json", "model.safetensors", "tokenizer.json"]
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert f"{hashlib.sha256(CONFIG).hexdigest()}  config.json\n" in (folder / "SHA256SUMS").read_text()
    assert seen[-1] == (len(WEIGHTS) + len(CONFIG) + 2,) * 2
    assert list((home / "downloads").iterdir()) == []
    assert not [line for line in hub.requests if "resolve/main" in line]  # one commit, even if main moves meanwhile
    hub.requests.clear()
    assert pull() == pull(offline=True) == folder
    assert hub.requests == []


def test_life_of_a_model(hub: Hub) -> None:
    folder = pull()
    assert [model.name for model in sources.installed()] == ["hf:owner/name"]
    assert sources.verify_installed("hf:owner/name")
    (folder / "config.json").write_bytes(b"{}")
    assert not sources.verify_installed("hf:owner/name")
    (folder / "config.json").unlink()
    assert not sources.verify_installed("hf:owner/name")
    assert sources.remove("hf:owner/name") > len(WEIGHTS)
    assert sources.installed() == []


@pytest.mark.parametrize("content", [b"", b"no hash", b"\xff  config.json", b"0  ../config.json", b"0  gone", None])
def test_hashes_that_cannot_be_read_are_not_those_of_a_whole_model(hub: Hub, content: bytes | None) -> None:
    sums = pull() / "SHA256SUMS"
    if content is not None:
        sums.write_bytes(content)
    else:  # a file that no one can read
        (sums.parent / "config.json").unlink()
        (sums.parent / "config.json").mkdir()
    assert not sources.verify_installed("hf:owner/name")


def test_broken_download_goes_on_with_the_file_it_had_reached(
    hub: Hub, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    hub.short["config.json"] = 3
    with pytest.raises(ReverieError, match="could not be reached"):
        pull()
    assert sources.installed() == []
    fetched = home / "downloads" / "hf--owner--name" / "fetched"
    assert (fetched / "model.safetensors").read_bytes() == WEIGHTS
    (fetched / ".cache" / "huggingface" / "killed.incomplete").write_bytes(bytes(1000))
    hub.short.clear()
    hub.requests.clear()
    assert (pull() / "config.json").read_bytes() == CONFIG
    assert [line for line in hub.requests if line.startswith("GET") and "safetensors" in line] == []
    assert list((home / "downloads").iterdir()) == []


PICKLE = b"\x80\x04\x95" + bytes(100)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"files": {"pytorch_model.bin": PICKLE, "config.json": CONFIG}},
            "no safetensors, and Reverie never unpickles",
        ),
        ({"files": {"model.safetensors": PICKLE}}, "is a pickle, Reverie never unpickles: convert it"),
        ({"files": {"model.safetensors": WEIGHTS[:-1]}}, "damaged"),
        ({"files": {"model.safetensors": WEIGHTS, "..\\evil.json": b""}}, "not a file name"),
        ({"files": {"model.safetensors": WEIGHTS, "C:evil.json": b""}}, "not a file name"),
        ({"says": {"model.safetensors": {"lfs": lfs("0" * 64)}}}, "does not have the SHA-256 that its page says"),
        ({"says": {"model.safetensors": {"lfs": lfs("0" * 63)}}}, "SHA-256 .* for 'model.safetensors' is none"),
        ({"says": {"model.safetensors": {"lfs": lfs("A" * 64)}}}, "SHA-256 .* for 'model.safetensors' is none"),
        ({"says": {"model.safetensors": {"lfs": lfs(None)}}}, "cannot be understood"),
        ({"says": {"model.safetensors": {"lfs": None}}}, "gives no SHA-256 for 'model.safetensors'"),
        ({"says": {"model.safetensors": {"size": None}}}, "does not say how large 'model.safetensors' is"),
        ({"says": {"config.json": {"size": -1}}}, "does not say how large 'config.json' is"),
        ({"says": {"config.json": {"size": 7}}}, "config.json does not have the 7 bytes that its page says"),
        ({"says": {"config.json": {"blobId": "0" * 40}}}, "config.json does not have the hash that its page says"),
    ],
)
def test_hostile_repository_leaves_nothing(change: dict[str, Any], sentence: str, hub: Hub, home: Path) -> None:
    for name, value in change.items():
        setattr(hub, name, value)
    before = set(home.parent.iterdir())
    with pytest.raises(ReverieError, match=sentence):
        pull()
    assert [path for path in names(home) if not path.startswith("locks")] == ["downloads"]
    assert set(home.parent.iterdir()) - before == {home}


@pytest.mark.parametrize(
    ("refuse", "sentence"),
    [
        ((403, "GatedRepo"), "owner/name is gated: accept its licence at https://huggingface.co/owner/name"),
        ((401, "RepoNotFound"), "not on Hugging Face, or private: check the name, or run `hf auth login`"),
        ((404, "RepoNotFound"), "not on Hugging Face, or private"),
        ((404, "RevisionNotFound"), "has no revision 'main'"),
        ((418, ""), "answered with error 418 for owner/name: pull again later"),
    ],
)
def test_refusals_are_explained(refuse: tuple[int, str], sentence: str, hub: Hub, home: Path) -> None:
    hub.refuse = refuse
    with pytest.raises(ReverieError, match=sentence) as caught:
        pull()
    assert "\n" not in str(caught.value)
    assert list((home / "downloads").iterdir()) == []


def test_no_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ReverieError, match="could not be reached for owner/name: check the network"):
        pull()


def test_choice_of_files() -> None:
    def chosen(*listed: str) -> list[str]:
        return choose(listed)

    assert chosen("model.safetensors", "consolidated.safetensors") == ["model.safetensors"]
    assert chosen("other.safetensors") == ["other.safetensors"]
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
    assert chosen(*shards) == shards
    assert (
        chosen("a.bin", "a.pt", "a.pth", "a.ckpt", "a.pkl", "a.py", "a.h5", "a.msgpack", "a.gguf", ".gitattributes")
        == []
    )
    texts = ["tokenizer.json", "merges.txt", "tokenizer.model", "chat_template.jinja", "LICENSE.txt", "README.md"]
    assert chosen(*texts) == texts
