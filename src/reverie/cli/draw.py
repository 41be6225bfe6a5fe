"""draw: a picture from a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reverie.cli.canvas import Canvas
from reverie.cli.feedback import Feedback, load_for
from reverie.cli.making import (
    Denoising,
    ImageFile,
    Made,
    Told,
    asked,
    named,
    note_size,
    numbered,
    read_image,
    tell,
    write,
)
from reverie.cli.options import spread
from reverie.types import ImageRequest, Step

if TYPE_CHECKING:
    import numpy as np

    from reverie.engine import Model
    from reverie.media import Picture

STRIP = 8  # pictures in a film that is one PNG

PromptArgument = Annotated[str | None, typer.Argument(metavar="PROMPT", help="What to draw; also from stdin.")]
MaskFile = Annotated[
    Path | None, typer.Option(metavar="IMAGE", help="With --init: draw anew where this is white, keep the rest.")
]


@dataclass(frozen=True)
class DrawOptions(Denoising):
    """Options of `draw`. None: what suits best."""

    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="The PNG to write; else named by the prompt.")
    ] = None
    grid: Annotated[bool, typer.Option("--grid", help="With -n: all in one file.")] = False
    init: ImageFile = None
    strength: Annotated[float | None, typer.Option(help="With --init: how much may change, up to 1.")] = None
    mask: MaskFile = None
    film: Annotated[
        Path | None, typer.Option(metavar="FILE", help="How it came about, noise beside guess: .gif, or a .png strip.")
    ] = None

    def settings(self) -> dict[str, Any]:
        """What the person set, as fields of `reverie.types.ImageRequest`."""
        pictures = {"init": self.init, "mask": self.mask}
        return self.given("strength") | {name: read(name, file) for name, file in pictures.items() if file is not None}


@spread
def draw(prompt: PromptArgument = None, *, options: DrawOptions) -> None:
    """Draw a picture; say where its file is."""
    prompt, settings, model_name = asked(prompt, options, recalled)
    request = ImageRequest(prompt, **settings)  # a mistake in the settings shows now, before a model is loaded
    check_files(options)
    with Feedback() as feedback:
        model = load_drawing(model_name, options.offline, feedback)
        note_size(model, request.size_px)
    with Canvas(options.preview, request.num_steps * options.count) as canvas:
        pictures = Studio(model, prompt, settings, options, canvas).draw()
    tell(prompt, pictures)


def recalled(data: bytes, _: DrawOptions, settings: dict[str, Any]) -> Told:
    """What a PNG tells of how it was drawn."""
    from reverie import drawing, records
    from reverie.media import read_record

    record = read_record(data)
    records.check_given(record, init=settings.get("init"), mask=settings.get("mask"))
    return record, *drawing.settings_of(record)


def read(name: str, file: Path) -> np.ndarray:
    """The picture in a file; of a mask, how light it is."""
    picture = read_image(file)
    return picture if name == "init" else picture.mean(axis=2).round().astype("uint8")


def check_files(options: DrawOptions) -> None:
    """A usage error for file names that say something else than what is written to them."""
    if options.output is not None and options.output.suffix.lower() != ".png":
        raise typer.BadParameter(f"pictures are PNG: name it {options.output.stem}.png", param_hint="--output")
    if options.film is not None and options.film.suffix.lower() not in (".gif", ".png"):
        raise typer.BadParameter("give a name that ends in .gif or .png", param_hint="--film")


def load_drawing(name: str | None, offline: bool, feedback: Feedback) -> Model:
    """The model that was asked for, or the default one that draws."""
    model = load_for("image", name, offline, feedback)
    from reverie.drawing import need_drawing

    need_drawing(model)
    return model


class Studio:
    """Draws what was asked for, file by file."""

    def __init__(
        self, model: Model, prompt: str, settings: Mapping[str, Any], options: DrawOptions, canvas: Canvas
    ) -> None:
        self.model, self.prompt, self.settings, self.options, self.canvas = model, prompt, settings, options, canvas
        self._film: list[Step] = []

    def draw(self) -> Made:
        """Writes the files, and gives their names."""
        from reverie import drawing

        num_files = 1 if self.options.grid else self.options.count
        pictures, settings = Made(), dict(self.settings)
        for number in range(num_files):
            count = self.options.count if self.options.grid else 1
            drawn = drawing.draw(self.model, self.prompt, self._watch, count=count, **settings)
            seed = drawn.record["seed"]
            output = named(self.options.output, self.prompt, seed - number, ".png")
            written = [write(numbered(output, number, num_files), drawn.png)]
            if self.options.film is not None:
                written.append(write(numbered(self.options.film, number, num_files), self._take_film()))
            pictures.append((seed, written))
            settings["seed"] = seed + 1
        return pictures

    def _watch(self, step: Step) -> None:
        self.canvas.step(lambda: self.model.medium.picture(step.guess))
        if self.options.film is not None:
            self._film.append(replace(step, info={}))

    def _take_film(self) -> bytes:
        steps, self._film = self._film, []
        frames = [(self.model.medium.picture(step.state), self.model.medium.picture(step.guess)) for step in steps]
        assert self.options.film is not None
        return gif(frames) if self.options.film.suffix.lower() == ".gif" else strip(frames)


def gif(frames: list[tuple[Picture, Picture]]) -> bytes:
    """Noise becoming the picture: the noisy state on the left, the guess on the right."""
    from reverie import media

    return media.to_gif([media.grid(pair, columns=2) for pair in frames])


def strip(frames: list[tuple[Picture, Picture]]) -> bytes:
    """Some steps from first to last: the noisy states above, the guesses below."""
    from reverie import media

    num = min(STRIP, len(frames))
    chosen = [frames[round(i * (len(frames) - 1) / max(num - 1, 1))] for i in range(num)]
    sheet = media.grid([state for state, _ in chosen] + [guess for _, guess in chosen], columns=num)
    return media.to_png(sheet)
