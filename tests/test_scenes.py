"""Scenes: what is held out stays out, words and pictures agree, and all is a function of (seed, index)."""

from __future__ import annotations

import hashlib
import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny_scenes
from reverie.data.backgrounds import PLACES, PLAIN, background
from reverie.data.icons import coloured, ramp
from reverie.data.scene import UNITS, Layer, Scene
from reverie.data.scenes import Scenes, over
from reverie.data.vocabulary import SAYS_A, article, held_out, vocabulary
from reverie.hub import datasets
from reverie.types import ReverieError

WORDS = vocabulary()
MANY = 20_000


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_scenes.build(tmp_path_factory.mktemp("scenes") / "icons.safetensors")


@pytest.fixture(scope="module")
def train(path: Path) -> Scenes:
    return Scenes(path, tiny_scenes.SIZE_PX, "train", ("noto",))


@pytest.fixture(scope="module")
def many(train: Scenes) -> list[Scene]:
    return [train.scene(0, index) for index in range(MANY)]


def digest(scenes: Scenes, count: int) -> str:
    found = hashlib.sha256()
    for index in range(count):
        pixels, caption, _ = scenes.item(5, index)
        found.update(pixels.tobytes() + caption.encode())
    return found.hexdigest()


def test_another_process_makes_the_same_scenes(train: Scenes) -> None:
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        there = [pool.submit(digest, train, 60) for _ in range(2)]
        assert {future.result(timeout=60) for future in there} == {digest(train, 60)}


def test_seed_and_index_both_matter(train: Scenes) -> None:
    captions = [train.scene(seed, index).caption for seed in (0, 1) for index in range(200)]
    assert len(set(captions)) > 390
    assert train.scene(1, 7) == train.scene(1, 7)


def test_training_never_shows_what_is_held_out(many: list[Scene]) -> None:
    pairs = {(scene.subject, str(scene.other)) for scene in many if scene.other in WORDS.vehicles}
    assert not [pair for pair in pairs if held_out(*pair)]
    assert len(pairs) > 500  # it does show most of the others


def test_about_one_pair_in_ten_is_held_out_and_the_panda_on_a_skateboard() -> None:
    pairs = [(subject, vehicle) for subject in WORDS.subjects for vehicle in WORDS.vehicles]
    share = sum(held_out(*pair) for pair in pairs) / len(pairs)
    assert 0.08 < share < 0.13
    assert held_out("panda", "skateboard")
    assert held_out("red panda", "skateboard")


def test_the_held_out_split_shows_nothing_else(path: Path) -> None:
    scenes = Scenes(path, tiny_scenes.SIZE_PX, "held_out", ("noto",))
    pairs = {(scene.subject, scene.other) for scene in (scenes.scene(0, index) for index in range(3000))}
    assert all(held_out(subject, other) for subject, other in pairs if other is not None)
    assert None not in {other for _, other in pairs}
    assert ("red panda", "skateboard") in pairs


def test_the_judge_sees_all_pairs_in_the_style_that_training_lacks(path: Path) -> None:
    assert WORDS.styles["twemoji"].share == 0
    assert "twemoji" not in Scenes(path, 64).styles
    judge = Scenes(path, 64, "judge", ("twemoji",))
    scenes = [judge.scene(0, index) for index in range(2000)]
    riding = [scene for scene in scenes if scene.relation == "riding"]
    assert {held_out(scene.subject, str(scene.other)) for scene in riding} == {True, False}
    assert {scene.style for scene in scenes} == {"twemoji"}


def held_out_words() -> set[str]:
    things = [*WORDS.subjects.values(), *WORDS.vehicles.values(), *WORDS.objects.values()]
    words = {word for thing in things for word in thing.held_out}
    words |= {word for colour in WORDS.colours.values() for word in colour.held_out}
    return words | {word for place in WORDS.backgrounds.values() for word in place.held_out}


def test_words_that_are_held_out_are_never_said_in_training(many: list[Scene]) -> None:
    words = held_out_words()
    assert len(words) >= 25
    pattern = re.compile(rf"\b({'|'.join(words)})s?\b")
    assert not [scene.caption for scene in many if pattern.search(scene.caption)]


def test_synonyms_say_the_same_with_held_out_words(path: Path, train: Scenes) -> None:
    scenes = Scenes(path, 64, "train", ("noto",), synonyms=True)
    said = " ".join(scenes.scene(0, index).caption for index in range(3000))
    missing = {word for word in held_out_words() if not re.search(rf"\b{word}", said)}
    assert missing <= {"spaceman"}  # this style has no astronaut
    for index in range(50):
        assert scenes.scene(0, index).layers == train.scene(0, index).layers


