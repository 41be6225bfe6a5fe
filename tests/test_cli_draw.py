"""draw and verify, as a person runs them, with a tiny model; and what a terminal is shown meanwhile."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reverie import engine, media
from reverie.cli import canvas
from reverie.cli.app import app
from reverie.cli.making import slug
from tiny_drawing import SIDE_PX, encoder, write_model

PROMPT = "a red panda riding a skateboard"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: Path) -> Run:
    """A command in an empty folder -> its status, stdout and stderr."""
    monkeypatch.setattr(engine, "prompt_encoder", lambda *_, **__: encoder())
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str, model: bool = True) -> tuple[int, str, str]:
        whole = [*arguments, "-m", str(folder)] if model else [*arguments]
        with pytest.raises(SystemExit) as ended:
            app(whole, prog_name="reverie")
        status = 0 if ended.value.code is None else ended.value.code
        assert isinstance(status, int)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return command


def draw(run: Run, *arguments: str) -> list[Path]:
    status, out, err = run("draw", PROMPT, "--steps", "3", "--seed", "7", *arguments)
    assert status == 0, err
    return [Path(line) for line in out.splitlines()]


def picture(file: Path) -> np.ndarray:
    return media.read_picture(file.read_bytes())


def test_a_picture_is_drawn_its_file_is_told_and_it_is_verified(run: Run) -> None:
    (file,) = draw(run, "-o", "panda.png")
    assert picture(file).shape == (SIDE_PX, SIDE_PX, 3)
    assert media.read_record(file.read_bytes())["prompt"] == PROMPT
    status, out, _ = run("verify", "panda.png")
    assert (status, out) == (0, "panda.png: verified, the same to the last byte\n")


def test_an_edited_picture_is_not_verified(run: Run) -> None:
    (file,) = draw(run, "-o", "panda.png")
    changed = picture(file).copy()
    changed[0, 0] ^= 255
    file.write_bytes(media.to_png(changed, media.read_record(file.read_bytes())))
    status, out, err = run("verify", "panda.png")
    assert status == 1
    assert "edited" in out
    assert "1 of 4,096 pixels differ" in err


def test_many_pictures_are_files_with_numbers_or_one_grid(run: Run) -> None:
    files = draw(run, "-n", "2", "-o", "p.png")
    assert [file.name for file in files] == ["p-1.png", "p-2.png"]
    assert [media.read_record(file.read_bytes())["seed"] for file in files] == [7, 8]
    (sheet,) = draw(run, "-n", "2", "--grid", "-o", "g.png")
    assert (picture(sheet) == media.grid([picture(file) for file in files])).all()
    assert run("verify", "g.png")[0] == 0


def test_the_seed_is_told_so_that_a_picture_can_be_drawn_again(run: Run) -> None:
    status, _, err = run("draw", PROMPT, "--steps", "3", "-n", "2", "-o", "p.png", "--film", "f.gif")
    assert status == 0
    seeds = [media.read_record(Path(name).read_bytes())["seed"] for name in ("p-1.png", "p-2.png")]
    assert err.splitlines() == [f'"{PROMPT}", seed {seed}' for seed in seeds]
    assert run("draw", PROMPT, "--steps", "3", "-o", "again.png", "--seed", str(seeds[0]))[0] == 0
    assert Path("again.png").read_bytes() == Path("p-1.png").read_bytes()


def test_without_a_name_a_file_is_called_by_prompt_and_seed(run: Run) -> None:
    assert [file.name for file in draw(run)] == ["a-red-panda-riding-a-skateboard-7.png"]
    assert slug("../../Été: 50% off!") == "été-50-off"
    assert slug("!?") == "picture"


def test_again_repeats_a_file_and_other_options_change_it(run: Run) -> None:
    (first,) = draw(run, "-o", "a.png", "--negative", "a dog", "--sampler", "euler")
    assert run("draw", "--again", "a.png", "-o", "b.png")[0] == 0
    assert Path("b.png").read_bytes() == first.read_bytes()
    assert run("draw", "--again", "a.png", "-o", "c.png", "--seed", "8")[0] == 0
    told = media.read_record(Path("c.png").read_bytes())
    assert (told["seed"], told["negative"], told["sampler"]) == (8, "a dog", "euler")


def test_a_picture_that_it_began_from_is_needed_again(run: Run) -> None:
    Path("old.png").write_bytes(media.to_png(np.full((50, 80, 3), 90, np.uint8)))
    mask = np.zeros((50, 80, 3), np.uint8)
    mask[:, 40:] = 255
    Path("mask.png").write_bytes(media.to_png(mask))
    (file,) = draw(run, "-o", "new.png", "--init", "old.png", "--mask", "mask.png")
    assert (picture(file)[:, :20] == 90).all()
    for given in ((), ("--init", "old.png"), ("--mask", "mask.png")):
        status, _, err = run("verify", "new.png", *given)
        assert (status, err.count("The file was made with --init and --mask")) == (1, 1)
    status, _, err = run("verify", "new.png", "--init", "mask.png", "--mask", "mask.png")
    assert (status, err.count("another picture or clip for --init:")) == (1, 1)
    assert run("verify", "new.png", "--init", "old.png", "--mask", "mask.png")[0] == 0


def test_all_that_a_replay_wants_is_told_at_once(run: Run) -> None:
    Path("old.png").write_bytes(media.to_png(np.full((50, 80, 3), 90, np.uint8)))
    (file,) = draw(run, "-o", "new.png", "--init", "old.png")
    status, out, err = run("verify", str(file), model=False)
    assert (status, out) == (1, "")
    assert "made with --init" in err
    assert "give it with -m" in err
    assert run("verify", str(file), "--init", "old.png")[0] == 0
    assert "leave it out: the file is a picture" in run("verify", str(file), "--last", "old.png")[2]


def test_a_film_shows_every_step_and_a_strip_some(run: Run) -> None:
    _, film = draw(run, "-o", "p.png", "--film", "f.gif")
    frames = Image.open(io.BytesIO(film.read_bytes()))
    assert frames.n_frames == 3  # type: ignore[attr-defined]
    assert frames.size == (2 * SIDE_PX + 2, SIDE_PX)
    drawn, strip = draw(run, "-o", "p.png", "--film", "f.png")
    sheet = picture(strip)
    assert sheet.shape == (2 * SIDE_PX + 2, 3 * SIDE_PX + 4, 3)
    assert (sheet[-SIDE_PX:, -SIDE_PX:] == picture(drawn)).all()


MISTAKES = [
    (["draw", PROMPT, "-o", "p.jpg"], 2, "p.png"),
    (["draw", PROMPT, "--film", "f.mp4"], 2, ".gif"),
    (["draw", "  "], 2, "at least one word"),
    (["draw", PROMPT, "-n", "0"], 2, "--count"),
    (["draw", PROMPT, "--sampler", "fast"], 1, "dpmpp_2m"),
    (["draw", PROMPT, "--mask", "plain.png"], 1, "init"),
    (["draw", PROMPT, "--init", "none.png"], 1, "none.png"),
    (["draw", "--again", "plain.png"], 1, "does not say how it was made"),
    (["verify", "plain.png"], 1, "plain.png: The file does not say how it was made"),
    (["verify", "none.png"], 1, "none.png"),
]


@pytest.mark.parametrize(("arguments", "status", "words"), MISTAKES, ids=lambda value: str(value)[:40])
def test_mistakes_are_told_before_a_model_is_loaded(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], status: int, words: str
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(engine, "load", never)
    Path("plain.png").write_bytes(media.to_png(np.zeros((4, 4, 3), np.uint8)))
    got, out, err = run(*arguments)
    assert (got, out) == (status, "")
    assert words in err


def test_a_file_cannot_choose_which_model_is_opened(run: Run) -> None:
    draw(run, "-o", "p.png")
    status, _, err = run("verify", "p.png", model=False)
    assert status == 1
    assert "'tiny' that Reverie does not know: give it with -m" in err


# --- terminals ---

PICTURE = np.random.default_rng(0).integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("environ", "wanted", "way"),
    [
        ({"TERM": "xterm-kitty"}, None, canvas.kitty),
        ({"TERM_PROGRAM": "iTerm.app"}, None, canvas.iterm),
        ({"TERM_PROGRAM": "iTerm.app", "TMUX": "1"}, None, None),
        ({"TERM_PROGRAM": "iTerm.app"}, False, None),
        ({"TERM": "xterm-256color"}, None, None),
        ({"TERM": "xterm-256color"}, True, canvas.blocks),
    ],
)
def test_a_terminal_is_shown_what_it_can_show(environ: dict[str, str], wanted: bool | None, way: Any) -> None:
    assert canvas.way_to_show(environ, wanted) is way


def test_both_protocols_carry_the_picture_itself() -> None:
    parts = canvas.kitty(PICTURE).split("\x1b\\")[:-1]
    data = "".join(part.partition(";")[2] for part in parts)
    assert all(part.startswith("\x1b_G") and len(part) < 4200 for part in parts)
    assert [part.partition(";")[0][-1] for part in parts] == ["1"] * (len(parts) - 1) + ["0"]
    assert (media.read_picture(base64.b64decode(data)) == PICTURE).all()
    words = canvas.iterm(PICTURE).removesuffix("\a").partition(":")[2]
    assert (media.read_picture(base64.b64decode(words)) == PICTURE).all()


def test_blocks_are_rows_of_two_pixels_a_character() -> None:
    rows = canvas.blocks(np.full((8, 8, 3), 200, np.uint8)).split("\r\n")
    assert len(rows) == canvas.ROWS
    assert all(row == "\x1b[38;2;200;200;200;48;2;200;200;200m▀" * 2 * canvas.ROWS + "\x1b[0m" for row in rows)


def test_the_bar_says_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", screen)
    with canvas.Canvas(True, 2) as shown:
        shown.step(lambda: PICTURE)
        shown.step(lambda: PICTURE)
    assert "step 1 of 2" in screen.getvalue()
    assert f"{'█' * canvas.BAR} step 2 of 2, 0 s left" in screen.getvalue()
    assert "▀" in screen.getvalue()
    assert screen.getvalue().endswith("\r\x1b[2K")
