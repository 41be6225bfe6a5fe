"""What must hold of the decoder whatever it was trained on: the cache, batches and chunks change nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from reverie.layers import Attend
from reverie.lm.cache import Cache
from reverie.lm.family import Autoregressive
from reverie.lm.generate import CHUNK_TOKENS, Guide, Prompt, decode, fit, generate, read
from reverie.lm.model import Decoder, DecoderConfig, Window, pad_left
from reverie.types import LMRequest, ReverieError, Step

LLAMA = DecoderConfig(
    vocab_size=61, width=32, depth=3, num_heads=4, num_kv_heads=2, head_width=8, mlp_width=48, max_tokens=640
)
CONFIGS = {
    "llama": LLAMA,
    "gpt2": replace(LLAMA, num_kv_heads=4, norm="layer", mlp="gelu", bias="all", rope_theta=0.0),
    "relu2": replace(LLAMA, mlp="relu2", qk_norm=True, tied=False),
    "gemma": replace(
        LLAMA,
        norm="sandwich",
        mlp="geglu",
        qk_norm=True,
        softcaps=(5.0, 9.0),
        embed_scale=5.7,
        window=Window(7, (0, 2), 500.0),
    ),
}


@pytest.fixture(params=CONFIGS)
def model(request: pytest.FixtureRequest) -> Decoder:
    return small(CONFIGS[request.param])


def small(config: DecoderConfig) -> Decoder:
    torch.manual_seed(0)
    decoder = Autoregressive().build(config).eval()
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.add_(0.1 * torch.randn_like(weight))  # so that attention is far from uniform
    return decoder


def tokens(num: int, seed: int = 1) -> list[int]:
    return torch.randint(61, (num,), generator=torch.Generator().manual_seed(seed)).tolist()


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=2e-5)


@torch.no_grad()
def test_fresh_blocks_pass_on_what_they_get() -> None:
    model = Autoregressive().build(LLAMA)
    text = torch.tensor([tokens(20)])
    assert torch.equal(model.hidden(text), model.norm(model.embed(text)))


@torch.no_grad()
def test_the_squared_relu_is_a_mlp_without_a_gate() -> None:
    mlp = small(CONFIGS["relu2"]).get_submodule("blocks.0.mlp")
    x, up, down = torch.randn(5, LLAMA.width), mlp.get_parameter("up.weight"), mlp.get_parameter("down.weight")
    close(mlp(x), (x @ up.T).clamp_min(0) ** 2 @ down.T)


@torch.no_grad()
def test_cache_equals_full_forward(model: Decoder) -> None:
    text = torch.tensor([tokens(300)])  # past the cache's first capacity
    full, cache = model(text), Cache(capacity=16)
    close(read(model, text[:, :5], cache), full[:, 4])
    for position in range(5, 300):
        close(decode(model, text[:, position], cache), full[:, position])


@torch.no_grad()
def test_chunks_equal_one_piece(model: Decoder) -> None:
    text, cache = torch.tensor([tokens(40)]), Cache()
    pieces = [model(text[:, start : start + 13], cache) for start in range(0, 40, 13)]
    close(torch.cat(pieces, 1), model(text))


@torch.no_grad()
def test_ragged_batch_equals_single_runs(model: Decoder) -> None:
    rows = [tokens(n, seed=n) for n in (3, 11, 7)]
    batch, starts = pad_left(rows)
    cache = Cache(starts)
    logits = [read(model, batch, cache)] + [decode(model, torch.tensor([5, 6, 7]), cache) for _ in range(2)]
    for i, row in enumerate(rows):
        alone = Cache()
        single = [read(model, torch.tensor([row]), alone)] + [
            decode(model, torch.tensor([5 + i]), alone) for _ in range(2)
        ]
        for together, apart in zip(logits, single, strict=True):
            close(together[i], apart[0])


@torch.no_grad()
def test_looking_changes_nothing(model: Decoder) -> None:
    text, seen = torch.tensor([tokens(20)]), list[Tensor]()
    fast = model(text)
    for module in model.modules():
        if isinstance(module, Attend):
            module.explicit = True
            module.weights.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    close(model(text), fast)
    assert [weights.shape for weights in seen] == [(1, 4, 20, 20)] * 3
    for weights in seen:
        close(weights.sum(-1), torch.ones(1, 4, 20))
        assert not weights.triu(1).any()


def run(model: Decoder, prompt: list[int], eos: frozenset[int] = frozenset(), **settings: object) -> list[Step]:
    request = LMRequest("", **settings)  # type: ignore[arg-type]
    return list(generate(model, Prompt(tuple(prompt), eos), request, (request.max_tokens,)))


def test_greedy_generation_is_the_likeliest_token_each_time(model: Decoder) -> None:
    prompt, expected = tokens(9), list[int]()
    with torch.no_grad():
        for _ in range(12):
            expected.append(int(model(torch.tensor([[*prompt, *expected]]))[0, -1].argmax()))
    steps = run(model, prompt, temperature=0, max_tokens=12)
    assert steps[-1].guess == tuple(expected)
    assert [step.info.get("finish_reason") for step in steps] == [None] * 12 + ["length"]
    assert all(len(step.guess) == step.index for step in steps)


def test_a_seed_repeats_and_another_differs() -> None:
    model = small(LLAMA)
    first, again, other = (run(model, tokens(4), seed=s, temperature=1.5, max_tokens=30)[-1].guess for s in (3, 3, 4))
    assert first == again != other


def test_guidance_goes_away_from_the_same_text_with_other_tokens(model: Decoder) -> None:
    prompt, others = tokens(9), ({tokens(9)[2]: 5}, {tokens(9)[2]: 6, tokens(9)[4]: 7})
    condition, expected = Prompt(tuple(prompt), guide=Guide(others, 2.5)), list[int]()
    with torch.no_grad():
        for _ in range(12):
            rows = [[other.get(token, token) for token in [*prompt, *expected]] for other in ({}, *others)]
            wanted, one, two = (model(torch.tensor([row]))[0, -1].log_softmax(-1) for row in rows)
            expected.append(int((2.5 * wanted - 1.5 * (one + two) / 2).argmax()))
    request = LMRequest("", temperature=0, max_tokens=12)
    assert list(generate(model, condition, request, (12,)))[-1].guess == tuple(expected)
    plain = run(model, prompt, temperature=0, max_tokens=12)[-1].guess
    assert plain != tuple(expected)
    assert list(generate(model, replace(condition, guide=Guide(others, 1.0)), request, (12,)))[-1].guess == plain


def test_guidance_within_groups_leaves_each_group_as_likely_as_it_was() -> None:
    torch.manual_seed(0)
    logits, groups = torch.randn(3, 5, 8), torch.tensor([0, 0, 0, 3, 4, 4, 4, 7])
    plain, led = logits[0].softmax(-1), Guide(({}, {}), 3.0, groups)(logits).softmax(-1)
    free = Guide(({}, {}), 3.0)(logits).softmax(-1)
    for group in (0, 3, 4, 7):
        own = groups == group
        close(led[:, own].sum(-1), plain[:, own].sum(-1))
        close(led[:, own] / led[:, own].sum(-1, keepdim=True), free[:, own] / free[:, own].sum(-1, keepdim=True))
    assert not torch.allclose(led, plain, atol=1e-2)
    hopeless = logits.masked_fill(groups == 4, -1e4)
    assert Guide(({}, {}), 100.0, groups)(hopeless).isfinite().all()


def test_an_end_token_ends_and_is_not_part_of_the_text() -> None:
    model = small(LLAMA)
    whole = run(model, tokens(9), temperature=0, max_tokens=12)[-1].guess
    end = next(i for i in range(1, 12) if whole[i] not in whole[:i])
    last = run(model, tokens(9), eos=frozenset({whole[end]}), temperature=0, max_tokens=12)[-1]
    assert last.guess == whole[:end]
    assert last.info["finish_reason"] == "stop"


def test_log_probabilities_are_the_models(model: Decoder) -> None:
    prompt = tokens(9)
    step = run(model, prompt, temperature=1.3, max_tokens=1, num_logprobs=4)[-1]
    with torch.no_grad():
        expected = model(torch.tensor([prompt]))[0, -1].log_softmax(-1)
    assert step.info["logprob"] == pytest.approx(float(expected[step.info["token"]]), abs=1e-4)
    assert [token for token, _ in step.info["top_logprobs"]] == expected.topk(4).indices.tolist()


def test_a_long_prompt_is_read_in_chunks_with_a_step_before_each() -> None:
    steps = run(small(LLAMA), tokens(CHUNK_TOKENS + 30), max_tokens=2)
    reading = [step for step in steps if step.info.get("phase") == "prompt"]
    assert [step.info["read_tokens"] for step in reading] == [0, CHUNK_TOKENS]


def test_a_prompt_that_does_not_fit_is_an_error_with_both_counts() -> None:
    with pytest.raises(ReverieError, match=r"700 tokens long.*context is 640"):
        run(small(LLAMA), tokens(700))
    with pytest.raises(ReverieError, match="empty"):
        run(small(LLAMA), [])


def test_generation_ends_when_the_context_is_full() -> None:
    last = run(small(LLAMA), tokens(636), max_tokens=100)[-1]
    assert (last.index, last.total, last.info["finish_reason"]) == (4, 4, "length")


def test_on_request_the_oldest_half_is_forgotten() -> None:
    model, prompt = small(LLAMA), tokens(636)
    steps = run(model, prompt, max_tokens=20, slide=True, temperature=0)
    assert steps[-1].index == 20
    dropped = [step.info["dropped_tokens"] for step in steps if "dropped_tokens" in step.info]
    assert sum(dropped) > 0
    assert fit(list(range(1000)), 640, slide=True) == list(range(680, 1000))
    kept = [*prompt, *steps[-1].guess][641 - 320 : 641]  # what was left when the 641st token was to be read
    with torch.no_grad():
        assert int(model(torch.tensor([kept]))[0, -1].argmax()) == steps[-1].guess[5]
