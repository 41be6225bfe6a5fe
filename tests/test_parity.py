"""One decoder serves every family: the same logits as the reference implementation, on tiny random models."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from reverie.hub.configs import from_hugging_face
from reverie.hub.keymaps import TABLES, to_ours, to_theirs
from reverie.lm.model import Decoder

SIZES: Any = {"vocab_size": 97, "hidden_size": 48, "num_hidden_layers": 4, "num_attention_heads": 6, "head_dim": 16}
SIZES |= {"num_key_value_heads": 2, "intermediate_size": 80, "max_position_embeddings": 64}
LLAMA3: Any = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0}
LLAMA3 |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 32}
GEMMA_ROPE: Any = {
    "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e6},
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
}
GPT2: Any = {"vocab_size": 97, "n_embd": 48, "n_layer": 3, "n_head": 4, "n_positions": 64}

CASES: dict[str, Any] = {
    "gpt2": transformers.GPT2Config(**GPT2),
    "llama2": transformers.LlamaConfig(**SIZES | {"num_key_value_heads": 6}, tie_word_embeddings=False),
    "llama3": transformers.LlamaConfig(**SIZES, rope_parameters=LLAMA3, tie_word_embeddings=True),
    "llama-bias": transformers.LlamaConfig(**SIZES, attention_bias=True),
    "smollm2": transformers.LlamaConfig(**SIZES, rope_theta=1e5, tie_word_embeddings=True, rms_norm_eps=1e-5),
    "qwen2": transformers.Qwen2Config(**SIZES | {"head_dim": 8}, tie_word_embeddings=True),
    "qwen2-window": transformers.Qwen2Config(
        **SIZES | {"head_dim": 8}, use_sliding_window=True, sliding_window=5, max_window_layers=2
    ),
    "qwen3": transformers.Qwen3Config(**SIZES, tie_word_embeddings=False),
    "gemma3": transformers.Gemma3TextConfig(
        **SIZES, sliding_window=5, rope_parameters=GEMMA_ROPE, query_pre_attn_scalar=24
    ),
    "gemma3-cap": transformers.Gemma3TextConfig(**SIZES, final_logit_softcapping=3.0, query_pre_attn_scalar=16),
    "gemma2-caps": transformers.Gemma2Config(
        **SIZES, sliding_window=5, attn_logit_softcapping=2.0, final_logit_softcapping=3.0, query_pre_attn_scalar=16
    ),
}


def reference(config: Any) -> nn.Module:
    """A transformers model with weights large enough that every part of it matters."""
    torch.manual_seed(0)
    config._attn_implementation = "eager"
    model: nn.Module = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.normal_(std=0.2 if weight.ndim > 1 else 0.5)
            if "norm" in name or "ln_" in name:
                weight.add_(1.0)
    return model


def theirs(model: nn.Module) -> dict[str, Tensor]:
    return {name.removeprefix("transformer."): tensor for name, tensor in model.state_dict().items()}


def ours(model: Any) -> tuple[Decoder, str]:
    table, config = from_hugging_face(model.config.to_dict())
    decoder, weights = Decoder(config).eval(), theirs(model)
    state = {n: to_ours(TABLES[table], n, weights.__getitem__, config) for n in decoder.state_dict()}
    decoder.load_state_dict(state, strict=True)
    return decoder, table


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_logits_equal_the_reference(case: str) -> None:
    model = reference(CASES[case])
    tokens = torch.randint(97, (2, 40), generator=torch.Generator().manual_seed(1))
    expected = model(tokens).logits
    difference = (ours(model)[0](tokens) - expected).abs().max()
    assert expected.std() > 0.5  # the comparison is about something
    assert difference <= 1e-4


@pytest.mark.parametrize("case", CASES)
def test_key_map_and_back_gives_the_same_weights(case: str) -> None:
    model = reference(CASES[case])
    decoder, table = ours(model)
    back: dict[str, Tensor] = {}
    for name, weight in decoder.state_dict().items():
        back |= to_theirs(TABLES[table], name, weight, decoder.config)
    expected = theirs(model)
    assert set(back) == set(expected)
    for name, weight in back.items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=1e-6)
