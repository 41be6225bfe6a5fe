"""A quiz at the keyboard: one question at a time, and all that is told after it."""

from __future__ import annotations

import base64
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from string import ascii_lowercase

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from reverie.learn import session as s
from reverie.learn.questions import Fill, Match, Order, Point, Show
from reverie.learn.session import Asked, Given, Marked, Session
from reverie.learn.store import Learning
from reverie.types import ReverieError

SURE, UNSURE = 0.95, 0.4  # what "!" and "?" after an answer stand for
DRAWN = {"denoising", "guidance", "noise", "parts", "samplers", "seeds", "steps", "walk", "words"}  # exhibits
WIDEST = 2  # times as wide as high, of a picture that blocks can show
HOW = {
    "choice": "a letter",
    "several": "letters, like a c",
    "order": "all letters in order, like c a b",
    "match": "for each number a letter, in order, like b a c",
    "number": "a number",
    "point": "row and column, like 2 3",
}
KEYS = "Enter h for a hint, s to skip, q to end; add ! if you are sure, ? if you guess."


class Sitting:
    """A session with a person at the keyboard."""

    def __init__(self, session: Session, learning: Learning) -> None:
        self.session, self.learning = session, learning
        self.console = Console(highlight=False, markup=False, emoji=False)

    def run(self) -> None:
        """Asks until all is answered or the person leaves; then the score."""
        num = len(self.session.asked)
        many = f"{num} question{'s' if num > 1 else ''}"
        self.console.print(Text(f"{many} (--seed {self.session.seed}). {KEYS}", "dim"))
        with closing(self.learning):
            while (asked := self.session.current) is not None:
                self._ask(asked)
                marked = self._answered(asked)
                if marked is None:
                    break
                self.learning.record(marked)
                self._tell(marked)
            self._score()

    def _ask(self, asked: Asked) -> None:
        q, number = asked.question, len(self.session.marked) + 1
        head = f"{number} of {len(self.session.asked)}  {q.topic}  {'●' * q.difficulty}{'○' * (3 - q.difficulty)}"
        self.console.print()
        self.console.rule(Text(head), align="left", style="dim")
        self.console.print(Text(q.text, "bold"))
        self._picture(q.picture)
        if isinstance(q, Point):
            self.console.print(grid(q))
        elif isinstance(q, Match):
            self.console.print(pairs(asked))
        elif not isinstance(q, Fill):
            for letter, place in zip(ascii_lowercase, asked.order, strict=False):
                self.console.print(Padding(Text(f"{letter})  {q.options[place].text}"), (0, 2)))
                self._picture(q.options[place].picture)

    def _answered(self, asked: Asked) -> Marked | None:
        """What the person answers; None if they leave."""
        for line in lines(self.console, how(asked)):
            try:
                if line == "q":
                    return None
                if line == "s":
                    return self.session.skip()
                if line == "h":
                    self.console.print(Text(f"Hint: {self.session.hint()}", "italic"))
                    continue
                given, sure = parse(asked, line)
                return self.session.answer(given, sure)
            except ReverieError as error:
                self.console.print(Text(str(error), "yellow"))
        return None

    def _tell(self, marked: Marked) -> None:
        """Whether it was right, why for every option, and where to see it."""
        q = marked.asked.question
        self.console.print(verdict(marked, self.session.streak))
        table = Table.grid(padding=(0, 1))
        for sign, style, name, why in explained(marked.asked):
            table.add_row(Text(sign, style), Text.assemble((name, "bold" if sign else ""), f"  {why}" if name else why))
        self.console.print(Padding(table, (0, 2)))
        self.console.print(Text(q.explanation))
        if q.exhibit is not None:
            self.console.print(Text(f"See it live: {command(q.exhibit)}", "cyan"))
        if q.source is not None:
            self.console.print(Text(f"More: {q.source.title}, {q.source.url}", "dim"))

    def _score(self) -> None:
        result = self.session.result()
        if not result["answered"]:
            return
        self.console.print()
        self.console.rule(Text("Your score"), align="left", style="dim")
        share = result["credit"] / result["answered"]
        self.console.print(
            Text(f"{result['right']} of {result['answered']} right; with hints and parts counted {share:.0%}.", "bold")
        )
        table = Table.grid(padding=(0, 2))
        for topic, score in result["topics"].items():
            full = round(10 * score["credit"] / score["answered"])
            table.add_row(topic, "█" * full + "░" * (10 - full), f"{score['right']} of {score['answered']}")
        self.console.print(table)
        for sentence in remarks(result, self.learning.progress()):
            self.console.print(Text(sentence))

    def _picture(self, url: str) -> None:
        if not url:
            return
        if not self.console.is_terminal:
            self.console.print(Text("    (a picture, which a terminal shows)", "dim"))
            return
        from reverie import media
        from reverie.cli.canvas import blocks

        picture = media.read_picture(base64.b64decode(url.partition(",")[2]))
        if picture.shape[1] > WIDEST * picture.shape[0]:
            return  # a score: too fine for blocks, and written out beside
        sys.stdout.write(blocks(picture).replace("\r", "") + "\n")
        sys.stdout.flush()


def lines(console: Console, what: str) -> Iterator[str]:
    """What the person types, line by line, until the input ends."""
    while True:
        console.print(Text(f"{what} > ", "green"), end="")
        sys.stdout.flush()
        line = sys.stdin.readline()
        if not line:
            console.print()
            return
        if line.strip():
            yield line.strip().casefold()


