"""serve, studio: Reverie over HTTP, for programs and for the browser."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from reverie.cli.feedback import Feedback, note, prepare
from reverie.cli.options import Offline, spread
from reverie.types import ReverieError

if TYPE_CHECKING:
    from reverie.serve.security import Settings

KEY = "REVERIE_API_KEY"
PORT = 8321


@dataclass(frozen=True)
class ServeOptions:
    """Options of `serve` and `studio`."""

    host: Annotated[str, typer.Option(help="Where to listen; elsewhere than here a key is needed.")] = "127.0.0.1"
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = PORT
    api_key: Annotated[
        str | None, typer.Option(metavar="KEY", help=f"What requests must carry; better given as ${KEY}.")
    ] = None
    allow_origin: Annotated[
        list[str] | None, typer.Option(metavar="ORIGIN", help="A site whose pages may ask too (repeatable).")
    ] = None
    log_prompts: Annotated[bool, typer.Option("--log-prompts", help="Write what is asked for into the log.")] = False
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", help="A model's name or folder to serve (repeatable).")
    ] = None
    offline: Offline = False


@spread
def serve(*, options: ServeOptions) -> None:
    """Serve the API: /v1 as OpenAI's clients speak it, /api, and the studio's page."""
    _run(options, browser=False)


@spread
def studio(*, options: ServeOptions) -> None:
    """Serve the same and open the studio in the browser."""
    _run(options, browser=True)


def _run(options: ServeOptions, *, browser: bool) -> None:
    """Runs the server until it is told to end."""
    prepare()
    with Feedback() as feedback:
        feedback.status("Starting")
        settings = _settings(options, feedback)
        from reverie.serve.running import lent, run  # torch, too: some seconds

        with lent(settings, offline=options.offline) as app:
            feedback.clear()
            run(app, settings, lambda address: _ready(address, browser=browser))


def _settings(options: ServeOptions, feedback: Feedback) -> Settings:
    from reverie.serve.security import Settings

    key = os.environ.get(KEY) if options.api_key is None else options.api_key
    origins = () if options.allow_origin is None else tuple(options.allow_origin)
    names = [] if options.model is None else options.model
    return Settings(
        options.host, options.port, key if key else None, origins, options.log_prompts,  # an empty key is none
        served=dict(_served(name, options.offline, feedback) for name in names),
    )  # fmt: skip


def _served(name: str, offline: bool, feedback: Feedback) -> tuple[str, str]:
    """The name by which requests know a model, and what it is to the engine; fetched if it is not here."""
    from reverie.hub.catalogue import entry
    from reverie.hub.paths import shown_name
    from reverie.hub.sources import fetch, local

    path = local(name)
    if path is None:
        fetch(entry(name), offline=offline, progress=feedback.progress)
        return name, name
    return shown_name(str(path.absolute())), str(path.absolute())


def _ready(address: str, *, browser: bool) -> None:
    """Says where the server is, and shows it."""
    note(f"Reverie is at {address} (Ctrl-C ends it).")
    if not browser:
        return
    import webbrowser

    if not webbrowser.open(address):
        raise ReverieError(f"No browser could be opened: open {address} yourself.")
