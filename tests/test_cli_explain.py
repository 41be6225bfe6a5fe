"""explain, as a person runs it, with tiny models: in the terminal, as JSON, and as one HTML file."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from reverie import engine, explain, media
from reverie.cli.app import app
from reverie.cli.exhibits import DARK, LIGHT, ground_of, show, visible
from reverie.cli.explain import TOURS
from reverie.cli.report import report
from reverie.explain.views import views
from tiny_drawing import encoder, write_model
from tiny_models import LLAMA, decoder, save

PROMPT = "the robot dog ran into the garden,he was old"
NEEDED: dict[str, dict[str, Any]] = {
    "what-if": {"layer": 1},
    "context": {"other": "the old house"},
}  # options without which there is nothing to see
EVIL = 'the <script>alert("1")</script> dog & "it" \x1b[31m'
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "writer"
    save(folder, decoder(LLAMA))
    return folder


@pytest.fixture(scope="module")
def drawer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "drawer")


@pytest.fixture(scope="module")
def model(writer: Path) -> engine.Model:
    return engine.load(str(writer), place=engine.EXACT)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """A command in an empty folder -> its status, stdout and stderr."""
    monkeypatch.setattr(engine, "prompt_encoder", lambda *_, **__: encoder())
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            app(["explain", *arguments], prog_name="reverie")
        status = 0 if ended.value.code is None else ended.value.code
        assert isinstance(status, int)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return command


class Page(HTMLParser):
    """Tags that are open, everything that is loaded, and the text."""

    EMPTY = ("meta", "img")

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.loaded: list[str] = []
        self.ids: list[str] = []
        self.alts: list[str] = []
        self.words = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        self.loaded += [str(value) for name, value in attrs if name in ("src", "href")]
        self.ids += [str(given["id"])] if "id" in given else []
        self.alts += [str(given.get("alt"))] if tag == "img" else []
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_tour_shows_one_thing_after_the_other(run: Run, writer: Path) -> None:
    status, out, err = run(PROMPT, "-m", str(writer))
    assert status == 0, err
    titles = [explain.about(name).title for name in TOURS["lm"]]
    places = [out.index(f"{title} ─") for title in titles]
    assert places == sorted(places)
    assert all(explain.about(name).question in out for name in TOURS["lm"])
    assert "Where “he” looks" in out  # a pronoun, where attention is seen best


def test_an_exhibit_by_name_with_its_options(run: Run, writer: Path) -> None:
    arguments = ("-e", "attention", "-e", "tokens", "--layer", "1", "--head", "2", "--option", "query=3", "--json")
    status, out, err = run(PROMPT, "-m", str(writer), *arguments)
    assert status == 0, err
    attention, tokens = json.loads(out)["exhibits"]
    assert (attention["name"], tokens["name"]) == ("attention", "tokens")
    assert [attention["options"][name] for name in ("layer", "head", "query")] == [1, 2, 3]
    assert tokens["options"] == {}


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("-e", "telepathy"), 1, "There is no exhibit 'telepathy'"),
        (("-e", "denoising"), 1, "does not show denoising"),
        (("-e", "attention", "--layer", "9"), 1, "no layer 9"),
        (("-e", "tokens", "--layer", "1"), 1, "None of tokens has an option 'layer'"),
        (("-e", "attention", "--option", "layer"), 2, "layer=VALUE"),
        (("-e", "tokens", "-o", "report.pdf"), 2, "report.html"),
        (("--image",), 1, "choose a model that draws"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(
    run: Run, writer: Path, arguments: tuple[str, ...], status: int, told: str
) -> None:
    ended, out, err = run(PROMPT, "-m", str(writer), *arguments)
    assert (ended, out) == (status, "")
    assert told in " ".join(err.replace("│", " ").split())


def test_without_a_prompt_nothing_is_shown(run: Run, writer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert run("-m", str(writer))[0] == 2
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"the robot dog")))
    status, out, _ = run("-m", str(writer), "-e", "tokens", "--json")
    assert status == 0
    assert json.loads(out)["exhibits"][0]["prompt"] == "the robot dog"


def test_the_list_names_every_exhibit_with_its_options(run: Run) -> None:
    status, out, _ = run("--list")
    assert status == 0
    assert all(re.search(rf"^  {name}\b", out, re.MULTILINE) for name in explain.exhibits())
    assert "sampler=dpmpp_2m" in out


def test_everything_leaves_out_what_needs_more_and_says_so(run: Run, writer: Path) -> None:
    status, out, err = run(PROMPT, "-m", str(writer), "--all", "-o", "all.html")
    assert (status, out) == (0, "all.html\n")
    assert "what-if is left out: Nothing is changed" in err
    page = Page(Path("all.html").read_text("utf-8"))
    assert {"tokens", "attention", "parameters", "cache"} <= set(page.ids)


def test_a_report_is_whole_and_loads_nothing(run: Run, drawer: Path) -> None:
    status, out, err = run("a red panda", "--image", "-m", str(drawer), "-o", "look.html", "--option", "steps=2")
    assert (status, out) == (0, "look.html\n"), err
    page = Page(Path("look.html").read_text("utf-8"))
    assert page.open == []
    assert page.ids == list(TOURS["diffusion"])
    assert not page.tags & {"script", "link", "iframe", "object"}
    assert all(url.startswith(("data:image/", "#")) for url in page.loaded)
    assert page.alts
    assert all(page.alts)
    assert str(drawer.parent) not in page.words  # which is nobody's business
    for name in TOURS["diffusion"]:
        assert explain.about(name).question in page.words


def test_what_a_prompt_says_never_becomes_a_part_of_the_page(model: engine.Model) -> None:
    made = [explain.exhibit(name, model, EVIL) for name in ("tokens", "attention", "merges")]
    page = Page(report(made))
    assert "script" not in page.tags
    assert "\x1b" not in page.words
    assert "<0x1B>" in page.words


def test_what_a_prompt_says_never_reaches_the_terminal_as_a_command(model: engine.Model) -> None:
    console = Console(file=io.StringIO(), width=90, no_color=True)
    for name in ("tokens", "surprise", "attention", "merges"):
        show(console, explain.exhibit(name, model, EVIL))
    written: str = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b" not in written
    assert "�" not in written


@pytest.mark.parametrize("colours", ["truecolor", None])
def test_every_exhibit_of_text_has_views_that_fit_the_terminal(
    model: engine.Model, colours: Literal["truecolor"] | None
) -> None:
    for name in explain.exhibits(model):
        made = explain.exhibit(name, model, PROMPT, **NEEDED.get(name, {}))
        assert views(made)
        console = Console(
            file=io.StringIO(), width=72, force_terminal=colours is not None, color_system=colours, record=True
        )
        show(console, made)
        lines = console.export_text().splitlines()
        assert len(lines) > 5
        assert max(cell_len(line) for line in lines) <= 72
        assert Page(report([made])).open == []


def test_pictures_are_half_blocks_where_there_are_colours_and_captions_where_there_are_none(
    run: Run, drawer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "prompt_encoder", lambda *_, **__: encoder())
    made = explain.exhibit("seeds", engine.load(str(drawer)), "a red panda", num=2, steps=1)
    written = []
    kinds: tuple[Literal["truecolor"] | None, ...] = ("truecolor", None)
    for colours in kinds:
        console = Console(file=io.StringIO(), width=60, force_terminal=True, color_system=colours)
        show(console, made)
        written.append(console.file.getvalue())  # type: ignore[attr-defined]
    assert written[0].count("▀") >= 2 * 18 * 9
    assert "▀" not in written[1]
    assert all("seed 1" in each for each in written)


def test_a_picture_of_ones_own_is_shown_with_noise(run: Run, drawer: Path) -> None:
    Path("own.png").write_bytes(media.to_png(np.full((40, 80, 3), (200, 30, 30), np.uint8)))
    status, out, err = run("a cat", "--image", "-m", str(drawer), "-e", "noise", "--picture", "own.png", "--json")
    assert status == 0, err
    assert json.loads(out)["exhibits"][0]["data"]["own"]
    assert run("a cat", "--image", "-m", str(drawer), "-e", "noise", "--picture", "none.png")[0] == 1


def test_what_cannot_be_seen_has_a_sign() -> None:
    assert [visible(text) for text in (" dog", "  ", "\n", "\x1b", "\u200b", "")] == [
        "dog",
        "␣",
        "⏎",
        "<0x1B>",
        "<0xE2><0x80><0x8B>",
        "␣",
    ]


def test_the_ground_of_the_terminal_is_dark_unless_it_tells() -> None:
    assert [ground_of({"COLORFGBG": told}) for told in ("15;0", "0;15", "0;default;7")] == [DARK, LIGHT, LIGHT]
    assert ground_of({}) == DARK
