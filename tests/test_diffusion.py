"""The diffusion maths: paths agree with themselves, samplers converge as their papers say, edits and seeds are kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reverie.diffusion import schedules
from reverie.diffusion.guidance import Weaker, guided
from reverie.diffusion.paths import PATHS, VE, Path
from reverie.diffusion.samplers import SAMPLERS, inpaint, normal

# Data of one number a sample with known mean and spread: then the best denoiser and the ODE's solution are formulae.
MEAN = torch.tensor([0.5, -1.0, 0.0], dtype=torch.float64)
SPREAD = torch.tensor([0.3, 0.7, 1.5], dtype=torch.float64)
EVERY_PATH = pytest.mark.parametrize("path", [PATHS["flow"], PATHS["vp"], VE(20.0)], ids=["flow", "vp", "ve"])


def denoiser(path: Path) -> Callable[[Tensor, Tensor], Tensor]:
    """The mean of x0 given x_t, for Gaussian data."""

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = path.alpha(t), path.sigma(t)
        gain = alpha * SPREAD**2 / (alpha**2 * SPREAD**2 + sigma**2)
        return (MEAN + gain * (x - alpha * MEAN)).to(x.dtype)

    return denoise


def solution(path: Path, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """Where the ODE leads x from time t to s: samples keep their place within the Gaussian."""

    def spread(t: Tensor) -> Tensor:
        return (path.alpha(t) ** 2 * SPREAD**2 + path.sigma(t) ** 2).sqrt()

    return path.alpha(s) * MEAN + spread(s) / spread(t) * (x - path.alpha(t) * MEAN)


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def finish(name: str, x: Tensor, times: Tensor, path: Path, seeds: Sequence[int] = (0,)) -> Tensor:
    steps = list(SAMPLERS[name](denoiser(path), x, times, path, seeded(*seeds)))
    return torch.as_tensor(steps[-1].guess)


@EVERY_PATH
@settings(deadline=None)
@given(t=st.floats(0.01, 0.99))
def test_data_noise_and_velocity_say_the_same(path: Path, t: float) -> None:
    time = torch.tensor([t, 1 - t], dtype=torch.float64)
    x0, eps = torch.randn(2, 2, 3, 4, generator=seeded(1)[0], dtype=torch.float64)
    x = path.mix(x0, eps, time)
    velocity = path.velocity(x, x0, time)
    torch.testing.assert_close(path.noise(x, x0, time), eps)
    torch.testing.assert_close(path.data(x, eps, time), x0)
    torch.testing.assert_close(path.data_from_velocity(x, velocity, time), x0)
    ahead = (path.mix(x0, eps, time + 1e-6) - path.mix(x0, eps, time - 1e-6)) / 2e-6
    torch.testing.assert_close(velocity, ahead, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(path.time(path.ratio(time)), time)


@EVERY_PATH
def test_a_path_leads_from_data_to_noise(path: Path) -> None:
    zero, one = torch.tensor([0.0, 1.0])
    assert path.alpha(zero) == 1
    assert path.sigma(zero) == 0
    assert path.ratio(one) >= 20
    torch.testing.assert_close(path.time(path.ratio(one)), one)


ORDERS = {"euler": 1, "heun": 2, "dpmpp_2m": 2}


@EVERY_PATH
@pytest.mark.parametrize("name", ORDERS)
def test_halving_the_steps_shows_the_order_of_convergence(name: str, path: Path) -> None:
    one, zero = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    x = path.sigma(one) * torch.tensor([[1.2, -0.4, 0.7]], dtype=torch.float64)
    exact = solution(path, x, one, zero)
    errors = []
    for steps in (80, 160):
        times = schedules.karras(steps, path)
        drawn = finish(name, solution(path, x, one, times[0]), times, path)
        errors.append((drawn - exact).abs().max())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(ORDERS[name], abs=0.1)


@EVERY_PATH
@pytest.mark.parametrize("name", SAMPLERS)
def test_samples_have_the_mean_and_spread_of_the_data(name: str, path: Path) -> None:
    noise = torch.randn(1, 20_000, 3, generator=seeded(2)[0], dtype=torch.float64)
    times = schedules.karras(250, path)
    x = path.mix(torch.zeros_like(noise), noise, times[0])
    samples = finish(name, x, times, path)[0]
    torch.testing.assert_close(samples.mean(0), MEAN, atol=0.04, rtol=0.0)
    torch.testing.assert_close(samples.std(0), SPREAD, atol=0.0, rtol=0.04)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sample_depends_on_its_own_seed_alone(name: str) -> None:
    path, times = PATHS["flow"], schedules.uniform(7)

    def draw(*seeds: int) -> Tensor:
        rngs = seeded(*seeds)
        x = normal(torch.empty(len(seeds), 3), rngs)
        return torch.as_tensor(list(SAMPLERS[name](denoiser(path), x, times, path, rngs))[-1].guess)

    together = draw(5, 6)
    torch.testing.assert_close(together, torch.cat([draw(5), draw(6)]))
    assert torch.equal(draw(5), draw(5))
    assert not torch.allclose(together[0], together[1])


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_step_tells_where_it_is_and_holds_a_guess(name: str) -> None:
    path, times = PATHS["flow"], schedules.shifted(6)
    x = torch.randn(1, 3, generator=seeded(3)[0])
    steps = list(SAMPLERS[name](denoiser(path), x, times, path, seeded(0)))
    assert [(step.index, step.total) for step in steps] == [(i, 6) for i in range(1, 7)]
    for step, t in zip(steps, times, strict=False):
        torch.testing.assert_close(step.guess, denoiser(path)(step.state, t))
    assert steps[-1].guess.dtype == torch.float32


@EVERY_PATH
@pytest.mark.parametrize("name", SAMPLERS)
def test_inpainting_keeps_what_is_known_and_draws_the_rest(name: str, path: Path) -> None:
    times = schedules.uniform(9)
    x = path.sigma(times[0]) * torch.randn(1, 3, generator=seeded(4)[0], dtype=torch.float64)
    known, mask = torch.tensor([[9.0, 0.0, 0.0]], dtype=torch.float64), torch.tensor([[0.0, 1.0, 1.0]])
    steps = list(inpaint(SAMPLERS[name](denoiser(path), x, times, path, seeded(0)), known, mask.double()))
    assert all(step.guess[0, 0] == 9.0 for step in steps)
    assert (path.alpha(times[8]) * 9 - steps[-1].state[0, 0]).abs() < 4 * path.sigma(times[8])  # the state follows
    torch.testing.assert_close(steps[-1].guess[:, 1:], finish(name, x, times, path)[:, 1:])


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_edit_changes_all_that_follows(name: str) -> None:
    path, times = PATHS["flow"], schedules.uniform(4)
    steps = SAMPLERS[name](denoiser(path), torch.ones(1, 3), times, path, seeded(0))
    first = next(steps)
    second = steps.send(first.guess + 1)
    untouched = list(SAMPLERS[name](denoiser(path), torch.ones(1, 3), times, path, seeded(0)))[1]
    assert (second.state > untouched.state).all()
    assert len(list(steps)) == 2


@EVERY_PATH
@settings(deadline=None)
@given(steps=st.integers(1, 60), start=st.floats(0.05, 1.0), shift=st.floats(0.2, 8.0))
def test_schedules_fall_from_the_start_to_zero(path: Path, steps: int, start: float, shift: float) -> None:
    for times in (
        schedules.uniform(steps, start),
        schedules.shifted(steps, shift, start),
        schedules.karras(steps, path, start=start),
    ):
        assert times.shape == (steps + 1,)
        assert 0 < times[0] <= start + 1e-12
        assert times[-1] == 0
        assert (times.diff() < 0).all()


def test_karras_levels_are_those_of_the_paper() -> None:
    path = VE(80.0)
    levels = path.ratio(schedules.karras(18, path))
    paper = [(80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7 for i in range(18)] + [0]
    torch.testing.assert_close(levels, torch.tensor(paper, dtype=torch.float64))


def test_a_shift_multiplies_the_odds() -> None:
    plain, shifted = schedules.uniform(10)[1:-1], schedules.shifted(10, by=3.0)[1:-1]
    torch.testing.assert_close(shifted / (1 - shifted), 3 * plain / (1 - plain))


def test_guidance_goes_past_the_condition_within_its_interval() -> None:
    calls: list[int] = []

    def conditional(x: Tensor, t: Tensor, condition: Any) -> Tensor:
        calls.append(len(x))
        level: Tensor = condition[0]
        return level.expand_as(x)

    wanted, unwanted, x = torch.full((2, 1), 3.0), torch.full((2, 1), 1.0), torch.zeros(2, 5)
    denoise = guided(conditional, [wanted], [unwanted], guidance=4.0, interval=(0.2, 0.8))
    assert (denoise(x, torch.tensor(0.5)) == 9.0).all()  # 1 + 4 (3 - 1)
    assert (denoise(x, torch.tensor(0.1)) == 3.0).all()
    assert (denoise(x, torch.tensor(0.9)) == 3.0).all()
    assert calls == [4, 2, 2]
    assert (guided(conditional, [wanted], [unwanted], guidance=0.0)(x, torch.tensor(0.5)) == 1.0).all()


def test_guidance_also_goes_away_from_a_weaker_denoiser() -> None:
    def level(x: Tensor, t: Tensor, condition: Any) -> Tensor:
        told: Tensor = condition[0]
        return told.expand_as(x)

    def half(x: Tensor, t: Tensor, condition: Any) -> Tensor:
        return level(x, t, condition) / 2

    wanted, unwanted, x = torch.full((2, 1), 4.0), torch.full((2, 1), 1.0), torch.zeros(2, 5)
    denoise = guided(level, [wanted], [unwanted], guidance=2.0, weaker=Weaker(half, 3.0))
    assert (denoise(x, torch.tensor(0.8)) == 13.0).all()  # 1 + 2 (4 - 1), and 3 (4 - 2)
    alone = guided(level, [wanted], [unwanted], guidance=1.0, weaker=Weaker(half, 3.0))
    assert (alone(x, torch.tensor(0.8)) == 4.0).all()
