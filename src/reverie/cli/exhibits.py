"""Exhibits in a terminal: their views as bars, shaded matrices and tables, half-block pictures."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.columns import Columns
from rich.console import Console, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from reverie.explain import views as v

if TYPE_CHECKING:
    from reverie.explain import Exhibit

GLYPHS = " ░▒▓█"  # the shades of a matrix
SPARKS = "▁▂▃▄▅▆▇█"
STRONGEST = (255, 140, 0)  # the colour of shade 1
DARK, LIGHT = 30, 255  # grounds
LEAST_PX = 18  # the width of a picture; a character is a pixel wide and two high
BAR = 32  # characters
FAINT = 0.04  # shades below are not drawn


def show(console: Console, exhibit: Exhibit) -> None:
    """Prints an exhibit: title and question, its views, and what is to be seen."""
    console.print()
    console.rule(Text(exhibit.title, style="bold"), align="left", style="dim")
    console.print(Text(exhibit.question, style="italic"))
    for view in v.views(exhibit):
        console.print()
        if view.title:
            console.print(Text(visible(view.title), style="bold"))
        for part in drawn(view, console):
            console.print(part)
    console.print()
    says = Grid.grid(padding=(0, 1))
    for sentence in exhibit.says:
        says.add_row("•", Text(visible(sentence)))
    console.print(says)


def drawn(view: v.View, console: Console) -> Iterator[RenderableType]:
    """What to print for a view."""
    match view:
        case v.Bars():
            yield bars(view)
        case v.Matrix():
            yield from matrix(view, console)
        case v.Table():
            yield table(view)
        case v.Words():
            yield words(view)
        case v.Lines():
            yield lines(view)
        case v.Pictures():
            yield from pictures(view, console)


def bars(view: v.Bars) -> Grid:
    """A bar for each label, the number at its end."""
    grid, largest = Grid.grid(padding=(0, 1)), max([*view.values, 1e-12])
    for label, value in zip(view.labels, view.values, strict=True):
        number = f"{100 * value:.1f}%" if view.percent else f"{value:.3g}"
        length = max(0, round(BAR * value / largest))
        grid.add_row(Text(visible(label), justify="right"), Text("█" * length, style="dark_orange"), number)
    return grid


def matrix(view: v.Matrix, console: Console) -> Iterator[RenderableType]:
    """Three characters a cell, or two. What is too wide for the terminal is left out, and that is said."""
    square = list(view.rows) == list(view.columns)  # then the columns are known by their numbers
    names = [f"{visible(name)[:16]} {at:>2}" if square else visible(name)[:16] for at, name in enumerate(view.rows)]
    label = max(map(len, names))
    room = console.width - label - 1
    wide = 3 if 3 * len(view.columns) <= room else 2
    columns = range(min(len(view.columns), room // wide))
    yield Text(
        " " * (label + 1) + "".join(f"{at % 10 ** (wide - 1):>{wide}}" for at in columns), style="dim", no_wrap=True
    )
    largest = max([value for row in view.values for value in row if value is not None] + [1e-12])
    for name, row in zip(names, view.values, strict=True):
        line = Text(f"{name:>{label}} ", no_wrap=True)
        for value in (row[at] for at in columns):
            line.append_text(_cell(value, largest, wide))
        yield line
    if len(columns) < len(view.columns):
        yield Text(
            f"{len(view.columns) - len(columns)} more columns: use a wider terminal, or -o FILE.html", style="dim"
        )


def _cell(value: float | None, largest: float, wide: int) -> Text:
    """Denser for larger values: that can be read on a dark ground and on a light one, and without colours."""
    if value is None:
        return Text(f"{'·':>{wide}}", style="dim")
    glyph = GLYPHS[math.ceil((max(value / largest, FAINT) - FAINT) * (len(GLYPHS) - 1))]
    return Text(" " * (wide - 2)).append(2 * glyph, style="dark_orange")


def on(shade: float | None) -> str:
    """The style of a shade: letters on a colour, between that of the terminal's ground and the strongest."""
    if shade is None or shade < FAINT:
        return ""
    ground = ground_of(os.environ)
    red, green, blue = (round(ground + (full - ground) * shade) for full in STRONGEST)
    letters = "#000000" if ground == LIGHT or shade > 0.5 else "#ffffff"  # a theme's own black may be grey
    return f"{letters} on rgb({red},{green},{blue})"


