"""MusicXML -> engraved pages: SVG, PNG and PDF; and where each note stands and when it sounds, for a cursor.

Verovio engraves. Its text is laid out anew here, with the music glyphs inside it (the sharp of F♯m, the note of a
tempo) as outlines, so that an SVG needs no font but one as wide as Times, and a PNG or PDF none of the machine's.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import resvg_py
import verovio
from fpdf import FPDF
from fpdf.svg import SVGObject

from reverie.notation.order import played_with_start, upbeats
from reverie.notation.tune import Tune
from reverie.notation.values import written
from reverie.types import ReverieError

WIDTH, A4_HEIGHT, MOST_HEIGHT = 2100, 2970, 60_000  # tenths of a millimetre
LEAST_WIDTH = 800  # a bar of sixteenths and its clef
_MARGIN = 800  # of the words over the music, in the units of the drawing
MOST_PNG_PX = 16_384  # high
FONTS = Path(__file__).parent / "fonts"
FAMILY = "Tinos, 'Times New Roman', Times, 'Liberation Serif', serif"
_STYLES = {name: {"font-weight": "bold"} for name in ("ending", "reh", "tempo")}
_STYLES |= {name: {"font-style": "italic"} for name in ("dir", "dynam", "mNum")}  # as in Verovio's style sheet
FACES = {("normal", "normal"): "", ("bold", "normal"): "-bold", ("normal", "italic"): "-italic"}
_PDF_STYLES = {("", ""): "Regular", ("B", ""): "Bold", ("", "I"): "Italic"}
_SVG = "{http://www.w3.org/2000/svg}"
_MUSIC_EM, _TEXT_EM = 1000, 2048
_OPTIONS = {
    "adjustPageHeight": True,
    "barLineWidth": 0.35,
    "breaks": "line",
    "footer": "none",
    "header": "none",
    "mnumInterval": 0,
    "pageMarginBottom": 60,
    "pageMarginLeft": 80,
    "pageMarginRight": 80,
    "pageMarginTop": 170,
    "scale": 100,
    "smuflTextFont": "none",
    "staffLineWidth": 0.2,
    "svgFormatRaw": True,
    "svgRemoveXlink": True,
    "svgViewBox": True,
    "xmlIdSeed": 1,
}
_lock = threading.Lock()  # Verovio keeps state outside its toolkits
ElementTree.register_namespace("", "http://www.w3.org/2000/svg")


@dataclass(frozen=True)
class Sounding:
    """A written note: the id of its SVG element, when it sounds (once for each repeat) and for how long, in seconds."""

    id: str
    starts_seconds: tuple[float, ...]
    seconds: float


@dataclass(frozen=True)
class _Run:
    """A piece of text in one style. x: where it begins if it begins anew. y likewise; anchor: start, middle or end."""

    text: str
    style: dict[str, str]

    @property
    def size(self) -> float:
        return float(self.style.get("font-size", "0px").removesuffix("px"))

    @property
    def is_music(self) -> bool:
        return self.style.get("font-family") == "Leipzig"

    @property
    def face(self) -> str:
        key = (self.style.get("font-weight", "normal"), self.style.get("font-style", "normal"))
        return FACES.get(key, "")

    @property
    def width(self) -> float:
        widths, em = (_music_widths(), _MUSIC_EM) if self.is_music else (_text_widths(self.face), _TEXT_EM)
        return sum(widths.get(ord(letter), em / 2) for letter in self.text) * self.size / em


def svg(musicxml: str, sheet: Literal["roll", "a4"] = "roll", width: int = WIDTH) -> list[str]:
    """The pages of a score as SVG, as high as what is on them. The element of a note has the id of the MusicXML's.

    sheet: "roll" is one page, as high as it must be (unless the music is very long); "a4" begins a new one in time.
    width: tenths of a millimetre, of a roll; one less wide than A4 has its lines broken where it is full.
    """
    options = {**_OPTIONS, "pageHeight": A4_HEIGHT if sheet == "a4" else MOST_HEIGHT, "pageWidth": width}
    options |= {"breaks": "auto"} if width < WIDTH else {}
    with _lock:
        verovio.enableLog(verovio.LOG_OFF)
        toolkit = verovio.toolkit(False)
        toolkit.setResourcePath(str(_data()))  # what is set once at import holds for that thread alone
        toolkit.setOptions(options)
        if not toolkit.loadData(musicxml):
            raise ReverieError("The score cannot be engraved: give a MusicXML document as Reverie writes it.")
        pages = [toolkit.renderToSVG(page) for page in range(1, toolkit.getPageCount() + 1)]
    head = _head(musicxml, width)
    over = list(_placed(head) if sheet == "a4" else _anchored(head))  # fpdf2 knows no anchors
    return [_laid_out(page, over if number == 0 else []) for number, page in enumerate(pages)]


def png(musicxml: str, width_px: int = 2100) -> bytes:
    """The score as one PNG on white, `width_px` wide. A `ReverieError` if it would be higher than `MOST_PNG_PX`."""
    pages = svg(musicxml)
    _, height = _size(pages[0])
    if len(pages) > 1 or height / WIDTH * width_px > MOST_PNG_PX:
        raise ReverieError("The score is too long for one picture: write a PDF, or a picture that is less wide.")
    files = [str(FONTS / f"Tinos-{face}.ttf") for face in ("Regular", "Bold", "Italic")]
    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=pages[0],
            width=width_px,
            background="white",
            skip_system_fonts=True,
            font_files=files,
            serif_family="Tinos",
        )
    )


def pdf(musicxml: str) -> bytes:
    """The score on A4 pages, as lines and letters and not as dots; the same score gives the same bytes."""
    document = FPDF(unit="pt", format="A4")
    document.set_creation_date(datetime(2000, 1, 1, tzinfo=UTC))
    document.set_title(_words_of(musicxml, "work/work-title"))
    document.set_author(_words_of(musicxml, "identification/creator"))
    document.set_subject(_words_of(musicxml, "identification/rights"))
    for (weight, slant), face in _PDF_STYLES.items():
        document.add_font("Tinos", weight + slant, FONTS / f"Tinos-{face}.ttf")
    for page in svg(musicxml, "a4"):
        document.add_page()
        SVGObject(_flat(page, document.w / WIDTH)).draw_to_page(document, 0, 0)
    return bytes(document.output())


def _flat(page: str, scale: float) -> str:
    """A page whose inner drawing is a scaled group, with all measures in points, as fpdf2 wants it."""
    root = ElementTree.fromstring(page)  # noqa: S314 - Verovio's own
    drawing = root.find(f"{_SVG}svg")
    assert drawing is not None
    width, height = (float(side) for side in root.attrib.pop("viewBox").split()[2:])
    root.set("width", f"{width * scale:.3f}")
    root.set("height", f"{height * scale:.3f}")
    for element in root.findall(f"{_SVG}desc"):
        root.remove(element)
    drawing.tag, drawing.attrib = (
        f"{_SVG}g",
        {"transform": f"scale({scale / 10:.6f})", "stroke": "black", "fill": "black", "stroke-width": "1"},
    )
    for element in root.iter():
        if element.tag == f"{_SVG}text":
            element.set("font-family", "Tinos")
    return ElementTree.tostring(root, encoding="unicode")


def cursor(tune: Tune) -> list[Sounding]:
    """When each note head of `musicxml.to_musicxml(tune)` sounds, in written order; rests are left out."""
    seconds_a_tick = 60 / tune.tempo_bpm / tune.metre.beat_ticks
    starts: dict[int, list[int]] = {}
    for place, start in played_with_start(tune):
        starts.setdefault(place, []).append(start)
    return [
        Sounding(name, tuple((start + at) * seconds_a_tick for start in starts.get(place, ())), ticks * seconds_a_tick)
        for place, at, ticks, name in _heads(tune)
    ]


def _heads(tune: Tune) -> Iterator[tuple[int, int, int, str]]:
    """(bar, ticks from where it begins, ticks, id) of each note head."""
    first, is_upbeat = 0, upbeats(tune)
    for place, bar in enumerate(tune.bars):
        at = 0
        for head in written(bar, tune.metre, is_upbeat[place]):
            name = f"n{first + head.note}" + (f"-{head.piece}" if head.piece else "")
            if head.pitch is not None:
                yield place, at, head.ticks, name
            at += head.ticks
        first += len(bar.notes)


def _size(page: str) -> tuple[float, float]:
    """(width, height) of a page's view box, in tenths of a millimetre."""
    box = ElementTree.fromstring(page).get("viewBox", "").split()  # noqa: S314 - Verovio's own
    return float(box[2]), float(box[3])


