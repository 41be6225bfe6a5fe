"""Exhibits of models that write: the numbers are the model's own, and mean what the exhibit says they mean."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from explain_setup import PACKED, PROMPT, data, ids, opened
from reverie import engine, explain
from reverie.engine import EXACT, Model
from reverie.explain.attention import rollout
from reverie.explain.context import senses
from reverie.explain.heads import job_scores
from reverie.explain.inside import run
from reverie.lm.model import Decoder, Window
from tiny_drawing import encoder, write_model
from tiny_models import LLAMA


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return opened(tmp_path_factory.mktemp("exact"))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return opened(tmp_path_factory.mktemp("packed"), place=PACKED)


# --- tokens and merges ---


@settings(max_examples=60, deadline=None)
@given(text=st.text(min_size=1, max_size=40))
def test_tokens_hold_every_byte_and_no_replacement_mark(text: str, model: Model) -> None:
    rows = data("tokens", model, text)["tokens"]
    assert b"".join(bytes(row["bytes"]) for row in rows) == text.encode()
    assert ("\ufffd" in "".join(row["text"] for row in rows)) <= ("\ufffd" in text)


def test_parts_of_a_character_are_counted_and_shown_as_bytes(model: Model) -> None:
    made = explain.exhibit("tokens", model, "ä")
    assert [row["text"] for row in made.data["tokens"]] == ["<0xC3>", "<0xA4>"]
    assert any(sentence.startswith("2 tokens are parts of a character") for sentence in made.says)


@settings(max_examples=60, deadline=None)
@given(text=st.text(min_size=1, max_size=40))
def test_merges_end_in_the_tokens_that_the_model_reads(text: str, model: Model) -> None:
    made = data("merges", model, text)
    assert made["matches"]
    for word in made["words"]:
        sizes = [len(step["pieces"]) for step in word["steps"]]
        assert sizes == sorted(sizes, reverse=True)
        assert "\ufffd" not in "".join(word["tokens"]) or "\ufffd" in text


# --- attention ---


def test_the_arithmetic_of_a_pair_adds_up(model: Model) -> None:
    made = data("attention", model, layer=1, head=3, query=5, key=2)
    pair, weights = made["pair"], torch.tensor(made["weights"])
    assert sum(pair["products"]) == pytest.approx(pair["dot"], rel=1e-3)
    assert pair["dot"] * pair["scale"] == pytest.approx(pair["score"], rel=1e-3)
    torch.testing.assert_close(torch.tensor(pair["scores"]).softmax(0), weights[5, :6], atol=1e-4, rtol=0)
    output = torch.tensor(pair["weights"]) @ torch.tensor(pair["values"])
    torch.testing.assert_close(output, torch.tensor(pair["output"]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("view", ["head", "average", "rollout"])
def test_each_token_spends_its_attention_on_what_came_before(view: str, model: Model) -> None:
    weights = torch.tensor(data("attention", model, view=view, layer=1)["weights"])
    torch.testing.assert_close(weights.sum(1), torch.ones(len(weights)), atol=1e-3, rtol=0)
    assert weights.triu(1).abs().max() == 0


def test_rollout_through_layers_that_look_back_one_token() -> None:
    back = torch.eye(4).roll(1, 0).tril()
    back[0, 0] = 1
    seen = rollout(back.expand(2, 3, 4, 4))
    torch.testing.assert_close(seen[3], torch.tensor([0.0, 0.25, 0.5, 0.25]))


def test_a_window_hides_what_is_far_back(tmp_path: Path) -> None:
    small = opened(tmp_path, replace(LLAMA, window=Window(3, (0,), 10000.0)))
    made = data("attention", small, layer=0, head=0)
    assert all(weight == 0 for weight in made["weights"][-1][:-3])
    assert made["pair"]["scores"][0] is None


def test_heads_with_a_job_are_told_apart() -> None:
    num = 5
    weights = torch.zeros(1, 4, 2 * num, 2 * num)
    for i in range(2 * num):
        weights[0, 0, i, max(i - 1, 0)] = weights[0, 1, i, 0] = 1
        weights[0, 2, i, max(i - num, 0)] = weights[0, 3, i, max(i - num + 1, 0)] = 1
    scores = job_scores(weights, torch.arange(num).repeat(2))
    best = {name: int(score[0].argmax()) for name, score in scores.items()}
    assert best == {"previous": 0, "first": 1, "same": 2, "induction": 3}
    assert all(float(score.max()) == 1 for score in scores.values())


def test_heads_say_what_they_do_on_the_prompt_where_it_has_occasion(model: Model) -> None:
    repeated, once = data("heads", model, "dog cat dog cat dog")["kinds"], data("heads", model, "dog")["kinds"]
    for name, kind in repeated.items():
        assert all(0 <= best["here"] <= 1 for best in kind["best"])
        assert once[name]["scores"] == kind["scores"]  # of the model, whatever the prompt
        assert [best["here"] for best in once[name]["best"]] == [None] * len(kind["best"])
    says = explain.exhibit("heads", model, "dog").says
    assert "random tokens" in says[0]
    assert sum("nothing for it" in each for each in says) == len(repeated)


def test_the_rollout_is_not_drowned_by_the_first_token(model: Model) -> None:
    made = explain.exhibit("attention", model, PROMPT, view="rollout", layer=1)
    weights = torch.tensor(made.data["weights"])
    assert float(weights[1:, 0].max()) == 0
    assert any("first token are counted" in each for each in made.says)


# --- predictions ---


def test_the_last_layer_says_what_the_model_says(model: Model) -> None:
    (step,) = [step for step in model.generate(PROMPT, temperature=0, max_tokens=1) if "token" in step.info]
    made = data("layers", model, num_tokens=3)
    assert made["final"]["id"] == step.info["token"]
    assert made["layers"][-1]["rank"] == 1
    assert len(made["layers"]) == LLAMA.depth + 1
    assert [len(row) for row in made["grid"]] == [3] * (LLAMA.depth + 1)
    assert data("flow", model)["layers"][-1]["says"][0]["id"] == step.info["token"]


def test_what_layers_add_is_what_the_next_is_given(model: Model) -> None:
    seen = run(model, ids(model))
    torch.testing.assert_close(seen.residual[:-1] + seen.attention + seen.mlp, seen.residual[1:], atol=1e-4, rtol=1e-4)


def test_surprise_is_the_probability_of_what_came(model: Model) -> None:
    tokens = ids(model)
    shares = model.core(tokens)[0].softmax(-1)
    rows = data("surprise", model)["tokens"]
    assert [row["probability"] for row in rows[1:]] == pytest.approx(
        [float(shares[i, token]) for i, token in enumerate(tokens[0, 1:])], rel=1e-3
    )


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_a_client_can_work_out_other_temperatures(temperature: float, model: Model) -> None:
    made = data("sampling", model, temperature=temperature, min_p=0)
    logits = model.core(ids(model))[0, -1]
    total = sum(math.exp(row["logit"] / temperature) for row in made["candidates"])
    total += sum(row["num"] * math.exp(row["logit"] / temperature) for row in made["rest"])
    assert total == pytest.approx(float((logits / temperature).exp().sum()), rel=2e-3)
    best = made["candidates"][0]
    assert math.exp(best["logit"] / temperature) / total == pytest.approx(best["chosen"], rel=2e-3)


def test_filters_leave_what_the_sampler_draws_from(model: Model) -> None:
    made = data("sampling", model, top_k=3, temperature=1.0, min_p=0)
    chosen = [row["chosen"] for row in made["candidates"]]
    assert sum(chosen[:3]) == pytest.approx(1, abs=1e-4)
    assert chosen[3:] == [0.0] * len(chosen[3:])
    assert data("sampling", model, temperature=0)["num_kept"] == 1


# --- what if ---


def altered(core: Decoder, layer: int, head: int | None) -> Decoder:
    """The model with a layer taken out, or the weights of a head's way out set to 0."""
    core = copy.deepcopy(core)
    if head is None:
        del core.blocks[layer]
        return core
    width = core.config.head_width
    with torch.no_grad():
        core.blocks[layer].attention.out.weight[:, head * width : (head + 1) * width] = 0  # type: ignore[union-attr, operator]
    return core


