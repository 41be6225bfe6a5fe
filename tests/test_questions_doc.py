"""The example of docs/questions.md is a file that can be asked from, with a question of each kind."""

from __future__ import annotations

import re
from pathlib import Path

from reverie.learn import questions as q

DOC = Path(__file__).parents[1] / "docs" / "questions.md"


def test_the_example_for_teachers_has_every_kind_of_question_but_one_that_it_names() -> None:
    text = DOC.read_text(encoding="utf-8")
    found = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert found is not None
    example = found[1]
    kinds = {question.kind for question in q.parse(example.encode(), "example.toml")}
    assert kinds == {question.kind for question in q.bank()} - {"several"}
    several = example.replace('"choice" ', '"several" ').replace("right = false", "right = true", 1)
    assert "several" in {question.kind for question in q.parse(several.encode(), "example.toml")}