def _words_of(musicxml: str, path: str) -> str:
    return ElementTree.fromstring(musicxml).findtext(path, "")  # noqa: S314 - Reverie's own


def _head(musicxml: str, width: int) -> list[_Run]:
    """The title and, smaller, who wrote it, to stand over the music; what is too long for the page is smaller still."""
    title = {"x": str(width * 5), "y": "950", "text-anchor": "middle"}
    creator = {"x": str(width * 10 - _MARGIN), "y": "1450", "text-anchor": "end", "font-style": "italic"}
    room = width * 10 - 2 * _MARGIN
    return [
        _fitting(_words_of(musicxml, "work/work-title"), title, 620, room),
        _fitting(_words_of(musicxml, "identification/creator"), creator, 330, room),
    ]


def _fitting(text: str, style: dict[str, str], size: float, room: float) -> _Run:
    """A run of text of this size, or of the one at which it is as wide as the room."""
    run = _Run(text, style | {"font-size": f"{size}px"})
    return run if run.width <= room else _Run(text, style | {"font-size": f"{size * room / run.width:.0f}px"})


def _anchored(runs: list[_Run]) -> Iterator[Element]:
    """Runs at the middle or the end of the page, whatever font a reader's machine has for them."""
    for run in runs:
        for element in _words(run, float(run.style["x"]), float(run.style["y"])):
            element.set("text-anchor", run.style["text-anchor"])
            yield element


