"""Looking inside a model that animates: a tiny one with random weights, so that only what must be so is tested."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from rich.cells import cell_len
from rich.console import Console

import tiny_drawing
import tiny_video
from reverie import engine, explain
from reverie.cli import explain as cli
from reverie.cli.app import app
from reverie.cli.exhibits import show
from reverie.cli.report import report
from reverie.diffusion.family import denoise, read
from reverie.diffusion.model import Read
from reverie.diffusion.video import EARLY, schedule
from reverie.engine import Model
from reverie.explain.capture import capture
from reverie.explain.clips import correlation
from reverie.explain.exhibit import MOST_BYTES
from reverie.explain.inside import WEIGHTS
from reverie.explain.pictures import data_url, distance, reader_picture
from reverie.explain.reading import percent
from reverie.explain.video_together import kept_apart
from reverie.explain.views import Matrix, Pictures, views
from reverie.explain.views_video import lit
from reverie.hub import catalogue
from reverie.types import ReverieError

PROMPT = "a red panda moves to the right"
FRAMES, STEPS = 5, 3
QUICK: dict[str, Any] = {"frames": FRAMES, "steps": STEPS}
EXHIBITS = ("video-attention", "video-denoising", "video-given", "video-together")
SIDE = tiny_video.CONFIG.side // tiny_video.CONFIG.patch
Look = Callable[..., explain.Exhibit]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return tiny_video.opened(tiny_video.write_model(tmp_path_factory.mktemp("models") / "animator"))


@pytest.fixture
def look(model: Model) -> Look:
    def made(name: str, **options: Any) -> explain.Exhibit:
        return explain.exhibit(name, model, PROMPT, **{**QUICK, **options})

    return made


def clip_of(model: Model, **settings: Any) -> np.ndarray:
    """What `reverie animate` would show."""
    generation = model.generate(PROMPT, **{"seed": 0, **QUICK, **settings})
    *_, last = generation
    clip: np.ndarray = model.medium.clip(last.guess, generation.request)
    return clip


def test_each_exhibit_of_the_model_is_tried_here(model: Model) -> None:
    assert set(explain.exhibits(model)) == {*EXHIBITS, "parameters"}
    assert {explain.about(name).medium for name in EXHIBITS} == {"video"}


@pytest.mark.parametrize("name", EXHIBITS)
def test_an_exhibit_is_json_says_something_repeats_and_changes_nothing(model: Model, look: Look, name: str) -> None:
    before = clip_of(model)
    made = look(name)
    assert json.loads(made.json())["data"] == made.data
    assert len(made.json()) < MOST_BYTES
    assert made.says
    assert all(sentence.endswith(".") and "nan" not in sentence for sentence in made.says)
    assert look(name) == made
    assert np.array_equal(clip_of(model), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.core.modules())


@pytest.mark.parametrize("name", EXHIBITS)
@pytest.mark.parametrize("frames", [2, FRAMES])
def test_its_views_can_be_drawn(look: Look, name: str, frames: int) -> None:
    shown = views(look(name, frames=frames))
    assert shown
    for view in shown:
        for row in view.rows if isinstance(view, Pictures) else []:
            for url, caption in row:
                assert reader_picture(url).shape == (64, 64, 3)
                assert caption


@pytest.mark.parametrize("name", EXHIBITS)
@pytest.mark.parametrize("colours", ["truecolor", None])
def test_it_fits_the_terminal_and_a_page(look: Look, name: str, colours: Literal["truecolor"] | None) -> None:
    made = look(name)
    console = Console(
        file=io.StringIO(), width=72, force_terminal=colours is not None, color_system=colours, record=True
    )
    show(console, made)
    assert max(map(cell_len, console.export_text().splitlines())) <= 72
    assert made.question in report([made])


def test_a_figure_for_a_notebook_is_a_png(look: Look) -> None:
    pytest.importorskip("matplotlib")
    for name in EXHIBITS:
        assert look(name)._repr_png_()[:4] == b"\x89PNG"


def test_a_clip_is_made_once_while_it_is_looked_at_from_many_sides(model: Model, look: Look) -> None:
    """Each look of a sampler goes through the first layer once, with as many frames; the words, as one.

    In early steps the weaker network sees all frames, too; in later ones each by itself.
    """
    num = STEPS + sum(bool(time >= EARLY) for time in schedule(STEPS, 1.0)[:-1])

    def looks(name: str, **options: Any) -> int:
        called: list[int] = []
        hook = model.core.blocks[0].register_forward_hook(lambda _, inputs, __: called.append(inputs[0].shape[1]))
        look(name, **options)
        hook.remove()
        return called.count(FRAMES)

    look("video-denoising", seed=5)
    assert looks("video-denoising", seed=5) == 0
    assert looks("video-attention", seed=5, layer=1) == 1
    assert looks("video-together", seed=5) == num
    assert looks("video-given", seed=5) == 3 * num
    assert looks("video-denoising", seed=6) == num
    assert looks("video-denoising", seed=5) == num


# --- where a patch looked ---


def test_looks_are_what_a_softmax_by_hand_gives(model: Model, look: Look) -> None:
    """Queries and keys of layer 1, head 1, in the look of step 2 with the prompt alone."""
    generation = model.generate(PROMPT, seed=0, **QUICK)
    state, told = list(generation)[1].state, read(model.core, generation.condition).prompt
    asked: list[tuple[torch.Tensor, ...]] = []
    hook = model.core.blocks[1].attention.attend.register_forward_hook(lambda _, inputs, __: asked.append(inputs[:2]))
    with torch.inference_mode():
        denoise(model.core.look, state, schedule(STEPS, 1.0)[1:2].float(), Read(*told))
    hook.remove()
    ((q, k),) = ([each[0, 1].float() for each in pair] for pair in asked)  # (F N, D), (T + F N, D)
    num_words = 8  # the states of a prompt are padded to a multiple of 8: start, 7 words
    assert (len(q), len(k)) == (FRAMES * SIDE**2, num_words + FRAMES * SIDE**2)
    shares = (q @ k.T * model.core.blocks[1].attention.attend.scale).softmax(-1).unflatten(0, (FRAMES, -1))
    looks = shares[..., num_words:].unflatten(-1, (FRAMES, -1))  # (F, N, F, N)
    for frame in (0, 3):
        data = look("video-attention", layer=1, head=1, step=2, frame=frame).data
        assert torch.allclose(torch.tensor(data["looks"]), looks[frame], atol=1e-4)
        assert torch.allclose(torch.tensor(data["words"]), shares[frame, :, :num_words].sum(-1), atol=1e-4)
        assert torch.allclose(torch.tensor(data["clip"]), looks.sum(-1).mean(1), atol=1e-4)
    (row,) = [row for row in data["heads"] if (row["layer"], row["head"]) == (1, 1)]
    assert row["own"] == pytest.approx(float(looks.sum(-1).mean(1).diagonal().mean()), abs=1e-4)
    assert row["words"] == pytest.approx(float(shares[..., :num_words].sum(-1).mean()), abs=1e-4)


def test_a_mean_is_over_heads_and_layers_and_a_clips_over_patches(look: Look) -> None:
    whole = look("video-attention").data
    heads = [look("video-attention", layer=layer, head=head).data for layer in range(2) for head in range(2)]
    for name in ("looks", "words", "clip"):
        mean = torch.stack([torch.tensor(data[name]) for data in heads]).mean(0)
        assert torch.allclose(torch.tensor(whole[name]), mean, atol=1e-4)
    looks, words = torch.tensor(whole["looks"]), torch.tensor(whole["words"])
    assert looks.shape == (SIDE**2, FRAMES, SIDE**2)
    assert torch.allclose(looks.sum((1, 2)) + words, torch.ones(SIDE**2), atol=1e-3)
    assert whole["clip"][whole["frame"]] == pytest.approx(looks.sum(2).mean(0).tolist(), abs=1e-3)
    assert [row["frames"] for row in whole["reach"]] == list(range(1 - FRAMES, FRAMES))
    assert whole["reach"][0]["share"] == pytest.approx(whole["clip"][-1][0])  # from the last back to the first
    for row in whole["heads"]:
        assert row["own"] + row["near"] + row["far"] + row["words"] == pytest.approx(1, abs=1e-3)
    others = [row["near"] + row["far"] for row in whole["heads"]]
    assert others == sorted(others, reverse=True)


def test_what_is_said_of_a_patch_is_in_its_look(look: Look) -> None:
    made = look("video-attention", frame=0, row=1, column=2)
    shares = torch.tensor(made.data["looks"])[SIDE + 2]  # (F, N)
    best = 1 + int(shares.sum(1)[1:].argmax())
    assert f"row 1, column 2 of frame 0 gave {percent(float(shares[0].sum()))} of its look to its own" in made.says[0]
    assert f"{percent(float(shares[best].sum()))} to frame {best}, the most of all others" in made.says[0]
    row, column = divmod(int(shares[-1].argmax()), SIDE)
    assert f"In frame {FRAMES - 1} it looked most at row {row}, column {column}" in made.says[1]
    assert made.says[1].count("it looked most") == 2  # its own frame is the first


def test_the_patch_is_the_one_asked_for_or_the_one_that_changes_most(model: Model, look: Look) -> None:
    data = look("video-attention", frame=3, row=1, column=2).data
    assert (data["frame"], data["row"], data["column"]) == (3, 1, 2)
    data, clip = look("video-attention").data, clip_of(model).astype(float)
    assert data["frame"] == FRAMES // 2
    change = np.abs(clip[FRAMES // 2] - clip[FRAMES // 2 - 1]).mean(2)
    patches = change.reshape(SIDE, 64 // SIDE, SIDE, 64 // SIDE).mean((1, 3))
    assert (data["row"], data["column"]) == np.unravel_index(patches.argmax(), patches.shape)
    along = look("video-attention", row=0).data
    assert (along["row"], along["column"]) == (0, patches[0].argmax())


def test_what_is_looked_at_stays_light() -> None:
    grey = data_url(np.full((64, 64, 3), 200, np.uint8))
    light = np.zeros((4, 4))
    light[2, 1] = 1
    shown = reader_picture(lit(grey, light)).astype(int)
    assert abs(shown[34:46, 18:30].mean() - 200) < 4
    assert abs(shown[:28].mean() - 40) < 4
    marked = reader_picture(lit(grey, light, (0, 0))).astype(int)
    assert marked[0, :15].mean() > 180
    assert abs(marked[4:12, 4:12].mean() - 40) < 8


def test_frames_look_at_frames_in_one_square_map(look: Look) -> None:
    (square,) = (view for view in views(look("video-attention")) if isinstance(view, Matrix))
    assert len(square.rows) == len(square.columns) == len(square.values) == FRAMES


# --- how frames become clear ---


def test_denoising_ends_with_the_clip_that_is_animated(model: Model, look: Look) -> None:
    steps = look("video-denoising", steps=8, seed=1).data["steps"]
    assert [step["step"] for step in steps] == list(range(1, 9))
    assert [step["time"] for step in steps] == pytest.approx(schedule(8, 1.0)[:-1].tolist(), rel=1e-4)
    shown = [step["step"] for step in steps if step["guess"]]
    assert shown == [1, 3, 5, 6, 8]
    assert all(len(step["noisy"]) == len(step["guess"]) in (0, FRAMES) for step in steps)
    assert steps[-1]["guess"] == [data_url(frame) for frame in clip_of(model, steps=8, seed=1)]
    assert (steps[-1]["still"], steps[-1]["moving"]) == pytest.approx((1, 1))
    assert abs(steps[0]["noisy_neighbours"]) < 0.2
    near = [1 + max([step["step"] for step in steps if step[part] < 0.9], default=0) for part in ("still", "moving")]
    assert (
        f"settled at step {near[0]}, what moves at step {near[1]}" in look("video-denoising", steps=8, seed=1).says[2]
    )


def test_correlation_is_that_of_statistics() -> None:
    rng = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 3, 50, generator=rng)
    assert correlation(a, b) == pytest.approx(np.corrcoef(a.flatten(), b.flatten())[0, 1], abs=1e-6)
    assert correlation(a, 3 * a + 1) == pytest.approx(1)
    assert correlation(a, torch.ones_like(a)) == 0


# --- what frames need each other for ---


def test_of_frames_that_are_made_apart_none_knows_of_another_ones_noise(model: Model) -> None:
    """The first stands where a single picture stands, so it is that picture; the others know their place."""
    generation = model.generate(PROMPT, seed=0, **QUICK)
    noise, told = next(generation).state, Read(*read(model.core, generation.condition).prompt)
    other, time = noise.clone(), torch.ones(1)
    other[:, :, 2] = torch.randn(other[:, :, 2].shape, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        together = [denoise(model.core.look, x, time, told) for x in (noise, other)]
        with kept_apart(model):
            apart = [denoise(model.core.look, x, time, told) for x in (noise, other)]
        alone = denoise(model.core.look, noise[:, :, :1], time, told)
    for at in range(FRAMES):
        assert (together[0][:, :, at] - together[1][:, :, at]).abs().max() > 1e-2
        assert torch.allclose(apart[0][:, :, at], apart[1][:, :, at], atol=1e-4) == (at != 2)
    assert torch.allclose(apart[0][:, :, :1], alone, atol=1e-4)
    assert (together[0][:, :, :1] - alone).abs().max() > 1e-2


def test_frames_that_are_kept_apart_read_the_same_words(model: Model) -> None:
    condition = model.generate(" ".join([PROMPT] * 3), seed=0, **QUICK).condition
    assert condition.prompt[0].shape[1] > SIDE**2  # or words would be taken for patches of one frame
    with kept_apart(model):
        apart = read(model.core, condition).prompt
    assert all(torch.equal(a, b) for a, b in zip(read(model.core, condition).prompt, apart, strict=True))


def test_apart_the_weights_on_other_frames_are_zero_in_the_layer_that_is_meant(model: Model) -> None:
    generation = model.generate(PROMPT, seed=0, **QUICK)
    noise, told = next(generation).state, Read(*read(model.core, generation.condition).prompt)
    with torch.inference_mode(), kept_apart(model, 1), capture(model.core, WEIGHTS) as tape:
        denoise(model.core.look, noise, torch.ones(1), told)
    frames = torch.arange(FRAMES * SIDE**2) // SIDE**2
    others = [
        float(each[-1][..., -len(frames) :][..., frames[:, None] != frames].sum(-1).mean()) for each in tape.values()
    ]
    assert others[0] > 0.1
    assert others[1] == 0


def test_together_and_apart_are_compared_by_the_way_from_frame_to_frame(model: Model, look: Look) -> None:
    data, clip = look("video-together").data, clip_of(model)
    assert data["together"]["frames"] == [data_url(frame) for frame in clip]
    far = [distance(clip[at], clip[at + 1]) for at in range(FRAMES - 1)]
    assert data["together"]["jumps"] == pytest.approx(far, rel=1e-3)
    assert data["together"]["seam"] == pytest.approx(distance(clip[-1], clip[0]), rel=1e-3)
    assert data["apart"]["frames"] != data["together"]["frames"]
    assert data["times"] == pytest.approx(data["apart"]["mean"] / data["together"]["mean"], rel=1e-3)


def test_in_each_layer_being_apart_changes_something_else(look: Look) -> None:
    rows = [look("video-together", layer=layer).data["apart"]["frames"] for layer in (None, 0, 1)]
    assert rows[0] != rows[1] != rows[2] != rows[0]
    assert "in layer 1" in look("video-together", layer=1).says[0]


def test_a_clip_that_is_to_loop_is_made_so(model: Model, look: Look) -> None:
    made = look("video-together", loop=True)
    assert made.data["together"]["frames"] == [data_url(frame) for frame in clip_of(model, loop=True)]
    assert "first" in made.says[-1]


# --- given frames ---


def test_given_frames_are_those_of_the_clip_and_the_rest_is_made_from_other_noise(model: Model, look: Look) -> None:
    data, clip = look("video-given").data, clip_of(model)
    assert data["frames"] == [data_url(frame) for frame in clip]
    assert [made["given"] for made in data["clips"]] == [[], [0], [0, FRAMES - 1]]
    for made in data["clips"]:
        assert [at for at, far in enumerate(made["away"]) if far == 0] == made["given"]
    other = clip_of(model, seed=1, begin=clip[:1], end=clip[-1:])
    assert data["clips"][2]["frames"] == [data_url(frame) for frame in other]
    assert data["clips"][0]["frames"] == [data_url(frame) for frame in clip_of(model, seed=1)]


def test_of_two_frames_both_cannot_be_given(look: Look) -> None:
    assert [made["given"] for made in look("video-given", frames=2).data["clips"]] == [[], [0]]


# --- what cannot be ---


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("video-attention", {"layer": 2}, "no layer 2"),
        ("video-attention", {"head": 0}, "give the layer too"),
        ("video-attention", {"layer": 0, "head": -1}, "no head -1"),
        ("video-attention", {"frame": FRAMES}, "from 0 to 4"),
        ("video-attention", {"row": SIDE}, f"from 0 to {SIDE - 1}"),
        ("video-attention", {"column": -1}, "column is -1"),
        ("video-attention", {"step": 0}, "from 1 to 3"),
        ("video-together", {"layer": 9}, "no layer 9"),
        ("video-denoising", {"frames": 1}, "at least 2"),
        ("video-denoising", {"frames": 17}, "up to 16"),
        ("video-denoising", {"steps": 61}, "at most 60"),
        ("video-denoising", {"sampler": "best"}, "There is no sampler"),
        ("denoising", {}, "does not show denoising"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence_before_anything_is_made(
    model: Model, monkeypatch: pytest.MonkeyPatch, name: str, options: dict[str, Any], told: str
) -> None:
    monkeypatch.setattr(model.core, "look", lambda *_: pytest.fail("a clip was begun"))
    with pytest.raises(ReverieError, match=told):
        explain.exhibit(name, model, PROMPT, **{**({} if name == "denoising" else QUICK), **options})


def test_an_empty_prompt_is_told_and_other_models_show_none_of_these(model: Model, tmp_path: Path) -> None:
    with pytest.raises(ReverieError, match="The prompt is empty"):
        explain.exhibit("video-together", model, " ")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "prompt_encoder", lambda *_, **__: tiny_drawing.encoder())
        drawer = engine.load(str(tiny_drawing.write_model(tmp_path / "drawer")), place=engine.EXACT)
    assert not set(EXHIBITS) & set(explain.exhibits(drawer))


# --- at the keyboard ---


def test_an_exhibit_finds_the_model_that_it_is_made_for(
    model: Model, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str | None] = []
    monkeypatch.setattr(catalogue, "default_name", lambda modality="text": f"the {modality} model")

    def load(name: str | None, *_: Any) -> Model:
        asked.append(name)
        return model

    monkeypatch.setattr(cli, "load_named", load)
    for names in (("-e", "video-attention"), ("-m", "own")):
        with pytest.raises(SystemExit) as ended:
            app(["explain", *names, "--option", "steps=2", "--option", "frames=3", PROMPT], prog_name="reverie")
        assert not ended.value.code
    assert asked == ["the video model", "own"]
    out = capsys.readouterr().out
    titles = [explain.about(name).title for name in ("video-attention", *cli.TOURS["video"])]
    places = [out.index(f"{title} ─") for title in titles]
    assert places[0] == min(places)
    assert places[1:3] == sorted(places[1:3])


@pytest.mark.parametrize(
    ("exhibit", "wanted"),
    [("tokens", None), ("denoising", "image"), ("music-next", "music"), ("video-given", "video"), ("parameters", None)],
)
def test_without_a_model_each_exhibit_has_that_of_its_medium(
    monkeypatch: pytest.MonkeyPatch, exhibit: str, wanted: str | None
) -> None:
    monkeypatch.setattr(catalogue, "default_name", lambda modality="text": modality)
    assert cli.model_name(cli.ExplainOptions(exhibit=[exhibit])) == wanted
    assert cli.model_name(cli.ExplainOptions(exhibit=[exhibit], model="own")) == "own"
