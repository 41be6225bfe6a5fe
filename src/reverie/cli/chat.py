"""A conversation in the terminal: what was said is remembered until it no longer fits the context."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reverie import tasks
from reverie.cli.feedback import Feedback, load, note
from reverie.cli.options import Sampling, spread
from reverie.cli.present import pieces, remark
from reverie.hub import files
from reverie.types import LMRequest, Message, ReverieError

if TYPE_CHECKING:
    from reverie.engine import Model

HELP = """\
/help          this list
/system TEXT   how the model should behave from now on; without TEXT: no such words
/retry         answer the last message again
/clear         forget the conversation
/save FILE     write the conversation to a file: Markdown, or JSON lines if it ends in .jsonl
/exit          leave (or Ctrl-D)
Ctrl-C stops an answer and keeps what there is of it."""


@spread
def chat(*, options: Sampling) -> None:
    """Talk with a model; /help lists what you can type."""
    settings = {**tasks.SETTINGS["chat"], **options.settings()}
    LMRequest("", **settings)  # a mistake in the settings shows now, before a model is fetched and loaded
    with Feedback() as feedback:
        model = load(options, feedback)
    if sys.stdin.isatty():
        note(f"{model.name}; /help lists what you can type, Ctrl-D leaves.")
    conversation = Conversation(model, settings, options.system)
    for line in typed():
        if not conversation.take(line):
            return


def typed() -> Iterator[str]:
    """What the person types, message by message: with history and editing at a terminal, else the lines of stdin."""
    if not sys.stdin.isatty():
        yield from sys.stdin
        return
    from prompt_toolkit import PromptSession
    from prompt_toolkit.output import create_output

    session: PromptSession[str] = PromptSession("> ", output=create_output(stdout=sys.stderr))
    while True:
        try:
            yield session.prompt()
        except KeyboardInterrupt:  # clears the line, as in a shell
            continue
        except EOFError:
            return


class Conversation:
    """The messages so far, and what each thing a person can type does to them."""

    def __init__(self, model: Model, settings: dict[str, Any], system: str | None) -> None:
        self.model = model
        self.settings = settings
        self.system = system
        self.turns: list[Message] = []
        self.saved: set[Path] = set()
        self.commands: dict[str, Callable[[str], None]] = {
            "/help": lambda _: print(HELP, file=sys.stderr),
            "/system": self.set_system,
            "/retry": self.retry,
            "/clear": self.clear,
            "/save": self.save,
        }

    @property
    def messages(self) -> list[Message]:
        """What the model reads: the system's words, then all turns."""
        return [*([] if self.system is None else [Message("system", self.system)]), *self.turns]

    def take(self, line: str) -> bool:
        """Does what a line asks for; False when the person wants to leave. A mistake is said, and the talk goes on."""
        line = line.strip()
        if line in ("/exit", "/quit"):
            return False
        try:
            if line.startswith("/"):
                self._command(line)
            elif line:
                self.answer(line)
        except ReverieError as error:
            note(f"Error: {error}")
        return True

    def _command(self, line: str) -> None:
        name, _, rest = line.partition(" ")
        if name not in self.commands:
            raise ReverieError(f"There is no {name}: /help lists what you can type.")
        self.commands[name](rest.strip())

    def answer(self, text: str) -> None:
        """Answers a message, and remembers both; neither, if the conversation no longer fits the context."""
        self.turns.append(Message("user", text))
        try:
            answer = self._stream()
        except ReverieError as error:
            self.turns.pop()
            raise ReverieError(f"{error} Or start afresh with /clear.") from error
        self.turns.append(Message("assistant", answer))

    def _stream(self) -> str:
        """The answer, as far as it came: Ctrl-C ends it and no more."""
        written: list[str] = []
        with Feedback() as feedback:
            try:
                with closing(self.model.generate(self.messages, **self.settings)) as generation:
                    for piece in pieces(generation, feedback):
                        feedback.clear()
                        written.append(piece)
                        print(piece, end="", flush=True)
            except KeyboardInterrupt:
                note("\n(stopped)")
            else:
                print(flush=True)
                remark(self.model, generation, feedback)
        return "".join(written)

    def set_system(self, text: str) -> None:
        """Sets the system's words, or takes them away."""
        self.system = text if text else None

    def retry(self, _: str) -> None:
        """Answers the last message again."""
        if not self.turns:
            raise ReverieError("There is nothing to answer again yet: type a message first.")
        before, self.turns = self.turns, self.turns[:-2]
        try:
            self.answer(before[-2].content)
        except ReverieError:
            self.turns = before
            raise

    def clear(self, _: str) -> None:
        """Forgets all turns; the system's words stay."""
        self.turns.clear()
        note("The conversation is forgotten.")

    def save(self, file: str) -> None:
        """Writes the conversation to a file."""
        if not file:
            raise ReverieError("Give a file: /save talk.md")
        if not self.turns:
            raise ReverieError("There is nothing to save yet: type a message first.")
        lines = _as_json_lines(self.messages) if file.endswith(".jsonl") else _as_markdown(self.messages)
        data = "".join(lines).encode(errors="replace")
        try:
            path = Path(file).expanduser()
            if path.exists() and path not in self.saved:
                raise ReverieError(f"{path} is there already: give another name.")
            if not path.parent.is_dir():
                raise ReverieError(f"There is no folder {path.parent}: make it first.")
            files.write(path, data)
            self.saved.add(path)
        except OSError as error:
            raise ReverieError(f"Cannot write {file}: {error.strerror}.") from error
        except (ValueError, RuntimeError) as error:  # no name (`.`), a NUL in it, the home folder of nobody
            raise ReverieError(f"Cannot write {file!r}: give the name of a file, as in /save talk.md.") from error
        note(f"Saved {len(self.messages)} messages to {path}.")


def _as_json_lines(messages: list[Message]) -> Iterator[str]:
    return (json.dumps(asdict(message), ensure_ascii=False) + "\n" for message in messages)


def _as_markdown(messages: list[Message]) -> Iterator[str]:
    return (f"**{message.role}**\n\n{message.content}\n\n" for message in messages)
