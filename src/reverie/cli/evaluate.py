"""eval image | text | music: how good a model is, in numbers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reverie.cli.draw import load_drawing
from reverie.cli.feedback import Feedback, load_named, note
from reverie.cli.options import Offline, read_text
from reverie.types import ImageRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from reverie.engine import Model
    from reverie.evaluate.music import Figures
    from reverie.evaluate.pictures import Drawer, Report, Table

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
    given = {"steps": steps, "guidance": guidance}
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    ImageRequest("", **settings)  # a mistake shows now, before a model is loaded
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


def _show(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table as Rows

    from reverie.evaluate.pictures import lines

    drawn, real = report.tables
    header, *body = lines({"drawn": drawn, "the judge on real renders": real})
    rows = Rows(title=f"{len(report.scenes)} prompts of pairs never seen in training", box=None, title_justify="left")
    for number, column in enumerate(header):
        rows.add_column(column, justify="right" if number else "left")
    for row in body:
        rows.add_row(*row)
    Console().print(rows)
    note("In brackets: where the true share lies in 95 of 100 cases.")


MUSIC_ROWS = {
    "bars": "bars add up",
    "parses": "can be read again",
    "key": "key heard",
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
    from rich.console import Console
    from rich.table import Table as Rows

    rows = Rows(box=None)
    for column in ("", *table):
        rows.add_column(column, justify="right" if column else "left", no_wrap=True)
    for name, words in MUSIC_ROWS.items():
        rows.add_row(words, *(_figure(name, getattr(told, name)) for told in table.values()))
    Console().print(rows)


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


def _write(path: Path, data: bytes) -> None:
    from reverie.hub.files import atomic_write

    with atomic_write(path, len(data)) as file:
        file.write(data)
    note(f"Wrote {path}")
