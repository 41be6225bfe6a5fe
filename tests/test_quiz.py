"""The quiz: the bank is sound, marks follow their rules, a seed repeats, and nothing shown tells the answer."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import sys
import zipfile
from collections import Counter
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.explain import about
from reverie.learn import anki, marking, schedule
from reverie.learn import questions as q
from reverie.learn import session as s
from reverie.learn.lessons import lessons
from reverie.learn.questions import Choice, Fill, Match, Order, Point, Question, Several
from reverie.learn.store import LIVE, Learning
from reverie.types import ReverieError

BANK = q.bank()
DAY = 86_400.0
EVIL = "<script>alert('1')</script> & \"x\""
EXAMPLES: dict[str, str] = {
    "choice": """
        [[question.options]]
        text = "A"
        right = true
        why = "Yes."
        [[question.options]]
        text = "B"
        right = false
        why = "No."
        """,
    "several": "".join(
        f"[[question.options]]\ntext = '{name}'\nright = {str(right).lower()}\nwhy = 'So.'\n"
        for name, right in {"A": True, "B": False, "C": True, "D": False, "E": False}.items()
    ),
    "order": "".join(f"[[question.options]]\ntext = '{name}'\nwhy = 'So.'\n" for name in "ABCD"),
    "match": "".join(
        f"[[question.options]]\ntext = '{name}'\nmatch = '{name.lower()}'\nwhy = 'So.'\n" for name in "ABCD"
    ),
    "number": "[question.number]\nvalue = 12.5\ntolerance = 0.5\nunit = '%'\nsteps = 'So.'\n",
    "point": "[question.grid]\nrows = ['r', 's']\ncolumns = ['c', 'd']\n"
    + "".join(
        f"[[question.options]]\nrow = {row}\ncolumn = {column}\nright = {str(row + column == 1).lower()}\nwhy = 'So.'\n"
        for row in (0, 1)
        for column in (0, 1)
    ),
}


def toml(kind: str, name: str = "one", body: str | None = None) -> str:
    head = (
        f"id = '{name}'\nkind = '{kind}'\ntopic = 'tokens'\ntext = 'What?'\nexplanation = 'So.'\nhints = ['h', 'i']\n"
    )
    return f"[[question]]\n{head}{EXAMPLES[kind] if body is None else body}\n"


def example(kind: str, name: str = "one") -> Question:
    return q.parse(toml(kind, name).encode(), "file.toml")[0]


# --- the bank ---


def test_the_first_question_is_the_one_that_the_project_began_with() -> None:
    first = BANK[0]
    assert isinstance(first, Choice)
    assert "process a sequence in parallel instead of sequentially" in first.text
    assert [option.text for option in first.options if option.right] == ["Self-attention"]


def test_the_bank_is_large_has_all_kinds_and_no_two_questions_alike() -> None:
    assert len(BANK) >= 80
    assert {question.kind for question in BANK} == set(q.KINDS)
    assert len({question.id for question in BANK}) == len({question.text for question in BANK}) == len(BANK)
    assert not any(question.id.startswith(LIVE) for question in BANK)


@pytest.mark.parametrize("question", BANK, ids=lambda question: question.id)
def test_a_question_leads_to_its_lesson_exhibit_and_source_and_has_hints(question: Question) -> None:
    assert question.lesson in lessons()
    assert question.topic in lessons()
    assert question.exhibit is not None
    assert question.exhibit.options.keys() <= about(question.exhibit.name).settled(question.exhibit.options).keys()
    assert question.exhibit.prompt.strip()
    assert question.source is not None
    assert 2 <= len(question.hints) <= 3
    assert marking.mark(question, marking.right_answer(question)) == 1


def test_every_lesson_has_enough_questions_for_a_test_before_and_after_it() -> None:
    for lesson in lessons():
        before, after = s.lesson_test(BANK, lesson, "before", seed=5), s.lesson_test(BANK, lesson, "after", seed=6)
        assert len(before) == len(after) == s.TEST_QUESTIONS
        assert not {question.id for question in before} & {question.id for question in after}


def test_the_right_option_cannot_be_told_by_its_length() -> None:
    choices = [question for question in BANK if isinstance(question, Choice)]
    for most in (max, min):
        hits = sum(most(question.options, key=lambda option: len(option.text)).right for question in choices)
        chances = [1 / len(question.options) for question in choices]
        spread = sum(chance * (1 - chance) for chance in chances) ** 0.5
        assert abs(hits - sum(chances)) < 3 * spread, f"{most.__name__}: {hits} of {len(choices)}"


# --- files of questions ---


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "question"),
        ("question = 3", "question"),
        ("[[question]]\nkind = 'riddle'", "kind must be one of choice, several"),
        (toml("choice").replace("right = true", "right = false"), "question 1 (one): 0 options are right"),
        (toml("choice").replace("right = false", "right = true"), "2 options are right where one must be"),
        (toml("choice").replace('"B"', '" a"'), "two options are the same"),
        (toml("choice").replace('why = "No."', ""), "options.2.why: Field required"),
        (toml("choice") + toml("number"), "two questions' ids are the same"),
        (toml("choice", "../../etc"), "id: it has characters"),
        (toml("choice").replace("What?", "\\u001b[31m").replace("'\\", '"\\').replace("m'", 'm"'), "text: it has char"),
        (toml("choice").replace("hints", "clues"), "clues: Extra inputs are not permitted"),
        (toml("several").replace("= true", "= false"), "0 options are right where two must be"),
        (toml("number").replace("12.5", "nan"), "number.value: Input should be a finite number"),
        (toml("number").replace("0.5\n", "-1\n"), "number.tolerance"),
        (toml("point").replace("column = 1", "column = 2"), "a cell lies outside the grid"),
        (toml("point").replace("'d']", "'d']\ncells = [['']]"), "cells must have 2 rows"),
        (toml("match").replace("match = 'b'", "match = 'A'"), "two matches are the same"),
        ("a = " + "[" * 5000, "not TOML"),
        ("a = 'b", "not TOML"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said_in_one_sentence(text: str, says: str) -> None:
    with pytest.raises(ReverieError) as error:
        q.parse(text.encode(), "file.toml")
    assert str(error.value).startswith("file.toml")
    assert says in str(error.value)
    assert len(str(error.value)) < 400
    assert "\n" not in str(error.value)


def test_a_file_is_bounded_and_need_not_be_text(tmp_path: Path) -> None:
    for data, says in ((b"#" * (q.MOST_BYTES + 1), "more than"), (b"\xff\xfe", "not UTF-8")):
        (tmp_path / "f.toml").write_bytes(data)
        with pytest.raises(ReverieError, match=says):
            q.load(tmp_path / "f.toml")
    with pytest.raises(ReverieError, match="Cannot read"):
        q.load(tmp_path / "none.toml")
    with pytest.raises(ReverieError, match="There is no topic 'x': there are tokens"):
        q.about([example("choice")], "x")


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_bytes_are_more_than_a_mistake(data: bytes) -> None:
    with pytest.raises(ReverieError):
        q.parse(data, "file.toml")


# --- marking ---

KINDS = st.sampled_from(sorted(EXAMPLES))
LISTS = st.lists(st.integers(-2, 6), max_size=6).map(tuple)


@given(KINDS, LISTS | st.floats())
def test_a_mark_is_from_0_to_1_and_1_only_for_the_right_answer(kind: str, answer: Any) -> None:
    question = example(kind)
    try:
        mark = marking.mark(question, answer)
    except ReverieError:
        return
    assert 0 <= mark <= 1
    if isinstance(question, Fill):
        assert mark == (12 <= answer <= 13)
    else:
        right: Any = marking.right_answer(question)
        ordered = isinstance(question, Order | Match)
        assert marking.is_right(mark) == (answer == right if ordered else set(answer) == set(right))


@given(st.permutations(range(4)))
def test_an_order_counts_its_pairs_and_a_match_its_pairs(order: list[int]) -> None:
    turned = sum(a > b for at, a in enumerate(order) for b in order[at:])
    assert marking.mark(example("order"), tuple(order)) == pytest.approx(max(0, 1 - turned / 3))
    same = sum(a == b for a, b in enumerate(order))
    assert marking.mark(example("match"), tuple(order)) == same / 4


@given(st.sets(st.integers(0, 4)))
def test_of_several_each_right_one_adds_and_each_wrong_one_takes(chosen: set[int]) -> None:
    mark = marking.mark(example("several"), tuple(chosen))
    assert mark == pytest.approx(max(0, len(chosen & {0, 2}) / 2 - len(chosen - {0, 2}) / 3))
    assert marking.mark(example("several"), tuple(range(5))) == marking.mark(example("several"), ()) == 0


@given(st.floats(0, 1), st.integers(0, 3))
def test_a_hint_never_adds(mark: float, num: int) -> None:
    assert 0 <= marking.credit(mark, num + 1) <= marking.credit(mark, num) <= mark
    assert marking.credit(1, num) == 1 - num / 4


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1))
def test_confidence_is_scored_as_brier_did(pairs: list[tuple[float, bool]]) -> None:
    sure, right = zip(*pairs, strict=True)
    score = marking.brier(sure, right)
    assert score is not None
    assert 0 <= score <= 1
    bands = marking.calibration(sure, right)
    assert sum(num for _, _, num in bands) == len(pairs)
    assert sum(share * num for _, share, num in bands) == pytest.approx(sum(right))
    assert marking.brier([0.5] * len(right), right) == 0.25
    assert marking.brier([float(each) for each in right], right) == 0
    assert marking.brier([], []) is None


# --- sessions ---


def test_a_seed_repeats_a_session_and_another_does_not() -> None:
    def shown(seed: int) -> str:
        return json.dumps([asked.shown() for asked in s.begin(s.draw(BANK, 20, seed), seed).asked])

    assert shown(7) == shown(7) != shown(8)
    code = "from reverie.learn import questions as q, session as s; print([x.id for x in s.draw(q.bank(), 9, 7)])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == str([question.id for question in s.draw(BANK, 9, 7)])


def test_every_order_of_options_is_as_likely_as_any_other() -> None:
    num, orders, match = 2400, len(list(permutations(range(4)))), example("match")
    asked = [s.ask(match, seed) for seed in range(num)]
    for found in (Counter(each.order for each in asked), Counter(each.matches for each in asked)):
        expected = num / orders
        chi_square = sum((found[each] - expected) ** 2 / expected for each in permutations(range(4)))
        assert chi_square < 49.7  # 23 degrees of freedom: one time in a thousand by chance
    together = Counter(each.order == each.matches for each in asked)
    assert together[True] < 2 * num / orders  # the two sides of a match are shuffled apart from each other


@pytest.mark.parametrize("question", BANK[::4], ids=lambda question: question.id)
def test_what_is_shown_before_an_answer_holds_nothing_of_it(question: Question) -> None:
    asked = s.ask(question, 3)
    shown = json.dumps(asked.shown(), ensure_ascii=False)
    assert set(asked.shown()) <= {
        "id", "kind", "topic", "difficulty", "text", "picture", "lesson", "num_hints", "options", "matches", "unit",
        "grid", "marked", "several",
    }  # fmt: skip
    for secret in (*asked.whys(), *question.hints, question.explanation):
        assert json.dumps(secret, ensure_ascii=False)[1:-1] not in shown
    if isinstance(question, Choice | Several):
        rights = [option.right for option in question.options]
        turned = [option.model_copy(update={"right": right}) for option, right in
                  zip(question.options, [*rights[1:], rights[0]], strict=True)]  # fmt: skip
        assert s.ask(question.model_copy(update={"options": turned}), 3).shown() == asked.shown()


@given(KINDS, st.integers(0, 1000), st.randoms())
def test_an_answer_told_is_the_answer_given(kind: str, seed: int, chance: random.Random) -> None:
    asked = s.ask(example(kind), seed)
    answer: marking.Answer = marking.right_answer(asked.question)
    assert asked.read(asked.tell(answer)) == answer or set(asked.read(asked.tell(answer))) == set(answer)  # type: ignore[arg-type]
    if isinstance(asked.question, Order | Match):
        turned = tuple(chance.sample(range(4), 4))
        assert asked.read(asked.tell(turned)) == turned


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("choice", 2), ("choice", -1), ("choice", True), ("choice", [0, 1]), ("choice", [[0]]), ("choice", 0.5),
        ("several", [0, 0]), ("order", [0, 1, 2]), ("order", [0, 1, 2, 2]), ("match", [0, 1]), ("match", [0] * 4),
        ("number", [1]), ("number", float("nan")), ("point", [[2, 0]]), ("point", [0, 1]), ("point", [["0", "1"]]),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_refused_and_the_question_stays(kind: str, given: Any) -> None:
    session = s.begin([example(kind)], 0)
    with pytest.raises(ReverieError):
        session.answer(given)
    assert session.current is not None


def test_a_session_keeps_score_by_topic_streaks_mistakes_and_hints() -> None:
    asked = [
        example("number", name).model_copy(update={"topic": topic}) for name, topic in zip("abcd", "xxyy", strict=True)
    ]
    session = s.begin(asked, 0)
    assert session.answer(12.5, sure=1.0).is_right
    assert session.hint() == "h"
    assert session.hint() == "i"
    with pytest.raises(ReverieError, match="no more hints"):
        session.hint()
    assert session.answer(12.4).credit == 0.5
    assert session.streak == 2
    with pytest.raises(ReverieError, match="from 0 to 1"):
        session.answer(1, sure=2)
    assert session.answer(99, sure=0.0).feedback()["whys"] == ["So."]
    assert session.skip().feedback()["right_answer"] == 12.5
    result = session.result()
    assert (result["right"], result["credit"], result["streak"], result["best_streak"]) == (2, 1.5, 0, 2)
    assert result["topics"]["x"] == {"answered": 2, "right": 2, "credit": 1.5}
    assert result["mistakes"] == ["c", "d"]
    assert result["brier"] == 0
    with pytest.raises(ReverieError, match="begin a new quiz"):
        session.answer(1)
    with pytest.raises(ReverieError, match="no question"):
        s.begin([], 0)


# --- across days ---


class Clock:
    def __init__(self) -> None:
        self.now = 1_000 * DAY + 100

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def learning(tmp_path: Path, clock: Clock) -> Learning:
    return Learning(tmp_path / "learning.sqlite", clock)


def answered(name: str, value: float, sure: float | None = None) -> s.Marked:
    return s.begin([example("number", name)], 0).answer(value, sure)


def test_what_is_known_comes_again_later_each_time_and_what_is_not_at_once(learning: Learning, clock: Clock) -> None:
    gaps = []
    for _ in range(4):
        learning.record(answered("known", 12.5))
        before = clock.now
        while "known" not in learning.due({"known"}):
            clock.now += DAY / 24 / 12
        gaps.append(clock.now - before)
    assert gaps == sorted(gaps)
    assert gaps[-1] > 5 * DAY
    learning.record(answered("known", 0))
    clock.now += DAY / 24
    assert learning.due({"known"}) == ["known"]
    assert learning.due({"other"}) == []
    assert learning.mistakes({"known"}) == ["known"]
    learning.record(answered("known", 12.5))
    assert learning.mistakes({"known"}) == []


def test_being_sure_and_right_is_easy_and_a_hint_makes_it_hard() -> None:
    rated = [
        schedule.rating(*each) for each in ((0.2, 0, 1.0), (0.7, 0, 1.0), (1.0, 1, 1.0), (1.0, 0, None), (1.0, 0, 0.9))
    ]
    assert [each.name for each in rated] == ["Again", "Hard", "Hard", "Good", "Easy"]


def test_progress_is_kept_by_topic_and_day_and_lessons_are_remembered(
    learning: Learning, clock: Clock, tmp_path: Path
) -> None:
    assert learning.progress()["days"] == 0
    for day in range(3):
        learning.record(answered(f"q{day}", 12.5, sure=1.0))
        clock.now += DAY
    learning.record(answered(f"{LIVE}one", 0.0))
    learning.read("noise")
    learning.close()
    again = Learning(tmp_path / "learning.sqlite", clock)
    progress = again.progress()
    assert progress["days"] == 4
    assert progress["topics"] == {"tokens": {"answers": 4, "mark": 0.75, "credit": 0.75}}
    assert progress["brier"] == 0
    assert progress["cards"] == 3  # a question from a real run is never the same again
    assert list(progress["lessons"]) == ["noise"]
    clock.now += 2 * DAY
    assert again.progress()["days"] == 0
    json.dumps(progress)


def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    code = """
import sys
from itertools import count
from pathlib import Path
from reverie.learn import questions, session, store
learning, question = store.Learning(Path(sys.argv[1])), questions.bank()[0]
for number in count(1):
    asked = question.model_copy(update={"id": f"q{number}"})
    learning.record(session.begin([asked], 0).answer(0))
    print(number, flush=True)
