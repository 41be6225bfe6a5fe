"""Figures: any exhibit as one PNG, for notebooks; drawn by matplotlib, which is not needed for anything else."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from reverie.explain.exhibit import Exhibit
from reverie.explain.pictures import reader_picture
from reverie.explain.views import Bars, Lines, Matrix, Pictures, Table, View, Words, views
from reverie.types import ReverieError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_INCHES, DOTS_PER_INCH = 9.0, 110
ACCENT, SHADES = "#d9660a", "Oranges"
MOST_ROWS = 24  # of a table
LETTERS = 78  # in a line of words


def png(exhibit: Exhibit) -> bytes:
    """Title, views and sentences of an exhibit, one beneath the other. A `ReverieError` without matplotlib."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise ReverieError("Figures need matplotlib: pip install matplotlib.") from error
    shown = views(exhibit)
    says = "\n".join(textwrap.fill(f"• {sentence}", 110, subsequent_indent="  ") for sentence in exhibit.says)
    heights = [*(_height(view) for view in shown), 0.25 + 0.19 * (says.count("\n") + 1)]
    figure = Figure((WIDTH_INCHES, sum(heights) + 0.7), dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    figure.suptitle(f"{exhibit.title}: {exhibit.question}", fontsize=12, fontweight="bold", wrap=True)
    for view, ax in zip(shown, axes, strict=False):
        ax.set_title(view.title, fontsize=9, loc="left")
        _DRAWERS[type(view)](ax, view)
    axes[-1].axis("off")
    axes[-1].text(0, 1, says, va="top", fontsize=9, parse_math=False, transform=axes[-1].transAxes)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _height(view: View) -> float:
    """Inches."""
    match view:
        case Bars():
            return 0.4 + 0.2 * len(view.labels)
        case Matrix():
            return min(8.0, 1.0 + 0.25 * len(view.rows))
        case Table():
            return 0.5 + 0.22 * min(len(view.rows), MOST_ROWS)
        case Words():
            return 0.5 + 0.45 * (sum(len(word) + 1 for word in view.words) // LETTERS + 1)
        case Lines():
            return 2.4
        case Pictures():
            return 0.3 + sum(WIDTH_INCHES / max(map(len, view.rows)) + 0.25 for _ in view.rows)


def _bars(ax: Axes, view: Bars) -> None:
    places = range(len(view.labels))
    drawn = ax.barh(places, view.values, color=ACCENT)
    ax.set_yticks(places, [_plain(label) for label in view.labels], fontsize=8, parse_math=False)
    ax.bar_label(drawn, [f"{100 * x:.1f}%" if view.percent else f"{x:.3g}" for x in view.values], fontsize=8, padding=3)
    ax.invert_yaxis()
    ax.spines[:].set_visible(False)
    ax.set_xticks([])


def _matrix(ax: Axes, view: Matrix) -> None:
    values = [[0.0 if value is None else value for value in row] for row in view.values]
    ax.imshow(values, cmap=SHADES, vmin=0, aspect="auto")
    ax.set_xticks(range(len(view.columns)), [_plain(name) for name in view.columns], rotation=60, fontsize=7)
    ax.set_yticks(range(len(view.rows)), [_plain(name) for name in view.rows], fontsize=7)


def _table(ax: Axes, view: Table) -> None:
    from matplotlib import colormaps  # noqa: PLC0415

    ax.axis("off")
    rows = view.rows[:MOST_ROWS]
    cells = [[textwrap.shorten(_plain(cell), 60, placeholder="...") for cell in row] for row in rows]
    shades = view.shades[:MOST_ROWS] if view.shades else [[None] * len(row) for row in rows]
    colours = [[colormaps[SHADES](0.7 * shade) if shade is not None else "white" for shade in row] for row in shades]
    header = list(view.header) if any(view.header) else None
    drawn = ax.table(cells, cellColours=colours, colLabels=header, loc="upper left", cellLoc="left", edges="closed")
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(8)
    drawn.auto_set_column_width(list(range(len(rows[0]))))
    for cell in drawn.get_celld().values():
        cell.set_linewidth(0.3)
        cell.get_text().set_parse_math(False)


def _words(ax: Axes, view: Words) -> None:
    from matplotlib import colormaps  # noqa: PLC0415

    ax.axis("off")
    ax.set_xlim(0, LETTERS)
    column, line = 0, 0
    notes = view.notes if view.notes else [""] * len(view.words)
    for word, shade, note in zip(view.words, view.shades, notes, strict=True):
        wide = max(len(_plain(word)), round(0.7 * len(note))) + 2
        if column and column + wide > LETTERS:
            column, line = 0, line + 1
        box = {"facecolor": colormaps[SHADES](0.7 * shade), "linewidth": 0, "pad": 2}
        style: dict[str, Any] = {"family": "monospace", "parse_math": False, "va": "center"}
        ax.text(column, -line, _plain(word), fontsize=9, bbox=box, **style)
        ax.text(column, -line - 0.45, note, fontsize=6, color="gray", **style)
        column += wide
    ax.set_ylim(-line - 0.8, 0.5)


def _lines(ax: Axes, view: Lines) -> None:
    for name, points in view.series.items():
        ax.plot([x for x, _ in points], [y for _, y in points], label=_plain(name))
    ax.set_xlabel(view.x, fontsize=8)
    ax.set_ylabel(view.y, fontsize=8)
    ax.tick_params(labelsize=8)
    if len(view.series) > 1:
        ax.legend(fontsize=7)


def _pictures(ax: Axes, view: Pictures) -> None:
    ax.axis("off")
    ax.set_aspect("equal")
    most = max(map(len, view.rows))
    for down, row in enumerate(view.rows):
        for across, (url, caption) in enumerate(row):
            left, bottom = across * 1.05, -down * 1.2
            ax.imshow(reader_picture(url), extent=(left, left + 1, bottom, bottom + 1))
            ax.text(left, bottom - 0.03, caption, fontsize=6, va="top", parse_math=False)
    ax.set_xlim(0, max(most, 4) * 1.05)
    ax.set_ylim(-(len(view.rows) - 1) * 1.2 - 0.2, 1)


def _plain(text: str) -> str:
    """Text on one line, without what fonts do not have."""
    bare = text.strip().replace("\n", "⏎")
    return bare if bare else "␣"


_DRAWERS: dict[type[View], Callable[[Any, Any], None]] = {
    Bars: _bars,
    Matrix: _matrix,
    Table: _table,
    Words: _words,
    Lines: _lines,
    Pictures: _pictures,
}
