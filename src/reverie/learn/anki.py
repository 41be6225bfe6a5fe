"""Questions as a deck of cards for Anki."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import genanki  # type: ignore[import-untyped]

from reverie.hub import files
from reverie.learn.questions import Choice, Fill, Match, Order, Point, Question, Several

MODEL_ID, DECK_ID = 1_845_022_611, 1_845_022_612  # fixed, so that a deck exported again updates the one there
STYLE = ".card { font-family: sans-serif; font-size: 18px; text-align: left } .right { font-weight: bold }"


def export(questions: Sequence[Question], path: Path) -> None:
    """Writes a deck (.apkg): on the front a question and its options, on the back the answer and every why."""
    deck = genanki.Deck(DECK_ID, "Reverie: test your knowledge")
    for question in questions:
        fields = [_front(question), _back(question)]
        tags = [question.topic, f"difficulty-{question.difficulty}"]
        deck.add_note(genanki.Note(_model(), fields, tags=tags, guid=genanki.guid_for("reverie", question.id)))
    with files.atomic_path(path) as part:
        genanki.Package(deck).write_to_file(str(part))


def _model() -> genanki.Model:
    sides = {"name": "Card", "qfmt": "{{Question}}", "afmt": "{{FrontSide}}<hr id=answer>{{Answer}}"}
    return genanki.Model(
        MODEL_ID, "Reverie question", fields=[{"name": "Question"}, {"name": "Answer"}], templates=[sides], css=STYLE
    )


def _front(question: Question) -> str:
    text = f"<p>{escape(question.text)}</p>{_picture(question.picture)}"
    if isinstance(question, Fill):
        return text
    if isinstance(question, Point):
        return text + _table(question)
    if isinstance(question, Match):
        matches = sorted(option.match for option in question.options)  # any order but that of the answer
        return text + _list([escape(option.text) for option in question.options]) + _list(list(map(escape, matches)))
    options = [escape(option.text) + _picture(option.picture) for option in question.options]
    return text + _list(sorted(options) if isinstance(question, Order) else options)


def _back(question: Question) -> str:
    if isinstance(question, Fill):
        number = question.number
        told = f"<p class=right>{number.value:g} {escape(number.unit)}</p><p>{escape(number.steps)}</p>"
    else:
        told = _list(_whys(question))
    source = question.source
    more = f'<p><a href="{escape(source.url)}">{escape(source.title)}</a></p>' if source is not None else ""
    return f"{told}<p>{escape(question.explanation)}</p>{more}"


def _whys(question: Choice | Several | Order | Match | Point) -> list[str]:
    """Each option with its why, what is right in bold; steps in their order, pairs together."""
    if isinstance(question, Match):
        return [f"<b>{escape(o.text)}: {escape(o.match)}</b>. {escape(o.why)}" for o in question.options]
    if isinstance(question, Order):
        return [f"<b>{escape(o.text)}</b>. {escape(o.why)}" for o in question.options]
    if isinstance(question, Point):
        rows, columns = question.grid.rows, question.grid.columns
        cells = [(f"{rows[cell.row]} / {columns[cell.column]}", cell) for cell in question.options]
        return [_judged(name, cell.right, cell.why) for name, cell in cells]
    return [_judged(option.text, option.right, option.why) for option in question.options]


def _judged(name: str, right: bool, why: str) -> str:
    told = escape(name)
    return f"{f'<b>{told}</b>' if right else told}. {escape(why)}"


def _table(question: Point) -> str:
    grid = question.grid
    cells = [[""] * len(grid.columns) for _ in grid.rows] if grid.cells is None else grid.cells
    head = "".join(f"<th>{escape(column)}</th>" for column in ["", *grid.columns])
    rows = [
        f"<tr><th>{escape(name)}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
        for name, row in zip(grid.rows, cells, strict=True)
    ]
    return f"<table border=1><tr>{head}</tr>{''.join(rows)}</table>"


def _list(items: Sequence[str]) -> str:
    return f"<ol type=A>{''.join(f'<li>{item}</li>' for item in items)}</ol>"


def _picture(url: str) -> str:
    return f'<br><img src="{escape(url)}">' if url else ""
