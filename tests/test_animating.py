"""A clip is a function of its record: it repeats, and a replay shows what is not true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny_drawing
import tiny_video
from reverie import animating, drawing, engine, media, moving, records
from reverie.animating import CONTEXT, SUFFIXES, Animated
from reverie.engine import Model
from reverie.types import ReverieError, Step
from tiny_drawing import SIDE_PX

PROMPT = "a red panda riding a skateboard to the right"
RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (1, 50, 80, 3), dtype=np.uint8)
BEFORE = RNG.integers(0, 256, (6, SIDE_PX, SIDE_PX, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return tiny_video.opened(tiny_video.write_model(tmp_path_factory.mktemp("models") / "tiny"))


def animate(model: Model, **settings: Any) -> Animated:
    return animating.animate(model, PROMPT, **{"seed": 5, "steps": 2, "frames": 6, **settings})


# --- animating ---


def test_a_clip_depends_on_its_settings_and_on_nothing_else(model: Model) -> None:
    first = animate(model)
    assert first.clip.shape == (6, SIDE_PX, SIDE_PX, 3)
    torch.manual_seed(99)
    assert animate(model).file(".mp4") == first.file(".mp4")
    for other in ({"seed": 6}, {"steps": 3}, {"guidance": 1.0}, {"sampler": "ancestral"}, {"loop": True}):
        assert (animate(model, **other).clip != first.clip).any(), other
    assert (animate(model, fps=12).clip == first.clip).all()
    assert animate(model, fps=12).file(".mp4") != first.file(".mp4")


def test_every_step_is_told(model: Model) -> None:
    steps = list[Step]()
    made = animating.animate(model, PROMPT, steps.append, seed=1, steps=3, frames=4)
    assert [step.index for step in steps] == [1, 2, 3]
    assert (model.medium.clip(steps[-1].guess) == made.clip).all()


def test_given_pictures_are_first_and_last(model: Model) -> None:
    made = animate(model, begin=PICTURE, end=255 - PICTURE)
    assert (made.clip[0] == media.fit(PICTURE[0], SIDE_PX)).all()
    assert (made.clip[-1] == media.fit(255 - PICTURE[0], SIDE_PX)).all()
    assert (made.clip[1:-1] != animate(model).clip[1:-1]).any()


def test_a_clip_goes_on_from_another(model: Model) -> None:
    made = animate(model, extend=BEFORE)
    assert len(made.clip) == len(BEFORE) + 6 - CONTEXT
    assert (made.clip[: len(BEFORE)] == BEFORE).all()
    assert (made.clip[len(BEFORE) - CONTEXT :] == animate(model, begin=BEFORE[-CONTEXT:]).clip).all()
    short = animate(model, extend=PICTURE)  # of another size, and less than what the model can see
    assert len(short.clip) == 6
    assert (short.clip[0] == media.fit(PICTURE[0], SIDE_PX)).all()
    with pytest.raises(ReverieError, match="give no others"):
        animate(model, extend=BEFORE, begin=PICTURE)
    with pytest.raises(ReverieError, match="ask for more frames"):
        animate(model, extend=BEFORE, frames=CONTEXT)


def test_a_model_of_pictures_does_not_animate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "prompt_encoder", lambda *_, **__: tiny_drawing.encoder())
    painter = engine.load(str(tiny_drawing.write_model(tmp_path / "painter")))
    with pytest.raises(ReverieError, match="choose a model that animates"):
        animate(painter)


# --- records and replays ---


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_tells_everything(model: Model, suffix: str) -> None:
    made = animate(model, negative="a dog", fps=12)
    told = animating.read_record(made.file(suffix))
    assert told == made.record
    expected = {"prompt": PROMPT, "negative": "a dog", "seed": 5, "steps": 2, "frames": 6, "fps": 12, "loop": False}
    nothing = {"begin": None, "end": None, "extend": None}
    assert told == {**told, **expected, **nothing, "kind": "clip", "size_px": SIDE_PX}
    assert len(told["model"]["sha256"]) == 64
    assert "av" in told["made_with"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_replay_gives_the_same_bytes(model: Model, suffix: str) -> None:
    data = animate(model, fps=7).file(suffix)
    assert animating.is_clip(data)
    verdict = animating.verify(data, model)
    assert verdict.same_bytes, verdict
    assert verdict.same_pixels
    assert verdict.summary == "verified, the same to the last byte"


def test_a_replay_needs_what_it_was_made_from(model: Model) -> None:
    ended = animate(model, begin=PICTURE, end=PICTURE + 1).file(".mp4")
    assert animating.verify(ended, model, begin=PICTURE, end=PICTURE + 1).same_bytes
    with pytest.raises(ReverieError, match="--last"):
        animating.verify(ended, model, begin=PICTURE)
    longer = animate(model, extend=BEFORE).file(".webp")
    assert animating.verify(longer, model, extend=BEFORE).same_bytes
    with pytest.raises(ReverieError, match="--extend"):
        animating.verify(longer, model, extend=BEFORE + 1)
    with pytest.raises(ReverieError, match="leave out --init"):
        animating.verify(animate(model).file(".gif"), model, begin=PICTURE)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_edited_clip_is_found_out(model: Model, suffix: str) -> None:
    made = animate(model)
    clip = made.clip.copy()
    clip[2, :32] = 255 - clip[2, :32]
    verdict = animating.verify(Animated(clip, made.record).file(suffix), model)
    assert not verdict.same_pixels
    assert verdict.summary == "not the same clip: its pixels or its record were edited"
    assert "pixels differ" in verdict.differences[0]
    shorter = animating.verify(Animated(clip[:4], made.record).file(suffix), model)
    assert not shorter.same_bytes


def test_a_file_written_by_other_means_has_the_same_pixels(model: Model) -> None:
    verdict = animating.verify(animate(model).file(".mp4") + b"\0\0\0\x08free", model)
    assert (verdict.same_bytes, verdict.same_pixels) == (False, True)
    assert "other means" in verdict.summary


def test_other_circumstances_are_named(model: Model) -> None:
    made = animate(model)
    told = {**made.record, "made_with": {**made.record["made_with"], "av": "1.0"}, "seed": 6}
    verdict = animating.verify(Animated(made.clip, told).file(".mp4"), model)
    assert verdict.differences[0].startswith("the av was 1.0 and is")
    assert "circumstances" in verdict.summary


STRANGE: list[dict[str, Any]] = [
    {"reverie": 2},
    {"kind": None},
    {"kind": "tune"},
    {"seed": -1},
    {"fps": 0},
    {"frames": 10**9},
    {"frames": "6"},
    {"sampler": "rm -rf"},
    {"prompt": None},
    {"size_px": 10**6},
]


@pytest.mark.parametrize("change", STRANGE, ids=str)
def test_records_that_cannot_be_are_refused(model: Model, change: dict[str, Any]) -> None:
    made = animate(model)
    data = moving.to_mp4(made.clip, 8, {**made.record, **change})
    with pytest.raises(ReverieError, match=r":.*\.$"):
        animating.verify(data, model)
    lacking = {name: value for name, value in made.record.items() if name != next(iter(change))}
    with pytest.raises(ReverieError, match=r":.*\.$"):
        animating.verify(moving.to_mp4(made.clip, 8, lacking), model)


def test_there_is_one_verdict_and_records_are_told_apart(model: Model) -> None:
    strip = animate(model).file(".png")
    with pytest.raises(ReverieError, match="another kind"):
        drawing.settings_of(media.read_record(strip))
    assert isinstance(animating.verify(strip, model), records.Verdict)
    assert not animating.is_clip(media.to_png(BEFORE[0], {"reverie": 1}))
    assert not animating.is_clip(b"RIFF0000WAVEfmt ")
