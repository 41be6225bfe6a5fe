"""Questions from real runs: every key is asserted anew by running the model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny_scenes
import tiny_tunes
import tiny_video
import tunes
from reverie import engine, explain
from reverie.engine import Model
from reverie.explain.pictures import data_url, reader_picture
from reverie.learn import live, live_image, live_music, live_text, live_video, marking, session
from reverie.learn.questions import Choice, Fill, Order, Question
from reverie.notation import abc
from reverie.types import ReverieError
from tiny_drawing import encoder, write_model
from tiny_models import LLAMA, bpe, decoder, save

TINY_PROMPTS = (
    "the robot dog ran into the", "the other dogs ran", "the old house and the", "the robot dog and the other dogs",
    "the garden", "the garden of", "barking at", "the old house", "the dogs and the robot", "into the old",
)  # fmt: skip
TINY_SENTENCES = ("the robot dog and other dogs ran into old house garden",)
SEEDS = range(6)


def fond_of_words(folder: Path, depth: int) -> Model:
    """A tiny model with random weights that says whole words rather than pieces of them."""
    core = decoder(replace(LLAMA, depth=depth))
    for word, number in bpe().get_vocab().items():
        core.embed.weight[number] *= 2.5 if word.startswith("Ġ") and word[1:].isalpha() else 0.5
    save(folder, core)
    return engine.load(str(folder), place=engine.EXACT)


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return fond_of_words(tmp_path_factory.mktemp("writer"), 2)


@pytest.fixture(scope="module")
def drawer(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("drawer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "prompt_encoder", lambda *_, **__: encoder())
        return engine.load(str(write_model(folder / "model")), place=engine.EXACT)


@pytest.fixture(scope="module")
def composer(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("composer")
    tiny_tunes.write_model(folder)
    return engine.load(str(folder), place=engine.EXACT)


@pytest.fixture(scope="module")
def animator(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return tiny_video.opened(tiny_video.write_model(tmp_path_factory.mktemp("animator") / "model"))


@pytest.fixture(autouse=True)
def words_that_tiny_models_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_text, "PROMPTS", TINY_PROMPTS)
    monkeypatch.setattr(live_text, "SENTENCES", TINY_SENTENCES)


def made(name: str, model: Model) -> list[Question]:
    """Questions of one kind, of several seeds; at least one is clear."""
    kind = next(kind for kind in live.KINDS if kind.name == name)
    found = [question for seed in SEEDS if (question := live.one(kind, model, seed)) is not None]
    assert found, f"{name}: no question was clear"
    return found


def right(question: Question) -> Any:
    assert isinstance(question, Choice)
    return question.options[question.rights[0]]


def told(question: Question) -> Any:
    assert question.exhibit is not None
    return question.exhibit


@torch.inference_mode()
def logits(model: Model, prompt: str) -> torch.Tensor:
    """By the plain model, without anything of explain/ or learn/."""
    hidden = model.core.hidden(torch.tensor([model.medium.encode(prompt)]))
    result: torch.Tensor = model.core.logits(hidden[0, -1:])[0]
    return result


def test_the_next_word_is_what_the_model_writes_greedily_by_a_margin(writer: Model) -> None:
    for question in made("next-word", writer):
        prompt = told(question).prompt
        written = writer.generate(prompt, max_tokens=1, temperature=0.0).text()
        assert written.strip() == right(question).text
        best = logits(writer, prompt).softmax(-1).topk(2).values
        assert best[0] >= live_text.MARGIN * best[1]
        assert prompt in question.text


def test_the_word_looked_at_is_the_one_with_most_of_the_heads_attention(writer: Model) -> None:
    for question in made("attention", writer):
        options = told(question).options
        with explain.capture(writer.core, f"blocks.{options['layer']}.attention.attend.weights") as tape:
            writer.core.hidden(torch.tensor([writer.medium.encode(told(question).prompt)]))
        looks = tape.stack()[0, 0, options["head"], options["query"]]
        texts = [writer.medium.tokenizer.token_text(token) for token in writer.medium.encode(told(question).prompt)]
        order = sorted(range(1, len(texts)), key=lambda place: -float(looks[place]))
        assert texts[order[0]].strip() == right(question).text
        assert looks[order[0]] >= live_text.MARGIN * looks[order[1]]


def test_the_layer_is_the_first_whose_state_gives_the_final_word(tmp_path: Path) -> None:
    deep = fond_of_words(tmp_path, 8)
    for question in made("layer", deep):
        prompt = told(question).prompt
        with explain.capture(deep.core, "blocks.?") as tape, torch.inference_mode():
            deep.core.hidden(torch.tensor([deep.medium.encode(prompt)]))
        firsts = [int(deep.core.logits(deep.core.norm(state[-1][0, -1:])).argmax()) for state in tape.values()]
        final = int(logits(deep, prompt).argmax())
        assert right(question).text == f"after layer {1 + firsts.index(final)}"
        assert set(firsts[firsts.index(final) :]) == {final}


def test_numbers_are_those_of_the_model(writer: Model) -> None:
    for question in made("parameters", writer):
        assert isinstance(question, Fill)
        sizes: dict[str, int] = {}
        for path, weight in writer.core.named_parameters():
            name = ".".join("*" if part.isdigit() else part for part in path.split("."))
            sizes[name] = sizes.get(name, 0) + weight.numel()
        name = next(name for name in sizes if f"matrix {name} " in question.text)
        assert question.number.value == sizes[name]
    for question in made("cache", writer):
        assert isinstance(question, Fill)
        config = writer.core.config
        assert question.number.value == 100 * 2 * config.depth * config.num_kv_heads * config.head_width * 4
    for question in made("softmax", writer):
        assert isinstance(question, Fill)
        scores = [
            float(part.split()[1]) for part in question.text.partition("(logits): ")[2].partition(". If")[0].split(", ")
        ]
        temperature = told(question).options["temperature"]
        share = 100 / sum(math.exp((score - scores[0]) / temperature) for score in scores)
        assert marking.mark(question, share) == 1
        assert scores[0] == pytest.approx(float(logits(writer, told(question).prompt).max()), abs=9)


def test_pictures_are_in_the_order_of_their_noise(drawer: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_image, "LEAST_DISTANCE", 0.005)  # pictures of random weights are much alike
    for question in made("noise-order", drawer)[:2]:
        assert isinstance(question, Order)
        shown = [reader_picture(place.picture).astype(np.float32) for place in question.options]
        away = [float(np.abs(each - shown[0]).mean()) for each in shown]
        assert away == sorted(away)
        assert all(np.abs(a - b).mean() / 255 >= live_image.LEAST_DISTANCE for a, b in pairwise(shown))


def test_the_picture_with_that_guidance_is_the_one_drawn_with_it(drawer: Model) -> None:
    question = made("guidance", drawer)[0]
    wanted = float(question.text.rpartition("guidance ")[2].rstrip("?"))
    show = told(question)
    settings = {"guidance": wanted, "seed": show.options["seed"], "steps": show.options["steps"]}
    generation = drawer.generate(show.prompt, **settings)
    last = list(generation)[-1]
    drawn = drawer.medium.picture(last.guess)
    assert isinstance(question, Choice)
    pictures = [option.picture for option in question.options]
    assert pictures.index(data_url(drawn)) == question.rights[0]


def test_a_real_picture_comes_from_the_training_pictures_and_without_them_none_is_asked(
    drawer: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = next(kind for kind in live.KINDS if kind.name == "real-or-made")

    def missing(*_: Any) -> Path:
        raise ReverieError("The scenes are not built.")

    monkeypatch.setattr(drawer.medium, "_find_data", missing)
    assert live.one(kind, drawer, 0) is None
    data = tiny_scenes.build(tmp_path / "scenes")
    monkeypatch.setattr(drawer.medium, "_find_data", lambda *_: data)
    question = live.one(kind, drawer, 0)
    assert isinstance(question, Choice)
    assert right(question).why.startswith("The model drew it")
    assert told(question).prompt in question.text


def test_the_next_note_is_the_models_likeliest_where_the_link_leads(
    composer: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_music, "MARGIN", 1.0)  # random weights are sure of nothing
    monkeypatch.setattr(live_music, "PROMPTS", ("a jig in D", "an air in C"))
    for question in made("next-note", composer):
        show = told(question)
        data = explain.exhibit(show.name, composer, show.prompt, **show.options).data
        before = composer.medium.tokenizer.encode_control("".join(data["tokens"]))
        with torch.inference_mode():
            hidden = composer.core.hidden(torch.tensor([before]))
            best = int(composer.core.logits(hidden[0, -1:])[0].argmax())
        assert composer.medium.tokenizer.token_text(best).strip() == right(question).text
        assert data["words"][show.options["place"]]["kind"] == "note"
        assert question.text.count("|") >= 1


def test_the_beginning_that_a_person_wrote_is_the_held_out_one(
    composer: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_music, "LEAST_NOTES", 4)
    monkeypatch.setattr(live_music, "held_out", lambda: [tunes.jig()])
    for question in made("by-people", composer)[:2]:
        begun = abc.from_abc(told(question).prompt)
        assert [bar.notes for bar in begun.bars] == [bar.notes for bar in tunes.jig().bars[:5]]
        assert right(question).text.startswith("A | d2f agf")
        assert isinstance(question, Choice)
        shown = [reader_picture(option.picture) for option in question.options]
        assert all(picture.shape[1] > 2 * picture.shape[0] for picture in shown)
        assert all(option.text.count("|") >= 4 for option in question.options)
        assert tunes.jig().title not in str([asked.shown() for asked in session.begin([question], 1).asked])


def test_who_wrote_it_is_not_asked_where_no_real_tunes_are(composer: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Any:
        raise ReverieError("The tunes are not built.")

    monkeypatch.setattr(live_music, "held_out", missing)
    kind = next(kind for kind in live.KINDS if kind.name == "by-people")
    assert live.one(kind, composer, 0) is None


def moving(by: tuple[float, float], frames: int = 16, side: int = 64) -> np.ndarray:
    """A clip (F, S, S, 3) of a bright disc that goes so many pixels right and down in each frame, before hills."""
    down, right = np.mgrid[:side, :side]
    ground = 70 + 30 * np.sin(right / 7) * np.cos(down / 9)
    clip = []
    for number in range(frames):
        centre = [side / 2 + step * (number - (frames - 1) / 2) for step in by]
        clip.append(np.where(np.hypot(right - centre[0], down - centre[1]) < 9, 230, ground))
    return np.stack(clip).round().astype(np.uint8)[..., None].repeat(3, 3)


@pytest.mark.parametrize("by", [(2, 0), (-2, 0), (0, 2), (0, -1.5), (1, 1)])
def test_drift_is_which_way_something_goes(by: tuple[float, float]) -> None:
    gone = live_video.drift(moving(by)).sum(0) * 64 / 15
    assert gone == pytest.approx(by, abs=1.0)
    assert (np.sign(gone) * (np.abs(gone) > 0.5) == np.sign(by)).all()
    assert (live_video.drift(moving(by)[:1].repeat(3, 0)) == 0).all()


def test_frames_are_those_of_the_clip_and_only_their_order_is_right(
    animator: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model with random weights moves nothing, so the clip that it made is exchanged for one in which a disc goes."""
    monkeypatch.setattr(live_video, "finished_clip", lambda _, request: moving(live_video.PROMPTS[request.prompt]) if
                        request.frames == 16 else None)  # fmt: skip
    monkeypatch.setattr(live_video, "PROMPTS", {"a disc moves to the right": (2, 0), "a disc moves up": (0, -2)})
    for question in made("frame-order", animator):
        assert isinstance(question, Order)
        clip = moving(live_video.PROMPTS[told(question).prompt])
        urls = [data_url(frame) for frame in clip]
        numbers = [urls.index(place.picture) for place in question.options]
        assert numbers == sorted(set(numbers))
        assert len(numbers) == live_video.SHOWN
        assert told(question).prompt in question.text
        right_order = marking.right_answer(question)
        assert isinstance(right_order, tuple)
        assert marking.mark(question, right_order) == 1
        assert marking.mark(question, right_order[::-1]) == 0
        shown = session.ask(question, 1).shown()["options"]
        assert len({option["text"] for option in shown}) == 1  # only the picture tells


