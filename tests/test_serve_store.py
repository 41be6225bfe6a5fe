"""The store: what it acknowledged is there after a kill, and nothing is ever there by half."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reverie.serve.shapes import GenerateRequest, GenerationSettings, Job
from reverie.serve.store import MIGRATIONS, MOST_ENDED_JOBS, Made, Store
from reverie.types import ReverieError

WRITER = """
import itertools, sys, time
from pathlib import Path
from reverie.serve.shapes import GenerateRequest, Job
from reverie.serve.store import Made, Store

store, request = Store(Path(sys.argv[1])), GenerateRequest(prompt="a red panda")
for number in itertools.count():
    name = f"job-{number}"
    store.add_job(Job(id=name, state="running", live=False, request=request, created=time.time()))
    steps = [(bytes(3000), bytes(3000))] * 5
    made = Made("m", "image", "image/png", f"panda {number}", number, 1.0, None, bytes(40000), b"thumb", steps)
    store.finish_job(name, made, request, state="done", ended=time.time())
    print(number, flush=True)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "reverie.sqlite")


def job(name: str, state: str = "queued", **fields: object) -> Job:
    request = GenerateRequest(prompt=f"draw {name}", settings=GenerationSettings(seed=3, guidance=2.5))
    return Job(id=name, state=state, live=False, request=request, created=time.time(), **fields)  # type: ignore[arg-type]


def keep(store: Store, name: str, prompt: str, text: str | None = None) -> None:
    store.add_job(job(name, "running"))
    made = Made("m", "text" if text else "image", "x/y", prompt, 5, 0.5, text, None if text else b"data", b"thumb")
    store.finish_job(name, made, GenerateRequest(prompt=prompt), state="done", ended=time.time())


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "reverie.sqlite"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    acknowledged = [int(writer.stdout.readline()) for _ in range(12)]
    writer.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in writer.stdout.read().split()]
    writer.wait()
    store = Store(path)
    for number in acknowledged:
        found = store.item(f"job-{number}")
        assert found is not None
        assert found.num_steps == 5
        assert store.file(found.id) == ("image/png", bytes(40000))
    done = [each for each in store.jobs() if each.state == "done"]
    assert all(each.item is not None and store.item(each.item) is not None for each in done)
    assert len(done) == len(store.items(limit=1000)[0])  # both or neither
    assert len(store.items("panda", limit=1000)[0]) == len(done)  # what is searched agrees
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_jobs_wait_in_their_order_and_in_the_one_wished(store: Store) -> None:
    for name in "abcd":
        store.add_job(job(name))
    assert [each.id for each in store.jobs()] == ["a", "b", "c", "d"]
    store.order_jobs(["c", "nobody", "a", "c"])
    assert [each.id for each in store.jobs()] == ["c", "a", "b", "d"]
    first = store.next_job()
    assert first is not None
    assert first.id == "c"
    assert first.request.settings.guidance == 2.5
    store.add_job(job("e"))
    assert [each.id for each in store.jobs()][-1] == "e"


def test_a_job_that_ran_is_interrupted_and_one_that_waited_still_waits(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    store.add_job(job("ran", "running"))
    store.add_job(job("waits"))
    store.close()
    store = Store(tmp_path / "s")
    store.interrupt_jobs()
    assert {each.id: each.state for each in store.jobs()} == {"waits": "queued", "ran": "interrupted"}


def test_the_oldest_ended_jobs_are_forgotten_and_their_things_stay(tmp_path: Path) -> None:
    store = Store(None)
    keep(store, "oldest", "a cat")
    for number in range(MOST_ENDED_JOBS + 1):
        store.add_job(job(f"n{number}", "running"))
        store.change_job(f"n{number}", state="failed", ended=time.time())
    store.add_job(job("new"))
    assert store.job("oldest") is None
    assert store.item("oldest") is not None


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", ["three", "two", "one"]),
        ("panda", ["two", "one"]),
        ("pan SKATE", ["one"]),
        ("whale", ["three"]),  # in the text, not the prompt
        ('"pan', ["two", "one"]),
        ("pan* OR NOT (", []),
        ("%_\x00';--", []),
        ("wörter", ["two"]),
    ],
)
def test_search_finds_words_whatever_is_typed(store: Store, words: str, found: list[str]) -> None:
    keep(store, "one", "a red panda riding a skateboard")
    keep(store, "two", "a panda; wörter")
    keep(store, "three", "a story", text="Once there was a whale.")
    assert [item.id for item in store.items(words)[0]] == found


def test_pages_go_through_everything_once(store: Store) -> None:
    for number in range(7):
        keep(store, str(number), "a cat")
    seen: list[str] = []
    before: int | None = None
    while True:
        items, before = store.items(before=before, limit=3)
        seen += [item.id for item in items]
        if before is None:
            break
    assert seen == list("6543210")


def test_a_deleted_thing_is_gone_from_everywhere(store: Store) -> None:
    keep(store, "one", "a red panda")
    assert store.delete_item("one")
    assert not store.delete_item("one")
    assert store.items("panda") == ([], None)
    assert [store.file("one"), store.thumbnail("one"), store.step("one", 0, noisy=False)] == [None] * 3


def test_chats_come_back_as_they_were(store: Store) -> None:
    body = {"turns": [{"role": "user", "content": "Hi \U0001f43c", "children": [1, None, {"x": True}]}]}
    store.save_chat("a", "First", body)
    store.save_chat("b", "Second", {})
    store.save_chat("a", "Renamed", body)
    assert [(chat.id, chat.title) for chat in store.chats()] == [("a", "Renamed"), ("b", "Second")]
    found = store.chat("a")
    assert found is not None
    assert found.body == body
    assert store.delete_chat("a")
    assert store.chat("a") is None


def test_a_failed_write_changes_nothing(store: Store) -> None:
    store.add_job(job("a"))
    with pytest.raises(sqlite3.IntegrityError):
        store.add_job(job("a", "running"))
    assert [each.state for each in store.jobs()] == ["queued"]
    store.add_job(job("b"))


def test_a_store_of_a_newer_reverie_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    Store(path).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(ReverieError, match="newer version"):
        Store(path)


def test_a_file_that_is_no_store_is_a_clear_mistake(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(ReverieError, match="move it away"):
        Store(path)
