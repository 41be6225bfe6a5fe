"""quiz: test your knowledge, at the keyboard or as JSON."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reverie.cli.feedback import Feedback, load_named, note
from reverie.cli.options import Offline, piped, spread
from reverie.types import ReverieError

if TYPE_CHECKING:
    from reverie.engine import Model
    from reverie.learn.questions import Question
    from reverie.learn.session import Session

LIVE_SHARE = 3  # one question in so many is from a real run
MOST = 200  # questions in a quiz


@dataclass(frozen=True)
class QuizOptions:
    """Options of `quiz`. None: what suits best."""

    topic: Annotated[str | None, typer.Option(help="Only questions of this topic (--list shows them).")] = None
    num: Annotated[int, typer.Option("--num", "-n", min=1, max=MOST, help="How many questions.")] = 10
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed asks the same again.")] = None
    before: Annotated[str | None, typer.Option(metavar="LESSON", help="The short test before a lesson.")] = None
    after: Annotated[str | None, typer.Option(metavar="LESSON", help="The short test after a lesson.")] = None
    review: Annotated[bool, typer.Option("--review", help="What was wrong, and what is due again.")] = False
    questions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Questions of your own, in TOML (a teacher's file).")
    ] = None
    live: Annotated[
        bool | None, typer.Option("--live/--no-live", help="Ask about runs of your models too; at a terminal: yes.")
    ] = None
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="The model to ask about: name, folder or file.")
    ] = None
    json: Annotated[bool, typer.Option("--json", help="Print the questions as JSON, without answers, and end.")] = False
    answers: Annotated[
        bool,
        typer.Option("--answers", help="Mark a JSON list of answers from stdin; give the same options and --seed."),
    ] = False
    export: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the questions as an Anki deck.")] = None
    show_list: Annotated[bool, typer.Option("--list", help="List the topics, and end.")] = False
    offline: Offline = False


@spread
def quiz(*, options: QuizOptions) -> None:
    """Test your knowledge: questions about how models write and draw, some from runs of your own."""
    check(options)
    from reverie.learn import questions as q

    there = q.bank() if options.questions is None else q.load(options.questions)
    if options.show_list:
        for topic in q.topics(there):
            print(f"{topic:<20}{len(q.about(there, topic)):>4} questions")
    elif options.export is not None:
        export(there if options.topic is None else q.about(there, options.topic), options.export)
    elif options.review:
        review(there, options)
    else:
        run(start(there, options), options)


def check(options: QuizOptions) -> None:
    """Refuses options that do not go together."""
    if options.answers and options.seed is None:
        raise typer.BadParameter("give the --seed that --json told, to mark the same questions", param_hint="--answers")
    if options.export is not None and options.export.suffix != ".apkg":
        raise typer.BadParameter(f"a deck is named {options.export.stem}.apkg", param_hint="--export")
    choices = [options.before, options.after, options.topic, True if options.review else None]
    if sum(choice is not None for choice in choices) > 1:
        raise typer.BadParameter("give one of --topic, --before, --after and --review", param_hint="--topic")


def start(there: Sequence[Question], options: QuizOptions) -> Session:
    """The session that was asked for."""
    from reverie.learn import questions as q
    from reverie.learn import session as s

    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    if options.before is not None:
        return s.begin(s.lesson_test(there, options.before, "before", seed), seed)
    if options.after is not None:
        return s.begin(s.lesson_test(there, options.after, "after", seed), seed)
    there = there if options.topic is None else q.about(there, options.topic)
    live = from_runs(options, seed) if wants_live(options) else []
    chosen = s.draw(there, options.num - len(live), seed)
    return s.begin(sorted([*chosen, *live], key=lambda question: question.difficulty), seed)


def wants_live(options: QuizOptions) -> bool:
    """Whether to ask about real runs: as told, or where a person answers questions of the bank."""
    if options.live is not None:
        return options.live
    return options.questions is None and not options.json and not options.answers and sys.stdin.isatty()


def from_runs(options: QuizOptions, seed: int) -> list[Question]:
    """Questions from runs of the models that are here. None is fetched for this, unless it was named."""
    with Feedback() as feedback:
        makers = (_writer, _drawer, _composer, _animator)
        models = [model for each in makers if (model := each(options, feedback)) is not None]
        if not models:
            return []
        from reverie.learn import live

        feedback.status("Making questions from real runs")
        num = options.num if options.topic is not None and options.live else max(1, options.num // LIVE_SHARE)
        return live.make(models, min(num, options.num), seed, options.topic)


def _writer(options: QuizOptions, feedback: Feedback) -> Model | None:
    """The model that was named, or the default one if it is here."""
    try:
        return load_named(options.model, options.offline or options.model is None, feedback)
    except ReverieError as error:
        if options.model is not None:
            raise
        feedback.clear()
        note(f"No questions about a model that writes: {error}")
        return None


def _drawer(options: QuizOptions, feedback: Feedback) -> Model | None:
    """The default model that draws, if it is here and pictures can be shown."""
    if not (options.json or options.answers or sys.stdout.isatty()):
        return None
    return _default("image", "draws", options, feedback)


def _composer(options: QuizOptions, feedback: Feedback) -> Model | None:
    """The default model that composes, if it is here."""
    return _default("music", "composes", options, feedback)


def _animator(options: QuizOptions, feedback: Feedback) -> Model | None:
    """The default model that animates, if it is here and pictures can be shown."""
    if not (options.json or options.answers or sys.stdout.isatty()):
        return None
    return _default("video", "animates", options, feedback)


def _default(medium: str, does: str, options: QuizOptions, feedback: Feedback) -> Model | None:
    """The default model of a medium, if it is here and no other was named."""
    if options.model is not None:
        return None
    from reverie.hub.catalogue import default_name

    try:
        return load_named(default_name(medium), True, feedback)
    except ReverieError as error:
        feedback.clear()
        note(f"No questions about a model that {does}: {error}")
        return None


def run(session: Session, options: QuizOptions) -> None:
    """Asks: as JSON, or a person."""
    if options.answers:
        print(json.dumps(mark(session, piped()), ensure_ascii=False))
    elif options.json:
        shown = [asked.shown() for asked in session.asked]
        print(json.dumps({"seed": session.seed, "questions": shown}, ensure_ascii=False))
    else:
        from reverie.cli.quiz_view import Sitting
        from reverie.learn.store import Learning

        Sitting(session, Learning()).run()


def mark(session: Session, text: str | None) -> dict[str, Any]:
    """Marks a JSON list of answers, one for each question in order.

    Each is an answer, null for none, or {"answer", "sure" from 0 to 1, "hints": how many were taken}.
    """
    try:
        answers = json.loads("" if text is None else text)
    except (ValueError, RecursionError) as error:
        raise ReverieError("The answers are not JSON: pipe in a list such as [0, [1, 2], 3.5].") from error
    if not isinstance(answers, list) or len(answers) != len(session.asked):
        raise ReverieError(f"Give a JSON list of {len(session.asked)} answers, null where there is none.")
    marks = [_mark(session, number, each).feedback() for number, each in enumerate(answers, 1)]
    return {"seed": session.seed, "marks": marks, "result": session.result()}


def _mark(session: Session, number: int, given: Any) -> Any:
    told = given if isinstance(given, dict) else {"answer": given}
    try:
        for _ in range(_whole(told.get("hints", 0))):
            session.hint()
        if told.get("answer") is None:
            return session.skip()
        return session.answer(_answer(told["answer"]), _sure(told.get("sure")))
    except ReverieError as error:
        raise ReverieError(f"Answer {number}: {error}") from error


def _answer(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | list):
        raise ReverieError("write a number, or a list of numbers counted from 0 as the options are.")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 3:
        raise ReverieError("hints is a number from 0 to 3.")
    return value


def _sure(value: Any) -> float | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ReverieError("sure is a number from 0 to 1.")
    return value


def review(there: Sequence[Question], options: QuizOptions) -> None:
    """Asks again what was wrong last time, and what is due."""
    from reverie.learn import session as s
    from reverie.learn.store import Learning

    learning, known = Learning(), {question.id: question for question in there}
    wanted = list(dict.fromkeys([*learning.due(known), *learning.mistakes(known)]))[: options.num]
    learning.close()
    if not wanted:
        note("There is nothing to review now: `reverie quiz` asks something new.")
        return
    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    run(s.begin([known[name] for name in wanted], seed), options)


def export(there: Sequence[Question], path: Path) -> None:
    """Writes questions as an Anki deck."""
    from reverie.learn import anki

    anki.export(there, path)
    note(f"{path}: {len(there)} cards; in Anki, choose File, Import.")
