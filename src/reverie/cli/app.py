"""The commands, and what becomes of an error in any of them."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from reverie.cli import (
    animate,
    chat,
    compose,
    data,
    doctor,
    draw,
    evaluate,
    explain,
    learn,
    models,
    quiz,
    serve,
    text,
    train,
    tune,
    verify,
    version,
)
from reverie.types import ReverieError

SIGPIPE_STATUS, SIGINT_STATUS = 128 + 13, 128 + 2  # what a shell reports for a program that these signals ended


class Commands(TyperGroup):
    """A group of commands in which an error is one sentence on stderr and an exit status, never a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command that was asked for."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever reads has seen enough (`| head`): not an error, and nothing more to write
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(SIGPIPE_STATUS) from None
        except KeyboardInterrupt:
            print(file=sys.stderr)
            raise typer.Exit(SIGINT_STATUS) from None
        except ReverieError as error:
            raise _failed(str(error)) from None
        except OSError as error:
            where = "The output" if error.filename is None else error.filename
            raise _failed(f"{where} cannot be used ({error.strerror}): check the path and the disk.") from None
        except Exception as error:
            is_usage = type(error).__module__.startswith(("typer", "click"))  # typer shows its own
            if is_usage or os.environ.get("REVERIE_DEBUG"):
                raise
            what = f"{type(error).__name__}: {error}".splitlines()[0]
            raise _failed(f"{what} (run with REVERIE_DEBUG=1 for the traceback)") from None
        return result


def _failed(sentence: str) -> typer.Exit:
    print(f"Error: {sentence}", file=sys.stderr)
    return typer.Exit(1)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"reverie {version()}")
        raise typer.Exit


@app.callback()
def main(
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Make new things from a prompt, with models you can train and see through."""
    if offline:
        os.environ["REVERIE_OFFLINE"] = "1"  # as if the person had set it: read where models are fetched


app.command("write")(text.write)
app.command("code")(text.code)
app.command("ask")(text.ask)
app.command("summarize")(text.summarize)
app.command("chat")(chat.chat)
app.command("draw")(draw.draw)
app.command("compose")(compose.compose)
app.command("animate")(animate.animate)
app.command("verify")(verify.verify)
app.command("explain")(explain.explain)
app.command("learn")(learn.learn)
app.command("quiz")(quiz.quiz)
app.add_typer(models.app, name="models")
app.add_typer(data.app, name="data")
app.command("train")(train.train)
app.command("tune")(tune.tune)
app.add_typer(evaluate.app, name="eval")
app.command("serve")(serve.serve)
app.command("studio")(serve.studio)
app.command("doctor")(doctor.doctor)
