"""What a person has learnt: answers, cards to repeat, and lessons read, in one SQLite file.

What it has acknowledged survives a kill or a power cut.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from reverie.database import Database
from reverie.hub import paths
from reverie.learn import marking, schedule
from reverie.learn.session import Marked

FILE = "learning.sqlite"
DAY_SECONDS = 86_400
LIVE = "live-"  # how ids of questions from real runs begin: never the same again, so never repeated

# What is here is never changed; new ones come at the end (`Database`).
MIGRATIONS = (
    (
        "CREATE TABLE answers ("
        "number INTEGER PRIMARY KEY AUTOINCREMENT, question TEXT NOT NULL, topic TEXT NOT NULL, time REAL NOT NULL,"
        " mark REAL NOT NULL, credit REAL NOT NULL, hints INTEGER NOT NULL, sure REAL) STRICT",
        "CREATE INDEX answers_by_question ON answers (question, number)",
        "CREATE TABLE cards (question TEXT PRIMARY KEY, card TEXT NOT NULL, due REAL NOT NULL) STRICT, WITHOUT ROWID",
        "CREATE TABLE lessons (name TEXT PRIMARY KEY, time REAL NOT NULL) STRICT, WITHOUT ROWID",
    ),
)


class Learning(Database):
    """The record of one person. `clock` gives seconds since 1970."""

    def __init__(self, path: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        """path: the file; None: in the folder of a person's own data."""
        super().__init__(paths.inside(paths.data_home(), FILE) if path is None else path, MIGRATIONS)
        self._clock = clock

    def record(self, marked: Marked) -> None:
        """Keeps an answer, and when its question is to be asked again."""
        question, now = marked.asked.question, self._clock()
        row = (question.id, question.topic, now, marked.mark, marked.credit, marked.num_hints, marked.sure)
        with self._writing() as db:
            db.execute(
                "INSERT INTO answers (question, topic, time, mark, credit, hints, sure) VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )
            if not question.id.startswith(LIVE):
                self._repeat(db, question.id, marked, now)

    def _repeat(self, db: sqlite3.Connection, question: str, marked: Marked, now: float) -> None:
        known = db.execute("SELECT card FROM cards WHERE question = ?", (question,)).fetchone()
        rated = schedule.rating(marked.mark, marked.num_hints, marked.sure)
        card, due = schedule.review(None if known is None else known[0], rated, now)
        db.execute("INSERT OR REPLACE INTO cards VALUES (?, ?, ?)", (question, card, due))

    def due(self, among: Collection[str]) -> list[str]:
        """The ids of questions to repeat now, the longest overdue first."""
        rows = self._rows("SELECT question FROM cards WHERE due <= ? ORDER BY due, question", self._clock())
        return [question for (question,) in rows if question in among]

    def mistakes(self, among: Collection[str]) -> list[str]:
        """The ids of questions whose last answer was not right, newest first."""
        rows = self._rows(
            "SELECT question, mark FROM answers AS a WHERE number = "
            "(SELECT max(number) FROM answers WHERE question = a.question) ORDER BY number DESC"
        )
        return [question for question, mark in rows if question in among and not marking.is_right(mark)]

    def read(self, lesson: str) -> None:
        """Remembers that a lesson was read."""
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO lessons VALUES (?, ?)", (lesson, self._clock()))

    def lessons(self) -> dict[str, float]:
        """The lessons read -> when, in seconds since 1970."""
        return {row["name"]: row["time"] for row in self._rows("SELECT name, time FROM lessons ORDER BY time")}

    def progress(self) -> dict[str, Any]:
        """All that is known, JSON-able: answers, by topic, days in a row, calibration, cards."""
        topics = self._rows("SELECT topic, count(*), sum(mark), sum(credit) FROM answers GROUP BY topic ORDER BY topic")
        sure = self._rows("SELECT sure, mark FROM answers WHERE sure IS NOT NULL ORDER BY number")
        told = [share for share, _ in sure], [marking.is_right(mark) for _, mark in sure]
        due = self._rows("SELECT count(*), coalesce(sum(due <= ?), 0), min(due) FROM cards", self._clock())[0]
        return {
            "answers": sum(num for _, num, _, _ in topics),
            "topics": {
                topic: {"answers": num, "mark": round(mark / num, 4), "credit": round(credit / num, 4)}
                for topic, num, mark, credit in topics
            },
            "days": self._days(), "brier": marking.brier(*told), "calibration": marking.calibration(*told),
            "cards": due[0], "due": due[1], "next_due": due[2], "lessons": self.lessons(),
        }  # fmt: skip

    def _days(self) -> int:
        """How many days in a row, up to today or yesterday, something was answered; days of UTC."""
        answered = {day for (day,) in self._rows("SELECT DISTINCT cast(time / 86400 AS INT) FROM answers")}
        today = int(self._clock() // DAY_SECONDS)
        last = today if today in answered else today - 1
        num = 0
        while last - num in answered:
            num += 1
        return num
