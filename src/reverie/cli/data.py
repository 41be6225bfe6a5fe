"""data list | build: data sets that are made on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reverie.cli.feedback import Feedback, note

NUM_SHOWN = 64

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Size = Annotated[int, typer.Option("--size", metavar="PX", help="64, 128 or 256: how wide the pictures are.")]
Preview = Annotated[
    Path | None, typer.Option("--preview", metavar="FILE", help="Also write 64 of them with their captions as a PNG.")
]


@app.callback()
def data() -> None:
    """List and build data sets to train on."""


@app.command("list")
def list_data() -> None:
    """List the data sets, where they are, and what they are made from."""
    from reverie.hub.datasets import SIZES_PX, packages, scenes_path

    built = [str(size) for size in SIZES_PX if scenes_path(size).is_file()]
    print(f"scenes  illustrated scenes with captions; built: {', '.join(built) if built else 'not yet'}")
    for package in packages().values():
        print(f"        from {package.package} ({package.licence})")


@app.command()
def build(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name that `data list` shows.")],
    size: Size = 128,
    preview: Preview = None,
) -> None:
    """Fetch what a data set needs, and make it."""
    from reverie.hub.datasets import build as build_set

    with Feedback() as feedback:
        feedback.status("Fetching icons")
        path = build_set(name, size, lambda done, total: feedback.status(f"Drawing icons: {done} of {total} styles"))
    note(f"{name} is built, {size} pixels wide.")
    print(path)
    if preview is not None:
        _preview(size, preview)


def _preview(size: int, file: Path) -> None:
    """Writes a sheet of scenes as training sees them."""
    from reverie import media
    from reverie.data.sheet import sheet
    from reverie.hub import files
    from reverie.hub.datasets import open_scenes

    scenes = open_scenes(size)
    items = [scenes.item(0, index) for index in range(NUM_SHOWN)]
    shown = sheet([pixels for pixels, _, _ in items], [caption for _, caption, _ in items])
    files.write(file, media.to_png(shown))
    note(f"{file} shows {NUM_SHOWN} of them.")
