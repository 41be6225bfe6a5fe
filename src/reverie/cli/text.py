"""write, code, ask, summarize: one text from a prompt, a file or stdin."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from reverie import tasks
from reverie.cli.feedback import Feedback, load
from reverie.cli.options import TextOptions, piped, read_prompt, read_text, spread
from reverie.cli.present import present, present_code
from reverie.types import LMRequest, Message

PromptArgument = Annotated[str | None, typer.Argument(metavar="PROMPT", help="What to make; also from stdin.")]


@spread
def write(
    prompt: PromptArgument = None,
    raw: Annotated[bool, typer.Option("--raw", help="Continue the text as it stands: no chat template.")] = False,
    *,
    options: TextOptions,
) -> None:
    """Write a text: a story, a letter, a poem."""
    words = read_prompt(prompt)
    if raw and options.system is not None:
        raise typer.BadParameter("a text that is continued as it stands has no system prompt", param_hint="--system")
    _answer("write", words if raw else tasks.conversation(words, options.system), options)


@spread
def code(prompt: PromptArgument = None, *, options: TextOptions) -> None:
    """Write code; into a file or a pipe, only the code."""
    _answer("code", tasks.conversation(read_prompt(prompt), options.system), options)


@spread
def ask(
    question: Annotated[str | None, typer.Argument(metavar="QUESTION", help="The question; also from stdin.")] = None,
    context: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Answer from this file (-: stdin); or pipe a text in.")
    ] = None,
    *,
    options: TextOptions,
) -> None:
    """Ask a question, about a text if you give one."""
    text = None if context is None else read_text(context)
    if question is None:
        question = read_prompt(None, "QUESTION")
    elif context is None:
        text = piped()
    _answer("ask", tasks.ask(question, text, options.system), options)


@spread
def summarize(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="A text file, or - for stdin.")] = None,
    *,
    options: TextOptions,
) -> None:
    """Summarize a text of any length."""
    text = read_prompt(None, "FILE") if file is None else read_text(file)
    LMRequest(tasks.summary(text, options.system), **options.settings())  # mistakes show before a model is loaded
    with Feedback() as feedback:
        model = load(options, feedback)
        summary = tasks.summarize(model, text, options.system, **options.settings())
        present(model, summary, options, feedback)


def _answer(task: str, prompt: str | Sequence[Message], options: TextOptions) -> None:
    settings: dict[str, Any] = {**tasks.SETTINGS[task], **options.settings()}
    LMRequest(prompt, **settings)  # a mistake in the settings shows now, before a model is fetched and loaded
    with Feedback() as feedback:
        model = load(options, feedback)
        generation = model.generate(prompt, **settings)
        if task == "code" and not options.json and not sys.stdout.isatty():
            present_code(model, generation, feedback)
        else:
            present(model, generation, options, feedback)