@pytest.mark.parametrize(("layer", "head"), [(0, None), (1, None), (0, 2), (1, 0)])
def test_switching_off_is_taking_out(layer: int, head: int | None, model: Model) -> None:
    made = data("what-if", model, layer=layer, head=head)
    core = altered(model.core, layer, head)
    if head is None:
        core.config = replace(core.config, depth=1)
    best = core(ids(model))[0, -1].softmax(-1).topk(10)
    assert [row["id"] for row in made["after"]] == best.indices.tolist()
    assert [row["probability"] for row in made["after"]] == pytest.approx(best.values.tolist(), rel=1e-3)
    assert made["divergence_bits"] > 0


def test_swapping_a_word_is_asking_again(model: Model) -> None:
    made = data("what-if", model, swap="dog", to="butterfly")
    assert made["after"] == data("what-if", model, PROMPT.replace("dog", "butterfly"), layer=0)["before"]


# --- position, context, saliency ---


def test_one_layer_without_positions_knows_no_order(tmp_path: Path) -> None:
    shallow = opened(tmp_path, replace(LLAMA, depth=1))
    prompt = " a b c d e f g"  # a space before each, so that shuffled they are the same tokens
    made = data("position", shallow, prompt)
    assert sorted(made["shuffled"]) == sorted(prompt)
    assert made["runs"]["with"]["change"] > 0.01
    assert made["runs"]["without"]["change"] < 1e-4
    assert made["runs"]["without"]["similarity"] == pytest.approx(1, abs=1e-4)


