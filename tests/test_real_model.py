"""The real SmolLM2, from its GGUF file: the same tokens as the reference implementation, and text from the API."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from reverie import engine
from reverie.engine import EXACT, Model, load
from reverie.evaluate.perplexity import score
from reverie.explain.inside import run
from reverie.lm.pack import PackedLinear
from reverie.types import Message, ReverieError

PROMPTS = [
    "The robot dog looked at the moon and",
    "def fibonacci(n):\n",
    "Question: What is the capital of France?\nAnswer:",
    "Dear Sir or Madam,\n\n",
    "1, 2, 3, 5, 8,",
]


@pytest.fixture(scope="module")
def exact(smollm2_path: Path) -> Model:
    return load(str(smollm2_path), place=EXACT)


@pytest.fixture(scope="module")
def model(smollm2_path: Path) -> Model:
    return load(str(smollm2_path))


@pytest.fixture(scope="module")
def reference(smollm2_path: Path) -> Any:
    transformers.utils.logging.disable_progress_bar()
    return transformers.AutoModelForCausalLM.from_pretrained(
        smollm2_path.parent, gguf_file=smollm2_path.name, dtype=torch.float32
    ).eval()


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_same_64_greedy_tokens_as_the_reference(exact: Model, reference: Any, prompt: str) -> None:
    steps = list(exact.generate(prompt, temperature=0, max_tokens=64))
    ids = torch.tensor([exact.medium.encode(prompt)])
    expected = reference.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=64)
    new = expected[0, ids.shape[1] :].tolist()
    ended = [i for i, token in enumerate(new) if token in exact.medium.tokenizer.eos_ids]
    assert list(steps[-1].guess) == (new[: ended[0]] if ended else new)


@torch.no_grad()
def test_what_is_seen_inside_equals_the_reference(exact: Model, reference: Any) -> None:
    before = reference.config._attn_implementation
    reference.set_attn_implementation("eager")  # the others give no weights
    tokens = torch.tensor([exact.medium.encode(PROMPTS[0])])
    expected, seen = reference(tokens, output_attentions=True, output_hidden_states=True), run(exact, tokens)
    reference.set_attn_implementation(before)
    torch.testing.assert_close(seen.weights, torch.cat(expected.attentions), atol=1e-4, rtol=0)
    states = torch.cat(expected.hidden_states)[:-1]  # of the first token up to 20,000: so relative to each one's size
    size = states.square().mean(-1, keepdim=True).sqrt()
    torch.testing.assert_close(seen.residual[:-1] / size, states / size, atol=1e-4, rtol=0)
    torch.testing.assert_close(exact.core.norm(seen.residual[-1]), expected.hidden_states[-1][0], atol=1e-4, rtol=0)


def test_packed_weights_lose_less_than_one_percent(exact: Model, model: Model, smollm2_path: Path) -> None:
    text = Path(__file__).read_text() + (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text()
    tokens = exact.medium.encode(text)[:1024]
    assert any(isinstance(module, PackedLinear) for module in model.core.modules())
    for window in (512, 64):  # prompts are read with wide weights, tokens written with narrow ones
        full, packed = (score(m.core, tokens, len(text), window_tokens=window).perplexity for m in (exact, model))
        assert abs(packed / full - 1) < 0.01


def test_a_conversation_is_answered(model: Model) -> None:
    generation = model.generate([Message("user", "What is the capital of France?")], temperature=0, max_tokens=40)
    assert "Paris" in generation.text()
    assert generation.finish_reason == "stop"
    assert generation.timings.prompt_tokens > 30  # the template's own system prompt is part of it


def test_steps_carry_the_text_as_it_grows(model: Model) -> None:
    generation = model.generate("Once upon a time", temperature=0, max_tokens=20)
    pieces = [(step, step.info["text"]) for step in generation if "text" in step.info]
    whole = "".join(piece for _, piece in pieces)
    assert whole == generation.text() == model.medium.decode(pieces[-1][0].guess).data
    for step, _ in pieces:  # a half-finished guess decodes
        assert whole.startswith(model.medium.decode(step.guess).data)


def test_a_stop_string_ends_the_text_and_is_not_shown(model: Model) -> None:
    whole = model.generate("1, 2, 3, 4,", temperature=0, max_tokens=30).text()
    assert ", 7" in whole
    generation = model.generate("1, 2, 3, 4,", temperature=0, max_tokens=30, stop=(", 7",))
    assert generation.text() == whole.partition(", 7")[0]
    assert generation.finish_reason == "stop"


def test_a_seed_repeats(model: Model) -> None:
    first, again, other = (model.generate("Once", seed=s, temperature=1, max_tokens=12).text() for s in (1, 1, 2))
    assert first == again != other
    fresh = model.generate("Once", max_tokens=3)
    assert fresh.text() == model.generate("Once", max_tokens=3, seed=fresh.request.seed).text()


def test_log_probabilities_are_listed_on_request(model: Model) -> None:
    (step,) = [s for s in model.generate("The sky is", max_tokens=1, num_logprobs=3, seed=0) if "token" in s.info]
    assert len(step.info["top_logprobs"]) == 3
    assert step.info["logprob"] <= step.info["top_logprobs"][0][1] <= 0
    assert "logprob" not in next(s for s in model.generate("The sky is", max_tokens=1) if "token" in s.info).info


def test_closing_stops_the_work(model: Model) -> None:
    generation = model.generate("Once upon a time", max_tokens=50)
    next(generation)
    generation.close()
    assert list(generation) == []


def test_mistakes_are_told_at_once(model: Model) -> None:
    with pytest.raises(ReverieError, match=r"tokens long.*8,192"):
        model.generate("word " * 9000)
    with pytest.raises(ReverieError, match="temperatur"):
        model.generate("Once", temperatur=1)
    with pytest.raises(ReverieError, match="vocabulary"):
        model.generate("Once", logit_bias={10**6: 1.0}).text()


def test_a_model_that_memory_cannot_hold_is_refused_before_it_is_read(
    smollm2_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "free_bytes", lambda: 200e6)
    with pytest.raises(ReverieError, match=r"needs 0\.3 GB of memory and 0\.2 GB are free"):
        load(str(smollm2_path))


def test_the_python_in_the_readme_runs(smollm2_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    example = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)[0]
    exec(compile(example, "README.md", "exec"), {})
    assert len(capsys.readouterr().out.split()) > 30


def test_perplexity_of_the_model_is_that_of_a_language_model(exact: Model) -> None:
    text = "The quick brown fox jumps over the lazy dog. The dog sleeps in the warm sun and dreams of running."
    tokens = exact.medium.encode(text)
    assert score(exact.core, tokens, len(text)).perplexity < 40
    shuffled = [tokens[i] for i in torch.randperm(len(tokens), generator=torch.Generator().manual_seed(0))]
    assert score(exact.core, shuffled, len(text)).perplexity > 300
    assert math.isfinite(score(exact.core, tokens, len(text)).bits_per_byte)
