"""Configs as models are published with them, old and new style, are read as what they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
import transformers

from reverie.hub.catalogue import entry
from reverie.hub.checkpoint import skeleton
from reverie.hub.configs import from_gguf, from_hugging_face
from reverie.lm.model import Window
from reverie.types import ReverieError

GPT2: Any = {
    "model_type": "gpt2", "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1,
    "bos_token_id": 50256, "eos_token_id": 50256, "embd_pdrop": 0.1, "initializer_range": 0.02, "n_ctx": 1024,
    "layer_norm_epsilon": 1e-05, "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024, "resid_pdrop": 0.1,
    "vocab_size": 50257, "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
}  # fmt: skip
SMOLLM2: Any = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
    "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 576, "intermediate_size": 1536,
    "is_llama_config": True, "max_position_embeddings": 8192, "mlp_bias": False, "num_attention_heads": 9,
    "num_hidden_layers": 30, "num_key_value_heads": 3, "pad_token_id": 2, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
    "rope_interleaved": False, "rope_scaling": None, "rope_theta": 100000, "tie_word_embeddings": True,
    "torch_dtype": "bfloat16", "use_cache": True, "vocab_size": 49152,
}  # fmt: skip
QWEN2: Any = {
    "model_type": "qwen2", "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151645,
    "hidden_act": "silu", "hidden_size": 896, "intermediate_size": 4864, "max_position_embeddings": 32768,
    "max_window_layers": 21, "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": True,
    "use_sliding_window": False, "vocab_size": 151936,
}  # fmt: skip
QWEN3: Any = {
    "model_type": "qwen3", "attention_bias": False, "head_dim": 128, "hidden_act": "silu", "hidden_size": 1024,
    "intermediate_size": 3072, "max_position_embeddings": 40960, "max_window_layers": 28, "num_attention_heads": 16,
    "num_hidden_layers": 28, "num_key_value_heads": 8, "rms_norm_eps": 1e-06, "rope_scaling": None,
    "rope_theta": 1000000, "sliding_window": None, "tie_word_embeddings": True, "use_sliding_window": False,
    "vocab_size": 151936,
}  # fmt: skip
GEMMA3: Any = {
    "model_type": "gemma3_text", "attention_bias": False, "attn_logit_softcapping": None, "head_dim": 256,
    "cache_implementation": "hybrid", "eos_token_id": [1, 106], "final_logit_softcapping": None,
    "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152, "intermediate_size": 6912,
    "max_position_embeddings": 32768, "num_attention_heads": 4, "num_hidden_layers": 26, "num_key_value_heads": 1,
    "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06, "rope_local_base_freq": 10000, "rope_scaling": None,
    "rope_theta": 1000000, "sliding_window": 512, "sliding_window_pattern": 6, "vocab_size": 262144,
}  # fmt: skip
SMALL_GEMMA3: Any = GEMMA3 | {
    "hidden_size": 640, "intermediate_size": 2048, "num_hidden_layers": 18, "use_bidirectional_attention": False,
    "_sliding_window_pattern": 6, "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 3,
}  # fmt: skip
del SMALL_GEMMA3["sliding_window_pattern"]
LLAMA3: Any = {
    "model_type": "llama", "attention_bias": False, "eos_token_id": [128001, 128008, 128009], "head_dim": 64,
    "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 8192, "max_position_embeddings": 131072,
    "mlp_bias": False, "num_attention_heads": 32, "num_hidden_layers": 16, "num_key_value_heads": 8,
    "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_theta": 500000.0, "tie_word_embeddings": True,
    "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                     "original_max_position_embeddings": 8192, "rope_type": "llama3"},
    "vocab_size": 128256,
}  # fmt: skip
PUBLISHED: dict[str, Any] = {
    "gpt2": GPT2,
    "gpt2-medium": GPT2 | {"n_embd": 1024, "n_head": 16, "n_layer": 24},
    "gpt2-large": GPT2 | {"n_embd": 1280, "n_head": 20, "n_layer": 36},
    "gpt2-xl": GPT2 | {"n_embd": 1600, "n_head": 25, "n_layer": 48},
    "smollm2": SMOLLM2,
    "smollm2-360m": SMOLLM2
    | {"hidden_size": 960, "intermediate_size": 2560, "num_attention_heads": 15, "num_hidden_layers": 32}
    | {"num_key_value_heads": 5},
    "smollm2-1.7b": SMOLLM2
    | {"hidden_size": 2048, "intermediate_size": 8192, "num_attention_heads": 32, "num_hidden_layers": 24}
    | {"num_key_value_heads": 32, "rope_theta": 130000},
    "qwen2.5-0.5b": QWEN2,
    "qwen3-0.6b": QWEN3,
    "gemma3-270m": SMALL_GEMMA3,
    "gemma3-1b": GEMMA3,
    "llama3.2-1b": LLAMA3,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configs_give_models_of_the_published_size(name: str) -> None:
    _, config = from_hugging_face(PUBLISHED[name])
    weights = skeleton(config).parameters()  # a shared one comes once
    assert sum(weight.numel() for weight in weights) == entry(name).parameters
    assert config.max_tokens == entry(name).context_tokens
    assert config.tied


@pytest.mark.parametrize("name", PUBLISHED)
def test_old_and_new_files_say_the_same(name: str) -> None:
    data = PUBLISHED[name]
    new = json.loads(transformers.AutoConfig.for_model(**data).to_json_string(use_diff=False))
    assert "rope_theta" not in new
    assert from_hugging_face(new) == from_hugging_face(data)


@pytest.mark.parametrize("data", [GPT2, SMOLLM2, QWEN2, QWEN3, GEMMA3, LLAMA3], ids=lambda data: data["model_type"])
def test_a_null_is_as_good_as_a_missing_key(data: dict[str, Any]) -> None:
    needed = {key for key in data if _is_refused({name: value for name, value in data.items() if name != key})}
    for key in data.keys() - needed - {"rope_scaling"}:
        without = {name: value for name, value in data.items() if name != key}
        assert from_hugging_face(data | {key: None}) == from_hugging_face(without), key
    for key in needed:
        with pytest.raises(ReverieError):
            from_hugging_face(data | {key: None})


def _is_refused(data: dict[str, Any]) -> bool:
    try:
        from_hugging_face(data)
    except ReverieError:
        return True
    return False


def test_gemma_3_looks_at_everything_in_every_sixth_layer() -> None:
    for data in (GEMMA3, SMALL_GEMMA3):
        _, config = from_hugging_face(data)
        assert config.window == Window(512, tuple(i for i in range(config.depth) if i % 6 != 5), 10000.0)
        assert config.rope_theta == 1e6
        assert config.embed_scale**2 == pytest.approx(config.width)


def test_llama_3_stretches_only_its_slow_frequencies() -> None:
    factors = from_hugging_face(LLAMA3)[1].rope_factors
    assert len(factors) == 32
    assert factors == tuple(sorted(factors))
    assert factors[0] == 1.0
    assert factors[-1] == pytest.approx(32.0)


@pytest.mark.parametrize(
    ("data", "change", "what"),
    [
        (SMOLLM2, {"hidden_act": "relu"}, "hidden_act"),
        (SMOLLM2, {"mlp_bias": True}, "biases"),
        (LLAMA3, {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "yarn"),
        (SMOLLM2, {"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        (QWEN3, {"attention_bias": True}, "attention_bias"),
        (QWEN2, {"use_sliding_window": True, "rope_scaling": {"type": "linear", "factor": 2.0}}, "windows"),
        (GEMMA3, {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
        (GEMMA3, {"layer_types": ["sliding_attention"]}, "layer_types"),
        (GPT2, {"activation_function": "gelu"}, "activation_function"),
        (GPT2, {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        (GEMMA3, {"model_type": "gemma3", "text_config": {}}, "pictures"),
        (SMOLLM2, {"model_type": "mamba"}, "'mamba'"),
    ],
)
def test_a_model_that_computes_in_another_way_is_refused(data: Any, change: Any, what: str) -> None:
    with pytest.raises(ReverieError, match=what):
        from_hugging_face(data | change)


GEMMA3_GGUF: Any = {
    "general.architecture": "gemma3", "gemma3.context_length": 32768, "gemma3.embedding_length": 640,
    "gemma3.block_count": 18, "gemma3.feed_forward_length": 2048, "gemma3.attention.head_count": 4,
    "gemma3.attention.head_count_kv": 1, "gemma3.attention.key_length": 256, "gemma3.attention.value_length": 256,
    "gemma3.attention.layer_norm_rms_epsilon": 1e-06, "gemma3.attention.sliding_window": 512,
    "gemma3.rope.freq_base": 1e6, "tokenizer.ggml.tokens": [str(i) for i in range(262144)],
}  # fmt: skip


def test_the_same_gemma_comes_out_of_a_gguf_file() -> None:
    kind, config = from_gguf(GEMMA3_GGUF, tied=True)
    assert kind == "gguf-gemma3"
    _, expected = from_hugging_face(SMALL_GEMMA3)
    assert expected.attention_scale == expected.head_width**-0.5  # which 0 stands for
    assert {**vars(config), "attention_scale": expected.attention_scale} == vars(expected)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"gemma3.rope.dimension_count": 64}, "rope.dimension_count"),
        ({"gemma3.attention.value_length": 128}, "value_length"),
        ({"gemma3.rope.scaling.type": "yarn"}, "yarn"),
        ({"gemma3.block_count": 10**9}, "depth"),
        ({"gemma3.attention.key_length": 2**31, "gemma3.attention.value_length": 2**31}, "head_width"),
        ({"tokenizer.ggml.tokens": 7}, "vocab_size"),
        ({"general.architecture": "mamba"}, "'mamba'"),
    ],
)
def test_gguf_metadata_that_reverie_cannot_run_is_refused(change: Any, what: str) -> None:
    with pytest.raises(ReverieError, match=what):
        from_gguf(GEMMA3_GGUF | change, tied=True)