"""
    file = tmp_path / "learning.sqlite"
    child = subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for _ in range(5):
        told = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    told = max([told, *map(int, child.stdout.read().split())])
    child.wait(30)
    child.stdout.close()
    assert Learning(file).progress()["answers"] in (told, told + 1)
    assert Learning(file).progress()["cards"] == Learning(file).progress()["answers"]


def test_a_file_that_is_none_or_newer_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "a.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(ReverieError, match="move it away"):
        Learning(tmp_path / "a.sqlite")
    with sqlite3.connect(tmp_path / "b.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(ReverieError, match="update Reverie"):
        Learning(tmp_path / "b.sqlite")


# --- Anki ---


def test_a_deck_has_a_card_for_each_question_and_runs_no_script(tmp_path: Path) -> None:
    odd = example("choice").model_copy(update={"text": EVIL, "id": "odd"})
    anki.export([*BANK, odd], tmp_path / "deck.apkg")
    with zipfile.ZipFile(tmp_path / "deck.apkg") as deck:
        deck.extract("collection.anki2", tmp_path)
    with sqlite3.connect(tmp_path / "collection.anki2") as db:
        notes = [
            (fields.split("\x1f"), tags, guid)
            for fields, tags, guid in db.execute("SELECT flds, tags, guid FROM notes")
        ]
        assert db.execute("SELECT count(*) FROM cards").fetchone() == (len(BANK) + 1,)
    assert len({guid for _, _, guid in notes}) == len(notes)
    assert not any("<script" in field for fields, _, _ in notes for field in fields)
    front, back = notes[0][0]
    first = BANK[0]
    assert isinstance(first, Choice)
    assert first.text in front
    assert "<b>Self-attention</b>" in back
    assert "<b>Self-attention</b>" not in front
    assert "self-attention" in notes[0][1]
    assert all(any(isinstance(x, kind) for x in BANK) for kind in (Order, Match, Fill, Point))
