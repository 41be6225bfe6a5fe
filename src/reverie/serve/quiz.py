"""The quiz over HTTP. Sessions live on the server: what is sent before an answer holds nothing of it."""

from __future__ import annotations

import asyncio
import math
import secrets
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as InPath
from pydantic import Field

from reverie.engine import Model
from reverie.learn import anki, live
from reverie.learn import questions as q
from reverie.learn import session as s
from reverie.learn.lessons import lesson
from reverie.learn.store import FILE, Learning
from reverie.serve.api import ERRORS, IdPath, ModelsPart, part
from reverie.serve.errors import Refused, not_found
from reverie.serve.exhibits import MOST_SECONDS, Leash
from reverie.serve.models import Models
from reverie.serve.openai_run import unless_gone
from reverie.serve.shapes import Shape
from reverie.types import ReverieError

MOST_SESSIONS = 200  # that are remembered; the one not used for longest goes first
MOST_QUESTIONS = 200  # in one
LIVE_SHARE = 3  # one question in so many is from a real run
MEDIA = ("text", "image", "music", "video")

router = APIRouter(prefix="/api/quiz", responses=ERRORS, tags=["quiz"])
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,79}$")]
Places = Annotated[list[int], Field(max_length=400)]
Cells = Annotated[list[Annotated[list[int], Field(min_length=2, max_length=2)]], Field(max_length=400)]


class QuizTopic(Shape):
    """A topic that can be asked about."""

    topic: str
    questions: int


class TopicScore(Shape):
    """All answers ever given about a topic: how many, and the mean mark and credit."""

    answers: int
    mark: float
    credit: float


class Progress(Shape):
    """What has been learnt. days: in a row. calibration: [mean confidence, share right, how many]. due: cards now."""

    answers: int
    topics: dict[str, TopicScore]
    days: int
    brier: float | None
    calibration: list[tuple[float, float, int]]
    cards: int
    due: int
    next_due: float | None
    lessons: dict[str, float]


class Mistake(Shape):
    """A question of the bank whose last answer was not right."""

    id: str
    text: str
    topic: str
    lesson: str | None


class QuizOverview(Shape):
    """What can be asked, what has been learnt, and the mistakes to come back to, newest first."""

    topics: list[QuizTopic]
    progress: Progress
    mistakes: list[Mistake]


class QuizRequest(Shape):
    """Which questions to ask. One of topic, lesson (its short test, `when`) and review, or none.

    live: some from runs of the installed models. questions: a teacher's file, as TOML.
    """

    topic: Slug | None = None
    lesson: Slug | None = None
    when: Literal["before", "after"] = "after"
    review: bool = False
    num: Annotated[int, Field(ge=1, le=MOST_QUESTIONS)] = 10
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    live: bool = False
    questions: Annotated[str, Field(max_length=q.MOST_BYTES)] | None = None


class ShownOption(Shape):
    """An option before the answer. picture: a data URL, or empty."""

    text: str
    picture: str


class ShownQuestion(Shape):
    """A question before the answer; what its kind has not is empty.

    matches: what is to be matched with the options. marked: [row, column] of the cells of the grid that can be chosen;
    several: whether more than one is to be.
    """

    id: str
    kind: Literal["choice", "several", "order", "match", "number", "point"]
    topic: str
    difficulty: int
    text: str
    picture: str
    lesson: str | None
    num_hints: int
    options: Annotated[list[ShownOption], Field(default_factory=list)]
    matches: Annotated[list[str], Field(default_factory=list)]
    unit: str = ""
    grid: q.Grid | None = None
    marked: Annotated[list[list[int]], Field(default_factory=list)]
    several: bool = False


class SessionTopic(Shape):
    """The score in a topic."""

    answered: int
    right: int
    credit: float


class QuizResult(Shape):
    """The score of a session so far."""

    questions: int
    answered: int
    right: int
    credit: float
    topics: dict[str, SessionTopic]
    streak: int
    best_streak: int
    mistakes: list[str]
    brier: float | None
    calibration: list[tuple[float, float, int]]


