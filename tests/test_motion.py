"""Scenes in motion: what is held out stays out, pixels move as the caption says, all is a function of (seed, index)."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import math
import multiprocessing
import re
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import tiny_scenes
from reverie.data import film, paths
from reverie.data.backgrounds import background
from reverie.data.caption import Speaker
from reverie.data.clips import Clips
from reverie.data.dice import Dice
from reverie.data.icons import Pixels
from reverie.data.motion import Clip, motions
from reverie.data.narrate import Narrator
from reverie.data.paths import LOOPS, PATHS, Pose, Stage
from reverie.data.scene import Scene, extent
from reverie.data.sheet import strips
from reverie.data.vocabulary import SAYS_A, held_out, vocabulary
from reverie.types import ReverieError

WORDS, MOTIONS = vocabulary(), motions()
MANY, SEED = 4000, 7
SIDE = tiny_scenes.SIZE_PX
CROSSING = {"enter", "leave"}  # the picture's edge
DIRECTIONS = [("right", 0, 1), ("left", 0, -1), ("up", 1, -1), ("down", 1, 1)]  # across or down, and which way


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_scenes.build(tmp_path_factory.mktemp("clips") / "icons.safetensors", ("noto",))


@pytest.fixture(scope="module")
def train(path: Path) -> Clips:
    return Clips(path, SIDE, "train", ("noto",))


@pytest.fixture(scope="module")
def many(train: Clips) -> list[Clip]:
    return [train.clip(SEED, index) for index in range(MANY)]


def some(many: list[Clip], motion: str, count: int = 4, **wanted: str) -> list[Clip]:
    """The first clips of a motion, with what is wanted."""
    found = [clip for clip in many if clip.motion == motion]
    for name, value in wanted.items():
        found = [clip for clip in found if getattr(clip, name) == value]
    assert len(found) >= count
    return found[:count]


def changed(clip: Clip, frames: Pixels) -> NDArray[np.float64]:
    """(F, S, S): how far each pixel is from the background."""
    behind = background(clip.scene.background, clip.scene.variant, frames.shape[1]).astype(int)
    return np.asarray(np.abs(frames - behind).sum(-1), np.float64)


def middles(mass: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(F, S, S) -> (F,), (F,): the centre of mass across and down, in pixels."""
    at = np.arange(mass.shape[1])
    total = mass.sum((1, 2))
    return (mass.sum(1) * at).sum(1) / total, (mass.sum(2) * at).sum(1) / total


def digest(clips: Clips, count: int) -> str:
    found = hashlib.sha256()
    for index in range(count):
        frames, caption, clip = clips.item(5, index)
        found.update(frames.tobytes() + caption.encode() + repr(clip).encode())
    return found.hexdigest()


def test_another_process_makes_the_same_clips(train: Clips) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(digest, train, 12).result(timeout=60) == digest(train, 12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), index=st.integers(0, 2**63 - 1))
def test_a_clip_is_frames_a_caption_and_what_it_shows(train: Clips, seed: int, index: int) -> None:
    frames, caption, clip = train.item(seed, index)
    assert frames.shape == (16, SIDE, SIDE, 3)
    assert frames.dtype == np.uint8
    assert caption == clip.caption
    assert train.clip(seed, index) == clip
    assert clip.motion in MOTIONS.motions
    assert clip.direction in {"left", "right", "up", "down", ""}
    assert clip.speed in {"slow", "fast", ""}


@pytest.mark.parametrize(("size_px", "num_frames"), [(32, 1), (48, 5), (96, 8)])
def test_any_size_and_number_of_frames(path: Path, size_px: int, num_frames: int) -> None:
    clips = Clips(path, size_px, "judge", ("noto",), num_frames)
    for index in range(30):
        assert clips.item(0, index)[0].shape == (num_frames, size_px, size_px, 3)


def test_training_never_shows_what_is_held_out(many: list[Clip]) -> None:
    assert not [clip for clip in many if clip.held_out]
    shown = {pair for clip in many for pair in clip.pairs}
    assert len(shown) > 1000
    assert not [pair for pair in shown if held_out(*pair)]


def test_about_one_subject_and_motion_in_ten_is_held_out() -> None:
    pairs = [(subject, motion) for subject in WORDS.subjects for motion in MOTIONS.motions]
    assert 0.08 < sum(held_out(*pair) for pair in pairs) / len(pairs) < 0.13
    assert not held_out("red panda", "travel")  # only its skateboard is


