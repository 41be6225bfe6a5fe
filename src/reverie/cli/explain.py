"""explain: what a model sees, in the terminal, as JSON, or as one HTML file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reverie.cli.draw import load_drawing
from reverie.cli.feedback import Feedback, load_named, note, prepare
from reverie.cli.options import Json, Offline, piped, read_bytes, spread
from reverie.hub import files
from reverie.types import ReverieError

if TYPE_CHECKING:
    from reverie.engine import Model
    from reverie.explain import Exhibit

# What is shown when no exhibit is asked for, in the order in which one thing builds on the other.
TOURS = {
    "lm": ("tokens", "surprise", "attention", "heads", "layers", "sampling"),
    "diffusion": ("noise", "denoising", "words", "guidance"),
    "music": ("music-next", "music-attention", "music-surprise"),  # before what is of all models that write
    "video": ("video-denoising", "video-together", "video-attention", "video-given"),
}
PRONOUNS = {"it", "he", "she", "they", "him", "her", "them", "his", "its", "their"}
READERS_PX = 512  # what a reader's own picture is brought to

PromptArgument = Annotated[
    str | None, typer.Argument(metavar="PROMPT", help="What the model is to read, draw or animate.")
]
Names = Annotated[
    list[str] | None, typer.Option("--exhibit", "-e", metavar="NAME", help="Show this exhibit (repeatable).")
]
Pairs = Annotated[
    list[str] | None, typer.Option("--option", metavar="NAME=VALUE", help="An option of the exhibits (repeatable).")
]


@dataclass(frozen=True)
class ExplainOptions:
    """Options of `explain`. None: what suits best."""

    image: Annotated[bool, typer.Option("--image", help="Look into the model that draws.")] = False
    exhibit: Names = None
    everything: Annotated[bool, typer.Option("--all", help="Show all exhibits that the model has.")] = False
    show_list: Annotated[bool, typer.Option("--list", help="List the exhibits and their options, and end.")] = False
    json: Json = False
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write an HTML file that opens offline.")
    ] = None
    model: Annotated[str | None, typer.Option("--model", "-m", help="A model's name, folder or file.")] = None
    layer: Annotated[int | None, typer.Option(help="A layer, counted from 0.")] = None
    head: Annotated[int | None, typer.Option(help="A head of attention, counted from 0.")] = None
    picture: Annotated[Path | None, typer.Option(metavar="IMAGE", help="A picture of your own for noise.")] = None
    option: Pairs = None
    offline: Offline = False

    def given(self) -> dict[str, Any]:
        """What the person set, as options of exhibits."""
        chosen = {name: getattr(self, name) for name in ("layer", "head") if getattr(self, name) is not None}
        for pair in self.option if self.option is not None else []:
            name, equals, value = pair.partition("=")
            if not equals:
                raise typer.BadParameter(f"write it as {name}=VALUE", param_hint="--option")
            chosen[name.strip()] = value
        return chosen


@spread
def explain(prompt: PromptArgument = None, *, options: ExplainOptions) -> None:
    """Look inside a model while it reads a text, or while it draws."""
    if options.show_list:
        list_exhibits()
        return
    if options.output is not None and options.output.suffix.lower() not in (".html", ".htm"):
        raise typer.BadParameter(f"a report is HTML: name it {options.output.stem}.html", param_hint="--output")
    prompt = piped() if prompt is None else prompt
    if prompt is None or not prompt.strip():
        raise typer.BadParameter("give one, or pipe it in", param_hint="PROMPT")
    given = options.given()
    with Feedback() as feedback:
        name = model_name(options)
        load = load_drawing if options.image and name == options.model else load_named
        model = load(name, options.offline, feedback)
        made = look(model, prompt, options, given, feedback)
    present(made, options)


def model_name(options: ExplainOptions) -> str | None:
    """The model that was named, or else the one that the first exhibit is made for; None: the default one."""
    if options.model is not None or not options.exhibit:
        return options.model
    prepare()
    from reverie.explain import about
    from reverie.hub.catalogue import default_name

    maker = about(options.exhibit[0])
    medium = "image" if maker.medium is None and maker.family == "diffusion" else maker.medium
    return None if medium is None else default_name(medium)


def look(
    model: Model, prompt: str, options: ExplainOptions, given: dict[str, Any], feedback: Feedback
) -> list[Exhibit]:
    """The exhibits that were asked for, or those of the tour. Each gets those of the options that it knows."""
    from reverie.explain import about, exhibit

    if options.picture is not None:
        given = {**given, "picture": own_picture(options.picture)}
    names = chosen(model, options)
    if not options.exhibit and "query" not in given and (place := pronoun(model, prompt)) is not None:
        given = {**given, "query": place}
    for option in given:
        if not any(option in about(name).options for name in names):
            raise ReverieError(
                f"None of {', '.join(names)} has an option {option[:80]!r}: see `reverie explain --list`."
            )
    made = []
    for number, name in enumerate(names, 1):
        feedback.status(f"{about(name).title} ({number} of {len(names)})")
        own = {option: value for option, value in given.items() if option in about(name).options}
        try:
            made.append(exhibit(name, model, prompt, **own))
        except ReverieError as error:
            if not options.everything:
                raise
            feedback.clear()
            note(f"{name} is left out: {error}")
    return made


def chosen(model: Model, options: ExplainOptions) -> Sequence[str]:
    """The names of the exhibits to show."""
    from reverie.explain import exhibits
    from reverie.explain.exhibit import family

    if options.exhibit:
        return options.exhibit
    there, tour = exhibits(model), TOURS[family(model)]
    if TOURS["music"][0] in there:
        tour = ("tokens", *TOURS["music"])
    if TOURS["video"][0] in there:
        tour = TOURS["video"]
    return [*tour, *sorted(set(there) - set(tour))] if options.everything else tour


def pronoun(model: Model, prompt: str) -> int | None:
    """The place of the first word that stands for another: who looks at whom is seen best there."""
    from reverie.explain.exhibit import family
    from reverie.explain.reading import read

    if family(model) != "lm":
        return None
    texts = read(model, prompt).texts
    return next((at for at, text in enumerate(texts) if at > 1 and text.strip().lower() in PRONOUNS), None)


def own_picture(file: Path) -> str:
    """A reader's picture, its middle square, as a data URL."""
    from base64 import b64encode

    from reverie.media import fit, read_picture, to_png

    data = to_png(fit(read_picture(read_bytes(file)), READERS_PX))
    return f"data:image/png;base64,{b64encode(data).decode()}"


