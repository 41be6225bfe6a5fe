"""A report: exhibits as one HTML file that needs nothing else, neither the network nor a script."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reverie.explain import Exhibit
    from reverie.explain.views import Lines, Matrix

WIDTH, HEIGHT = 560, 200  # of a chart, in its own units
LEFT, BOTTOM, TOP, RIGHT = 52, 34, 10, 10  # its margins
MOST_CURVES = 12


def report(exhibits: Sequence[Exhibit]) -> str:
    """The whole HTML file, for exhibits of one prompt."""
    import jinja2

    from reverie.cli import version
    from reverie.explain.views import views

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.undefined = jinja2.StrictUndefined
    environment.tests["a"] = lambda view, kind: type(view).__name__ == kind
    environment.filters |= {"chart": chart, "visible": _visible, "largest": largest, "margins": margins}
    source = resources.files("reverie.cli").joinpath("report.html.jinja").read_text("utf-8")
    page = environment.from_string(source)
    shown = [(exhibit, views(exhibit)) for exhibit in exhibits]
    first = exhibits[0]
    return page.render(model=first.model, prompt=_prompt(first), shown=shown, version=version())


def chart(view: Lines) -> dict[str, Any]:
    """Curves as points of SVG, and the ticks of both axes."""
    curves = list(view.series.items())[:MOST_CURVES]
    points = [point for _, told in curves for point in told]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    (x0, x1), (y0, y1) = _range(xs), _range([0.0, *ys])
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def across(x: float) -> float:
        return round(LEFT + wide * (x - x0) / (x1 - x0), 1)

    def up(y: float) -> float:
        return round(TOP + high * (1 - (y - y0) / (y1 - y0)), 1)

    return {
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "bottom": HEIGHT - BOTTOM,
        "curves": [(name, [(across(x), up(y)) for x, y in told]) for name, told in curves],
        "x_ticks": [(across(x), f"{x:.3g}") for x in (x0, (x0 + x1) / 2, x1)],
        "y_ticks": [(up(y), f"{y:.2g}") for y in (y0, (y0 + y1) / 2, y1)],
    }


def largest(view: Matrix) -> float:
    """The largest value of a matrix; never 0."""
    return max([value for row in view.values for value in row if value is not None] + [1e-12])


def margins(view: Matrix) -> tuple[int, int]:
    """The room that names of rows need on the left of a matrix, and names of columns above it, in pixels."""
    longest = [max(min(len(_visible(name)), 14) for name in names) for names in (view.rows, view.columns)]
    return 16 + 8 * longest[0], 20 + 7 * longest[1]


def _range(values: Sequence[float]) -> tuple[float, float]:
    """The least and the largest value, never the same."""
    least, largest = min(values), max(values)
    return (least, largest) if largest > least else (least, least + 1)


def _visible(text: str) -> str:
    from reverie.cli.exhibits import visible

    return visible(text)


def _prompt(exhibit: Exhibit) -> str:
    if isinstance(exhibit.prompt, str):
        return exhibit.prompt
    return " ".join(message["content"] for message in exhibit.prompt)
