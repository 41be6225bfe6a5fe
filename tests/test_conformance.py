"""What must hold of every medium that the registry finds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from reverie import modalities
from reverie.hub.tokenizers import from_folder
from reverie.lm.chat import ChatTemplate
from reverie.types import Request, ReverieError
from tiny_models import TEMPLATE, VOCABULARY, write_tokenizer

SENTENCE = "the robot dog and the other dogs ran into the garden of the old house, "


@pytest.fixture(params=modalities.names())
def medium(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    write_tokenizer(tmp_path)
    return modalities.modality(request.param)(from_folder(tmp_path), ChatTemplate(TEMPLATE))


def trained(medium: Any, source: Path) -> tuple[Any, list[float]]:
    """The tiny preset after a few steps on one sentence, and its loss at each of them."""
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(0)
    model = medium.family.build(replace(medium.presets["tiny"], vocab_size=VOCABULARY))
    source.write_text(SENTENCE * 8)
    (example,) = medium.examples(str(source))
    batch = example.x[: example.x.numel() // 64 * 64].view(-1, 64)
    optimiser, losses = torch.optim.AdamW(model.parameters(), lr=3e-3), []
    for _ in range(30):
        loss = medium.family.loss(model, batch, None, rng)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return model.eval(), losses


def test_every_medium_learns_generates_and_decodes(medium: Any, tmp_path: Path) -> None:
    model, losses = trained(medium, tmp_path / "source")
    assert all(loss < float("inf") for loss in losses)
    assert losses[-1] < losses[0] / 2

    def run(seed: int) -> list[Any]:
        request = Request(SENTENCE, max_tokens=12, temperature=1.0, seed=seed)
        steps = medium.family.generate(model, medium.condition(request), request, medium.shape(request))
        return [step for step in medium.stream(steps, request) if step.guess]

    steps = run(seed=1)
    assert [step.index for step in steps] == list(range(1, 13))
    assert [step.guess for step in steps] == [step.guess for step in run(seed=1)]
    assert [medium.decode(step.guess).data for step in steps]  # every intermediate guess decodes
    assert medium.decode(steps[-1].guess).data == "".join(step.info["text"] for step in steps)


@pytest.mark.parametrize("name", ["../text", "os", "__init__", "", "text.py"])
def test_only_the_media_of_the_folder_are_found(name: str) -> None:
    with pytest.raises(ReverieError, match="There is no medium"):
        modalities.modality(name)