@pytest.mark.parametrize("by", [(-2, 0), (0, 0), (0, 2), (0.2, 0)])
def test_a_clip_that_does_not_go_where_the_words_say_is_not_asked_about(
    animator: Model, monkeypatch: pytest.MonkeyPatch, by: tuple[float, float]
) -> None:
    """Backwards, it would be the right order of another prompt; standing still, it has none."""
    monkeypatch.setattr(live_video, "finished_clip", lambda *_: moving(by))
    monkeypatch.setattr(live_video, "PROMPTS", {"a disc moves to the right": (1, 0)})
    kind = next(kind for kind in live.KINDS if kind.name == "frame-order")
    assert live.one(kind, animator, 0) is None


def test_the_clip_asked_about_is_the_one_that_the_link_leads_to(
    animator: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_video, "LEAST_DRIFT", -1.0)
    monkeypatch.setattr(live_video, "LEAST_DISTANCE", 0.0)
    monkeypatch.setattr(live_video, "STEPS", 2)
    (question,) = live.make([animator], 3, 0)  # a clip takes long: one is asked about
    show = told(question)
    *_, last = animator.generate(show.prompt, **show.options)
    urls = [data_url(frame) for frame in animator.medium.clip(last.guess)]
    assert isinstance(question, Order)
    assert [urls.index(place.picture) for place in question.options] == [0, 4, 8, 11, 15]


