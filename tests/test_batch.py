"""Texts that are written together are the texts that each would be alone, to the bit; and it is one pass for all."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny_models
from reverie import engine
from reverie.engine import Generation, Model, Placement
from reverie.lm.batch import decode_rows
from reverie.lm.cache import Cache
from reverie.lm.generate import decode, read
from reverie.lm.pack import GROUP, Blocks, PackedLinear
from reverie.types import ReverieError

PACKED = Placement("cpu", torch.bfloat16, packed=True)
PROMPTS = ["the robot dog", "dog", "seven yellow butterflies and the other dogs", "old house, " * 9]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def tiny(folder: Path, name: str, weights: str, place: Placement) -> Model:
    kind, config = tiny_models.gguf_configs()[name]
    path = folder / f"{name}-{weights}.gguf"
    if not path.exists():
        tiny_models.write_gguf(path, kind, tiny_models.decoder(config), weights)
    return engine.load(str(path), place=place)


def asked(number: int) -> tuple[str, dict[str, Any]]:
    """Eight requests, no two alike."""
    settings: dict[str, Any] = {"seed": number, "max_tokens": 12 + 3 * number, "temperature": 0.8 + number / 10}
    if number % 3 == 1:
        settings |= {"repetition_penalty": 1.2, "presence_penalty": 0.5, "top_p": 0.9}
    if number % 3 == 2:
        settings |= {"num_logprobs": 2, "stop": ("q",)}
    return PROMPTS[number % len(PROMPTS)], settings


def told(generation: Generation) -> list[Any]:
    return [step.info for step in generation]


def together(model: Model, join_at: list[int]) -> list[list[Any]]:
    """The requests' steps when number i joins at round join_at[i]; prompts are read between the rounds."""
    running: dict[int, Generation] = {}
    found: list[list[Any]] = [[] for _ in join_at]
    for now in range(400):
        for i in [i for i, start in enumerate(join_at) if start == now]:
            prompt, settings = asked(i)
            running[i] = model.generate(prompt, **settings)
        engine.advance([each for each in running.values() if each.can_join])
        for i, generation in list(running.items()):
            step = next(generation, None)
            if step is None:
                del running[i]
            else:
                found[i].append(step.info)
    assert not running
    return found


@pytest.mark.parametrize(
    ("name", "weights", "place"),
    [
        ("llama", "Q4_0", PACKED),
        ("llama", "F32", PACKED),
        ("qwen2", "Q4_0", PACKED),
        ("qwen3", "Q8_0", PACKED),
        ("gemma3", "Q4_0", PACKED),
        ("gpt2", "F32", PACKED),
        ("llama3", "F32", engine.EXACT),
        ("llama-narrow", "F32", PACKED),
    ],
)
def test_a_seed_gives_the_same_under_load(folder: Path, name: str, weights: str, place: Placement) -> None:
    model = tiny(folder, name, weights, place)
    alone = [told(model.generate(prompt, **settings)) for prompt, settings in map(asked, range(8))]
    joins = random.Random(name)
    assert together(model, [joins.randrange(20) for _ in range(8)]) == alone


def test_the_weights_are_passed_once_for_all(folder: Path) -> None:
    model = tiny(folder, "llama", "Q4_0", PACKED)
    rows: list[int] = []
    model.core.embed.register_forward_hook(lambda module, given, out: rows.append(given[0].numel()))
    running = [model.generate("dog", seed=i, max_tokens=6, temperature=1.0) for i in range(5)]
    for generation in running:
        while not generation.can_join:
            next(generation)
    rows.clear()
    engine.advance(running)
    assert rows == [5]
    assert ["token" in next(generation).info for generation in running] == [True] * 5
    assert rows == [5]


def test_what_was_not_advanced_goes_on_alone(folder: Path) -> None:
    model = tiny(folder, "llama", "Q4_0", PACKED)
    expected = told(model.generate("dog", seed=4, max_tokens=9))
    running = [model.generate("dog", seed=4, max_tokens=9) for _ in range(2)]
    for generation in running:
        while not generation.can_join:
            next(generation)
    engine.advance(running)
    assert [told(generation) for generation in running] == [expected[2:]] * 2  # the first token came with the prompt


@torch.inference_mode()
def test_rows_grow_each_by_itself(folder: Path) -> None:
    model = tiny(folder, "gemma3", "Q4_0", PACKED).core
    caches, again = ([Cache(capacity=2) for _ in range(3)] for _ in range(2))
    for number, (cache, copy) in enumerate(zip(caches, again, strict=True)):
        prompt = tiny_models.tokens()[:1, : 1 + 6 * number]
        assert torch.equal(read(model, prompt, cache), read(model, prompt, copy))
    for position in range(12):
        tokens = torch.tensor([[position], [2 * position], [7]])
        logits = decode_rows(model, tokens, caches)
        alone = [decode(model, token, cache) for token, cache in zip(tokens, again, strict=True)]
        assert torch.equal(logits, torch.cat(alone))
    assert [cache.length for cache in caches] == [13, 19, 25]


@pytest.mark.parametrize("is_narrow", [True, False])
def test_a_packed_product_of_rows_is_the_rows_products(is_narrow: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    N, K = 208, 3 * GROUP
    codes = torch.randint(16, (N, K), generator=rng)
    blocks = Blocks(codes, *(torch.randn(N, K // GROUP, generator=rng) for _ in range(2)))
    layer = PackedLinear(lambda: blocks if is_narrow else blocks.weight())
    x = torch.randn(13, K, generator=rng).bfloat16()
    each = torch.cat([layer(row) for row in x.split(1)])
    for num in range(1, 14):
        assert torch.equal(layer(x[:num]), each[:num])


def test_an_answer_without_room_fails_alone(folder: Path) -> None:
    model = tiny(folder, "llama", "Q4_0", PACKED)
    fine = model.generate("dog", seed=1, max_tokens=8)
    doomed = model.generate("dog", seed=2, max_tokens=2, json_schema='{"type": "string", "minLength": 20}')
    with pytest.raises(ReverieError, match="raise max_tokens"):
        in_turns(fine, doomed)
    assert fine.text() == model.generate("dog", seed=1, max_tokens=8).text()


def in_turns(*running: Generation) -> None:
    for _ in range(4):
        engine.advance([each for each in running if each.can_join])
        for each in running:
            next(each)