def how(asked: Asked) -> str:
    """How to answer this question."""
    q = asked.question
    if isinstance(q, Point) and s.several(q):
        return "rows and columns, like 1 2, 2 3"
    return f"{HOW[q.kind]} ({q.number.unit})" if isinstance(q, Fill) and q.number.unit else HOW[q.kind]


def parse(asked: Asked, line: str) -> tuple[Given, float | None]:
    """A line as an answer and how sure the person is."""
    sure = {"!": SURE, "?": UNSURE}.get(line[-1])
    line = line.rstrip("!?").strip()
    q = asked.question
    if isinstance(q, Fill):
        return _number(line), sure
    if isinstance(q, Point):
        return [_cell(part) for part in line.split(",")], sure
    letters = [letter for letter in line if not letter.isspace() and letter != ","]
    return [_place(letter) for letter in letters], sure


def _number(line: str) -> float:
    bare = line.replace("%", "").replace(" ", "").replace("_", "")
    if bare.count(",") == 1 and "." not in bare and len(bare.rpartition(",")[2]) != 3:
        bare = bare.replace(",", ".")  # a decimal comma; before three digits it groups thousands
    try:
        return float(bare.replace(",", ""))
    except ValueError as error:
        raise ReverieError("Write a number, such as 12.5.") from error


def _cell(part: str) -> list[int]:
    numbers = part.split()
    if len(numbers) != 2 or not all(number.isascii() and number.isdigit() for number in numbers):
        raise ReverieError("Write the number of the row and that of the column, such as 2 3.")
    return [int(number) - 1 for number in numbers]


def _place(letter: str) -> int:
    if letter not in ascii_lowercase:
        raise ReverieError("Write letters of options, such as a or a c.")
    return ascii_lowercase.index(letter)


def grid(q: Point) -> Table:
    """A table with numbers at its rows and columns."""
    marked = {(cell.row, cell.column) for cell in q.options}
    table = Table(show_lines=True)
    table.add_column("")
    for at, name in enumerate(q.grid.columns, 1):
        table.add_column(Text(f"{at} {name}"))
    for row, name in enumerate(q.grid.rows):
        texts = [""] * len(q.grid.columns) if q.grid.cells is None else q.grid.cells[row]
        cells = [Text(text if text else "·" if (row, at) in marked else "") for at, text in enumerate(texts)]
        table.add_row(Text(f"{row + 1} {name}"), *cells)
    return table


def pairs(asked: Asked) -> Table:
    """Things with numbers, and beside them, in another order, what belongs to them, with letters."""
    q = asked.question
    assert isinstance(q, Match)
    table = Table.grid(padding=(0, 3))
    rows = zip(ascii_lowercase, asked.order, asked.matches, strict=False)
    for number, (letter, left, right) in enumerate(rows, 1):
        table.add_row(Text(f"{number}  {q.options[left].text}"), Text(f"{letter})  {q.options[right].match}"))
    return table


def verdict(marked: Marked, streak: int) -> Text:
    """Right, in part, or not."""
    if marked.is_right:
        cost = f" (counts {marked.credit:.0%}, as you took hints)" if marked.num_hints else ""
        return Text(f"Right{cost}." + (f" {streak} in a row." if streak > 2 else ""), "bold green")
    return Text(f"In part: {marked.mark:.0%}." if marked.mark else "Not this time.", "bold red")


def explained(asked: Asked) -> list[tuple[str, str, str, str]]:
    """For every option: a sign, its colour, its name, and why."""
    q = asked.question
    if isinstance(q, Fill):
        return [("=", "green", f"{q.number.value:,.6g} {q.number.unit}".strip(), q.number.steps)]
    if isinstance(q, Order):
        return [(f"{number}.", "green", o.text, o.why) for number, o in enumerate(q.options, 1)]
    if isinstance(q, Match):
        return [("=", "green", f"{o.text}: {o.match}.", o.why) for o in q.options]
    if isinstance(q, Point):
        return [_judged(f"row {o.row + 1}, column {o.column + 1}.", o.right, o.why) for o in q.options]
    letters = dict(zip(asked.order, ascii_lowercase, strict=False))
    return [
        _judged(f"{letters[at]}) {q.options[at].text}.", q.options[at].right, q.options[at].why) for at in asked.order
    ]


def _judged(name: str, right: bool, why: str) -> tuple[str, str, str, str]:
    return ("✓" if right else "✗", "green" if right else "red", name, why)


def command(show: Show) -> str:
    """The command that shows an exhibit."""
    options = [f"--option {name}={shlex.quote(str(value))}" for name, value in show.options.items()]
    image = ["--image"] if show.name in DRAWN else ["-m tunes"] if show.name.startswith("music-") else []
    return " ".join(["reverie explain", *image, shlex.quote(show.prompt), f"--exhibit {show.name}", *options])


def remarks(result: dict[str, object], progress: dict[str, object]) -> Sequence[str]:
    """What else there is to say at the end."""
    said = []
    brier, days, due = result["brier"], progress["days"], progress["next_due"]
    if isinstance(brier, float):
        said.append(f"Sureness: {brier:.2f} (0: you know what you know; 0.25: as a coin).")
    if result["mistakes"]:
        said.append("`reverie quiz --review` asks again what was not right.")
    if isinstance(days, int) and days > 1:
        said.append(f"You have been learning {days} days in a row.")
    if isinstance(due, float):
        said.append(f"The next repetition is due on {datetime.fromtimestamp(due):%d %B, %H:%M}.")
    return said
