"""What draw and animate have in common: options, what is asked for, and the names of files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from reverie.cli.feedback import note, note_made
from reverie.cli.options import Offline, piped, read_as
from reverie.hub import files
from reverie.hub.paths import shown_name

if TYPE_CHECKING:
    from reverie.engine import Model
    from reverie.media import Picture

ImageFile = Annotated[Path | None, typer.Option(metavar="IMAGE", help="Begin from this picture.")]


@dataclass(frozen=True)
class Denoising:
    """Options of the commands that turn noise into something to see. None: what suits best."""

    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")] = None
    model: Annotated[str | None, typer.Option("--model", "-m", help="A model's name or folder.")] = None
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same result.")] = None
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=64, help="How many to make.")] = 1
    steps: Annotated[int | None, typer.Option(help="How often the model looks, as a rule 20.")] = None
    guidance: Annotated[float | None, typer.Option(help="How closely to follow the prompt; 1: as it comes.")] = None
    sampler: Annotated[str | None, typer.Option(help="euler, heun, dpmpp_2m or ancestral.")] = None
    negative: Annotated[str | None, typer.Option(metavar="PROMPT", help="What not to show.")] = None
    size_px: Annotated[int | None, typer.Option("--size", metavar="PIXELS", help="Width and height.")] = None
    preview: Annotated[bool | None, typer.Option("--preview/--no-preview", help="Watch it here as it comes.")] = None
    again: Annotated[Path | None, typer.Option(metavar="FILE", help="Prompt and settings of this file.")] = None
    offline: Offline = False

    def given(self, *more: str) -> dict[str, Any]:
        """What the person set of these options, and of the `more` ones."""
        names = ("seed", "steps", "guidance", "sampler", "negative", "size_px", *more)
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def settings(self) -> dict[str, Any]:
        """What the person set, as fields of a request."""
        return self.given()


Options = TypeVar("Options", bound=Denoising)
Made = list[tuple[int, list[Path]]]  # seeds, and the files that were written with each
Told = tuple[Mapping[str, Any], str, dict[str, Any]]  # a record, and the prompt and the settings in it


def asked(
    prompt: str | None, options: Options, recall: Callable[[bytes, Options, dict[str, Any]], Told]
) -> tuple[str, dict[str, Any], str | None]:
    """Prompt, settings and model's name: those of the file to repeat, unless others are given.

    recall(data, options, settings): what that file tells; a `ReverieError` if it was made from other pictures.
    """
    settings, name = options.settings(), options.model
    if options.again is not None:
        from reverie import records

        record, told, told_settings = read_as(options.again, lambda data: recall(data, options, settings))
        settings = told_settings | settings
        prompt, name = told if prompt is None else prompt, records.model_of(record) if name is None else name
    prompt = piped() if prompt is None else prompt
    if prompt is None or not prompt.strip():
        raise typer.BadParameter("give at least one word, or pipe it in", param_hint="PROMPT")
    return prompt.strip(), settings, name


def note_size(model: Model, size_px: int | None) -> None:
    """Says so where a size is asked for that the model has not learnt."""
    learnt = model.medium.size_px
    if size_px not in (None, learnt):
        note(f"{shown_name(model.name)} has learnt to work at {learnt} x {learnt} pixels: at another size it is worse.")


def read_image(file: Path) -> Picture:
    """The picture in a file."""
    from reverie.media import read_picture

    return read_as(file, read_picture)


def named(output: Path | None, prompt: str, seed: int, suffix: str) -> Path:
    """The file that was named, or one after the prompt and the seed."""
    return Path(f"{slug(prompt)}-{seed}{suffix}") if output is None else output


def numbered(file: Path, number: int, of: int) -> Path:
    """name.png -> name-1.png, name-2.png, ... if there are several."""
    return file if of == 1 else file.with_stem(f"{file.stem}-{number + 1}")


def slug(prompt: str) -> str:
    """A prompt as a file name."""
    words = re.findall(r"[^\W_]+", prompt.lower())
    return "-".join(words)[:60].strip("-") if words else "picture"


def write(file: Path, data: bytes) -> Path:
    """Writes a file, and gives its name back."""
    files.write(file, data)
    return file


def tell(prompt: str, made: Made) -> None:
    """Says what was made: the files on stdout, and on stderr the seed of each."""
    for seed, written in made:
        note_made(prompt, seed)
        for file in written:
            print(file)
