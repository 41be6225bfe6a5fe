"""A drawing is a function of its record: it repeats whatever else is drawn, and a replay shows what is not true."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reverie import drawing, engine, media, records
from reverie.diffusion.samplers import SAMPLERS
from reverie.drawing import Drawn
from reverie.engine import Model
from reverie.hub import drawings
from reverie.types import SAMPLERS as SAMPLER_NAMES
from reverie.types import ImageRequest, ReverieError, Step
from tiny_drawing import SIDE_PX, encoder, write_model

PROMPT = "a red panda riding a skateboard"
PICTURE = np.random.default_rng(0).integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
HALF = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
HALF[:, : SIDE_PX // 2] = 255


@pytest.fixture(autouse=True)
def _no_files_for_the_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "prompt_encoder", lambda *_, **__: encoder())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def model(folder: Path) -> Model:
    return engine.load(str(folder))


def draw(model: Model, **settings: Any) -> Drawn:
    return drawing.draw(model, PROMPT, **{"seed": 5, "steps": 4, **settings})


# --- drawing ---


def test_a_folder_is_opened_as_it_was_saved(model: Model, folder: Path, tmp_path: Path) -> None:
    drawings.save(tmp_path / "copy", model.medium, model.core.state_dict(), model.core.config, "A copy.")
    again = engine.load(str(tmp_path / "copy"))
    assert (draw(model).picture == draw(again).picture).all()
    assert draw(model).picture.shape == (SIDE_PX, SIDE_PX, 3)


def test_a_picture_depends_on_its_settings_and_on_nothing_else(model: Model) -> None:
    first = draw(model)
    torch.manual_seed(99)
    assert draw(model).png == first.png
    for other in ({"seed": 6}, {"steps": 5}, {"guidance": 1.0}, {"sampler": "euler"}, {"negative": "a dog"}):
        assert (draw(model, **other).picture != first.picture).any(), other
    assert (drawing.draw(model, "a dog", seed=5, steps=4).picture != first.picture).any()


def test_pictures_side_by_side_are_those_drawn_alone(model: Model) -> None:
    together, alone = draw(model, count=3), [draw(model, seed=5 + i).picture for i in range(3)]
    assert (together.picture == media.grid(alone)).all()
    assert together.record["count"] == 3


def test_without_a_seed_each_picture_is_another_and_tells_its_own(model: Model) -> None:
    drawn = drawing.draw(model, PROMPT, steps=2)
    assert (drawing.draw(model, PROMPT, steps=2).picture != drawn.picture).any()
    assert (drawing.draw(model, PROMPT, steps=2, seed=drawn.record["seed"]).picture == drawn.picture).all()


@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
def test_every_step_can_be_shown(model: Model, sampler: str) -> None:
    steps = list[Step]()
    assert draw(model, sampler=sampler, size_px=32).picture.shape == (32, 32, 3)
    drawing.draw(model, PROMPT, steps.append, seed=1, steps=3, sampler=sampler)
    assert [(step.index, step.total) for step in steps] == [(1, 3), (2, 3), (3, 3)]
    assert all(model.medium.picture(x).shape == (SIDE_PX, SIDE_PX, 3) for s in steps for x in (s.state, s.guess))
    made = model.generate(PROMPT, seed=1, steps=3, sampler=sampler).artifact()
    assert made.media_type == "image/png"
    assert isinstance(made.data, bytes)
    assert (media.read_picture(made.data) == model.medium.picture(steps[-1].guess)).all()


def test_the_samplers_that_can_be_asked_for_are_those_that_exist() -> None:
    assert set(SAMPLER_NAMES) == set(SAMPLERS)


def test_a_mask_keeps_the_rest_of_a_picture_to_the_pixel(model: Model) -> None:
    drawn = draw(model, init=PICTURE, mask=HALF).picture
    assert (drawn[:, SIDE_PX // 2 :] == PICTURE[:, SIDE_PX // 2 :]).all()
    assert (drawn[:, : SIDE_PX // 2] != PICTURE[:, : SIDE_PX // 2]).mean() > 0.9


def test_the_strength_says_how_far_a_picture_is_left(model: Model) -> None:
    init = model.medium.condition(ImageRequest("", init=PICTURE)).init

    def noise_at_first(strength: float) -> float:
        steps = list[Step]()
        drawing.draw(model, PROMPT, steps.append, init=PICTURE, strength=strength, steps=10)
        return float((steps[0].state - (1 - strength) * init).std())

    assert noise_at_first(0.1) == pytest.approx(0.1, rel=0.2)
    assert noise_at_first(1.0) == pytest.approx(1.0, rel=0.2)
    assert [ImageRequest("", init=PICTURE, steps=10, strength=s).num_steps for s in (0.01, 0.5, 1.0)] == [1, 5, 10]
    assert ImageRequest("", steps=10, strength=0.5).num_steps == 10  # there is nothing to begin from


BAD = [
    {"sampler": "fast"},
    {"steps": 0},
    {"steps": 2.5},
    {"guidance": float("nan")},
    {"size_px": 5},
    {"strength": 0.0},
    {"seed": None},
    {"negative": None},
    {"mask": HALF},
]


@pytest.mark.parametrize("settings", BAD, ids=str)
def test_settings_that_cannot_be_are_refused_before_any_work(settings: dict[str, Any]) -> None:
    with pytest.raises(ReverieError, match=r":.*\.$"):
        ImageRequest(PROMPT, **settings)


def test_a_size_that_does_not_fit_the_patches_is_refused(model: Model) -> None:
    with pytest.raises(ReverieError, match="multiple of 16"):
        draw(model, size_px=40)
    with pytest.raises(ReverieError, match="There is no setting 'max_tokens'"):
        model.generate(PROMPT, max_tokens=4)


# --- records and replays ---


def test_a_record_tells_everything(model: Model, folder: Path) -> None:
    told = media.read_record(draw(model, negative="a dog", guidance=3.0).png)
    expected = {"prompt": PROMPT, "negative": "a dog", "seed": 5, "steps": 4, "guidance": 3.0, "sampler": "dpmpp_2m"}
    assert told == {**told, **expected, "size_px": SIDE_PX, "init": None, "mask": None, "count": 1}
    assert told["model"]["name"] == folder.name  # and not where on this disk it is
    assert len(told["model"]["sha256"]) == len(told["model"]["codec_sha256"]) == 64
    assert told["made_with"].keys() == {
        "reverie", "torch", "numpy", "pillow", "device", "dtype", "machine", "threads",
    }  # fmt: skip


def test_a_replay_gives_the_same_bytes(model: Model) -> None:
    for drawn in (draw(model), draw(model, count=2), draw(model, negative="a dog", sampler="ancestral")):
        verdict = drawing.verify(drawn.png, model)
        assert verdict.same_bytes, verdict
        assert verdict.summary.startswith("verified")
    edited = draw(model, init=PICTURE, mask=HALF).png
    assert drawing.verify(edited, model, PICTURE, HALF).same_bytes


def test_a_replay_needs_the_pictures_it_began_from(model: Model) -> None:
    png = draw(model, init=PICTURE).png
    for given in (None, PICTURE + 1):
        with pytest.raises(ReverieError, match="--init"):
            drawing.verify(png, model, given)
    with pytest.raises(ReverieError, match="leave out --init"):
        drawing.verify(draw(model).png, model, PICTURE)


def test_a_changed_pixel_is_found(model: Model) -> None:
    drawn = draw(model)
    picture = drawn.picture.copy()
    picture[3, 4] ^= 128
    verdict = drawing.verify(media.to_png(picture, drawn.record), model)
    assert not verdict.same_pixels
    assert verdict.differences == (f"1 of {SIDE_PX**2:,} pixels differ, by up to 128 of 255",)
    assert "edited" in verdict.summary


def test_a_file_written_by_other_means_has_the_same_pixels(model: Model) -> None:
    drawn = draw(model)
    verdict = drawing.verify(drawn.png + b"\0", model)
    assert (verdict.same_bytes, verdict.same_pixels) == (False, True)
    assert "other means" in verdict.summary


def test_another_version_and_another_model_are_named(model: Model) -> None:
    drawn = draw(model)
    made_with = {**drawn.record["made_with"], "torch": "1.0"}
    told = {**drawn.record, "made_with": made_with, "model": {"name": "tiny", "sha256": "0" * 64}, "seed": 6}
    verdict = drawing.verify(Drawn(drawn.picture, told).png, model)
    assert not verdict.same_pixels
    text = "; ".join(verdict.differences)
    assert "the torch was 1.0 and is" in text
    assert "the model's sha256 was 000" in text
    assert "circumstances" in verdict.summary


def test_a_replay_uses_as_many_threads_as_before_and_leaves_them_as_they_are(model: Model) -> None:
    now = torch.get_num_threads()
    told = {**draw(model).record, "made_with": {"threads": now + 1}}
    drawing.verify(Drawn(draw(model).picture, told).png, model)
    assert torch.get_num_threads() == now


STRANGE: list[dict[str, Any]] = [
    {"reverie": 2},
    {"seed": -1},
    {"seed": "5"},
    {"steps": 10**9},
    {"sampler": "rm -rf"},
    {"prompt": None},
    {"prompt": ["a"]},
    {"count": 10**9},
    {"count": True},
    {"size_px": 10**6},
]


@pytest.mark.parametrize("change", STRANGE, ids=str)
def test_records_that_cannot_be_are_refused(model: Model, change: dict[str, Any]) -> None:
    drawn = draw(model)
    with pytest.raises(ReverieError, match=r":.*\.$"):
        drawing.verify(Drawn(drawn.picture, {**drawn.record, **change}).png, model)


@pytest.mark.parametrize("name", ["/etc", "../model", "hf:someone/something", "tiny", 5, None])
def test_a_record_cannot_name_a_model_to_be_fetched_or_opened(model: Model, name: Any) -> None:
    with pytest.raises(ReverieError, match="model"):
        records.model_of({**draw(model).record, "model": {"name": name}})


# --- folders ---


def broken(folder: Path, tmp_path: Path, **changes: Any) -> str:
    """A copy of the model whose config.json has other values; None takes one away."""
    copy = tmp_path / "broken"
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text())
    for name, value in changes.items():
        part = config["model"] if name in config["model"] else config
        part[name] = value
        if value is None:
            del part[name]
    (copy / "config.json").write_text(json.dumps(config))
    return str(copy)


CHANGES: list[dict[str, Any]] = [
    {"depth": 3},
    {"depth": 10**9},
    {"width": 0},
    {"num_heads": 3},
    {"channels": 8},
    {"depth": "2"},
    {"size_px": None},
    {"size_px": 10**6},
    {"encoder": None},
    {"modality": "smell"},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_folders_that_contradict_themselves_are_refused(folder: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ReverieError, match=r"\.$"):
        engine.load(broken(folder, tmp_path, **changes))


def test_a_folder_without_its_codec_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = Path(broken(folder, tmp_path))
    (copy / "codec" / "model.safetensors").unlink()
    with pytest.raises(ReverieError, match=r"\.$"):
        engine.load(str(copy))
