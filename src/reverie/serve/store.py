"""The store: jobs, gallery and chats in one SQLite file. What it has acknowledged survives a kill or a power cut.

Pictures are kept in the file too, so that a thing and the record of it come and go in one transaction.
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reverie.database import Database
from reverie.serve.shapes import ChatHead, GenerateRequest, Item, Job, SavedChat

# What is here is never changed; new ones come at the end (`Database`).
MIGRATIONS = (
    (
        """
        CREATE TABLE jobs (
            id TEXT PRIMARY KEY, place INTEGER NOT NULL, state TEXT NOT NULL, live INTEGER NOT NULL,
            request TEXT NOT NULL, created REAL NOT NULL, started REAL, ended REAL, error TEXT, item TEXT, seed INTEGER
        ) STRICT
        """,
        "CREATE INDEX jobs_by_state ON jobs (state, place)",
        """
        CREATE TABLE items (
            number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, created REAL NOT NULL,
            model TEXT NOT NULL, modality TEXT NOT NULL, media_type TEXT NOT NULL, prompt TEXT NOT NULL, seed INTEGER,
            seconds REAL NOT NULL, text TEXT, data BLOB, thumbnail BLOB, request TEXT NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE steps (
            item TEXT NOT NULL REFERENCES items (id) ON DELETE CASCADE, number INTEGER NOT NULL, guess BLOB NOT NULL,
            noisy BLOB, PRIMARY KEY (item, number)
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE VIRTUAL TABLE words USING fts5 (prompt, text, content='items', content_rowid='number')",
        """
        CREATE TRIGGER items_in AFTER INSERT ON items BEGIN
            INSERT INTO words (rowid, prompt, text) VALUES (new.number, new.prompt, new.text);
        END;
        """,
        """
        CREATE TRIGGER items_out AFTER DELETE ON items BEGIN
            INSERT INTO words (words, rowid, prompt, text) VALUES ('delete', old.number, old.prompt, old.text);
        END;
        """,
        "CREATE TABLE chats"
        " (id TEXT PRIMARY KEY, title TEXT NOT NULL, updated REAL NOT NULL, body TEXT NOT NULL) STRICT",
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    ),
    ("ALTER TABLE items ADD COLUMN about TEXT",),
    ("ALTER TABLE items ADD COLUMN frames BLOB",),
)

MOST_ENDED_JOBS = 500  # that are remembered
_ITEM = (
    "number, id, created, model, modality, media_type, prompt, seed, seconds, text, about,"
    " thumbnail IS NOT NULL AS has_thumb, (SELECT count(*) FROM steps WHERE item = items.id) AS num_steps"
)


@dataclass(frozen=True)
class Made:
    """A finished thing on its way into the gallery. steps: (guess, noisy state or None) as small pictures.

    about: what more there is to tell of it, JSON values. frames: of a clip, all as they are, in one picture.
    """

    model: str
    modality: str
    media_type: str
    prompt: str
    seed: int | None
    seconds: float
    text: str | None
    data: bytes | None
    thumbnail: bytes | None
    steps: Sequence[tuple[bytes, bytes | None]] = field(default=())
    about: Mapping[str, Any] | None = None
    frames: bytes | None = None


