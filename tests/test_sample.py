"""Each sampling function does what its name says, and drawing follows the distribution."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from reverie.lm import sample
from reverie.types import LMRequest, ReverieError

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0, -3.0])
logit_lists = st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=40)


def kept(logits: Tensor) -> list[int]:
    return logits.isfinite().nonzero()[:, 0].tolist()


def test_top_k_keeps_k() -> None:
    assert kept(sample.top_k(LOGITS, 2)) == [0, 1]
    assert kept(sample.top_k(LOGITS, 99)) == [0, 1, 2, 3, 4]


@given(logit_lists, st.floats(0.0, 0.999))
def test_top_p_keeps_the_smallest_sufficient_set(values: list[float], p: float) -> None:
    logits = torch.tensor(values)
    probabilities = logits.double().softmax(-1)
    inside = sample.top_p(logits, p).isfinite()
    assert inside[logits.argmax()]
    assert probabilities[inside].sum() >= p - 1e-5
    least = probabilities[inside].min()
    assert probabilities[probabilities > least * (1 + 1e-5)].sum() < p + 1e-5  # without the least likely: too little
    assert (probabilities[~inside] < least).all()


def test_top_p_also_when_the_nucleus_is_larger_than_the_shortcut() -> None:
    assert len(kept(sample.top_p(torch.zeros(5000), 0.9))) == 5000  # all are tied
    logits = -torch.arange(5000) / 5000
    assert 4000 < len(kept(sample.top_p(logits, 0.9))) < 4900


@given(logit_lists, st.floats(0.001, 1.0))
def test_min_p_is_relative_to_the_likeliest(values: list[float], p: float) -> None:
    logits = torch.tensor(values)
    probabilities = logits.double().softmax(-1)
    inside = sample.min_p(logits, p).isfinite()
    assert (probabilities[inside] >= p * probabilities.max() * (1 - 1e-4)).all()
    assert (probabilities[~inside] <= p * probabilities.max() * (1 + 1e-4)).all()


def test_penalties_and_bias_change_only_what_they_name() -> None:
    seen = torch.tensor([0, 3])
    torch.testing.assert_close(sample.repetition_penalty(LOGITS, seen, 2.0), torch.tensor([1.0, 1.0, 0.0, -2.0, -3.0]))
    written = torch.tensor([1, 1, 4])
    torch.testing.assert_close(sample.frequency_penalty(LOGITS, written, 0.5), torch.tensor([2.0, 0, 0, -1, -3.5]))
    torch.testing.assert_close(sample.logit_bias(LOGITS, {4: 10.0}), torch.tensor([2.0, 1, 0, -1, 7]))
    with pytest.raises(ReverieError, match="vocabulary"):
        sample.logit_bias(LOGITS, {5: 1.0})


def test_temperature_zero_is_greedy_and_not_a_default() -> None:
    rng = torch.Generator().manual_seed(0)
    assert {sample.choose(LOGITS, LMRequest("", temperature=0), rng) for _ in range(50)} == {0}


def test_draws_follow_the_probabilities() -> None:
    rng, counts = torch.Generator().manual_seed(0), torch.zeros(5)
    logits = LOGITS.clone()
    logits[1] = -torch.inf
    for _ in range(4000):
        counts[sample.draw(logits, rng)] += 1
    expected = logits.softmax(-1)
    assert counts[1] == 0
    assert (counts / 4000 - expected).abs().max() < 4 * math.sqrt(0.25 / 4000)


def test_a_cooler_temperature_sharpens() -> None:
    hot, cold = (sample.narrow(LOGITS, LMRequest("", temperature=t, min_p=0)).softmax(-1)[0] for t in (2.0, 0.5))
    assert cold > hot


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -1),
        ("temperature", math.nan),
        ("top_p", 1.5),
        ("max_tokens", 0),
        ("num_logprobs", 101),
        ("seed", -1),
    ],
)
def test_numbers_out_of_bounds_are_refused_with_the_bounds(name: str, value: float) -> None:
    with pytest.raises(ReverieError, match=f"{name} is .*from"):
        LMRequest("", **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "settings",
    [
        {"max_tokens": 2.5},
        {"max_tokens": "5"},
        {"top_k": True},
        {"seed": 1.5},
        {"temperature": 1e-39},
        {"stop": "END"},
        {"stop": ("",)},
        {"logit_bias": {1: math.nan}},
        {"logit_bias": {1: -math.inf}},
        {"logit_bias": {"a": 1.0}},
    ],
)
def test_settings_of_a_wrong_kind_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ReverieError):
        LMRequest("", **settings)