def present(made: Sequence[Exhibit], options: ExplainOptions) -> None:
    """Prints the exhibits, or writes them to a file and says where it is."""
    if options.output is not None:
        from reverie.cli.report import report

        files.write(options.output, report(made))
        print(options.output)
    elif options.json:
        print(json.dumps({"exhibits": [json.loads(each.json()) for each in made]}, ensure_ascii=False))
    else:
        from rich.console import Console

        from reverie.cli.exhibits import show

        console = Console()
        for each in made:
            show(console, each)


def list_exhibits() -> None:
    """Prints the names of all exhibits, what each answers, and its options."""
    from reverie.explain import about, exhibits

    kinds = (
        ("lm", None, "of models that write"),
        ("lm", "music", "of models that compose (-m tunes)"),
        ("diffusion", None, "of models that draw (--image)"),
        ("diffusion", "video", "of models that animate (-m motion)"),
    )
    for kind, medium, what in kinds:
        print(f"Exhibits {what}:")
        for name in exhibits():
            maker = about(name)
            if maker.medium == medium and maker.family in (kind, "both"):
                print(f"  {name:<12} {maker.question}")
                if maker.options:
                    told = (name if value in (None, "") else f"{name}={value}" for name, value in maker.options.items())
                    print(f"  {'':<12}   options: {'  '.join(told)}")