def names(name: str) -> tuple[str, ...]:
    """All that training captions may call a thing."""
    if name in WORDS.singles:
        return (name,)
    tables = (WORDS.subjects, WORDS.vehicles, WORDS.objects)
    thing = next(table[name] for table in tables if name in table)
    several = (thing.plural,) if thing.plural else ()
    return (*(thing.say if thing.say else (name,)), *several)


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), index=st.integers(0, 2**63 - 1))
def test_a_caption_says_all_that_is_there(train: Scenes, seed: int, index: int) -> None:
    scene = train.scene(seed, index)
    words = scene.caption
    assert any(stem(name) in words for name in names(scene.subject))
    assert scene.other is None or any(name in words for name in names(scene.other))
    for colour in (scene.colour, scene.other_colour):
        assert colour is None or any(f"{name} " in words for name in (colour, *WORDS.colours[colour].say))
    assert ("two " in words or "three " in words) == (scene.count > 1)
    place = WORDS.backgrounds[scene.background]
    assert place.plain or any(phrase in words for phrase in place.say)
    assert len(words.split()) <= 24


def stem(name: str) -> str:
    """What the singular and the plural share."""
    return name.removesuffix("y")


def test_articles_and_plurals_are_right(many: list[Scene]) -> None:
    for scene in many:
        assert not re.search(rf"\ba (?!{'|'.join(SAYS_A)})[aeiou]", scene.caption), scene.caption
        assert not re.search(r"\ban (?!hour)[^aeiou]", scene.caption), scene.caption
        assert "  " not in scene.caption
    plurals = {scene.caption for scene in many if scene.count > 1}
    for right in ("mice", "sheep", "foxes", "wolves", "monkeys", "pandas", "octopuses"):
        assert any(right in caption for caption in plurals), right


@pytest.mark.parametrize(
    ("noun", "said"),
    [("cat", "a cat"), ("owl", "an owl"), ("unicorn", "a unicorn"), ("ufo", "a ufo"), ("orange cat", "an orange cat")],
)
def test_an_article_follows_the_sound(noun: str, said: str) -> None:
    assert article(noun) == said


A_LITTLE = UNITS // 12  # by which the empty corners of two pictures may overlap, for they stand on a grid


def test_things_are_where_the_caption_says(many: list[Scene]) -> None:
    for scene in many:
        if scene.other is None:
            continue
        one = next(layer for layer in scene.layers if layer.name == scene.subject)
        two = next(layer for layer in scene.layers if layer.name == scene.other)
        order = [layer.name for layer in scene.layers]
        match scene.relation:
            case "left of":
                assert one.left + one.width <= two.left + A_LITTLE
            case "right of":
                assert two.left + two.width <= one.left + A_LITTLE
            case "above":
                assert one.top + one.height <= two.top + A_LITTLE
            case "under":
                assert two.top + two.height <= one.top + A_LITTLE
            case "in front of":
                assert order == [scene.other, scene.subject]
                assert overlap(one, two)
            case "behind":
                assert order == [scene.subject, scene.other]
                assert overlap(one, two)
            case "riding" | "holding":
                assert overlap(one, two)


def overlap(one: Layer, two: Layer) -> bool:
    across = min(one.left + one.width, two.left + two.width) - max(one.left, two.left)
    down = min(one.top + one.height, two.top + two.height) - max(one.top, two.top)
    return across > 0 and down > 0


def test_nothing_is_cut_off_or_too_small_to_see(many: list[Scene]) -> None:
    for scene in many:
        for layer in scene.layers:
            assert min(layer.left, layer.top) >= 0
            assert max(layer.left + layer.width, layer.top + layer.height) <= UNITS
            assert max(layer.width, layer.height) >= UNITS // 10


def test_kinds_of_scenes_come_as_often_as_meant(many: list[Scene]) -> None:
    riding = sum(scene.relation == "riding" for scene in many)
    several = sum(scene.count > 1 for scene in many)
    assert 0.43 < riding / MANY < 0.47
    assert 0.07 < several / MANY < 0.09
    assert 0.45 < sum(scene.colour is None for scene in many) / MANY < 0.65