def test_the_held_out_split_shows_nothing_else(path: Path) -> None:
    clips = Clips(path, SIDE, "held_out", ("noto",))
    found = [clips.clip(0, index) for index in range(250)]
    assert all(clip.held_out for clip in found)
    pairs = {pair for clip in found for pair in clip.held_out}
    assert {second in WORDS.vehicles for _, second in pairs} == {True, False}


def test_the_judge_sees_all_motions_equally_often(path: Path) -> None:
    judge = Clips(path, SIDE, "judge", ("noto",))
    found = [judge.clip(0, index) for index in range(1500)]
    counts = Counter(clip.motion for clip in found)
    assert set(counts) == set(MOTIONS.motions)
    assert max(counts.values()) < 1.5 * min(counts.values())
    assert {bool(clip.held_out) for clip in found} == {True, False}


def test_training_shows_every_motion_direction_and_speed(many: list[Clip]) -> None:
    seen = {(clip.motion, clip.direction, clip.speed) for clip in many}
    for motion in MOTIONS.motions.values():
        for direction in motion.directions:
            for speed in ("", *motion.speeds):
                assert (motion.name, direction, speed) in seen


def test_what_no_style_can_show_is_told(path: Path) -> None:
    with pytest.raises(ReverieError, match="choose"):
        Clips(path, SIDE, "train", ("fxemoji",)).clip(0, 0)  # which this file does not have
    with pytest.raises(ReverieError, match="no style 'oil'"):
        Clips(path, SIDE, styles=("oil",))


# Captions


def said(say: tuple[str, ...]) -> set[str]:
    """All the parts of verbs and sentences that no other word comes between."""
    return {part.strip() for line in say for part in re.split(r"[|]|{\w+}", line)} - {"", "the camera", "past"}


def test_a_caption_names_the_motion_its_direction_and_its_speed(many: list[Clip]) -> None:
    for clip in many:
        motion, words = MOTIONS.motions[clip.motion], clip.caption
        ridden = clip.motion == "travel" and clip.scene.relation == "riding"
        assert ridden or any(part in words for part in said(motion.verbs + motion.sentences)), words
        table = MOTIONS.words_of.get(clip.motion, MOTIONS.words)
        assert clip.direction not in table or any(word in words for word in table[clip.direction].say), words
        spoken = {name for name in ("slow", "fast") if set(MOTIONS.words[name].say) & set(re.findall(r"\w+", words))}
        assert spoken == ({clip.speed} if clip.speed else set()), words
        assert len(words.split()) <= 24, words


def test_captions_are_english(many: list[Clip]) -> None:
    for clip in many:
        assert not re.search(rf"\ba (?!{'|'.join(SAYS_A)})[aeiou]", clip.caption), clip.caption
        assert not re.search(r"\ban (?!hour)[^aeiou]", clip.caption), clip.caption
        assert not re.search(r"  |[{}|]|^[ ,]|[ ,]$", clip.caption), clip.caption


def held_out_words() -> set[str]:
    tables = (MOTIONS.words, *MOTIONS.words_of.values())
    words = {word for table in tables for row in table.values() for word in row.held_out}
    return words.union(*(said(motion.held_out) for motion in MOTIONS.motions.values()))


def test_words_that_are_held_out_are_never_said_in_training(path: Path, many: list[Clip]) -> None:
    pattern = re.compile(rf"\b({'|'.join(held_out_words())})\b")
    assert not [clip.caption for clip in many if pattern.search(clip.caption)]
    synonyms = Clips(path, SIDE, "train", ("noto",), synonyms=True)
    found = [synonyms.clip(SEED, index) for index in range(MANY)]
    assert held_out_words() <= {word for clip in found for word in pattern.findall(clip.caption)}
    assert [clip.scene.layers for clip in found[:50]] == [clip.scene.layers for clip in many[:50]]


def test_the_picture_that_we_want_most_is_said_and_held_out() -> None:
    scene = Scene("red panda", None, 1, "", "riding", "skateboard", None, "white", 0, "noto", "", ())
    clip = Clip(scene, "travel", "right", "", "", 0, False)
    captions = {Narrator(Speaker(WORDS)).caption(clip, Dice(0, index)) for index in range(2000)}
    assert "a red panda riding a skateboard to the right" in captions
    assert clip.held_out == (("red panda", "skateboard"),)


# Pixels


