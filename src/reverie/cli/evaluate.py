"""eval image | video | text | music: how good a model is, in numbers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reverie.cli.animate import load_animator
from reverie.cli.draw import load_drawing
from reverie.cli.feedback import Feedback, load_named, note
from reverie.cli.options import Offline, read_text
from reverie.types import ImageRequest, Request, VideoRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from reverie.engine import Model
    from reverie.evaluate import videos
    from reverie.evaluate.music import Figures
    from reverie.evaluate.pictures import Drawer, Report, Table
    from reverie.evaluate.videos import Animator

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

ModelName = Annotated[str | None, typer.Option("--model", "-m", help="A model's name, folder or file.")]
JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the numbers here, too.")]


@app.callback()
def evaluate() -> None:
    """Measure how good a model is."""


@app.command()
def image(
    *,
    model: ModelName = None,
    num: Annotated[int, typer.Option(min=1, max=100_000, help="How many prompts.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Of the prompts; picture i is drawn with seed i.")] = 1,
    steps: Annotated[int | None, typer.Option(help="As for draw.")] = None,
    guidance: Annotated[float | None, typer.Option(help="As for draw.")] = None,
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A PNG: each picture beside the training picture nearest to it.")
    ] = None,
    json_file: JsonFile = None,
    offline: Offline = False,
) -> None:
    """Draw pairs of things that training never showed, and let a judge say what the pictures show."""
    settings = _settings(ImageRequest, steps=steps, guidance=guidance)
    with Feedback() as feedback:
        loaded = load_drawing(model, offline, feedback)
    from reverie.evaluate import judge, pictures
    from reverie.hub.datasets import build

    build("scenes", pictures.REAL_PX)
    with _bar("Drawing") as progress:
        report = pictures.score_drawer(_drawer(loaded, settings), judge.trained(), num, seed, progress)
    _show(report)
    if json_file is not None:
        _write(json_file, json.dumps(_numbers(report), indent=1).encode())
    if sheet is not None:
        _write_sheet(sheet, report)


@app.command()
def video(
    *,
    model: ModelName = None,
    num: Annotated[int, typer.Option(min=2, max=10_000, help="How many prompts.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Of the prompts; clip i is made with seed i.")] = 1,
    steps: Annotated[int | None, typer.Option(help="As for animate.")] = None,
    guidance: Annotated[float | None, typer.Option(help="As for animate.")] = None,
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A PNG: each clip above the training clip nearest to it.")
    ] = None,
    json_file: JsonFile = None,
    offline: Offline = False,
) -> None:
    """Animate pairs of things that training never showed; let judges say what is shown, how it moves, how steadily."""
    settings = _settings(VideoRequest, steps=steps, guidance=guidance)
    with Feedback() as feedback:
        loaded = load_animator(model, offline, feedback)
    from reverie.evaluate import judge, motion_judge, pictures, videos
    from reverie.hub.datasets import build

    build("scenes", pictures.REAL_PX)
    judges = judge.trained(), motion_judge.trained()
    with _bar("Animating") as progress:
        report = videos.score_animator(_animator(loaded, settings), judges, num, seed, progress)
    _show_video(report)
    if json_file is not None:
        _write(json_file, json.dumps(_video_numbers(report), indent=1).encode())
    if sheet is not None:
        _write_clip_sheet(sheet, report)


@app.command()
def music(
    *,
    model: ModelName = None,
    num: Annotated[int, typer.Option(min=1, max=10_000, help="How many tunes of each kind.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Of the choice of real tunes; tune i is made with seed i.")] = 1,
    json_file: JsonFile = None,
    offline: Offline = False,
) -> None:
    """Compose tunes, and measure them beside real ones that training never saw and beside a Markov chain."""
    from dataclasses import asdict

    from reverie.cli.compose import load_composer
    from reverie.data import tunes
    from reverie.evaluate import music as measures
    from reverie.hub.datasets import build

    with Feedback() as feedback:
        loaded = load_composer(model, offline, feedback)
        feedback.status("Reading tunes")
        kept = tunes.load(build("tunes"))
    with _bar("Composing") as progress:
        table = measures.compare(loaded, kept, num, seed, progress)
    _show_music(table)
    if json_file is not None:
        _write(json_file, json.dumps({name: asdict(row) for name, row in table.items()}, indent=1).encode())


@app.command()
def text(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A text, or - for stdin.")],
    model: ModelName = None,
    window_tokens: Annotated[int, typer.Option(min=2, help="How much of the text the model sees at once.")] = 512,
    offline: Offline = False,
) -> None:
    """Measure how well a language model predicts a text: perplexity, and bits per byte."""
    words = read_text(file)
    with Feedback() as feedback:
        loaded = load_named(model, offline, feedback)
    from reverie.evaluate import perplexity

    tokens = loaded.checkpoint.tokenizer.encode(words)
    window = min(window_tokens, loaded.context_tokens)
    score = perplexity.score(loaded.core, tokens, len(words.encode()), window_tokens=window)
    print(f"{score.perplexity:.3f} perplexity ({score.num_tokens:,} tokens), {score.bits_per_byte:.4f} bits per byte")


def _settings(kind: type[Request], **given: Any) -> dict[str, Any]:
    """Those that were given; a mistake shows now, before a model is loaded."""
    settings = {name: value for name, value in given.items() if value is not None}
    kind("", **settings)
    return settings


def _drawer(model: Model, settings: dict[str, Any]) -> Drawer:
    def draw(prompt: str, seed: int) -> Any:
        *_, last = model.generate(prompt, seed=seed, **settings)
        return model.medium.picture(last.guess)

    return draw


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr with the time that is left; where that is no terminal, nothing."""
    from rich import progress
    from rich.console import Console

    columns = (progress.TextColumn(what), progress.BarColumn(), progress.MofNCompleteColumn(),
               progress.TimeRemainingColumn())  # fmt: skip
    with progress.Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _animator(model: Model, settings: dict[str, Any]) -> Animator:
    def animate(prompt: str, seed: int) -> Any:
        *_, last = model.generate(prompt, seed=seed, **settings)
        return model.medium.clip(last.guess)

    return animate