@pytest.mark.parametrize("colour", WORDS.colours)
def test_a_colour_fills_the_body_and_leaves_the_eyes(colour: str) -> None:
    rgba = np.full((8, 8, 4), 255, np.uint8)
    rgba[..., :3] = (160, 98, 45)
    rgba[3, 3, :3] = (10, 10, 10)
    mass = np.full((8, 8), 255, np.uint8)
    mass[3, 3] = 0
    done = coloured(rgba, mass, 110, ramp(WORDS.colours[colour].rgb))
    assert np.abs(done[0, 0, :3].astype(int) - np.array(WORDS.colours[colour].rgb)).max() <= 12
    assert done[3, 3].tolist() == [10, 10, 10, 255]


def test_colours_can_be_told_apart() -> None:
    colours = [np.array(colour.rgb) for colour in WORDS.colours.values()]
    distances = [np.abs(a - b).sum() for number, a in enumerate(colours) for b in colours[:number]]
    assert min(distances) > 80


@given(left=st.integers(-9, 9), top=st.integers(-9, 9), seed=st.integers(0, 99))
def test_sprites_are_laid_over_as_the_formula_says(left: int, top: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    canvas = rng.integers(0, 256, (8, 8, 3), np.uint8)
    alpha = rng.integers(0, 256, (5, 6, 1), np.uint8)
    sprite = np.concatenate([rng.integers(0, 256, (5, 6, 3)) * alpha // 255, alpha], axis=-1).astype(np.uint8)
    wanted = canvas.astype(float)
    for y in range(5):
        for x in range(6):
            if 0 <= top + y < 8 and 0 <= left + x < 8:
                behind = wanted[top + y, left + x] * (255 - int(sprite[y, x, 3])) / 255
                wanted[top + y, left + x] = np.minimum(behind + sprite[y, x, :3], 255)
    over(canvas, sprite, left, top)
    assert np.abs(canvas - wanted).max() < 1


def test_every_background_is_drawn_and_calm() -> None:
    assert {*PLAIN, *PLACES} == set(WORDS.backgrounds)
    for name in WORDS.backgrounds:
        pixels = background(name, 1, 64).astype(int)
        assert pixels.shape == (64, 64, 3)
        assert np.abs(np.diff(pixels, axis=1)).mean() < 8


def test_no_name_means_two_things() -> None:
    tables = [set(table) for table in (WORDS.subjects, WORDS.vehicles, WORDS.objects, WORDS.singles)]
    assert sum(map(len, tables)) == len(set.union(*tables))


def test_what_is_not_built_says_how_to_build_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path))
    with pytest.raises(ReverieError, match="reverie data build scenes --size 64"):
        datasets.open_scenes(64)
    with pytest.raises(ReverieError, match="100 pixels"):
        datasets.build("scenes", 100)
    with pytest.raises(ReverieError, match="no data set 'films'"):
        datasets.build("films")
    with pytest.raises(ReverieError, match="no style 'oil'"):
        Scenes(tmp_path, 64, styles=("oil",))


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\x02\0\0\0\0\0\0\0{}", b"\x04\0\0\0\0\0\0\0null"])
def test_a_broken_file_of_icons_is_told(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "icons.safetensors"
    file.write_bytes(content)
    with pytest.raises(ReverieError, match="reverie data build scenes"):
        Scenes(file, 64).item(0, 0)


@pytest.fixture(scope="session")
def real() -> Scenes:
    """The scenes of the real icons, built as a user would build them, once."""
    try:
        datasets.build("scenes", 64)
    except ReverieError as error:
        if "could not reach" in str(error):
            pytest.skip(str(error))
        raise
    return datasets.open_scenes(64, "judge", tuple(WORDS.styles))


def test_the_real_icons_cover_the_vocabulary(real: Scenes) -> None:
    index = real.icons.index
    for kind in ("subjects", "vehicles", "objects", "singles"):
        table: dict[str, object] = getattr(WORDS, kind)
        drawn = {name for style, of_kind, name in index if of_kind == kind and style != "twemoji"}
        assert drawn == set(table)
    assert sum(style == "noto" for style, _, _ in index) > 700


def test_a_red_panda_is_orange_brown(real: Scenes) -> None:
    icon = real.icons.index["noto", "subjects", "red panda"]["body"]
    red, green, blue, alpha = real.icons.sprite(icon, icon.width, icon.height, None).reshape(-1, 4).astype(int).T
    body = alpha > 200
    assert red[body].mean() > 1.5 * green[body].mean() > 1.5 * blue[body].mean()