def _laid_out(page: str, head: list[Element]) -> str:
    """The page without a style sheet: with its text as plain runs, each at its place, and outlines of music glyphs."""
    root = ElementTree.fromstring(page)  # noqa: S314 - Verovio's own
    drawing = root.find(f"{_SVG}svg")
    assert drawing is not None
    drawing.set("stroke", "currentColor")
    _restyle(root, {})
    header = SubElement(drawing, f"{_SVG}g", {"class": "header", "stroke": "none"})
    header.extend(head)
    return ElementTree.tostring(root, encoding="unicode")


def _restyle(element: Element, style: dict[str, str]) -> None:
    for child in list(element):
        classes = child.get("class", "").split()
        if child.tag == f"{_SVG}style" or "placeholder" in classes:
            element.remove(child)
        elif child.tag == f"{_SVG}text":
            _retext(child, style)
        else:
            _restyle(child, style | {key: value for name in classes for key, value in _STYLES.get(name, {}).items()})


def _retext(text: Element, style: dict[str, str]) -> None:
    """A text with its nested runs becomes a group of plain ones."""
    children = list(_placed(list(_runs(text, style))))
    text.clear()
    text.tag = f"{_SVG}g"
    text.set("stroke", "none")
    text.extend(children)


def _runs(element: Element, above: dict[str, str]) -> Iterator[_Run]:
    style = {name: value for name, value in above.items() if name not in ("x", "y")}
    style |= {name: value for name, value in element.attrib.items() if name not in ("id", "class")}
    place = {name: element.attrib.get(name, above.get(name)) for name in ("x", "y")}
    style |= {name: value for name, value in place.items() if value is not None}
    if element.tag == f"{_SVG}title":
        return
    if element.text:
        yield _Run(element.text, style)
        style = {name: value for name, value in style.items() if name not in ("x", "y")}
    for child in element:
        for run in _runs(child, style):
            yield run
            style = {name: value for name, value in style.items() if name not in ("x", "y")}


def _placed(runs: list[_Run]) -> Iterator[Element]:
    """Runs -> elements. Those from one that has a place up to the next stand on one line."""
    starts = [index for index, run in enumerate(runs) if "x" in run.style or index == 0]
    for start, end in pairwise([*starts, len(runs)]):
        line = runs[start:end]
        x, y = (float(line[0].style.get(name, "0")) for name in ("x", "y"))
        anchor = line[0].style.get("text-anchor", "start")
        x -= sum(run.width for run in line) * {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor]
        for run in line:
            yield from _glyphs(run, x, y) if run.is_music else _words(run, x, y)
            x += run.width


def _words(run: _Run, x: float, y: float) -> Iterator[Element]:
    word = run.text.strip()
    if not word:
        return
    indent = _Run(run.text[: len(run.text) - len(run.text.lstrip())], run.style).width
    place = {"x": f"{x + indent:.0f}", "y": f"{y:.0f}", "font-size": f"{run.size:.0f}", "font-family": FAMILY}
    kept = {name: run.style[name] for name in ("font-weight", "font-style") if name in run.style}
    element = Element(f"{_SVG}text", place | kept)
    element.text = word
    yield element


def _glyphs(run: _Run, x: float, y: float) -> Iterator[Element]:
    for letter in run.text:
        outline, scale = _outline(ord(letter)), run.size / _MUSIC_EM
        if outline:
            place = f"translate({x:.0f},{y:.0f}) scale({scale:.4f},{-scale:.4f})"
            yield Element(f"{_SVG}path", {"d": outline, "transform": place})
        x += _music_widths().get(ord(letter), _MUSIC_EM / 4) * scale


def _data() -> Path:
    return Path(verovio.__file__).parent / "data"


@cache
def _outline(code: int) -> str:
    """The outline of a glyph of Leipzig, y up; "" for a space."""
    file = _data() / "Leipzig" / f"{code:04X}.xml"
    if not file.is_file():
        return ""
    path = ElementTree.parse(file).getroot().find("path")  # noqa: S314 - Verovio's own
    return "" if path is None else path.get("d", "")


@cache
def _music_widths() -> dict[int, float]:
    return _widths(_data() / "Leipzig.xml")


@cache
def _text_widths(face: str) -> dict[int, float]:
    return _widths(_data() / "text" / f"Times{face}.xml")


def _widths(file: Path) -> dict[int, float]:
    glyphs = ElementTree.parse(file).getroot().findall("g")  # noqa: S314 - Verovio's own
    return {int(glyph.get("c", "0"), 16): float(glyph.get("h-a-x", glyph.get("w", "0"))) for glyph in glyphs}