@pytest.mark.parametrize(("direction", "axis", "sign"), DIRECTIONS)
def test_travel_goes_where_it_says(train: Clips, many: list[Clip], direction: str, axis: int, sign: int) -> None:
    for clip in some(many, "travel", 5, direction=direction):
        at = middles(changed(clip, train.render(clip)))[axis]
        steps = sign * np.diff(at)
        assert steps.min() > -0.2  # pixels, for nothing goes back
        assert sign * (at[-1] - at[0]) > SIDE // 10


def test_the_speed_is_as_said(train: Clips, many: list[Clip]) -> None:
    def fastest(speed: str) -> float:
        clips = some(many, "travel", 6, speed=speed, direction="right")
        return float(np.median([np.diff(middles(changed(clip, train.render(clip)))[0]).max() for clip in clips]))

    assert 1.4 * fastest("slow") < fastest("")
    assert 1.4 * fastest("") < fastest("fast")


def test_slow_things_move_evenly(train: Clips, many: list[Clip]) -> None:
    for clip in some(many, "travel", 5, speed="slow", direction="right"):
        if clip.scene.relation == "riding":  # who walks, hops
            at = middles(changed(clip, train.render(clip)))[0]
            assert np.abs(np.diff(at, 2)).max() < 0.35  # of a pixel: no jitter


def test_chasing_goes_one_way_with_the_hunter_behind(train: Clips, many: list[Clip]) -> None:
    for direction, sign in (("right", 1), ("left", -1)):
        for clip in some(many, "chase", 3, direction=direction):
            at = middles(changed(clip, train.render(clip)))[0]
            assert sign * (at[-1] - at[0]) > 3
            hunter, hunted = clip.scene.layers
            assert sign * (hunted.left - hunter.left) > 0
            assert (hunter.name, hunted.name) == (clip.scene.subject, clip.scene.other)


