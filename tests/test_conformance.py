"""What must hold of every medium that the registry finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny_drawing
import tiny_scenes
import tunes
from reverie import modalities
from reverie.data.scenes import Scenes
from reverie.hub.tokenizers import from_folder
from reverie.lm.chat import ChatTemplate
from reverie.modalities.image import Captioned, Image
from reverie.modalities.music import MusicRequest
from reverie.modalities.video import Video
from reverie.types import Examples, ImageRequest, LMRequest, Request, ReverieError, Step, VideoRequest
from tiny_drawing import SIDE_PX
from tiny_models import TEMPLATE, VOCABULARY, write_tokenizer

SENTENCE = "the robot dog and the other dogs ran into the garden of the old house, "


class Case:
    """A medium with something to learn from, its tiny model, and a request that is soon fulfilled."""

    def __init__(self, medium: Any, examples: Examples, config: Any, request: Callable[[int], Request]) -> None:
        self.medium, self.examples, self.config, self.request = medium, examples, config, request


def text(folder: Path) -> Case:
    write_tokenizer(folder)
    source = folder / "source.txt"
    source.write_text(SENTENCE * 80)
    medium = modalities.modality("text")(from_folder(folder), ChatTemplate(TEMPLATE), 64)
    config = replace(medium.presets["tiny"], vocab_size=VOCABULARY)
    examples = medium.examples(str(source), held_out=False)
    return Case(medium, examples, config, lambda seed: LMRequest(SENTENCE, max_tokens=12, temperature=1.0, seed=seed))


def image(folder: Path) -> Case:
    icons = tiny_scenes.build(folder / "icons.safetensors")
    medium, config = modalities.modality("image").fresh(
        "scenes",
        replace(Image.presets["tiny"], side=SIDE_PX // 8),
        tiny_drawing.codec(),
        tiny_drawing.encoder(),
        lambda name, size_px: icons,
    )
    examples = Captioned(Scenes(icons, SIDE_PX, styles=("noto",)))  # of the styles to learn from, the only one here
    return Case(medium, examples, config, lambda seed: ImageRequest(SENTENCE, steps=12, seed=seed))


def video(folder: Path) -> Case:
    icons = tiny_scenes.build(folder / "icons.safetensors")
    medium, config = modalities.modality("video").fresh(
        "scenes",
        replace(Video.presets["tiny"], side=SIDE_PX // 8),
        tiny_drawing.codec(),
        tiny_drawing.encoder(),
        lambda name, size_px: icons,
    )
    medium.styles = ("noto",)
    examples = medium.examples("scenes", held_out=False)
    return Case(medium, examples, config, lambda seed: VideoRequest(SENTENCE, steps=12, seed=seed))


def music(folder: Path) -> Case:
    file = folder / "book.abc"
    file.write_text(tunes.book())
    kind = modalities.modality("music")
    medium, config = kind.fresh(str(file), kind.presets["tiny"], lambda name, size_px: file)
    examples = medium.examples(str(file), held_out=False)
    return Case(medium, examples, config, lambda seed: MusicRequest("a jig", max_tokens=80, seed=seed))


CASES = {"text": text, "image": image, "video": video, "music": music}


@pytest.fixture(params=modalities.names())
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    return CASES[request.param](tmp_path)


def trained(case: Case) -> tuple[Any, list[float]]:
    """The tiny preset after a few steps on one batch, and its loss at each of them; the noise is always the same."""
    torch.manual_seed(0)
    family = case.medium.family
    model = family.build(case.config)
    batch, condition = case.medium.batch([case.examples.item(0, index) for index in range(4)])
    optimiser, losses = torch.optim.AdamW(model.parameters(), lr=3e-3), []
    for _ in range(30):
        loss = family.loss(model, batch, condition, torch.Generator().manual_seed(0))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return model.eval(), losses


def test_every_medium_learns_generates_and_decodes(case: Case) -> None:
    model, losses = trained(case)
    assert all(loss < float("inf") for loss in losses)
    assert losses[-1] < losses[0] / 2

    def run(seed: int) -> list[Any]:
        request = case.request(seed)
        medium = case.medium
        steps = medium.family.generate(model, medium.condition(request), request, medium.shape(request))
        return [step for step in medium.stream(steps, request) if len(step.guess)]

    def decode(step: Step) -> Any:
        return case.medium.decode(step.guess).data

    steps = run(seed=1)
    assert [step.index for step in steps[:12]] == list(range(1, 13))
    assert all(map(decode, steps))  # every intermediate guess decodes
    assert list(map(decode, steps)) == list(map(decode, run(seed=1)))
    assert decode(steps[-1]) != decode(run(seed=2)[-1])


def test_the_text_of_a_generation_is_that_of_its_steps(tmp_path: Path) -> None:
    case = text(tmp_path)
    model, _ = trained(case)
    request = case.request(1)
    steps = case.medium.family.generate(model, case.medium.condition(request), request, case.medium.shape(request))
    written = [step for step in case.medium.stream(steps, request) if step.guess]
    assert case.medium.decode(written[-1].guess).data == "".join(step.info["text"] for step in written)


def test_every_medium_says_what_it_can_be_asked(case: Case) -> None:
    assert isinstance(case.request(0), case.medium.request)
    assert all(isinstance(trial, case.medium.request) for trial in case.medium.trials())
    assert case.medium.presets.keys() == case.medium.recipes.keys()


@pytest.mark.parametrize("name", ["../text", "os", "__init__", "", "text.py"])
def test_only_the_media_of_the_folder_are_found(name: str) -> None:
    with pytest.raises(ReverieError, match="There is no medium"):
        modalities.modality(name)