def ground_of(environ: Mapping[str, str]) -> int:
    """How light the terminal's ground is; most are dark, and some tell in COLORFGBG, as "15;0"."""
    return LIGHT if environ.get("COLORFGBG", "").rpartition(";")[2] in ("7", "15") else DARK


def table(view: v.Table) -> Grid:
    """A table, its cells shaded."""
    grid = Grid(box=None, header_style="bold", show_header=any(view.header), pad_edge=False)
    for name in view.header:
        grid.add_column(Text(visible(name)) if name else "", overflow="fold")
    for at, row in enumerate(view.rows):
        shades = view.shades[at] if view.shades else [None] * len(row)
        grid.add_row(*(Text(visible(cell), style=on(shade)) for cell, shade in zip(row, shades, strict=True)))
    return grid


def words(view: v.Words) -> RenderableType:
    """Shaded pieces one after the other; with notes, each note below its piece."""
    if not view.notes:
        whole = Text()
        for word, shade in zip(view.words, view.shades, strict=True):
            whole.append(visible(word), style=on(shade)).append(" ")
        return whole
    cells = []
    for word, shade, note in zip(view.words, view.shades, view.notes, strict=True):
        cells.append(
            Text().append(visible(word), style=on(shade)).append(f"\n{visible(note) if note else ''}", style="dim")
        )
    return Columns(cells, padding=(0, 1))


def lines(view: v.Lines) -> Grid:
    """A spark line for each curve, between its first and its last value; all have the same scale."""
    grid = Grid(box=None, pad_edge=False, header_style="dim")
    for name in ("", "first", view.x, "last"):
        grid.add_column(name)
    largest = max([y for points in view.series.values() for _, y in points] + [1e-12])
    for name, points in view.series.items():
        heights = [min(max(y, 0) / largest, 1) for _, y in points]
        spark = "".join(SPARKS[round(height * (len(SPARKS) - 1))] for height in heights[:64])
        grid.add_row(visible(name), f"{points[0][1]:.3g}", Text(spark, style="dark_orange"), f"{points[-1][1]:.3g}")
    return grid


def pictures(view: v.Pictures, console: Console) -> Iterator[RenderableType]:
    """Pictures in rows as wide as the terminal; where there are no colours, only their captions."""
    names = [*view.names, *[""] * (len(view.rows) - len(view.names))]
    for name, row in zip(names, view.rows, strict=True):
        if name:
            yield Text(name, style="italic")
        if console.color_system is None:
            yield Text("  " + " | ".join(visible(caption) for _, caption in row))
            continue
        many = max(1, (console.width + 1) // (LEAST_PX + 1))
        width_px = min(28, (console.width + 1) // min(many, len(row)) - 1)
        for start in range(0, len(row), many):
            yield _side_by_side(row[start : start + many], width_px)


def _side_by_side(row: Sequence[tuple[str, str]], width_px: int) -> Grid:
    grid = Grid.grid(padding=(0, 1, 0, 0))
    for _ in row:
        grid.add_column(width=width_px)
    grid.add_row(*(half_blocks(url, width_px) for url, _ in row))
    grid.add_row(*(Text(visible(caption), style="dim") for _, caption in row))
    return grid


def half_blocks(url: str, width_px: int) -> Text:
    """A picture as characters whose upper and lower half have a colour each."""
    from reverie.explain.pictures import reader_picture
    from reverie.media import fit

    small = fit(reader_picture(url), width_px - width_px % 2).tolist()
    text = Text()
    for upper, lower in zip(small[::2], small[1::2], strict=True):
        for (r, g, b), (x, y, z) in zip(upper, lower, strict=True):
            text.append("▀", style=f"rgb({r},{g},{b}) on rgb({x},{y},{z})")
        text.append("\n")
    text.right_crop(1)
    return text


def visible(text: str) -> str:
    """Text with signs for what cannot be seen: line breaks, tabs, control characters as their bytes.

    A space before a word is left out.
    """
    bare = text.removeprefix(" ").replace("\n", "⏎").replace("\t", "⇥")
    clean = "".join(letter if letter.isprintable() else _bytes(letter) for letter in bare)
    return clean if clean.strip() else "␣" * max(1, len(clean))


def _bytes(letter: str) -> str:
    return "".join(f"<0x{byte:02X}>" for byte in letter.encode("utf-8", "surrogatepass"))
