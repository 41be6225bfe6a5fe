"""The judges of clips: real renders are right, and each way of spoiling them moves the figure that it should move."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from reverie.cli import evaluate as command
from reverie.cli.app import app
from reverie.data.clips import Clips
from reverie.data.motion import Clip, motions
from reverie.data.vocabulary import vocabulary
from reverie.evaluate import closer, judge, motion_judge, motion_training, originality, videos
from reverie.evaluate.judge import SURE
from reverie.evaluate.judge_training import Learning
from reverie.evaluate.motion_judge import Frames
from reverie.evaluate.pictures import ALL, REAL_PX
from reverie.evaluate.videos import Figures
from reverie.hub.datasets import build
from reverie.types import ReverieError

NUM, SEED = 8, 3
Score = Callable[[list[Frames]], Figures]
SMALL = replace(motion_judge.config(), widths=(8, 12, 16), blocks=(0, 1, 1), features=16)


@pytest.fixture(scope="module")
def source() -> Clips:
    """Clips of held-out pairs."""
    build("scenes", REAL_PX)
    return videos.source()


@pytest.fixture(scope="module")
def tasks(source: Clips) -> list[Clip]:
    return videos.prompts(NUM, SEED)


@pytest.fixture(scope="module")
def renders(source: Clips, tasks: list[Clip]) -> list[Frames]:
    return [source.render(task) for task in tasks]


@pytest.fixture(scope="module")
def score(tasks: list[Clip], renders: list[Frames]) -> Score:
    """Figures of clips that are made for the prompts, and of real ones."""
    looks, moves = judge.trained(), motion_judge.trained()
    reference = videos.reference(moves, 24)
    asked = [videos.seen(looks, frames, task).right for frames, task in zip(renders, tasks, strict=True)]

    def scored(made: list[Frames]) -> Figures:
        told = [videos.judged(moves, frames, task, videos.seen(looks, frames, task), marks)
                for frames, task, marks in zip(made, tasks, asked, strict=True)]  # fmt: skip
        return videos.figures(told, reference)

    return scored


@pytest.fixture(scope="module")
def real(renders: list[Frames], score: Score) -> Figures:
    return score(renders)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(clip: np.ndarray) -> Frames:
    return clip.round().clip(0, 255).astype(np.uint8)


def disguised(source: Clips, clip: Clip) -> Clip:
    """The same clip with another subject in it."""
    styles = source.scenes.icons.index
    layers = []
    for layer in clip.scene.layers:
        others = [name for style, kind, name in styles if (style, kind) == (clip.scene.style, layer.kind)]
        other = next(
            name for name in others if name != layer.name and layer.role in styles[clip.scene.style, layer.kind, name]
        )
        layers.append(replace(layer, name=other) if layer.name == clip.scene.subject else layer)
    return replace(clip, scene=replace(clip.scene, layers=tuple(layers)))


# --- prompts ---


def test_prompts_are_of_pairs_that_training_never_shows_and_name_what_is_asked(tasks: list[Clip]) -> None:
    for task in tasks:
        assert task.held_out
        assert task.scene.colour is None or f"{task.scene.colour} " in task.caption
        assert task.scene.other_colour is None or f"{task.scene.other_colour} " in task.caption
        assert any(say in task.caption for say in vocabulary().backgrounds[task.scene.background].say)
        assert task.speed == "" or motions().words[task.speed].say[0] in task.caption
    assert tasks == videos.prompts(NUM, SEED)
    assert tasks != videos.prompts(NUM, SEED + 1)


# --- the judge of motion that was trained ---


def test_it_knows_all_motions() -> None:
    trained = motion_judge.trained().config
    assert {name: trained.classes(name) for name in motion_judge.QUESTIONS} == {
        name: motion_judge.config().classes(name) for name in motion_judge.QUESTIONS
    }


def test_it_is_as_good_as_its_card_says(source: Clips) -> None:
    fresh = Clips(source.path, REAL_PX, "judge")
    clips = [fresh.clip(77, index) for index in range(60)]
    told = motion_judge.trained().ask([fresh.render(clip) for clip in clips])
    for name in ("motion", "direction"):
        asked = [(given[name], motion_judge.answers(clip)[name]) for given, clip in zip(told, clips, strict=True)]
        marks = [said == right and sure >= SURE for (said, sure), right in asked if right is not None]
        assert np.mean(marks) >= 0.95, name


def test_size_and_length_do_not_matter_much(renders: list[Frames]) -> None:
    few, judged = renders[:6], motion_judge.trained()
    smaller = [frames.reshape(16, 64, 2, 64, 2, 3).mean((2, 4)) for frames in few]
    for changed in ([pixels(frames) for frames in smaller], [frames.repeat(2, axis=0) for frames in few]):
        for before, after in zip(judged.ask(few), judged.ask(changed), strict=True):
            assert before["motion"][0] == after["motion"][0]


def test_an_oblong_clip_is_refused() -> None:
    with pytest.raises(ReverieError, match="not 96 x 64"):
        motion_judge.MotionJudge(SMALL).ask([np.zeros((16, 64, 96, 3), np.uint8)])


def test_a_folder_without_a_judge_is_told(tmp_path: Path) -> None:
    with pytest.raises(ReverieError, match=r"motion_judge\.py"):
        motion_judge.load(tmp_path)


# --- what moves which figure ---


def test_real_renders_are_right(real: Figures) -> None:
    assert {count.share for count in real.frames.values() if count.asked} == {1.0}
    assert all(real.asked[name].share >= 0.7 for name in ("subject", "background"))
    for name in ("motion", "direction", ALL):
        assert real.clips[name].share >= 0.85, name


def test_shuffled_frames_move_nothing_and_flicker(renders: list[Frames], score: Score, real: Figures) -> None:
    order = np.random.default_rng(1).permutation(16)
    made = score([frames[order] for frames in renders])
    assert made.clips["motion"].share <= 0.25
    assert made.flicker > 1.5 * real.flicker
    assert made.fvd > 1.5 * real.fvd
    assert made.frames["subject"].share >= 0.8
    assert made.frames["background"].share >= 0.9
    assert made.clips[ALL].right <= 2


def test_backwards_all_goes_the_other_way(renders: list[Frames], score: Score, real: Figures) -> None:
    made = score([frames[::-1].copy() for frames in renders])
    assert made.clips["direction"].share <= 0.1
    assert made.flicker == pytest.approx(real.flicker)
    assert made.frames["subject"].share >= 0.8


def test_another_subject_is_told_and_moves_no_less(
    source: Clips, tasks: list[Clip], renders: list[Frames], score: Score, real: Figures
) -> None:
    made = score([source.render(disguised(source, task)) for task in tasks])
    assert made.frames["subject"].share <= 0.2  # of a thing that is none it is still right that there is none
    assert made.frames["background"].share >= 0.95
    assert made.clips["motion"].share >= real.clips["motion"].share - 0.1
    assert made.clips["direction"].share >= real.clips["direction"].share - 0.1
    assert made.clips[ALL].right <= 1


def test_noise_that_is_new_in_every_frame_flickers(renders: list[Frames], score: Score, real: Figures) -> None:
    noise = np.random.default_rng(0)
    made = score([pixels(frames + noise.normal(0, 10, frames.shape)) for frames in renders])
    assert made.flicker > 1.5 * real.flicker
    assert made.drift < 1.5 * real.drift
    assert made.clips["direction"].share >= 0.8


def test_what_becomes_something_else_drifts(
    source: Clips, tasks: list[Clip], renders: list[Frames], score: Score, real: Figures
) -> None:
    time = np.linspace(0, 1, 16)[:, None, None, None]
    others = [source.render(disguised(source, task)) for task in tasks]
    made = score([pixels(one * (1 - time) + two * time) for one, two in zip(renders, others, strict=True)])
    assert made.drift > 1.5 * real.drift
    assert made.flicker < 1.25 * real.flicker
    assert made.frames["background"].share >= 0.95


def test_fewer_frames_are_compared_with_those_nearest_in_time(renders: list[Frames], tasks: list[Clip]) -> None:
    seen = videos.seen(judge.trained(), renders[0][::2], tasks[0])
    assert {len(marks) for marks in seen.right.values()} == {16}


def test_it_looks_closer_where_the_subject_is() -> None:
    x = torch.zeros(1, 3, 100, 100)
    x[..., 70:75, 80:85] = 1
    looks = torch.zeros(1, 64)
    looks[0, 5 * 8 + 6] = 1  # the sixth row, the seventh column
    near = closer.part(x, closer.middles(looks))
    assert near.shape == x.shape
    assert near.sum() == pytest.approx(float(x.sum()) / closer.PART**2, rel=0.05)


# --- measures ---


def test_what_changes_evenly_does_not_flicker() -> None:
    even = np.broadcast_to(np.arange(0, 160, 10, dtype=np.uint8)[:, None, None, None], (16, 8, 8, 3)).copy()
    assert videos.flicker(even) == pytest.approx(0, abs=1e-6)
    uneven = even.copy()
    uneven[1::2] = 0
    assert videos.flicker(uneven) > 0.1


@settings(max_examples=20, deadline=None)
@given(st.floats(-3, 3), st.floats(0.1, 3))
def test_the_distance_is_that_of_gaussians(shift: float, stretch: float) -> None:
    x = torch.randn(200, 3, generator=rng(), dtype=torch.float64)
    expected = (torch.cov(x.T).diagonal().sum() * (stretch - 1) ** 2).item()
    moved = x.mean(0) + (x - x.mean(0)) * stretch + shift
    assert videos.frechet(x, moved) == pytest.approx(expected + 3 * shift**2, abs=1e-6)


def test_two_halves_of_real_clips_are_near_and_still_pictures_are_far(source: Clips) -> None:
    clips = [source.item(8, index)[0] for index in range(40)]
    seen = motion_judge.trained().features(clips)
    frozen = motion_judge.trained().features([np.broadcast_to(clip[8], clip.shape).copy() for clip in clips[20:]])
    assert videos.frechet(seen[:20], frozen) > 1.5 * videos.frechet(seen[:20], seen[20:])


# --- how it learns ---


def shown(source: Clips, motion: str) -> motion_training.Shown:
    judged = Clips(source.path, 48, "judge")
    clip = next(clip for clip in (judged.clip(0, index) for index in range(400)) if clip.motion == motion)
    return judged.render(clip), clip


def test_it_learns(source: Clips) -> None:
    pool = [shown(source, "zoom in"), shown(source, "day to night"), shown(source, "spin"), shown(source, "enter")]
    torch.manual_seed(0)
    made = motion_judge.MotionJudge(SMALL)
    learning = Learning(num=8 * 20, batch=8, learning_rate=1e-2)
    losses = list(motion_training.learn(made, pool, learning))
    assert made.config.clips == learning.num
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_what_was_learnt_is_kept(tmp_path: Path) -> None:
    torch.manual_seed(1)
    made = motion_judge.MotionJudge(SMALL).bfloat16().float().eval()
    judge.save(made, made.config, tmp_path)
    clip = [np.random.default_rng(0).integers(0, 256, (16, 48, 48, 3), np.uint8)]
    assert motion_judge.load(tmp_path).ask(clip) == made.ask(clip)


def test_backwards_is_told_as_what_is_seen(source: Clips) -> None:
    frames, clip = shown(source, "enter")
    x = motion_judge.tensors([frames])[0]
    back, told = motion_training.backwards(x, motion_judge.answers(clip), rng())
    assert told["motion"] == "leave"
    assert {told["direction"], clip.direction} == {"left", "right"}
    again, _ = motion_training.backwards(back, told, rng())
    assert torch.equal(again, x)


def test_what_has_no_sense_has_no_motion(source: Clips) -> None:
    frames, clip = shown(source, "travel")
    x = motion_judge.tensors([frames])[0]
    for seed in range(12):
        changed, told = motion_training.senseless(x, motion_judge.answers(clip), rng(seed))
        assert told == {"motion": judge.NONE, "direction": None, "speed": None}
        assert changed.shape == x.shape
        assert not torch.equal(changed, x)
    still, told = motion_training.frozen(x, told, rng())
    assert told["motion"] == "still"
    assert torch.equal(still[0], still[-1])


def test_blemishes_keep_clips_clips() -> None:
    x = torch.rand(2, 16, 3, 48, 48, generator=rng()) * 2 - 1
    blemished = motion_training.blemished(x, rng())
    assert blemished.shape == x.shape
    assert blemished.abs().max() <= 1
    torch.testing.assert_close(motion_training.bent(x, torch.zeros(2, 1, 1, 1, 1), rng()), x, atol=1e-4, rtol=0)


# --- originality ---


def test_a_copy_of_a_training_clip_is_found_out(source: Clips) -> None:
    train = Clips(source.path, REAL_PX, "train")
    copied, _, clip = train.item(5, 40)
    ((near, apart), (_, usual)) = originality.nearest_clips([clip], [copied], [255 - copied], seed=5, num=60)
    assert np.array_equal(near[0], copied)
    assert apart[0] == 0
    assert usual[0] > 0.05
    sheet = originality.clip_sheet([copied, copied], [near[0], near[0]], ["a copy", "another"], columns=1)
    assert sheet.shape[1] >= 8 * 64
    assert np.array_equal(sheet[:64, :64], sheet[67:131, :64])


# --- the command ---


class Renderer:
    """Stands in for a model that animates: it renders the very clip that the prompt names."""

    def __init__(self, source: Clips, tasks: list[Clip]) -> None:
        self.source, self.by_prompt, self.medium = source, {task.caption: task for task in tasks}, self

    def generate(self, prompt: str, **_: object) -> list[object]:
        return [type("Step", (), {"guess": self.by_prompt[prompt]})]

    def clip(self, clip: Clip) -> Frames:
        return self.source.render(clip)


def test_the_command_prints_tables_and_writes_numbers(
    source: Clips, tasks: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "load_animator", lambda *_: Renderer(source, tasks))
    monkeypatch.setattr(originality, "NUM_CLIPS", 60)
    monkeypatch.setattr(videos, "NUM_REFERENCE", 20)
    files = ["--json", str(tmp_path / "n.json"), "--sheet", str(tmp_path / "s.png")]
    result = CliRunner().invoke(app, ["eval", "video", "-m", "any", "--num", "3", "--seed", str(SEED), *files])
    assert result.exit_code == 0, result.output
    assert "all at once" in result.stdout
    assert "flicker" in result.stdout
    numbers = json.loads((tmp_path / "n.json").read_text())
    assert numbers["animated"] == numbers["real"]
    assert numbers["animated"]["clips"]["motion"]["asked"] == 3
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