class Store(Database):
    """All that the server remembers. Every method is whole or not done at all, and may be called from any thread.

    path: of the file; its folder is made. None: in memory, for as long as the store lives.
    """

    def __init__(self, path: Path | None) -> None:
        super().__init__(path, MIGRATIONS)

    # --- jobs ---

    def add_job(self, job: Job) -> None:
        """Remembers a new job, the last in the line."""
        with self._writing() as db:
            db.execute(
                "INSERT INTO jobs (id, place, state, live, request, created, started)"
                " VALUES (?, (SELECT coalesce(max(place), 0) + 1 FROM jobs), ?, ?, ?, ?, ?)",
                (job.id, job.state, job.live, _compact(job.request), job.created, job.started),
            )
            db.execute(
                "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE ended IS NOT NULL ORDER BY created DESC"
                " LIMIT -1 OFFSET ?)",
                (MOST_ENDED_JOBS,),
            )

    def change_job(self, job: str, **columns: Any) -> None:
        """Notes what became of a job: state, started, ended, error, seed."""
        with self._writing() as db:
            _update(db, job, columns)

    def finish_job(self, job: str, made: Made | None, request: GenerateRequest, **columns: Any) -> str | None:
        """Notes that a job is done, and puts what it made into the gallery, both or neither; gives the item's id."""
        with self._writing() as db:
            item = None if made is None else _insert(db, job, made, request)
            _update(db, job, {**columns, "item": item})
        return item

    def job(self, job: str) -> Job | None:
        """A job by its id."""
        found = self._rows("SELECT * FROM jobs WHERE id = ?", job)
        return _job(found[0]) if found else None

    def jobs(self) -> list[Job]:
        """Those that wait, in their order; then the others, newest first."""
        order = "state != 'queued', CASE state WHEN 'queued' THEN place ELSE -created END"
        return [_job(row) for row in self._rows(f"SELECT * FROM jobs ORDER BY {order}")]  # noqa: S608 - a constant

    def next_job(self) -> Job | None:
        """The first in the line."""
        found = self._rows("SELECT * FROM jobs WHERE state = 'queued' ORDER BY place LIMIT 1")
        return _job(found[0]) if found else None

    def num_waiting(self) -> int:
        """How long the line is."""
        return int(self._rows("SELECT count(*) AS n FROM jobs WHERE state = 'queued'")[0]["n"])

    def ids(self, modality: str) -> list[str]:
        """Of all that was made of a medium, and of jobs that ask for it and have come to nothing yet, newest first."""
        rows = self._rows(
            "SELECT id, created FROM jobs WHERE state != 'done' AND json_extract(request, '$.modality') = ?1"
            " UNION ALL SELECT id, coalesce((SELECT created FROM jobs WHERE id = items.id), created) FROM items"
            " WHERE modality = ?1 ORDER BY created DESC, id",
            modality,
        )
        return [row["id"] for row in rows]

    def order_jobs(self, wished: Sequence[str]) -> None:
        """Puts the jobs that wait in the order wished; those left out come after, as they were."""
        with self._writing() as db:
            rows = db.execute("SELECT id, place FROM jobs WHERE state = 'queued' ORDER BY place").fetchall()
            waiting = [row["id"] for row in rows]
            first = [job for job in dict.fromkeys(wished) if job in waiting]
            order = [*first, *(job for job in waiting if job not in first)]
            places = [row["place"] for row in rows]
            db.executemany("UPDATE jobs SET place = ? WHERE id = ?", zip(places, order, strict=True))

    def forget_job(self, job: str) -> None:
        """Takes a job from the list; what it made stays."""
        with self._writing() as db:
            db.execute("DELETE FROM jobs WHERE id = ?", (job,))

    def interrupt_jobs(self) -> None:
        """Notes that nothing runs: whatever did was interrupted."""
        with self._writing() as db:
            db.execute("UPDATE jobs SET state = 'interrupted', ended = ? WHERE state = 'running'", (time.time(),))

    # --- the gallery ---

    def items(
        self, words: str = "", modality: str | None = None, before: int | None = None, limit: int = 50
    ) -> tuple[list[Item], int | None]:
        """A page, newest first, of what has all the words (or their beginnings); and `before` for the next page."""
        query = " ".join(f'"{word}"*' for word in re.findall(r"\w+", words))
        conditions: list[tuple[str, Any]] = [("number < ?", 2**62 if before is None else before)]
        if query:
            conditions.append(("number IN (SELECT rowid FROM words WHERE words MATCH ?)", query))
        elif words.strip():
            return [], None  # nothing but marks: no text is known by them
        if modality is not None:
            conditions.append(("modality = ?", modality))
        where = " AND ".join(condition for condition, _ in conditions)
        select = f"SELECT {_ITEM} FROM items WHERE {where} ORDER BY number DESC LIMIT ?"  # noqa: S608 - from constants
        rows = self._rows(select, *(value for _, value in conditions), limit + 1)
        return [_item(row) for row in rows[:limit]], rows[limit - 1]["number"] if len(rows) > limit else None

    def item(self, item: str) -> Item | None:
        """Something in the gallery by its id."""
        found = self._rows(f"SELECT {_ITEM} FROM items WHERE id = ?", item)  # noqa: S608 - a constant
        return _item(found[0]) if found else None

    def item_request(self, item: str) -> GenerateRequest | None:
        """What was asked for to get it, with the seed that was drawn."""
        found = self._rows("SELECT request FROM items WHERE id = ?", item)
        return GenerateRequest.model_validate_json(found[0]["request"]) if found else None

    def file(self, item: str) -> tuple[str, bytes] | None:
        """Media type and bytes."""
        found = self._rows("SELECT media_type, text, data FROM items WHERE id = ?", item)
        if not found:
            return None
        media_type, text, data = found[0]
        return media_type, text.encode() if data is None else data

    def thumbnail(self, item: str) -> bytes | None:
        """A small WebP, of what can be seen."""
        found = self._rows("SELECT thumbnail FROM items WHERE id = ?", item)
        return found[0]["thumbnail"] if found else None

    def frames(self, item: str) -> bytes | None:
        """All frames of a clip as they are, in one picture."""
        found = self._rows("SELECT frames FROM items WHERE id = ?", item)
        return found[0]["frames"] if found else None

    def step(self, item: str, number: int, *, noisy: bool) -> bytes | None:
        """Preview `number` (from 0) as a small WebP."""
        found = self._rows("SELECT guess, noisy FROM steps WHERE item = ? AND number = ?", item, number)
        return found[0]["noisy" if noisy else "guess"] if found else None

    def delete_item(self, item: str) -> bool:
        """Deletes something for good; whether it was there."""
        with self._writing() as db:
            return db.execute("DELETE FROM items WHERE id = ?", (item,)).rowcount > 0

    # --- chats ---

    def save_chat(self, chat: str, title: str, body: Mapping[str, Any]) -> SavedChat:
        """Keeps a conversation, in place of what had this id."""
        saved = SavedChat(id=chat, title=title, updated=time.time(), body=dict(body))
        with self._writing() as db:
            row = (saved.id, saved.title, saved.updated, json.dumps(saved.body))
            db.execute("INSERT OR REPLACE INTO chats VALUES (?, ?, ?, ?)", row)
        return saved

    def chats(self) -> list[ChatHead]:
        """All conversations, the last changed first."""
        rows = self._rows("SELECT id, title, updated FROM chats ORDER BY updated DESC")
        return [ChatHead(**dict(row)) for row in rows]

    def chat(self, chat: str) -> SavedChat | None:
        """A conversation by its id."""
        found = self._rows("SELECT * FROM chats WHERE id = ?", chat)
        return SavedChat(**{**dict(found[0]), "body": json.loads(found[0]["body"])}) if found else None

    def delete_chat(self, chat: str) -> bool:
        """Deletes a conversation; whether it was there."""
        with self._writing() as db:
            return db.execute("DELETE FROM chats WHERE id = ?", (chat,)).rowcount > 0

    # --- facts ---

    def fact(self, name: str) -> Any:
        """A JSON value that was kept under a name, or None."""
        found = self._rows("SELECT value FROM facts WHERE name = ?", name)
        return json.loads(found[0]["value"]) if found else None

    def set_fact(self, name: str, value: Any) -> None:
        """Keeps a JSON value under a name."""
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))


