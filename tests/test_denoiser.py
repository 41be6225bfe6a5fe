"""The denoiser and the codec: what must hold whatever they have learnt."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from reverie.diffusion.codec import Codec, CodecConfig, reconstruction_loss
from reverie.diffusion.family import Diffusion, denoise, spread_times
from reverie.diffusion.model import Denoiser, DenoiserBlock, DenoiserConfig, axis_frequencies, from_patches, to_patches
from reverie.layers import Attend, rope_table, rotate

CONFIG = DenoiserConfig(channels=3, side=8, width=64, depth=2, num_heads=2, mlp_width=128, prompt_width=24)
CODEC = CodecConfig(channels=4, encoder_widths=(16, 16), decoder_widths=(16, 16, 8), decoder_blocks=(1, 1, 1))


def denoiser(config: DenoiserConfig = CONFIG) -> Denoiser:
    """Weights that are all of some use: the head and the gates of a fresh model are zero."""
    torch.manual_seed(0)
    model = Diffusion().build(config)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return model.eval()


def inputs(batch: int = 3, words: int = 5) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(batch, *CONFIG.shape, generator=rng)
    prompt = torch.randn(batch, words, CONFIG.prompt_width, generator=rng)
    mask = torch.arange(words) < torch.tensor([words, 3, 0])[:batch, None]
    return x, torch.linspace(0.1, 1, batch), prompt, mask


def test_a_fresh_model_makes_the_best_linear_guess() -> None:
    data, noise = torch.randn(2, 3, *CONFIG.shape, generator=torch.Generator().manual_seed(0))
    _, t, prompt, mask = inputs()
    at = t.view(-1, 1, 1, 1, 1)
    x = (1 - at) * data + at * noise
    guess = denoise(Diffusion().build(CONFIG), x, t, prompt, mask)

    def error(share: Tensor) -> Tensor:
        missed: Tensor = share * x - data
        return missed.square().mean((1, 2, 3, 4))

    best = guess.flatten(1)[:, 0] / x.flatten(1)[:, 0]
    assert torch.allclose(guess, best.view(-1, 1, 1, 1, 1) * x, atol=1e-6)
    for change in (-0.4, 0.4):
        assert (error((best + change).view(-1, 1, 1, 1, 1)) > error(best.view(-1, 1, 1, 1, 1))).all()


def test_what_the_network_says_counts_the_more_the_more_noise_there_is() -> None:
    x, _, prompt, mask = inputs(1)
    model, changes = denoiser(), []
    for t in (0.01, 0.3, 0.9):
        given = torch.tensor([t])
        linear = denoise(Diffusion().build(CONFIG), x, given, prompt, mask)
        changes.append(float((denoise(model, x, given, prompt, mask) - linear).detach().std()))
    assert changes[0] < changes[1] < changes[2]


@pytest.mark.parametrize("grad", [True, False])
def test_what_the_mask_hides_changes_nothing(grad: bool) -> None:
    x, t, prompt, mask = inputs()
    hidden = torch.where(mask[..., None], prompt, 1e3)
    with torch.set_grad_enabled(grad):
        assert torch.allclose(denoiser()(x, t, hidden, mask), denoiser()(x, t, prompt, mask), atol=1e-5)
        longer = torch.nn.functional.pad(prompt, (0, 0, 0, 4)), torch.nn.functional.pad(mask, (0, 4))
        assert torch.allclose(denoiser()(x, t, *longer), denoiser()(x, t, prompt, mask), atol=1e-5)


def test_every_word_that_is_seen_matters_and_so_does_time() -> None:
    x, t, prompt, mask = inputs(1)
    model, other = denoiser(), prompt.clone()
    other[0, 2] += 1
    before = model(x, t, prompt, mask)
    assert (model(x, t, other, mask) - before).abs().max() > 1e-3
    assert (model(x, t + 0.1, prompt, mask) - before).abs().max() > 1e-3


def test_a_prompt_is_read_by_itself_once_for_all_looks() -> None:
    model, (x, t, prompt, mask) = denoiser(), inputs()
    told = model.read(prompt, mask)
    for noisy, time in ((x, t), (-x, 1 - t)):
        assert torch.equal(model.look(noisy, time, told), model(noisy, time, prompt, mask))
    alone = model.read(prompt[1:2], mask[1:2])
    for part, whole in zip(alone, told, strict=True):
        assert torch.allclose(part[0].float(), whole[1].float(), atol=1e-5)


def test_a_block_can_do_without_its_attention() -> None:
    model, (x, t, prompt, mask) = denoiser(), inputs()
    told, block = model.read(prompt, mask), model.blocks[1]
    assert isinstance(block, DenoiserBlock)
    blind = model.look(x, t, told, blind=1)
    assert (blind - model.look(x, t, told)).abs().max() > 1e-3
    with torch.no_grad():
        block.attention.out.weight.zero_()
    assert torch.allclose(model.look(x, t, told), blind, atol=1e-5)


def test_frames_that_look_alone_see_nothing_of_each_other() -> None:
    """Whatever the others are; and a clip of one frame is alone already."""
    model, (x, _, prompt, mask) = denoiser(), inputs()
    told, x = model.read(prompt, mask), x.repeat(1, 1, 3, 1, 1) * torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 3, 1, 1)
    t = torch.linspace(0, 1, x.shape[0] * 3).view(-1, 3)
    alone, others = model.look(x, t, told, alone=True), x.clone()
    others[:, :, 1:] = 0
    assert (alone - model.look(x, t, told)).abs().max() > 1e-3
    assert torch.allclose(model.look(others, t, told, alone=True)[:, :, 0], alone[:, :, 0], atol=1e-5)
    assert torch.allclose(model.look(x[:, :, :1], t[:, :1], told), alone[:, :, :1], atol=1e-5)
    swapped = model.look(x.flip(2), t.flip(1), told, alone=True).flip(2)
    assert (swapped - alone).abs().max() > 1e-4  # a frame knows its number


def test_training_and_use_compute_the_same() -> None:
    model, given = denoiser(), inputs()
    with torch.no_grad():
        used = model(*given)
    assert torch.allclose(model(*given), used, atol=1e-5)
    for module in model.modules():
        if isinstance(module, Attend):
            module.explicit = True
    assert torch.allclose(model(*given), used, atol=1e-5)


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("rows", [1, 300])
def test_long_sequences_are_attended_to_in_parts_that_change_nothing(rows: int, grad: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, length, 16, generator=rng) for length in (300, 310, 310))
    mask = torch.rand(2, 1, rows, 310, generator=rng) < 0.5
    attend = Attend(0.25)
    with torch.set_grad_enabled(grad):
        in_parts = attend(q, k, v, mask)
        attend.explicit = True
        assert torch.allclose(in_parts, attend(q, k, v, mask), atol=1e-5)


def test_patches_come_back_where_they_were() -> None:
    x = torch.arange(2 * 3 * 2 * 4 * 4.0).view(2, 3, 2, 4, 4)
    patches = to_patches(x, 2)
    assert patches.shape == (2, 8, 12)
    assert patches[0, 5].tolist() == x[0, :, 1, 0:2, 2:4].flatten().tolist()  # second frame, first row, second column
    assert (from_patches(patches, x.shape, 2) == x).all()


def test_scores_depend_on_how_far_apart_two_patches_are() -> None:
    frequencies = axis_frequencies(32)
    q, k = torch.randn(2, 1, 32, generator=torch.Generator().manual_seed(0))

    def score(here: list[int], there: list[int]) -> float:
        turned = [rotate(x, *rope_table(torch.tensor([place]), frequencies)) for x, place in ((q, here), (k, there))]
        return float((turned[0] * turned[1]).sum())

    assert score([0, 2, 3], [1, 5, 1]) == pytest.approx(score([2, 3, 5], [3, 6, 3]), abs=1e-5)
    moved = [score([0, 0, 0], place) for place in ([1, 0, 0], [0, 1, 0], [0, 0, 1])]
    assert len({round(s, 4) for s in [score([0, 0, 0], [0, 0, 0]), *moved]}) == 4  # each axis turns something


def test_a_model_of_another_size_takes_another_grid() -> None:
    config = replace(CONFIG, num_frames=2, side=12, patch=4)
    _, t, prompt, mask = inputs()
    assert denoiser(config)(torch.randn(3, *config.shape), t, prompt, mask).shape == (3, 3, 2, 12, 12)


def test_the_loss_ignores_prompts_that_are_dropped_and_repeats_with_its_seed() -> None:
    x, _, prompt, mask = inputs()
    losses = [
        Diffusion().loss(denoiser(), x, (prompt, mask), torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_a_step_looks_at_every_part_of_the_times_once() -> None:
    times = spread_times(64, torch.Generator().manual_seed(0), torch.device("cpu"))
    share_below = torch.special.ndtr(torch.logit(times))  # uniform for times of a logistic-normal distribution
    assert sorted((share_below * 64).long().tolist()) == list(range(64))
    assert not torch.equal(times, spread_times(64, torch.Generator().manual_seed(1), torch.device("cpu")))


def test_every_sample_is_looked_at_at_early_and_at_late_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reverie.diffusion.family.DROPPED", 0.0)
    seen: list[tuple[float, float]] = []

    class Watched(Denoiser):
        def forward(self, x: Tensor, t: Tensor, prompt: Tensor, mask: Tensor) -> Tensor:
            seen.extend(zip(prompt[:, 0, 0].tolist(), t[:, 0].tolist(), strict=True))
            return super().forward(x, t, prompt, mask)

    x, _, prompt, mask = inputs()
    prompt[:, 0, 0] = torch.tensor([1.0, 2.0, 3.0])  # names the sample
    Diffusion().loss(Watched(CONFIG), x, (prompt, mask), torch.Generator().manual_seed(3))
    assert len(seen) == 12
    for sample in (1.0, 2.0, 3.0):
        times = [t for name, t in seen if name == sample]
        assert min(times) < 0.4 < 0.6 < max(times)


def test_the_codec_keeps_shapes_and_standardises_its_latents() -> None:
    torch.manual_seed(0)
    codec, pictures = Codec(CODEC), torch.rand(8, 3, 2, 32, 32) * 2 - 1
    latents = codec.encode(pictures)
    assert latents.shape == (8, 4, 2, 4, 4)
    assert latents.mean((0, 2, 3, 4)).abs().max() < 1e-4
    assert (latents.std((0, 2, 3, 4)) - 1).abs().max() < 1e-2
    assert codec.decode(latents).shape == pictures.shape
    codec.eval()
    one_by_one = torch.cat([codec.encode(pictures[:, :, frame : frame + 1]) for frame in range(2)], 2)
    assert torch.allclose(codec.encode(pictures), one_by_one, atol=1e-5)


def test_a_codec_learns_a_few_pictures() -> None:
    torch.manual_seed(0)
    codec, rng = Codec(replace(CODEC, noise=0.1)), torch.Generator().manual_seed(0)
    pictures = torch.nn.functional.interpolate(torch.rand(4, 3, 4, 4) * 2 - 1, scale_factor=8)[:, :, None]
    optimiser = torch.optim.AdamW(codec.parameters(), lr=3e-3)

    def error() -> float:
        with torch.no_grad():
            return float((codec.decode(codec.encode(pictures)) - pictures).abs().mean())

    before = error()
    for _ in range(80):
        loss = reconstruction_loss(codec, pictures, rng)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert error() < before / 2