class QuizView(Shape):
    """A session. question: that which waits for an answer, None at the end. hints: those taken for it."""

    id: str
    seed: int
    question: ShownQuestion | None
    hints: list[str]
    result: QuizResult


class QuizAnswer(Shape):
    """An answer to the question `question`, in terms of what was shown; None gives it up. sure: from 0 to 1.

    choice: the place of an option, from 0. several, order: places. match: for each option, the place among `matches`.
    point: [row, column] of each cell. number: the number.
    """

    question: Annotated[str, Field(max_length=100)]
    answer: int | Annotated[float, Field(allow_inf_nan=False)] | Places | Cells | None
    sure: Annotated[float, Field(ge=0, le=1)] | None = None


class Feedback(Shape):
    """What is told after an answer. whys: of each option, as shown. exhibit: where the answer is to be seen."""

    id: str
    right: bool
    mark: float
    credit: float
    answer: float | list[int] | list[list[int]]
    right_answer: float | list[int] | list[list[int]]
    whys: list[str]
    explanation: str
    lesson: str | None
    exhibit: q.Show | None
    source: q.Source | None


class QuizReply(Shape):
    """What became of an answer, and how the session goes on."""

    feedback: Feedback
    next: QuizView


class Quizzes:
    """The sessions that go on, and the record of what was learnt, kept in the folder `home`."""

    def __init__(self, home: Path) -> None:
        self.learning = Learning(home / FILE)
        self.lock = threading.RLock()
        self._sessions: OrderedDict[str, s.Session] = OrderedDict()

    def add(self, session: s.Session) -> str:
        """Keeps a session; its id."""
        name = secrets.token_urlsafe(12)
        with self.lock:
            self._sessions[name] = session
            while len(self._sessions) > MOST_SESSIONS:
                self._sessions.popitem(last=False)
        return name

    def get(self, name: str) -> s.Session:
        """A session that goes on."""
        if name not in self._sessions:
            raise not_found("quiz")
        self._sessions.move_to_end(name)
        return self._sessions[name]


QuizzesPart = Annotated[Quizzes, part("quizzes")]


@router.get("")
def overview(quizzes: QuizzesPart) -> QuizOverview:
    """What can be asked, what has been learnt, and the mistakes to come back to."""
    bank = {question.id: question for question in q.bank()}
    topics = [QuizTopic(topic=topic, questions=len(q.about(q.bank(), topic))) for topic in q.topics(q.bank())]
    wrong = [bank[name] for name in quizzes.learning.mistakes(bank)]
    mistakes = [Mistake(id=each.id, text=each.text, topic=each.topic, lesson=each.lesson) for each in wrong]
    return QuizOverview(topics=topics, progress=Progress(**quizzes.learning.progress()), mistakes=mistakes)


@router.post("", status_code=201)
async def begin(
    wanted: QuizRequest, http: Request, quizzes: QuizzesPart, models: ModelsPart, worker: Annotated[Any, part("worker")]
) -> QuizView:
    """Begin a quiz."""
    seed = secrets.randbelow(2**31) if wanted.seed is None else wanted.seed
    chosen = await asyncio.to_thread(_chosen, wanted, quizzes.learning, seed)
    if wanted.live:
        made = await _live(wanted, http, models, worker, seed)
        chosen = sorted([*chosen[: wanted.num - len(made)], *made], key=lambda question: question.difficulty)
    session = s.begin(chosen, seed)
    return _view(quizzes.add(session), session)


@router.get("/deck", response_class=Response)
def deck(topic: Annotated[str | None, Query(max_length=80)] = None) -> Response:
    """The bank, or a topic of it, as a deck for Anki."""
    questions = q.bank() if topic is None else q.about(q.bank(), topic)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "deck.apkg")
        anki.export(questions, file)
        told = {"Content-Disposition": 'attachment; filename="reverie.apkg"'}
        return Response(file.read_bytes(), media_type="application/octet-stream", headers=told)


