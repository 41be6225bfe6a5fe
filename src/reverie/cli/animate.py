"""animate: a clip from a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
from reverie.cli.options import read_as, spread
from reverie.types import Step, VideoRequest

if TYPE_CHECKING:
    from reverie.engine import Model
    from reverie.moving import Clip

SUFFIXES = (".mp4", ".gif", ".webp", ".png")
MOST_OWN_FPS = 12  # of a clip that is gone on from; a faster one is brought to the usual speed

PromptArgument = Annotated[str | None, typer.Argument(metavar="PROMPT", help="What to animate; also from stdin.")]
LastFile = Annotated[Path | None, typer.Option("--last", metavar="IMAGE", help="End with this picture.")]
ClipFile = Annotated[
    Path | None, typer.Option("--extend", metavar="CLIP", help="Go on from this clip: it comes first, whole.")
]


@dataclass(frozen=True)
class AnimateOptions(Denoising):
    """Options of `animate`. None: what suits best."""

    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE",
            help="The clip to write: .mp4, .gif, .webp, or a .png strip; else an MP4 named by the prompt.",
        ),
    ] = None  # fmt: skip
    frames: Annotated[int | None, typer.Option(help="How many pictures, as a rule 16.")] = None
    fps: Annotated[int | None, typer.Option(help="How many are shown a second, as a rule 8.")] = None
    init: ImageFile = None
    last: LastFile = None
    loop: Annotated[bool, typer.Option("--loop", help="The first picture follows upon the last.")] = False
    extend: ClipFile = None

    def settings(self) -> dict[str, Any]:
        """What the person set, as fields of `reverie.types.VideoRequest`."""
        loop = {"loop": True} if self.loop else {}
        return self.given("frames", "fps") | loop | ends(self.init, self.last)


@spread
def animate(prompt: PromptArgument = None, *, options: AnimateOptions) -> None:
    """Animate a prompt; say where the clip's file is."""
    check_files(options)
    prompt, settings, name = asked(prompt, options, recalled)
    request = VideoRequest(prompt, **settings)  # a mistake in the settings shows now, before a model is loaded
    with Feedback() as feedback:
        model = load_animator(name, options.offline, feedback)
        note_size(model, request.size_px)
        if options.extend is not None:
            size_px = model.medium.size_px if request.size_px is None else request.size_px
            settings["extend"], settings["fps"] = begun(options.extend, size_px, settings.get("fps"))
    with Canvas(options.preview, request.num_steps * options.count, "Animating") as canvas:
        clips = made(model, prompt, settings, options, canvas)
    tell(prompt, clips)


def made(model: Model, prompt: str, settings: Mapping[str, Any], options: AnimateOptions, canvas: Canvas) -> Made:
    """Animates what was asked for, with seeds one after the other."""
    from reverie import animating

    def watch(step: Step) -> None:
        canvas.step(lambda: model.medium.picture(step.guess))

    clips, settings = Made(), dict(settings)
    for number in range(options.count):
        clip = animating.animate(model, prompt, watch, **settings)
        seed = clip.record["seed"]
        output = named(options.output, prompt, seed - number, SUFFIXES[0])
        clips.append((seed, [write(numbered(output, number, options.count), clip.file(output.suffix))]))
        settings["seed"] = seed + 1
    return clips


def recalled(data: bytes, options: AnimateOptions, settings: dict[str, Any]) -> Told:
    """What a file tells of how its clip was made."""
    from reverie import animating, records

    record = animating.read_record(data)
    prompt, told = animating.settings_of(record)
    extend = None if options.extend is None else begun(options.extend, told["size_px"], told["fps"])[0]
    records.check_given(record, begin=settings.get("begin"), end=settings.get("end"), extend=extend)
    return record, prompt, told


def begun(file: Path, size_px: int, fps: int | None) -> tuple[Clip, int]:
    """The clip that is gone on from, so large, and its frames a second: fps, or its own, if they are few enough."""
    from reverie import moving

    clip, own = read_as(file, lambda data: moving.read_clip(data, size_px))
    if fps is None:
        fps = max(1, round(own)) if own <= MOST_OWN_FPS + 0.5 else VideoRequest.fps
    return clip if round(own) == fps else moving.resampled(clip, own, fps), fps


def ends(init: Path | None, last: Path | None) -> dict[str, Clip]:
    """The pictures that a clip begins and ends with, as settings."""
    files = {"begin": init, "end": last}
    return {name: read_image(file)[None] for name, file in files.items() if file is not None}


def check_files(options: AnimateOptions) -> None:
    """A usage error for what cannot be written, and for two beginnings."""
    if options.output is not None and options.output.suffix.lower() not in SUFFIXES:
        raise typer.BadParameter(f"give a name that ends in {' '.join(SUFFIXES)}", param_hint="--output")
    if options.extend is not None and (options.init is not None or options.loop):
        raise typer.BadParameter("the clip is the beginning: leave out --init and --loop", param_hint="--extend")


def load_animator(name: str | None, offline: bool, feedback: Feedback) -> Model:
    """The model that was asked for, or the default one that animates."""
    model = load_for("video", name, offline, feedback)
    from reverie.animating import need_animating

    need_animating(model)
    return model
