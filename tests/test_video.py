"""The denoiser of clips: what must hold whatever it has learnt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from reverie.diffusion.family import Diffusion, denoise
from reverie.diffusion.generate import Drawing
from reverie.diffusion.model import Denoiser, DenoiserConfig, Read
from reverie.diffusion.video import EARLY, VideoDiffusion, given, schedule
from reverie.types import ReverieError, VideoRequest

PICTURES = DenoiserConfig(channels=3, side=8, width=64, depth=2, num_heads=2, mlp_width=128, prompt_width=24)
CLIPS = replace(PICTURES, num_frames=4)


def model_of(config: DenoiserConfig) -> Denoiser:
    """Weights that are all of some use."""
    torch.manual_seed(0)
    model = Denoiser(config)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return model.eval()


def inputs(frames: int = 4, batch: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(batch, 3, frames, 8, 8, generator=rng)
    prompt = torch.randn(batch, 5, PICTURES.prompt_width, generator=rng)
    return x, torch.linspace(0.3, 0.9, batch), prompt, torch.arange(5) < torch.tensor([[5], [3]])[:batch]


def condition(init: Tensor | None = None, mask: Tensor | None = None) -> Drawing:
    _, _, prompt, seen = inputs(batch=1)
    return Drawing((prompt, seen), (torch.zeros_like(prompt), torch.zeros_like(seen)), init, mask)


def made(model: Denoiser, request: VideoRequest, told: Drawing | None = None) -> Tensor:
    shape = (1, 3, request.frames, 8, 8)
    *_, last = VideoDiffusion().generate(model, condition() if told is None else told, request, shape)
    guess: Tensor = last.guess
    return guess


def test_a_model_of_clips_takes_the_weights_of_a_painter_and_still_paints() -> None:
    painter, animator = model_of(PICTURES), VideoDiffusion().build(CLIPS)
    animator.load_state_dict(painter.state_dict())
    x, t, prompt, mask = inputs(frames=1)
    assert torch.equal(animator(x, t, prompt, mask), painter(x, t, prompt, mask))


def test_a_patch_sees_other_places_of_other_frames() -> None:
    model, (x, t, prompt, mask) = model_of(replace(CLIPS, depth=1)), inputs()
    before, other = model(x, t, prompt, mask), x.clone()
    other[:, :, 3, :2, :2] += 1  # one corner of the last frame
    assert (model(other, t, prompt, mask) - before)[:, :, 0, -2:, -2:].abs().max() > 1e-4  # the opposite of the first


def test_frames_see_each_other_and_the_order_they_come_in() -> None:
    model, (x, t, prompt, mask) = model_of(CLIPS), inputs()
    before, other = model(x, t, prompt, mask), x.clone()
    other[:, :, 3] += 1
    assert (model(other, t, prompt, mask)[:, :, 0] - before[:, :, 0]).abs().max() > 1e-3
    backwards = model(x.flip(2), t, prompt, mask).flip(2)
    assert (backwards - before).abs().max() > 1e-3


def test_a_frame_has_a_time_of_its_own() -> None:
    model, (x, t, prompt, mask) = model_of(CLIPS), inputs()
    same = denoise(model, x, t, prompt, mask)
    assert torch.allclose(denoise(model, x, t[:, None].expand(-1, 4), prompt, mask), same)
    times = t[:, None] * ~given(4, 1, 0)
    first = denoise(model, x, times, prompt, mask)
    assert torch.equal(first[:, :, 0], x[:, :, 0])  # at time 0 all is known
    assert (first[:, :, 1:] - same[:, :, 1:]).abs().max() > 1e-3


def test_given_frames_stay_and_the_others_depend_on_them() -> None:
    model, init = model_of(CLIPS), torch.randn(1, 3, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    mask = (~given(4, 1, 1)).float().view(1, 1, -1, 1, 1)
    request = VideoRequest("x", frames=4, steps=4, seed=1)
    clip = made(model, request, condition(init, mask))
    assert torch.equal(clip[:, :, [0, 3]], init[:, :, [0, 3]])
    assert (made(model, request, condition(-init, mask))[:, :, 1] - clip[:, :, 1]).abs().max() > 1e-2


def test_guidance_goes_towards_given_frames() -> None:
    """With the empty prompt wanted and unwanted, all that guidance can go towards is what is given."""
    model, init = model_of(CLIPS), torch.randn(1, 3, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    _, _, prompt, _ = inputs(batch=1)
    nothing = torch.zeros_like(prompt), torch.zeros(1, 5, dtype=torch.bool)
    mask = (~given(4, 1, 0)).float().view(1, 1, -1, 1, 1)

    def gone(told: Drawing, guidance: float) -> Tensor:
        clips = [
            made(model, VideoRequest("x", frames=4, steps=1, seed=1, guidance=each), told)[:, :, 1:]
            for each in (0.0, guidance)
        ]
        return clips[1] - clips[0]

    assert gone(Drawing(nothing, nothing), 1.5).abs().max() < 1e-4
    once = gone(Drawing(nothing, nothing, init, mask), 0.5)
    assert once.abs().max() > 1e-2
    assert torch.allclose(gone(Drawing(nothing, nothing, init, mask), 1.5), 3 * once, atol=1e-4)


def test_guidance_goes_away_from_less_attention_and_then_from_frames_that_see_only_themselves() -> None:
    lacked: list[dict[str, Any]] = []

    class Watched(Denoiser):
        def look(self, x: Tensor, t: Tensor, told: Read, **lacking: Any) -> Tensor:
            lacked.append(lacking)
            return super().look(x, t, told, **lacking)

    made(Watched(CLIPS), VideoRequest("x", frames=4, steps=8, seed=1))
    weaker = [{"blind": 0} if time >= EARLY else {"alone": True} for time in schedule(8, 1.0)[:-1]]
    assert len({str(less) for less in weaker}) == 2
    assert lacked == [each for less in weaker for each in ({}, less)]
    lacked.clear()
    made(Watched(CLIPS), VideoRequest("x", frames=4, steps=8, seed=1, guidance=1.0))
    assert lacked == [{}] * 8


class Ramp(Denoiser):
    """Finds each frame a little brighter than the one before it."""

    def look(self, x: Tensor, t: Tensor, told: Read, **lacking: Any) -> Tensor:
        return torch.linspace(-1, 1, x.shape[2]).view(1, 1, -1, 1, 1).expand_as(x)


def test_a_clip_that_loops_has_no_seam() -> None:
    """A model that ends elsewhere than it begins leaves a jump, unless every frame has been at every place."""

    def jumps(loop: bool) -> Tensor:
        clip = made(Ramp(CLIPS), VideoRequest("x", steps=32, sampler="euler", loop=loop, seed=3))
        brightness = clip.mean((0, 1, 3, 4))
        return (brightness.roll(-1) - brightness).abs()

    assert jumps(False)[-1] > 5 * jumps(False)[:-1].max()
    assert jumps(True)[-1] < 2 * jumps(True)[:-1].max()


def test_the_loss_of_a_mixed_batch_is_the_mean_over_its_parts() -> None:
    model, family = model_of(CLIPS), VideoDiffusion()
    x = torch.randn(3, 3, 4, 8, 8, generator=torch.Generator().manual_seed(4))
    prompt = torch.randn(2 + 4, 5, PICTURES.prompt_width, generator=torch.Generator().manual_seed(5))
    seen = torch.ones(6, 5, dtype=torch.bool)
    mixed = family.loss(model, x, (prompt, seen), torch.Generator().manual_seed(0))
    rng = torch.Generator().manual_seed(0)
    clips = family.loss(model, x[:2], (prompt[:2], seen[:2]), rng)
    pictures = x[2:].transpose(1, 2).flatten(0, 1)[:, :, None]
    singles = Diffusion.loss(family, model, pictures, (prompt[2:], seen[2:]), rng)
    assert torch.allclose(mixed, (2 * clips + singles) / 3)


def test_some_frames_are_given_in_training_and_never_all() -> None:
    times = VideoDiffusion().times(256, 16, torch.Generator().manual_seed(0), torch.device("cpu"))
    known = (times == 0).sum(1)
    assert set(known.tolist()) == {0, 1, 2, 4}
    assert float((known == 0).float().mean()) == pytest.approx(3 / 7, abs=0.1)
    assert ((times == 0) | (times == times.max(1, keepdim=True).values)).all()


@pytest.mark.parametrize(("begin", "end", "frames"), [(4, 0, 4), (2, 2, 4), (0, 16, 16)])
def test_a_request_must_leave_something_to_make(begin: int, end: int, frames: int) -> None:
    pictures = np.zeros((16, 8, 8, 3), np.uint8)
    with pytest.raises(ReverieError, match="more frames"):
        VideoRequest("x", frames=frames, begin=pictures[:begin], end=pictures[:end])
    with pytest.raises(ReverieError, match="reverie draw"):
        VideoRequest("x", frames=1)
    with pytest.raises(ReverieError, match="loop"):
        VideoRequest("x", begin=pictures[:1], loop=True)