@router.put("/read/{slug}", status_code=204)
def read(slug: Annotated[Slug, InPath()], quizzes: QuizzesPart) -> None:
    """Remember that a lesson was read."""
    quizzes.learning.read(lesson(slug).name)


@router.get("/{quiz}")
def one(quiz: IdPath, quizzes: QuizzesPart) -> QuizView:
    """A quiz as it is now, to go on with it."""
    with quizzes.lock:
        return _view(quiz, quizzes.get(quiz))


@router.post("/{quiz}/hint")
def hint(quiz: IdPath, quizzes: QuizzesPart) -> QuizView:
    """Take the next hint for the present question; it costs a quarter of the mark."""
    with quizzes.lock:
        session = quizzes.get(quiz)
        session.hint()
        return _view(quiz, session)


@router.post("/{quiz}/answer")
def answer(quiz: IdPath, given: QuizAnswer, quizzes: QuizzesPart) -> QuizReply:
    """Answer the present question, once."""
    with quizzes.lock:
        session = quizzes.get(quiz)
        if session.current is None or session.current.question.id != given.question:
            raise Refused(409, "That question was answered already: ask for the quiz again to see where it is.")
        marked = session.skip() if given.answer is None else session.answer(given.answer, given.sure)
        quizzes.learning.record(marked)
        return QuizReply(feedback=Feedback(**marked.feedback()), next=_view(quiz, session))


def _view(name: str, session: s.Session) -> QuizView:
    asked = session.current
    shown = None if asked is None else ShownQuestion(**asked.shown())
    hints = [] if asked is None else asked.question.hints[: session.num_hints]
    return QuizView(id=name, seed=session.seed, question=shown, hints=hints, result=QuizResult(**session.result()))


def _chosen(wanted: QuizRequest, learning: Learning, seed: int) -> list[q.Question]:
    """The written questions that a request asks for."""
    if sum((wanted.topic is not None, wanted.lesson is not None, wanted.review)) > 1:
        raise ReverieError("Give one of topic, lesson and review.")
    there = q.bank() if wanted.questions is None else q.parse(wanted.questions.encode(), "The file")
    if wanted.lesson is not None:
        return s.lesson_test(there, wanted.lesson, wanted.when, seed)
    if wanted.review:
        known = {question.id: question for question in there}
        names = list(dict.fromkeys([*learning.due(known), *learning.mistakes(known)]))
        return [known[name] for name in names[: wanted.num]]
    return s.draw(there if wanted.topic is None else q.about(there, wanted.topic), wanted.num, seed)


async def _live(wanted: QuizRequest, http: Request, models: Models, worker: Any, seed: int) -> list[q.Question]:
    """Questions from runs of the default models that are installed: of every medium as many, if nothing is wished."""
    num = max(1, wanted.num // LIVE_SHARE)
    made: list[q.Question] = []
    media = s.dice(seed, "media").sample(MEDIA, len(MEDIA))
    for place, medium in enumerate(media):
        left = num - len(made)
        share = left if wanted.topic is not None else math.ceil(left / (len(media) - place))
        with suppress(Refused, ReverieError):  # there is no such model here, or it cannot be opened
            path = await asyncio.to_thread(_path, models, medium)
            made += await _from_run(http, worker, path, partial(live.make, num=share, seed=seed, topic=wanted.topic))
    return s.draw(made, num, seed)


def _path(models: Models, medium: str) -> str:
    return models.resolve(models.default(medium))


async def _from_run(http: Request, worker: Any, path: str, make: Callable[..., Any]) -> list[q.Question]:
    """What `make` gives for a model, between two steps of what else runs; who goes away before the end cancels it."""
    leash = Leash(MOST_SECONDS, worker.beat)

    def run(model: Model) -> list[q.Question]:
        with leash.on(model):
            return list(make([model]))

    try:
        made: list[q.Question] = await unless_gone(http, worker.call(path, run))
    finally:
        leash.let_go()
    return made