def test_a_word_is_the_same_vector_until_a_layer_has_mixed_in_the_others(model: Model) -> None:
    made = data("context", model, "he ran to the bank", other="money is in the bank")
    similar = [row["similarity"] for row in made["layers"]]
    assert made["word"] == "bank"
    assert similar[0] == pytest.approx(1)
    assert max(similar[1:]) < 0.999


def test_the_sentences_with_two_senses_are_fair() -> None:
    found = senses()
    sentences = [sentence for each in found.values() for group in each.values() for sentence in group]
    assert len(sentences) == len(set(sentences)) >= 40
    for word, each in found.items():
        assert len(each) == 2
        assert len({len(group) for group in each.values()}) == 1  # so that to guess is right in half
        assert all(sentence.split()[-1].lower() == word for group in each.values() for sentence in group)


def test_saliency_is_the_effect_of_a_small_change(model: Model) -> None:
    made, tokens = data("saliency", model), ids(model)

    def logit(place: int, scale: float) -> float:
        def stretch(_: Any, inputs: Any, output: Tensor) -> Tensor:
            output = output.clone()
            output[:, place] *= scale
            return output

        handle = model.core.embed.register_forward_hook(stretch)
        try:
            return float(model.core(tokens)[0, -1, made["target"]["id"]])
        finally:
            handle.remove()

    for place in (0, 3, len(made["scores"]) - 1):
        slope = (logit(place, 1.001) - logit(place, 0.999)) / 0.002
        assert made["scores"][place] == pytest.approx(slope, abs=2e-2)


def test_packed_weights_have_the_same_saliency(model: Model, packed: Model) -> None:
    exact = torch.tensor(data("saliency", model)["scores"])
    narrow = torch.tensor(data("saliency", packed)["scores"])
    assert torch.cosine_similarity(exact, narrow, dim=0) > 0.9


# --- sizes ---


def test_the_cache_keeps_keys_and_values_of_every_layer(model: Model) -> None:
    made = data("cache", model)
    assert made["token_bytes"] == 2 * LLAMA.depth * LLAMA.num_kv_heads * LLAMA.head_width * 4
    assert made["difference"] < 1e-4
    assert [row["tokens"] for row in made["layers"]] == [len(made["tokens"]) + 1] * LLAMA.depth


@pytest.mark.parametrize("which", ["model", "packed"])
def test_the_tally_counts_every_parameter_once(which: str, model: Model, request: pytest.FixtureRequest) -> None:
    made = data("parameters", request.getfixturevalue(which))
    assert made["total"] == sum(weight.numel() for weight in model.core.parameters())
    assert sum(row["total"] for row in made["rows"]) == sum(made["by_part"].values()) == made["total"]
    assert made["bits"] == pytest.approx(32) if which == "model" else made["bits"] < 20


def test_a_model_that_draws_is_tallied_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "prompt_encoder", lambda *_, **__: encoder())
    drawing = engine.load(str(write_model(tmp_path / "tiny")), place=EXACT)
    made = data("parameters", drawing, "a red panda")
    assert made["total"] == sum(weight.numel() for weight in drawing.core.parameters())


def test_the_two_that_race_are_of_equal_size(model: Model) -> None:
    made = data("all-at-once", model, budget_seconds=0.1)
    assert made["recurrent_parameters"] == pytest.approx(made["attention_parameters"], rel=0.05)
    assert [row["recurrent_steps"] for row in made["runs"]] == [row["tokens"] for row in made["runs"]]


def test_the_nearest_tokens_point_the_same_way(model: Model) -> None:
    rows = data("embedding", model, neighbours=5)["neighbours"]
    weight = torch.nn.functional.normalize(model.core.embed.weight, dim=1)
    own = ids(model)[0, -1]
    best = (weight @ weight[own]).topk(6)
    assert [row["id"] for row in rows] == best.indices.tolist()
    assert [row["cosine"] for row in rows] == pytest.approx(best.values.tolist(), abs=1e-4)


# --- time travel ---


def test_a_run_can_be_looked_back_on(tmp_path: Path) -> None:
    from reverie.learn.growing import grow

    text = tmp_path / "text.txt"
    text.write_text("the dog and the cat ran to the garden. " * 150)
    small = ["model.width=64", "model.depth=1", "model.max_tokens=32", "batch=4", "warmup_steps=2"]
    folder = grow(tmp_path / "run", str(text), max_steps=12, every_steps=6, settings=small)
    grown = engine.load(str(folder), place=EXACT)
    assert "training" in explain.exhibits(grown)
    made = data("training", grown, "the dog and", sample_tokens=3)
    assert [step["step"] for step in made["steps"]] == [0, 6, 12]
    assert made["curve"][-1]["loss"] < made["curve"][0]["loss"]
    now = data("sampling", grown, "the dog and")["candidates"][0]
    assert made["steps"][-1]["top"][0]["id"] == now["id"]
    assert made["steps"][0]["top"][0]["probability"] < made["steps"][-1]["top"][0]["probability"]