def test_each_model_is_asked_about_what_it_makes(
    writer: Model, drawer: Model, composer: Model, animator: Model
) -> None:
    there = (writer, drawer, composer, animator)
    of = {model.medium.name: {kind.of for kind, _ in live.suited([model])} for model in there}
    assert of == {"text": {"lm"}, "image": {"diffusion"}, "music": {"music"}, "video": {"video"}}
    assert {kind.topic for kind, _ in live.suited([writer, composer], "music")} == {"music"}


def test_a_seed_repeats_and_kinds_come_in_turn(writer: Model) -> None:
    first, again = (live.make([writer], 4, 3) for _ in range(2))
    assert first == again
    assert len({question.id.split("-")[1] for question in first}) > 1
    assert all(question.id.startswith("live-") for question in first)
    assert {question.topic for question in live.make([writer], 3, 3, "layers")} == {"layers"}
    assert live.make([], 3, 3) == []
    shown = str([asked.shown() for asked in session.begin(first, 1).asked])
    assert "why" not in shown


@pytest.mark.parametrize("name", ["next-word", "attention", "layer"])
def test_what_is_unclear_is_never_asked(writer: Model, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(live_text, "MARGIN", 1e9)
    kind: Callable[..., Any] = next(kind.make for kind in live.KINDS if kind.name == name)
    assert all(kind(writer, session.dice(seed), "live-x") is None for seed in SEEDS)
