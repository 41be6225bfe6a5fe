"""A SQLite file of a person's own: what it has acknowledged survives a kill or a power cut."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reverie.hub import files
from reverie.types import ReverieError


class Database:
    """What stores have in common. Every write is whole or not done at all, and may come from any thread.

    path: of the file; its folder is made. None: in memory. migrations: number n of them has the statements that take a
    file of version n to n + 1; none is ever changed, new ones come at the end.
    """

    def __init__(self, path: Path | None, migrations: Sequence[Sequence[str]]) -> None:
        self._lock = threading.RLock()
        if path is not None:
            with files.explained(path.parent):
                path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(
                ":memory:" if path is None else path, timeout=10, isolation_level=None, check_same_thread=False
            )
            self._db.row_factory = sqlite3.Row
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                self._db.execute(f"PRAGMA {pragma}")
            self._migrate(path, migrations)
        except sqlite3.DatabaseError as error:
            raise ReverieError(f"{path} cannot be used ({error}): move it away to begin anew.") from error

    def close(self) -> None:
        """Lets the file go."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: on the disk when the block has ended, or undone."""
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except BaseException as error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError):  # the disk is full, or another process writes
                    raise ReverieError(
                        f"Nothing could be saved ({error}): free some disk space and try again."
                    ) from error
                raise

    def _rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def _migrate(self, path: Path | None, migrations: Sequence[Sequence[str]]) -> None:
        with self._writing() as db:  # two processes may open a new file at once
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > len(migrations):
                raise ReverieError(f"{path} was written by a newer version of Reverie: update Reverie to open it.")
            for migration in migrations[version:]:
                for statement in migration:
                    db.execute(statement)
            db.execute(f"PRAGMA user_version = {len(migrations)}")