def test_who_enters_was_not_there_and_who_leaves_is_gone(train: Clips, many: list[Clip]) -> None:
    for direction, first in (("right", slice(0, SIDE // 4)), ("left", slice(-SIDE // 4, None))):
        for clip in some(many, "enter", 3, direction=direction):
            mass = changed(clip, train.render(clip))
            assert mass[0].sum() == 0
            begun = mass[int(np.flatnonzero(mass.sum((1, 2)))[0])]
            assert begun[:, first].sum() == begun.sum()
            assert mass[-1, :, [0, -1]].sum() == 0
        for clip in some(many, "leave", 3, direction=direction):
            mass = changed(clip, train.render(clip))
            assert mass[-1].sum() == 0
            assert mass[0].sum() > 0


def test_growing_grows_and_shrinking_shrinks(train: Clips, many: list[Clip]) -> None:
    for name, sign in (("grow", 1), ("shrink", -1)):
        for clip in some(many, name):
            areas = (changed(clip, train.render(clip)) > 60).sum((1, 2)) * 1.0
            assert (sign * np.diff(areas)).min() >= -0.02 * areas.max()
            assert max(areas[0], areas[-1]) > 4 * min(areas[0], areas[-1])


def test_falling_ends_on_the_ground(train: Clips, many: list[Clip]) -> None:
    for clip in some(many, "fall"):
        down = middles(changed(clip, train.render(clip)))[1]
        assert (np.diff(down[:10]) > -0.1).all()
        assert np.diff(down[:10])[-1] > 2 * np.diff(down[:10])[1]  # ever faster
        assert down[-1] - down[0] > SIDE // 4


@pytest.mark.parametrize(("speed", "bounces"), [("slow", 1), ("", 2), ("fast", 4)])
def test_bounces_are_whole_and_as_many_as_said(train: Clips, many: list[Clip], speed: str, bounces: int) -> None:
    for clip in some(many, "bounce", 3, speed=speed):
        down = middles(changed(clip, train.render(clip)))[1]
        period = 16 // bounces
        assert np.abs(down - np.roll(down, period)).max() < 0.1
        assert int(down[:period].argmax()) == 0


def test_spinning_turns_all_the_way(train: Clips, many: list[Clip]) -> None:
    for clip in some(many, "spin", 3, speed=""):
        frames = train.render(clip).astype(int)
        far = np.abs(frames - frames[0]).mean((1, 2, 3))
        assert far[4] > 1
        assert abs(far[1] - far[15]) < max(far) / 4  # the step from the last to the first is one like the others


def test_rolling_stays_on_the_floor_and_turns(train: Clips, many: list[Clip]) -> None:
    for clip in some(many, "roll"):
        seen = changed(clip, train.render(clip)) > 60
        lowest = [int(np.flatnonzero(frame.any(1))[-1]) for frame in seen]
        assert max(lowest) - min(lowest) <= 2  # pixels


def test_an_orbit_passes_before_and_behind_on_both_sides(train: Clips, many: list[Clip]) -> None:
    for clip in some(many, "orbit", 3, speed=""):
        place = film.stage(clip)
        drawn = [PATHS["orbit"](place, paths.moment("orbit", frame, 16)) for frame in range(16)]
        assert {poses[0].actor for poses in drawn} == {0, 1}
        sides = middles(changed(clip, train.render(clip)))[0] - SIDE / 2
        assert sides.max() > 2
        assert sides.min() < -2


def test_still_clips_are_still(train: Clips, many: list[Clip]) -> None:
    for clip in some(many, "still", 10):
        frames = train.render(clip)
        assert (frames == frames[0]).all()


def test_all_else_moves(train: Clips, many: list[Clip]) -> None:
    for motion in set(MOTIONS.motions) - {"still"}:
        frames = train.render(some(many, motion, 1)[0]).astype(int)
        assert np.abs(frames - frames[0]).max() > 20, motion


def test_night_falls_and_day_breaks(train: Clips, many: list[Clip]) -> None:
    for name, sign in (("day to night", -1), ("night to day", 1)):
        for clip in some(many, name):
            light = train.render(clip).mean((1, 2, 3))
            assert (sign * np.diff(light)).min() > -0.01
            assert max(light[0], light[-1]) > 1.5 * min(light[0], light[-1])


@pytest.mark.parametrize(("direction", "axis", "sign"), DIRECTIONS)
def test_what_a_camera_passes_goes_the_other_way(
    train: Clips, many: list[Clip], direction: str, axis: int, sign: int
) -> None:
    for clip in some(many, "pan", 3, direction=direction):
        frames = train.render(clip).astype(int)
        fits = {shift: fit(frames[0], frames[-1], shift, 1 - axis) for shift in range(-SIDE // 2, SIDE // 2 + 1)}
        assert 4 < -sign * min(fits, key=fits.__getitem__) <= SIDE // 2


def fit(one: NDArray[np.int_], two: NDArray[np.int_], shift: int, axis: int) -> float:
    """How far `two` is from `one` moved by so many pixels, where both are."""
    one, two = np.moveaxis(one, axis, 0), np.moveaxis(two, axis, 0)
    if shift < 0:
        one, two, shift = two, one, -shift
    return float(np.abs(one[: len(one) - shift] - two[shift:]).mean())


def test_a_zoom_ends_on_what_it_is_of(train: Clips, many: list[Clip]) -> None:
    for name, nearest in (("zoom in", 1.0), ("zoom out", 0.0)):
        for clip in some(many, name):
            views = [film.view(clip, time / 8) for time in range(9)]
            assert views[round(8 * (1 - nearest))] == paths.View(0.0, 0.0, 1.0)
            near = film.view(clip, nearest)
            left, top, width, height = extent(clip.scene.layers)
            assert near.left * 1024 <= left
            assert left + width <= (near.left + near.side) * 1024 + 1
            assert near.top * 1024 <= top
            assert top + height <= (near.top + near.side) * 1024 + 1


def test_nothing_is_cut_off(train: Clips, many: list[Clip]) -> None:
    for name in set(PATHS) - CROSSING:
        for clip in some(many, name, 10):
            mass = changed(clip, train.render(clip))
            edges = (mass[:, 0], mass[:, -1], mass[:, :, 0], mass[:, :, -1])
            assert max(edge.max() for edge in edges) == 0, clip.caption
            assert (mass > 60).sum((1, 2)).min() > 20  # pixels


def test_all_face_where_they_go_and_riders_keep_their_seats(many: list[Clip]) -> None:
    for clip in some(many, "travel", 200):
        if clip.direction in ("up", "down"):
            continue
        for layer in clip.scene.layers:
            faces = MOTIONS.faces(clip.scene.style, layer.name)
            assert layer.mirrored == (faces != clip.direction)
    assert MOTIONS.faces("noto", "rocket") == "right"
    assert MOTIONS.faces("noto", "car") == "left"


def test_a_rocket_goes_up_nose_first(train: Clips, many: list[Clip]) -> None:
    tilted = [clip for clip in many if clip.tilt]
    assert {clip.scene.subject for clip in tilted} == {"rocket"}
    for clip in tilted[:3]:
        assert clip.tilt == {"up": -90, "down": 90}[clip.direction]
        seen = changed(clip, train.render(clip))
        level = changed(clip, train.render(dataclasses.replace(clip, tilt=0)))
        turned = [(mass[0] > 60).any(axis).sum() for mass, axis in ((seen, 0), (seen, 1), (level, 1), (level, 0))]
        assert abs(turned[0] - turned[2]) <= 2  # pixels: as wide as it was high
        assert abs(turned[1] - turned[3]) <= 2
        assert max(edge.max() for edge in (seen[:, 0], seen[:, -1])) == 0


# Paths


@given(st.floats(-3, 3))
def test_the_sine_is_the_sine(turns: float) -> None:
    assert paths.sine(turns) == pytest.approx(math.sin(2 * math.pi * turns), abs=1e-7)


def stages() -> st.SearchStrategy[Stage]:
    size = st.tuples(st.floats(0.2, 0.34), st.floats(0.2, 0.34))
    make = functools.partial(Stage, walks=True)
    return st.builds(
        make,
        direction=st.sampled_from(("left", "right")),
        speed=st.sampled_from(("", "fast")),
        sizes=st.tuples(size, size),
        floor=st.floats(0.87, 0.96),
        at=st.floats(0, 1),
        grounded=st.booleans(),
    )


@pytest.mark.parametrize("name", PATHS)
@settings(max_examples=20)
@given(stage=stages())
def test_a_path_never_jumps(name: str, stage: Stage) -> None:
    moments = [PATHS[name](stage, step / 64) for step in range(65)]
    for before, after in itertools.pairwise(moments):
        for one, two in zip(sorted(before, key=actor), sorted(after, key=actor), strict=True):
            assert abs(one.x - two.x) + abs(one.floor - two.floor) < 0.1
            assert abs(one.scale - two.scale) < 0.04


def actor(pose: Pose) -> int:
    return pose.actor


@pytest.mark.parametrize("name", sorted(LOOPS))
@given(stage=stages())
def test_a_loop_closes(name: str, stage: Stage) -> None:
    for first, last in zip(PATHS[name](stage, 0.0), PATHS[name](stage, 1.0), strict=True):
        assert (first.x, first.floor, first.scale) == pytest.approx((last.x, last.floor, last.scale))
        assert (first.turn - last.turn) % 1.0 == pytest.approx(0.0, abs=1e-6)


@given(seed=st.integers(0, 99), height=st.integers(1, 9), width=st.integers(1, 9))
def test_four_quarter_turns_are_none(seed: int, height: int, width: int) -> None:
    sprite = np.random.default_rng(seed).integers(0, 256, (height, width, 4), np.uint8)
    quarters = [film.turned(sprite, quarter * film.TURN // 4).astype(int) for quarter in range(1, 4)]
    assert np.abs(np.rot90(quarters[0], -1) - quarters[1]).max() <= 1
    assert np.abs(np.rot90(quarters[1], -1) - quarters[2]).max() <= 1
    half = quarters[1]
    rows, columns = np.flatnonzero(half.any((1, 2))), np.flatnonzero(half.any((0, 2)))
    assert len(rows) <= height + 1
    assert len(columns) <= width + 1
    assert abs(half.sum() - sprite.astype(int).sum()) <= 4 * (height + 1) * (width + 1)


@given(left=st.floats(-0.5, 1.0), size=st.floats(0.1, 0.6))
def test_a_sprite_between_pixels_has_its_weight_and_its_place(left: float, size: float) -> None:
    canvas, sprite = np.zeros((64, 64, 3), np.uint8), np.full((20, 20, 4), 255, np.uint8)
    film.put(canvas, film.padded(sprite), (left, 0.2, left + size, 0.7))
    seen = max(min(left + size, 1.0) - max(left, 0.0), 0.0) * 64
    assert canvas[32, :, 0].sum() / 255 == pytest.approx(seen, abs=0.6)


def test_a_sheet_shows_each_clip_in_a_row(train: Clips) -> None:
    items = [train.item(0, index) for index in range(3)]
    page = strips([frames for frames, _, _ in items], [caption for _, caption, _ in items], columns=4)
    assert page.shape[1] >= 4 * SIDE
    assert (page[:SIDE, :SIDE] == items[0][0][0]).all()
    assert (page[:SIDE, 3 * (SIDE + 4) : 3 * (SIDE + 4) + SIDE] == items[0][0][15]).all()