def _update(db: sqlite3.Connection, job: str, columns: Mapping[str, Any]) -> None:
    """Names of columns come from this package alone."""
    names = ", ".join(f"{name} = ?" for name in columns)
    db.execute(f"UPDATE jobs SET {names} WHERE id = ?", (*columns.values(), job))  # noqa: S608


def _insert(db: sqlite3.Connection, item: str, made: Made, request: GenerateRequest) -> str:
    """A thing has the id of the job that made it."""
    values = (
        item, time.time(), made.model, made.modality, made.media_type, made.prompt, made.seed, made.seconds,
        made.text, made.data, made.thumbnail, _compact(request),
        None if made.about is None else json.dumps(made.about), made.frames,
    )  # fmt: skip
    db.execute(
        "INSERT INTO items (id, created, model, modality, media_type, prompt, seed, seconds, text, data, thumbnail,"
        " request, about, frames) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        values,
    )
    steps = [(item, number, guess, noisy) for number, (guess, noisy) in enumerate(made.steps)]
    db.executemany("INSERT INTO steps VALUES (?, ?, ?, ?)", steps)
    return item


def _compact(request: GenerateRequest) -> str:
    return request.model_dump_json(exclude_defaults=True)


def _job(row: sqlite3.Row) -> Job:
    fields = {name: row[name] for name in row.keys() if name != "place"}  # noqa: SIM118 - a Row is no dict
    request = GenerateRequest.model_validate_json(row["request"])
    return Job(**{**fields, "live": bool(row["live"]), "request": request})


def _item(row: sqlite3.Row) -> Item:
    fields = {name: row[name] for name in row.keys() if name not in ("number", "has_thumb")}  # noqa: SIM118
    fields["about"] = None if row["about"] is None else json.loads(row["about"])
    url = f"/api/gallery/{row['id']}"
    return Item(**fields, url=f"{url}/file", thumbnail=f"{url}/thumbnail" if row["has_thumb"] else None)