VIDEO_NOTE = (
    "A question is right in a clip if it is in 3 of 4 frames; frames asked: where it is right in the real render. "
    "FVD: Frechet distance from other real clips, which of few clips says little. "
    "In brackets: where the true share lies in 95 of 100 cases."
)


def _show_video(report: videos.Report) -> None:
    from reverie.evaluate.videos import lines, steadiness

    _print(lines(*report.figures), f"{len(report.clips)} prompts of clips never seen in training")
    _print(steadiness(*report.figures))
    note(VIDEO_NOTE)


def _show(report: Report) -> None:
    from reverie.evaluate.pictures import lines

    drawn, real = report.tables
    rows = lines({"drawn": drawn, "the judge on real renders": real})
    _print(rows, f"{len(report.scenes)} prompts of pairs never seen in training")
    note("In brackets: where the true share lies in 95 of 100 cases.")


def _print(rows: list[list[str]], title: str | None = None) -> None:
    """A table on stdout; the first row names the columns."""
    from rich.console import Console
    from rich.table import Table as Rows

    shown = Rows(title=title, box=None, title_justify="left")
    for number, column in enumerate(rows[0]):
        shown.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in rows[1:]:
        shown.add_row(*row)
    Console().print(shown)


MUSIC_ROWS = {
    "bars": "bars add up",
    "parses": "can be read again",
    "key": "key heard",
    "key_major": "  major",
    "key_others": "  minor, modes",
    "key_ending": "  by its end, too",
    "metre": "metre kept",
    "tonic": "ends on tonic",
    "repeats": "bars repeated",
    "pitch_distance": "pitches differ",
    "length_distance": "lengths differ",
    "longest": "known run, median",
    "most": "known run, most",
    "bits_per_note": "bits per note",
}


def _show_music(table: dict[str, Figures]) -> None:
    figures = [[words, *(_figure(name, getattr(told, name)) for told in table.values())]
               for name, words in MUSIC_ROWS.items()]  # fmt: skip
    _print([["", *table], *figures])


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return ""
    if name in ("longest", "most"):
        return f"{value:.0f}"
    return f"{value:.2f}" if name == "bits_per_note" else f"{value:.1%}"


def _numbers(report: Report) -> dict[str, Any]:
    drawn, real = report.tables
    each = [
        {"prompt": scene.caption, "said": verdict.said, "right": verdict.right}
        for scene, verdict in zip(report.scenes, report.drawn_verdicts, strict=True)
    ]
    return {"num": len(report.scenes), "drawn": _counts(drawn), "real": _counts(real), "pictures": each}


def _counts(table: Table) -> dict[str, Any]:
    return {
        name: {"right": count.right, "asked": count.asked, "share": count.share, "interval": count.interval}
        for name, count in table.items()
    }


def _write_sheet(path: Path, report: Report) -> None:
    import numpy as np

    from reverie.evaluate import originality
    from reverie.media import to_png

    num = len(report.scenes)
    pictures, scenes = [*report.drawn, *report.real], [*report.scenes, *report.scenes]
    near, apart = originality.nearest(pictures, scenes, num=originality.NUM_SCENES)
    _write(path, to_png(originality.sheet(report.drawn, near[:num], [scene.caption for scene in report.scenes])))
    drawn, real = (np.median(distances) for distances in (apart[:num], apart[num:]))
    print(f"Distance to the nearest training picture: {drawn:.3f} (median; of new renders {real:.3f})")


def _video_numbers(report: videos.Report) -> dict[str, Any]:
    from dataclasses import asdict

    from reverie.evaluate.videos import HOLDS

    names = ("animated", "real")
    numbers: dict[str, Any] = {"num": len(report.clips), "holds": HOLDS}
    for name, told in zip(names, report.figures, strict=True):
        numbers[name] = {"clips": _counts(told.clips), "flicker": told.flicker, "drift": told.drift, "fvd": told.fvd}
        for part, table in {"frames": told.frames, "asked": told.asked}.items():  # frames of a clip are much alike:
            numbers[name][part] = {question: asdict(count) for question, count in table.items()}  # no intervals
    numbers["each"] = [
        {"prompt": clip.caption, "said": judged.motion.said, "right": judged.holds}
        for clip, judged in zip(report.clips, report.animated_judged, strict=True)
    ]
    return numbers


def _write_clip_sheet(path: Path, report: videos.Report) -> None:
    import numpy as np

    from reverie.evaluate import originality
    from reverie.media import to_png

    shown = (report.animated, report.real)
    (near, apart), (_, usual) = originality.nearest_clips(report.clips, *shown, num=originality.NUM_CLIPS)
    prompts = [clip.caption for clip in report.clips]
    _write(path, to_png(originality.clip_sheet(report.animated, near, prompts)))
    animated, real = np.median(apart), np.median(usual)
    print(f"Distance to the nearest training clip: {animated:.3f} (median; of new renders {real:.3f})")


def _write(path: Path, data: bytes) -> None:
    from reverie.hub.files import atomic_write

    with atomic_write(path, len(data)) as file:
        file.write(data)
    note(f"Wrote {path}")
