"""The quiz over HTTP: a whole one, live questions too; nothing of an answer is in the traffic before it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from reverie import engine
from reverie.learn import live_text, marking, session
from reverie.learn import questions as q
from reverie.serve import errors, quiz
from reverie.serve.errors import Refused
from test_quiz_live import TINY_PROMPTS, TINY_SENTENCES, fond_of_words

BANK = {question.id: question for question in q.bank()}


class OneModel:
    """A worker and the list of models, with one that writes."""

    def __init__(self, model: engine.Model) -> None:
        self.model = model

    def default(self, medium: str) -> str:
        if medium != "text":
            raise Refused(409, "No model for image is here.")
        return "tiny"

    def resolve(self, name: str) -> str:
        return name

    async def call(self, _: str, function: Any) -> Any:
        return function(self.model)

    def beat(self) -> None: ...


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> OneModel:
    return OneModel(fond_of_words(tmp_path_factory.mktemp("writer"), 2))


@pytest.fixture
def api(parts: OneModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(live_text, "PROMPTS", TINY_PROMPTS)
    monkeypatch.setattr(live_text, "SENTENCES", TINY_SENTENCES)
    app = FastAPI()
    app.state.quizzes, app.state.models, app.state.worker = quiz.Quizzes(tmp_path), parts, parts
    app.include_router(quiz.router)
    errors.explain_errors(app)
    with TestClient(app) as client:
        yield client


def begun(api: TestClient, **wanted: Any) -> Any:
    response = api.post("/api/quiz", json=wanted)
    assert response.status_code == 201, response.text
    return response.json()


def answer(api: TestClient, view: Any, given: Any, sure: float | None = None) -> Any:
    body = {"question": view["question"]["id"], "answer": given, "sure": sure}
    response = api.post(f"/api/quiz/{view['id']}/answer", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def right_answer(shown: Any, seed: int) -> Any:
    """By the bank, which the studio does not have."""
    asked = session.ask(BANK[shown["id"]], seed)
    told = asked.tell(marking.right_answer(asked.question))
    return told[0] if shown["kind"] == "choice" else told


def test_a_whole_quiz_is_answered_and_remembered(api: TestClient) -> None:
    view = begun(api, num=20, seed=4)
    while view["question"] is not None:
        right = right_answer(view["question"], 4)
        reply = answer(api, view, right, sure=1.0)
        assert reply["feedback"]["right"]
        assert reply["feedback"]["answer"] == reply["feedback"]["right_answer"]
        assert len(reply["feedback"]["whys"]) >= 1
        view = reply["next"]
        assert api.get(f"/api/quiz/{view['id']}").json() == view
    assert (view["result"]["right"], view["result"]["best_streak"], view["result"]["brier"]) == (20, 20, 0)
    progress = api.get("/api/quiz").json()["progress"]
    assert (progress["answers"], progress["cards"], progress["days"]) == (20, 20, 1)


def test_nothing_of_the_answer_is_sent_before_it(api: TestClient) -> None:
    for topic in q.topics(q.bank()):
        response = api.post("/api/quiz", json={"topic": topic, "num": 50, "seed": 1})
        shown = response.json()["question"]
        question = BANK[shown["id"]]
        asked = session.ask(question, 1)
        for secret in (*asked.whys(), *question.hints, question.explanation):
            assert json.dumps(secret)[1:-1] not in response.text
            assert secret not in response.text
        assert "why" not in response.text
        assert '"right":' not in json.dumps(shown)


def test_hints_come_one_by_one_and_cost(api: TestClient) -> None:
    view = begun(api, topic="noise", seed=2)
    shown = view["question"]
    hints = BANK[shown["id"]].hints
    for number in range(1, len(hints) + 1):
        view = api.post(f"/api/quiz/{view['id']}/hint").json()
        assert view["hints"] == hints[:number]
    assert "no more hints" in api.post(f"/api/quiz/{view['id']}/hint").json()["error"]["message"]
    feedback = answer(api, view, right_answer(shown, 2))["feedback"]
    assert feedback["mark"] == 1
    assert feedback["credit"] == 1 - len(hints) / 4


def test_an_answer_counts_once_and_what_is_none_is_refused(api: TestClient) -> None:
    view = begun(api, num=2, seed=3)
    name, path = view["question"]["id"], f"/api/quiz/{view['id']}/answer"
    for bad in (True, "a", {"a": 1}, [[1]], [[1, 2, 3]], 99, [0] * 500, 1e999):
        response = api.post(path, content=json.dumps({"question": name, "answer": bad}).encode())
        assert response.status_code in (400, 422), bad
        assert api.get(f"/api/quiz/{view['id']}").json() == view
    answer(api, view, None)
    again = api.post(path, json={"question": name, "answer": None})
    assert again.status_code == 409
    assert api.get("/api/quiz/nothing").status_code == 404
    assert api.post("/api/quiz", json={"topic": "x"}).status_code == 400
    assert api.post("/api/quiz", json={"topic": "noise", "review": True}).status_code == 400
    assert "question" in api.post("/api/quiz", json={"questions": "a = 3"}).json()["error"]["message"]


def test_a_lesson_has_a_test_before_and_after_and_is_remembered_as_read(api: TestClient) -> None:
    before, after = (begun(api, lesson="noise", when=when, seed=1) for when in ("before", "after"))
    assert before["question"]["lesson"] == after["question"]["lesson"] == "noise"
    assert before["question"]["id"] != after["question"]["id"]
    assert api.put("/api/quiz/read/noise").status_code == 204
    assert list(api.get("/api/quiz").json()["progress"]["lessons"]) == ["noise"]
    assert api.put("/api/quiz/read/none").status_code == 400


def test_mistakes_are_asked_again(api: TestClient) -> None:
    assert api.post("/api/quiz", json={"review": True}).status_code == 400  # nothing yet, which is said
    view = begun(api, num=3, seed=5)
    answer(api, view, None)
    again = begun(api, review=True)
    assert again["question"]["id"] == view["question"]["id"]
    assert again["result"]["questions"] == 1


def test_questions_from_real_runs_are_among_the_others(api: TestClient) -> None:
    view = begun(api, num=9, seed=6, live=True)
    names = []
    while view["question"] is not None:
        names.append(view["question"]["id"])
        view = answer(api, view, None)["next"]
    assert len(names) == 9
    assert 1 <= sum(name.startswith("live-") for name in names) <= 3
    assert api.get("/api/quiz").json()["progress"]["cards"] == 9 - sum(name.startswith("live-") for name in names)


def test_a_teachers_file_is_asked_and_only_so_many_quizzes_are_kept(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quiz, "MOST_SESSIONS", 2)
    file = """
    [[question]]
    id = "own"
    kind = "number"
    topic = "own"
    text = "1 + 1?"
    explanation = "So."
    [question.number]
    value = 2.0
    steps = "Count."
    """
    views = [begun(api, questions=file) for _ in range(3)]
    assert answer(api, views[2], 2)["feedback"]["right"]
    assert api.get(f"/api/quiz/{views[0]['id']}").status_code == 404


def test_the_deck_is_a_file_for_anki(api: TestClient) -> None:
    response = api.get("/api/quiz/deck", params={"topic": "noise"})
    assert response.content[:2] == b"PK"
    assert "attachment" in response.headers["content-disposition"]
