"""Looking inside changes nothing, sees what the reference sees, gives plain data, and tells mistakes."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from explain_setup import PACKED, PROMPT, check_small_data, ids, opened
from reverie import explain
from reverie.engine import Model
from reverie.explain.exhibit import rounded
from reverie.explain.inside import run
from reverie.types import Message, ReverieError
from test_parity import CASES, ours, reference
from tiny_models import LLAMA

NEEDED: dict[str, dict[str, Any]] = {"what-if": {"layer": 1}, "context": {"other": "an old house", "accuracy": True}}
EXHIBITS = [
    name
    for name in explain.exhibits()
    if explain.about(name).family == "lm" and explain.about(name).medium is None and name != "training"
]
OF_TIME = {"cache", "all-at-once"}  # these measure seconds


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return opened(tmp_path_factory.mktemp("exact"))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return opened(tmp_path_factory.mktemp("packed"), place=PACKED)


# --- capture ---


@pytest.mark.parametrize("case", ["gpt2", "smollm2", "qwen2", "qwen3", "gemma3", "gemma2-caps"])
@torch.no_grad()
def test_what_is_seen_equals_the_reference(case: str) -> None:
    theirs: Any = reference(CASES[case])
    tokens = torch.randint(97, (1, 20), generator=torch.Generator().manual_seed(1))
    expected = theirs(tokens, output_attentions=True, output_hidden_states=True)
    seen = run(SimpleNamespace(core=ours(theirs)[0]), tokens)  # type: ignore[arg-type]
    torch.testing.assert_close(seen.weights, torch.cat(expected.attentions), atol=1e-4, rtol=0)
    states = torch.cat(expected.hidden_states)[:-1]  # their last one is after the norm
    torch.testing.assert_close(seen.residual[:-1], states, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(seen.logits, expected.logits[0, -1], atol=1e-4, rtol=0)


@pytest.mark.parametrize("which", ["model", "packed"])
@pytest.mark.parametrize("num", [1, 11, 100])
@torch.no_grad()
def test_looking_changes_no_bit_and_leaves_nothing(which: str, num: int, request: pytest.FixtureRequest) -> None:
    core = request.getfixturevalue(which).core
    tokens = torch.randint(256, (1, num), generator=torch.Generator().manual_seed(num))
    before = core(tokens)
    with explain.capture(core, "blocks.*") as tape:
        during = core(tokens)
    assert torch.equal(before, during)
    assert torch.equal(before, core(tokens))
    weights = tape["blocks.1.attention.attend.weights"]
    assert [each.shape for each in weights] == [(1, LLAMA.num_heads, num, num)]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in core.modules())
    assert not any(getattr(module, "explicit", False) for module in core.modules())


def test_hooks_go_when_the_run_fails(model: Model) -> None:
    with pytest.raises(RuntimeError, match="on purpose"), explain.capture(model.core, "blocks.*"):
        raise RuntimeError("on purpose")
    assert not any(module._forward_hooks for module in model.core.modules())


def test_a_part_that_is_not_there_is_told(model: Model) -> None:
    with pytest.raises(ReverieError, match=r"no part blocks\.99"), explain.capture(model.core, "blocks.99"):
        pass


# --- all exhibits ---


@pytest.mark.parametrize("which", ["model", "packed"])
@pytest.mark.parametrize("name", EXHIBITS)
def test_every_exhibit_is_small_data_that_repeats_and_changes_nothing(
    name: str, which: str, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(which)
    before = model.core(ids(model))
    made = explain.exhibit(name, model, PROMPT, **NEEDED.get(name, {}))
    check_small_data(made)
    if name not in OF_TIME:
        assert explain.exhibit(name, model, PROMPT, **NEEDED.get(name, {})) == made
    assert torch.equal(model.core(ids(model)), before)


@pytest.mark.parametrize("name", ["tokens", "attention", "layers", "flow", "sampling", "surprise", "saliency", "heads"])
def test_a_conversation_is_looked_into_as_it_is_read(name: str, model: Model) -> None:
    made = explain.exhibit(name, model, [Message("user", "the old dog")])
    assert made.prompt == [{"role": "user", "content": "the old dog"}]
    assert "<|endoftext|>" in json.dumps(made.data)  # the template's own mark is seen too


def test_a_long_prompt_is_cut_and_the_exhibit_says_so(model: Model) -> None:
    made = explain.exhibit("attention", model, "dog " * 2000)
    assert len(made.data["tokens"]) <= 96
    assert any("only its last 96 were read" in sentence for sentence in made.says)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("soul", {}, "no exhibit 'soul'"),
        ("noise", {}, "does not show noise"),
        ("attention", {"colour": 1}, "no option 'colour': there are layer, head"),
        ("tokens", {"colour": 1}, "it has none"),
        ("attention", {"layer": "two"}, "layer is 'two': give a whole number"),
        ("attention", {"layer": 1.5}, "layer is '1.5': give a whole number"),
        ("attention", {"layer": True}, "layer is 'True': give a whole number"),
        ("attention", {"layer": 2}, "no layer 2: this model has layers 0 to 1"),
        ("attention", {"head": -1}, "no head -1"),
        ("attention", {"query": 999}, "query is 999"),
        ("attention", {"query": 1, "key": 2}, "cannot see token 2"),
        ("attention", {"view": "sideways"}, "choose head, average, rollout"),
        ("layers", {"num_tokens": 999}, "num_tokens goes from 1 to 16"),
        ("sampling", {"temperature": "nan"}, "give a number"),
        ("sampling", {"temperature": -1}, "temperature is -1"),
        ("what-if", {}, "Nothing is changed"),
        ("what-if", {"head": 1}, "give the layer too"),
        ("what-if", {"swap": "cat", "to": "dog"}, "'cat' is not in the prompt"),
        ("context", {}, "No word is compared"),
        ("context", {"other": "a cat", "word": "cat"}, "'cat' is not in the sentence"),
        ("context", {"accuracy": "maybe"}, "give true or false"),
        ("embedding", {"neighbours": 0}, "neighbours is 0"),
        ("all-at-once", {"budget_seconds": 1e9}, "budget_seconds is 1e\\+09"),
        ("training", {}, "does not show training"),
    ],
)
def test_mistakes_are_told(name: str, options: dict[str, Any], sentence: str, model: Model) -> None:
    with pytest.raises(ReverieError, match=sentence):
        explain.exhibit(name, model, PROMPT, **options)


@pytest.mark.parametrize("name", ["tokens", "merges", "attention", "surprise"])
def test_an_empty_prompt_is_told(name: str, model: Model) -> None:
    with pytest.raises(ReverieError, match="give at least"):
        explain.exhibit(name, model, "")


def test_options_may_come_as_text(model: Model) -> None:
    as_text = explain.exhibit("attention", model, PROMPT, layer="1", head="2", query="-1")
    assert as_text == explain.exhibit("attention", model, PROMPT, layer=1, head=2, query=-1)
    assert as_text.options == {"layer": 1, "head": 2, "query": -1, "key": None, "view": "head"}


def test_numbers_are_plain_and_short() -> None:
    made = rounded({"a": torch.tensor([1 / 3, -math.inf]), 2: (float("nan"), 123456.0, True, None)})
    assert made == {"a": [0.33333, None], "2": [None, 123460.0, True, None]}
