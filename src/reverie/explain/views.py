"""Views: an exhibit as a few simple shapes (bars, matrix, table, words, lines, pictures), still data.

Whoever draws exhibits - terminal, HTML file, notebook - needs to know these six shapes and no exhibit. The studio,
which draws each exhibit in its own way, reads `Exhibit.data` instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from reverie.explain.exhibit import Exhibit

MOST_ROWS = 40  # of a table that no exhibit has made a view for


@dataclass(frozen=True)
class Bars:
    """A number for each label, each from 0 up. percent: numbers are shares of 1."""

    title: str
    labels: Sequence[str]
    values: Sequence[float]
    percent: bool = False
    kind: Literal["bars"] = "bars"


@dataclass(frozen=True)
class Matrix:
    """A shade for each pair of row and column; None where there can be nothing (a mask)."""

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[float | None]]
    kind: Literal["matrix"] = "matrix"


@dataclass(frozen=True)
class Table:
    """Cells of text, each with a shade from 0 to 1 if there are shades."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    shades: Sequence[Sequence[float | None]] = ()
    kind: Literal["table"] = "table"


@dataclass(frozen=True)
class Words:
    """Pieces of text one after the other, each with a shade from 0 to 1 and a note to put below it."""

    title: str
    words: Sequence[str]
    shades: Sequence[float]
    notes: Sequence[str] = ()
    kind: Literal["words"] = "words"


@dataclass(frozen=True)
class Lines:
    """Curves: name -> points (x, y)."""

    title: str
    x: str
    y: str
    series: Mapping[str, Sequence[tuple[float, float]]]
    kind: Literal["lines"] = "lines"


@dataclass(frozen=True)
class Pictures:
    """Rows of pictures, each a data URL with a caption. names: of the rows."""

    title: str
    rows: Sequence[Sequence[tuple[str, str]]]
    names: Sequence[str] = ()
    kind: Literal["pictures"] = "pictures"


View = Bars | Matrix | Table | Words | Lines | Pictures
Viewer = Callable[[Mapping[str, Any]], Iterable[View]]


def views(exhibit: Exhibit) -> list[View]:
    """What to draw of an exhibit, the most telling first."""
    viewer = _viewers().get(exhibit.name, plain)
    return list(viewer(exhibit.data))


@cache
def _viewers() -> dict[str, Viewer]:
    from reverie.explain import views_image, views_music, views_text, views_video  # noqa: PLC0415 - of the shapes above

    return {**views_text.VIEWERS, **views_image.VIEWERS, **views_music.VIEWERS, **views_video.VIEWERS}


def plain(data: Mapping[str, Any]) -> Iterable[View]:
    """Any data as tables: single values in one, and one for each list of rows."""
    single = [(name, shown(value)) for name, value in data.items() if not isinstance(value, list | Mapping)]
    if single:
        yield Table("", ["", ""], single)
    for name, value in data.items():
        if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
            yield table(name, value)
        elif isinstance(value, Mapping):
            yield Table(name, ["", ""], [(key, shown(each)) for key, each in list(value.items())[:MOST_ROWS]])


def table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Rows with the same keys, what is too deep to be shown left out; a last row says how many were cut off."""
    keys = [key for key, value in rows[0].items() if not isinstance(value, list | Mapping)]
    cells = [[shown(row.get(key)) for key in keys] for row in rows[:MOST_ROWS]]
    if len(rows) > MOST_ROWS:
        cells.append([f"... {len(rows) - MOST_ROWS} more", *[""] * (len(keys) - 1)])
    return Table(title, [key.replace("_", " ") for key in keys], cells)


def shown(value: Any) -> str:
    """A value as a person reads it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.3g}"
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def shades(values: Sequence[float]) -> list[float]:
    """Values from 0 up as shades, the largest 1."""
    largest = max(values, default=0)
    return [value / largest if largest > 0 else 0.0 for value in values]
