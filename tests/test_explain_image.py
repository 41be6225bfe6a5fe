"""Looking inside a model that draws: a tiny one with random weights, so that only what must be so is tested."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reverie import engine, explain, media
from reverie.engine import Model
from reverie.explain.exhibit import MOST_BYTES
from reverie.explain.latent_walk import between, slerp
from reverie.explain.pictures import data_url, difference, reader_picture, request_of, walk
from reverie.explain.views import Pictures, views
from reverie.explain.words import spans_of
from reverie.types import ReverieError
from tiny_drawing import CONFIG, SIDE_PX, encoder, write_model

PROMPT = "a red panda"
Look = Callable[..., explain.Exhibit]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = write_model(tmp_path_factory.mktemp("models") / "tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "prompt_encoder", lambda *_, **__: encoder())
        return engine.load(str(folder), place=engine.EXACT)


@pytest.fixture
def look(model: Model) -> Look:
    def made(name: str, **options: Any) -> explain.Exhibit:
        return explain.exhibit(name, model, PROMPT, **options)

    return made


def a_picture(seed: int = 0, side: int = SIDE_PX) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def png_url(picture: np.ndarray) -> str:
    return "data:image/png;base64," + base64.b64encode(media.to_png(picture)).decode()


QUICK: dict[str, dict[str, Any]] = {
    "noise": {"levels": 3},
    "denoising": {"steps": 3},
    "words": {"steps": 2},
    "guidance": {},
    "seeds": {"num": 2, "steps": 2},
    "steps": {"values": "1,2"},
    "samplers": {"looks": 2},
    "walk": {"num": 2, "steps": 2},
    "parts": {},
    "parameters": {},
}


def test_each_exhibit_of_the_model_is_tried_here(model: Model) -> None:
    assert set(explain.exhibits(model)) == set(QUICK)


@pytest.mark.parametrize("name", QUICK)
def test_an_exhibit_is_json_says_something_and_can_be_drawn(look: Look, name: str) -> None:
    made = look(name, **QUICK[name])
    again = json.loads(made.json())
    assert again["data"] == made.data
    assert len(made.json()) < MOST_BYTES
    assert made.says
    assert all(sentence.endswith((".", ":")) and "nan" not in sentence for sentence in made.says)
    shown = views(made)
    assert shown
    for view in shown:
        for row in view.rows if isinstance(view, Pictures) else []:
            for url, caption in row:
                assert reader_picture(url).shape == (SIDE_PX, SIDE_PX, 3)
                assert caption


def test_a_walk_is_what_the_model_draws(model: Model) -> None:
    for sampler in ("dpmpp_2m", "ancestral"):
        request = request_of(model, PROMPT, seed=3, steps=4, sampler=sampler)
        ours = walk(model, request)
        theirs = list(model.generate(PROMPT, seed=3, steps=4, sampler=sampler))
        assert all(torch.equal(a.guess, b.guess) for a, b in zip(ours, theirs, strict=True))


def test_looking_changes_nothing_that_is_drawn(model: Model, look: Look) -> None:
    before = list(model.generate(PROMPT, seed=0, steps=2))[-1].guess
    made = look("words", steps=2, without=False)
    after = list(model.generate(PROMPT, seed=0, steps=2))[-1].guess
    assert torch.equal(before, after)
    assert made.data["picture"] == data_url(model.medium.picture(before))


def test_attention_to_words_is_what_a_softmax_by_hand_gives(model: Model, look: Look) -> None:
    request = request_of(model, PROMPT, seed=0, steps=1, guidance=1.0)
    attention = model.core.blocks[1].attention
    asked: list[list[torch.Tensor]] = []
    hook = attention.attend.register_forward_hook(lambda _, inputs, __: asked.append(inputs[:2]))
    walk(model, request)
    hook.remove()
    looks = [pair for pair in asked if pair[0].shape != pair[1].shape]  # the others are words that read each other
    ((q, k),) = ([each[0, 1].float() for each in pair] for pair in looks)  # head 1, (N, D) and (S, D)
    seen = torch.ones(len(k), dtype=torch.bool)
    num_words = 8  # the states of a prompt are padded to a multiple of 8: start, three words, and nothing
    seen[4:num_words] = False
    shares = ((q @ k.T) * attention.attend.scale).masked_fill(~seen, -math.inf).softmax(-1)  # (N, S)
    side = CONFIG.side // CONFIG.patch
    wanted = shares[:, 1:4].T.reshape(3, side, side)
    made = look("words", steps=1, guidance=1.0, layer=1, head=1, without=False)
    assert torch.allclose(torch.tensor(made.data["maps"]), wanted, atol=1e-4)


def test_every_word_knows_its_tokens(model: Model) -> None:
    spans = spans_of(model, "a red  panda")
    assert [(span.word, span.first, span.end) for span in spans] == [("a", 1, 2), ("red", 2, 3), ("panda", 3, 4)]


def test_without_a_word_the_picture_is_that_of_the_other_words(model: Model, look: Look) -> None:
    row = look("words", steps=2).data["without"][1]
    assert (row["word"], row["prompt"]) == ("red", "a panda")
    other = list(model.generate("a panda", seed=0, steps=2))[-1].guess
    assert row["picture"] == data_url(model.medium.picture(other))


def test_noise_begins_with_the_readers_own_picture_and_ends_with_noise_alone(model: Model, look: Look) -> None:
    own, other = (look("noise", levels=3, picture=png_url(a_picture(seed))).data for seed in (1, 2))
    assert own["own"]
    assert [level["noise_share"] for level in own["levels"]] == [0, 0.5, 1]
    assert own["levels"][0]["noisy"] != other["levels"][0]["noisy"]
    assert own["levels"][2]["noisy"] == other["levels"][2]["noisy"]
    assert own["levels"][0]["guess_error"] < 0.01  # without noise there is nothing to guess


def test_denoising_ends_with_the_picture(model: Model, look: Look) -> None:
    steps = look("denoising", steps=5, seed=1).data["steps"]
    assert [step["step"] for step in steps] == [1, 2, 3, 4, 5]
    assert [step["time"] for step in steps] == [1.0, 0.8, 0.6, 0.4, 0.2]
    assert steps[-1]["left"] == 0
    drawn = list(model.generate(PROMPT, seed=1, steps=5))[-1].guess
    assert steps[-1]["guess"] == data_url(model.medium.picture(drawn))


def test_guidance_is_compared_with_the_prompt_alone(look: Look) -> None:
    rows = look("guidance", values="1,5", steps=2).data["values"]
    assert rows[0]["distance"] == 0
    assert rows[1]["distance"] > 0
    assert reader_picture(rows[0]["difference"]).max() <= 2  # black, but for the losses of WebP


def test_more_steps_come_nearer_to_many(look: Look) -> None:
    rows = look("steps", values="1,30,60").data["steps"]
    assert rows[0]["distance"] > rows[1]["distance"] > rows[2]["distance"] == 0


def test_samplers_are_as_many_looks_and_come_near_the_reference(look: Look) -> None:
    data = look("samplers", looks=20).data
    assert len(data["drawings"]) == 4 * 3
    assert {row["steps"] for row in data["drawings"] if row["sampler"] == "heun"} == {10}
    assert all(times[-1] == 0 and len(times) == 21 for times in data["schedules"].values())
    errors = {(row["sampler"], row["schedule"]): row["distance"] for row in data["drawings"]}
    assert errors["dpmpp_2m", "uniform"] < errors["ancestral", "uniform"]


def test_a_walk_begins_and_ends_with_the_two_prompts(model: Model, look: Look) -> None:
    rows = look("walk", to="one two three four five six seven eight nine", num=3, steps=2).data["walk"]
    for prompt, row in ((PROMPT, rows[0]), ("one two three four five six seven eight nine", rows[2])):
        drawn = model.medium.picture(list(model.generate(prompt, seed=0, steps=2))[-1].guess)
        assert np.abs(reader_picture(row["picture"]).astype(int) - reader_picture(data_url(drawn))).mean() < 1
    assert len({row["picture"] for row in rows}) == 3


def test_a_walk_of_noise_ends_at_the_other_seed(model: Model, look: Look) -> None:
    data = look("walk", to_seed=5, num=2, steps=2).data
    drawn = model.medium.picture(list(model.generate(PROMPT, seed=5, steps=2))[-1].guess)
    assert np.abs(reader_picture(data["walk"][1]["picture"]).astype(int) - reader_picture(data_url(drawn))).mean() < 1


@given(st.floats(0, 1), st.integers(0, 100))
def test_between_two_noises_is_as_much_noise(share: float, seed: int) -> None:
    a, b = torch.randn(2, 4000, generator=torch.Generator().manual_seed(seed))
    assert 0.9 < float(slerp(a, b, share).std()) < 1.1
    assert torch.allclose(slerp(a, a, share), a)


def test_between_two_prompts_are_their_mixed_states(model: Model) -> None:
    told = [model.medium.condition(request_of(model, words)) for words in ("a cat", "a dog")]
    half = between(told[0], told[1], 0.5)
    assert torch.allclose(half.prompt[0], (told[0].prompt[0] + told[1].prompt[0]) / 2, atol=1e-2)


def test_parts_tell_shapes_and_the_tally(model: Model, look: Look) -> None:
    parts = {row["part"]: row for row in look("parts").data["parts"]}
    assert parts["denoiser"]["weights"] == sum(weight.numel() for weight in model.core.parameters())
    assert parts["codec, decoder"]["gives"] == f"{SIDE_PX} x {SIDE_PX} x 3"


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("words", {"layer": 2}, "layers 0 to 1"),
        ("words", {"head": -1}, "heads 0 to 1"),
        ("denoising", {"steps": 61}, "at most 60"),
        ("denoising", {"sampler": "best"}, "There is no sampler"),
        ("guidance", {"values": "1,,2"}, "numbers with commas"),
        ("guidance", {"values": "inf"}, "at most 8"),
        ("steps", {"values": "0"}, "steps is 0"),
        ("seeds", {"num": 1}, "from 2 to 16"),
        ("seeds", {"num": 17}, "from 2 to 16"),
        ("walk", {"num": 1}, "from 2 to 16"),
        ("noise", {"levels": 1}, "from 2 to 40"),
        ("noise", {"picture": "https://example.org/cat.png"}, "not a data URL"),
        ("noise", {"picture": "data:image/png;base64,!"}, "broken"),
        ("noise", {"picture": "data:image/svg+xml;base64,PHN2Zy8+"}, "not a picture"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(look: Look, name: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ReverieError, match=told):
        look(name, **options)


def test_an_empty_prompt_and_too_many_words_are_told(model: Model) -> None:
    with pytest.raises(ReverieError, match="The prompt is empty"):
        explain.exhibit("denoising", model, " ")
    with pytest.raises(ReverieError, match="at most 16"):
        explain.exhibit("words", model, "word " * 17, steps=1)


def test_a_figure_for_a_notebook_is_a_png(look: Look) -> None:
    pytest.importorskip("matplotlib")
    from reverie.explain.figures import png

    made = look("words", steps=2)
    assert made._repr_png_() == png(made)
    drawn = media.read_picture(png(made))
    assert drawn.shape[1] > 600
    assert drawn.std() > 10


def test_differences_are_black_where_nothing_differs() -> None:
    a = a_picture()
    b = a.copy()
    b[:8] = 255 - b[:8]
    seen = difference(a, b)
    assert (seen[8:] == 0).all()
    assert seen[:8].mean() > 60


def test_a_picture_survives_its_url(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 64, dtype=np.uint8)[None, :, None].repeat(64, 0).repeat(3, 2)
    assert np.abs(reader_picture(data_url(smooth)).astype(int) - smooth).mean() < 2
    assert (reader_picture(png_url(smooth)) == smooth).all()
    assert reader_picture(data_url(a_picture(side=300))).shape == (128, 128, 3)
