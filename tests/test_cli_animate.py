"""animate and verify, as a person runs them, with a tiny model."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_drawing
import tiny_video
from reverie import animating, engine, media, moving
from reverie.cli.app import app
from tiny_drawing import SIDE_PX, encoder

PROMPT = "a red panda riding a skateboard to the right"
Run = Callable[..., tuple[int, str, str]]
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_video.write_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: Path) -> Run:
    """A command in an empty folder -> its status, stdout and stderr."""
    monkeypatch.setattr(engine, "prompt_encoder", lambda *_, **__: encoder())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
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


def animate(run: Run, *arguments: str) -> list[Path]:
    status, out, err = run("animate", PROMPT, "--steps", "2", "--frames", "6", "--seed", "7", *arguments)
    assert status == 0, err
    return [Path(line) for line in out.splitlines()]


def record(file: Path) -> dict[str, Any]:
    return animating.read_record(file.read_bytes())


def picture(name: str, level: int) -> np.ndarray:
    plain = np.full((50, 80, 3), level, np.uint8)
    Path(name).write_bytes(media.to_png(plain))
    return media.fit(plain, SIDE_PX)


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp", ".png"])
def test_a_clip_is_made_its_file_is_told_and_it_is_verified(run: Run, suffix: str) -> None:
    (file,) = animate(run, "-o", f"panda{suffix}", "--fps", "10")
    assert record(file)["prompt"] == PROMPT
    if suffix == ".png":
        assert media.read_picture(file.read_bytes()).shape == (SIDE_PX, 6 * SIDE_PX + 5 * 2, 3)
    else:
        clip, fps = moving.read_clip(file.read_bytes())
        assert clip.shape == (6, SIDE_PX, SIDE_PX, 3)
        assert fps == pytest.approx(10, rel=0.02)
    status, out, _ = run("verify", file.name)
    assert (status, out) == (0, f"panda{suffix}: verified, the same to the last byte\n")


def test_an_edited_clip_is_not_verified(run: Run) -> None:
    (file,) = animate(run, "-o", "panda.mp4")
    clip, fps = moving.read_clip(file.read_bytes())
    file.write_bytes(moving.to_mp4(255 - clip, fps, record(file)))
    status, out, err = run("verify", "panda.mp4")
    assert status == 1
    assert "edited" in out
    assert "pixels differ" in err


def test_many_clips_are_files_with_numbers(run: Run) -> None:
    files = animate(run, "-n", "2", "-o", "p.webp")
    assert [file.name for file in files] == ["p-1.webp", "p-2.webp"]
    assert [record(file)["seed"] for file in files] == [7, 8]


def test_the_seed_is_told_so_that_a_clip_can_be_animated_again(run: Run) -> None:
    status, _, err = run("animate", PROMPT, "--steps", "2", "--frames", "6", "-n", "2", "-o", "p.webp")
    assert status == 0
    seeds = [record(Path(name))["seed"] for name in ("p-1.webp", "p-2.webp")]
    assert err.splitlines() == [f'"{PROMPT}", seed {seed}' for seed in seeds]
    animate(run, "-o", "again.webp", "--seed", str(seeds[0]))
    assert Path("again.webp").read_bytes() == Path("p-1.webp").read_bytes()


def test_without_a_name_it_is_an_mp4_called_by_prompt_and_seed(run: Run) -> None:
    assert [file.name for file in animate(run)] == ["a-red-panda-riding-a-skateboard-to-the-right-7.mp4"]


def test_again_repeats_a_file_and_other_options_change_it(run: Run) -> None:
    (first,) = animate(run, "-o", "a.mp4", "--negative", "a dog", "--sampler", "euler", "--loop")
    assert run("animate", "--again", "a.mp4", "-o", "b.mp4")[0] == 0
    assert Path("b.mp4").read_bytes() == first.read_bytes()
    assert run("animate", "--again", "a.mp4", "-o", "c.gif", "--seed", "8", "--fps", "4")[0] == 0
    told = record(Path("c.gif"))
    expected = {"seed": 8, "fps": 4, "frames": 6, "negative": "a dog", "sampler": "euler", "loop": True}
    assert told == {**told, **expected}


def test_a_clip_begins_and_ends_with_pictures_that_are_needed_again(run: Run) -> None:
    first, last = picture("first.png", 90), picture("last.png", 200)
    (file,) = animate(run, "-o", "new.webp", "--init", "first.png", "--last", "last.png")
    clip, _ = moving.read_clip(file.read_bytes())
    assert np.abs(clip[0].astype(int) - first).mean() < 4
    assert np.abs(clip[-1].astype(int) - last).mean() < 4
    for given in ((), ("--init", "first.png"), ("--extend", "new.webp")):
        status, _, err = run("verify", "new.webp", *given)
        assert (status, err.count("The file was made with --init and --last")) == (1, 1)
        assert ("leave out --extend" in err) == ("--extend" in given)
    status, _, err = run("verify", "new.webp", "--mask", "first.png")
    assert (status, err.count("leave it out: the file is a clip")) == (2, 1)
    assert run("verify", "new.webp", "--init", "first.png", "--last", "last.png")[0] == 0
    assert run("animate", "--again", "new.webp")[0] == 1
    again = ("--init", "first.png", "--last", "last.png", "-o", "again.webp")
    assert run("animate", "--again", "new.webp", *again)[0] == 0
    assert Path("again.webp").read_bytes() == file.read_bytes()


def test_a_clip_goes_on_from_its_own_file(run: Run) -> None:
    (old,) = animate(run, "-o", "old.mp4", "--fps", "10")
    (new,) = animate(run, "-o", "new.mp4", "--extend", "old.mp4")
    before, _ = moving.read_clip(old.read_bytes())
    clip, fps = moving.read_clip(new.read_bytes())
    assert len(clip) == 6 + 6 - animating.CONTEXT
    assert fps == record(new)["fps"] == 10  # as it was
    assert np.abs(clip[:6].astype(int) - before).mean() < 10  # noise, coded once more
    assert run("verify", "new.mp4")[0] == 1
    assert run("verify", "new.mp4", "--extend", "old.mp4")[0] == 0
    assert run("animate", "--again", "new.mp4", "--extend", "old.mp4", "-o", "again.mp4")[0] == 0
    assert Path("again.mp4").read_bytes() == new.read_bytes()


def test_a_clip_of_a_stranger_is_brought_to_the_size_and_speed_of_the_model(run: Run) -> None:
    fast = np.repeat(RNG.integers(0, 256, (10, 1, 1, 3), dtype=np.uint8), 48, 1).repeat(96, 2)
    Path("fast.webp").write_bytes(moving.to_webp(fast.repeat(3, 0), 24))
    (new,) = animate(run, "-o", "new.webp", "--extend", "fast.webp")
    clip, fps = moving.read_clip(new.read_bytes())
    assert clip.shape == (10 + 6 - animating.CONTEXT, SIDE_PX, SIDE_PX, 3)
    assert fps == pytest.approx(8)
    assert np.abs(clip[:10, 8, 8].astype(int) - fast[:, 8, 8]).max() < 6
    (slow,) = animate(run, "-o", "slow.webp", "--extend", "fast.webp", "--fps", "24")
    assert len(moving.read_clip(slow.read_bytes())[0]) == 30 + 6 - animating.CONTEXT


MISTAKES = [
    (["animate", PROMPT, "-o", "p.avi"], 2, ".mp4 .gif .webp .png"),
    (["animate", "  "], 2, "at least one word"),
    (["animate"], 2, "at least one word"),
    (["animate", PROMPT, "-n", "0"], 2, "--count"),
    (["animate", PROMPT, "--extend", "plain.png", "--loop"], 2, "leave out --init and --loop"),
    (["animate", PROMPT, "--sampler", "fast"], 1, "dpmpp_2m"),
    (["animate", PROMPT, "--frames", "0"], 1, "frames is 0: give a whole number from 2"),
    (["animate", PROMPT, "--fps", "500"], 1, "fps is 500"),
    (["animate", PROMPT, "--init", "none.png"], 1, "none.png"),
    (["animate", PROMPT, "--init", "plain.png", "--frames", "1"], 1, "One frame is no clip"),
    (["animate", PROMPT, "--frames", "1"], 1, "draw a picture with `reverie draw`"),
    (["animate", PROMPT, "--init", "plain.png", "--loop"], 1, "loops"),
    (["animate", "--again", "plain.png"], 1, "does not say how it was made"),
    (["animate", "--again", "words.txt"], 1, "words.txt: The file is not a clip"),
    (["animate", PROMPT, "--last", "words.txt"], 1, "words.txt: The file is not a picture"),
    (["verify", "plain.mp4"], 1, "plain.mp4: The file does not say how it was made"),
    (["verify", "none.mp4"], 1, "none.mp4"),
]


@pytest.mark.parametrize(("arguments", "status", "words"), MISTAKES, ids=lambda value: str(value)[:60])
def test_mistakes_are_told_before_a_model_is_loaded(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], status: int, words: str
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(engine, "load", never)
    Path("plain.png").write_bytes(media.to_png(np.zeros((4, 4, 3), np.uint8)))
    Path("plain.mp4").write_bytes(moving.to_mp4(np.zeros((2, 16, 16, 3), np.uint8), 8))
    Path("words.txt").write_text("hello, this is no clip")
    got, out, err = run(*arguments)
    assert (got, out) == (status, "")
    assert words in err


@pytest.mark.parametrize("name", ["none.mp4", "words.txt", "plain.png"])
def test_what_is_no_clip_cannot_be_gone_on_from(run: Run, name: str) -> None:
    Path("words.txt").write_text("hello, this is no clip")
    picture("plain.png", 90)
    status, out, err = run("animate", PROMPT, "--extend", name)
    assert (status, out) == (1, "")
    assert err.startswith("Error: ")
    assert name in err
    assert "Traceback" not in err


def test_a_size_that_the_model_has_not_learnt_is_remarked_on(run: Run) -> None:
    _, _, err = run("animate", PROMPT, "-o", "small.gif", "--size", str(SIDE_PX // 2))
    assert f"has learnt to work at {SIDE_PX} x {SIDE_PX} pixels" in err
    _, _, err = run("animate", PROMPT, "-o", "whole.gif", "--size", str(SIDE_PX))
    assert "has learnt" not in err


def test_a_model_of_another_medium_is_refused(run: Run, tmp_path: Path) -> None:
    painter = tiny_drawing.write_model(tmp_path / "painter")
    status, _, err = run("animate", PROMPT, "-m", str(painter), model=False)
    assert status == 1
    assert "choose a model that animates with -m" in err


def test_a_file_cannot_choose_which_model_is_opened(run: Run) -> None:
    animate(run, "-o", "p.mp4")
    status, _, err = run("verify", "p.mp4", model=False)
    assert status == 1
    assert "'tiny' that Reverie does not know: give it with -m" in err


def test_without_a_model_of_its_own_it_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from reverie.hub import catalogue

    monkeypatch.setattr(catalogue, "catalogue", dict)
    status, out, err = run("animate", PROMPT, model=False)
    assert (status, out) == (1, "")
    assert err == (
        "Error: Reverie comes with no model for video: name one with -m, or train one (`reverie train video --help`).\n"
    )


def test_a_terminal_sees_how_far_it_is(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", screen)
    animate(run, "-o", "p.mp4", "--preview")
    assert "Animating" in screen.getvalue()
    assert "step 2 of 2, 0 s left" in screen.getvalue()
    assert "▀" in screen.getvalue()
