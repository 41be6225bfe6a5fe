"""Configs of others as ours: Hugging Face's config.json and the metadata of a GGUF file -> DecoderConfig."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reverie.config import from_json
from reverie.lm.model import DecoderConfig
from reverie.types import ReverieError

# Nothing real is larger; a file that says so is broken or hostile, and is refused before memory is asked for.
LIMITS = {"vocab_size": 2**20, "width": 2**15, "depth": 512, "num_heads": 512, "mlp_width": 2**18, "max_tokens": 2**24}


def from_hugging_face(data: Mapping[str, Any]) -> tuple[str, DecoderConfig]:
    """The key map's name and the config, from the contents of config.json."""
    kind = str(data.get("model_type"))
    if kind == "gemma3" and isinstance(data.get("text_config"), Mapping):
        raise ReverieError("This is a Gemma 3 that also sees pictures: use one of the text models (270m, 1b).")
    read = _HUGGING_FACE.get(kind)
    if read is None:
        raise ReverieError(f"The model is a {kind!r}: Reverie reads {', '.join(_HUGGING_FACE)}.")
    return kind.removesuffix("_text"), _checked(read, data, "config.json")


def from_gguf(
    metadata: Mapping[str, Any], *, tied: bool, rope_factors: Sequence[float] = ()
) -> tuple[str, DecoderConfig]:
    """The key map's name and the config, from GGUF metadata. rope_factors: the tensor rope_freqs.weight, if any."""
    kind = str(metadata.get("general.architecture"))
    if kind not in _GGUF:
        raise ReverieError(f"The GGUF file holds a {kind!r}: Reverie reads {', '.join(_GGUF)}.")
    fields = {key.removeprefix(f"{kind}."): value for key, value in metadata.items() if key.startswith(f"{kind}.")}
    vocabulary = metadata.get("tokenizer.ggml.tokens")
    fields |= {"tied": tied, "rope_factors": list(rope_factors), "vocab_size": len(vocabulary) if vocabulary else 0}
    return f"gguf-{kind}", _checked(_GGUF[kind], fields, "the GGUF metadata")


def _checked(read: Callable[[Mapping[str, Any]], dict[str, Any]], data: Mapping[str, Any], where: str) -> DecoderConfig:
    """What `read` makes of the data, with every way it can be wrong turned into one sentence."""
    try:
        config = from_json(DecoderConfig, read(data))
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError, AttributeError) as error:
        raise ReverieError(f"The model's {where} is incomplete or wrong ({error}): fetch the model again.") from error
    check(config)
    return config


def check(config: DecoderConfig) -> None:
    """Refuses sizes that no real model has, and heads that do not share out."""
    for name, most in LIMITS.items():
        if not 1 <= getattr(config, name) <= most:
            raise ReverieError(f"The model's {name} is {getattr(config, name)}: it must be from 1 to {most}.")
    if not 1 <= config.num_kv_heads <= config.num_heads or config.num_heads % config.num_kv_heads:
        raise ReverieError(f"{config.num_heads} heads cannot share {config.num_kv_heads} key-value heads evenly.")
    if not 1 <= config.head_width <= 1024 or (config.rope_theta and config.head_width % 2):
        raise ReverieError(f"The model's head_width is {config.head_width}: it must be even and at most 1024.")
    if config.rope_factors and len(config.rope_factors) != config.head_width // 2:
        raise ReverieError(f"The model has {len(config.rope_factors)} RoPE factors for {config.head_width} channels.")


def _llama_like(data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that Llama, Qwen and Gemma configs share."""
    heads, rope = data["num_attention_heads"], _rope(data)
    head_width = _given(data, "head_dim", data["hidden_size"] // heads)
    return {
        "vocab_size": data["vocab_size"],
        "width": data["hidden_size"],
        "depth": data["num_hidden_layers"],
        "num_heads": heads,
        "num_kv_heads": data.get("num_key_value_heads", heads),
        "head_width": head_width,
        "mlp_width": data["intermediate_size"],
        "max_tokens": data["max_position_embeddings"],
        "norm_eps": data.get("rms_norm_eps", 1e-6),
        "rope_theta": float(rope.get("rope_theta", 10000.0)),
        "rope_factors": _rope_factors(rope, head_width),
        "tied": data.get("tie_word_embeddings", False),
    }


def _llama(data: Mapping[str, Any]) -> dict[str, Any]:
    attention, mlp = bool(data.get("attention_bias")), bool(data.get("mlp_bias"))
    if mlp and not attention:
        raise ReverieError("This Llama has biases in its MLP alone, which Reverie does not read.")
    return _llama_like(data) | {"bias": "all" if mlp else "attention" if attention else "none"}


def _qwen2(data: Mapping[str, Any]) -> dict[str, Any]:
    return _llama_like(data) | {"bias": "qkv"} | _window(data, _qwen_windowed(data))


def _qwen3(data: Mapping[str, Any]) -> dict[str, Any]:
    if data.get("attention_bias"):
        raise ReverieError("This Qwen3 has biases in its attention, which Reverie does not read.")
    return _llama_like(data) | {"qk_norm": True} | _window(data, _qwen_windowed(data))


def _gemma2(data: Mapping[str, Any]) -> dict[str, Any]:
    caps = _caps(data, "attn_logit_softcapping", "final_logit_softcapping")
    return _gemma(data, every=2, local_theta=None) | {"softcaps": caps}


def _gemma3(data: Mapping[str, Any]) -> dict[str, Any]:
    # The reference implementation of Gemma 3 has a cap on the logits alone.
    fields = _gemma(data, every=data.get("sliding_window_pattern", 6), local_theta=_local_theta(data))
    return fields | {"qk_norm": True, "softcaps": (0.0, *_caps(data, "final_logit_softcapping"))}


def _gemma(data: Mapping[str, Any], every: int, local_theta: float | None) -> dict[str, Any]:
    """What Gemma 2 and 3 share. every: older files do not say which layers are windowed, one in `every` is not.

    local_theta: RoPE's base in windowed layers, None when it is that of the others.
    """
    pattern = ["sliding_attention" if i % every else "full_attention" for i in range(1, data["num_hidden_layers"] + 1)]
    windowed = [i for i, kind in enumerate(_given(data, "layer_types", pattern)) if kind == "sliding_attention"]
    return (
        _llama_like(data)
        | {
            "norm": "sandwich",
            "mlp": "geglu",
            "tied": data.get("tie_word_embeddings", True),
            "embed_scale": math.sqrt(data["hidden_size"]),
            "attention_scale": data["query_pre_attn_scalar"] ** -0.5,
        }
        | _window(data, windowed, local_theta)
    )


def _caps(data: Mapping[str, Any], *names: str) -> tuple[float, ...]:
    return tuple(float(_given(data, name, 0.0)) for name in names)


def _gpt2(data: Mapping[str, Any]) -> dict[str, Any]:
    width, heads = data["n_embd"], data["n_head"]
    return {
        "vocab_size": data["vocab_size"],
        "width": width,
        "depth": data["n_layer"],
        "num_heads": heads,
        "num_kv_heads": heads,
        "head_width": width // heads,
        "mlp_width": _given(data, "n_inner", 4 * width),
        "max_tokens": data["n_positions"],
        "norm": "layer",
        "norm_eps": data["layer_norm_epsilon"],
        "mlp": "gelu",
        "bias": "all",
        "rope_theta": 0.0,
        "tied": data.get("tie_word_embeddings", True),
    }


def _given(data: Mapping[str, Any], key: str, default: Any) -> Any:
    """data[key], or the default where the key is absent or null."""
    value = data.get(key)
    return default if value is None else value


def _rope(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The RoPE settings of full attention, which files of different age keep in three places."""
    parameters = data.get("rope_parameters")
    if isinstance(parameters, Mapping):
        full = parameters.get("full_attention", parameters)
        return full if isinstance(full, Mapping) else {}
    scaling = data.get("rope_scaling")
    return {"rope_theta": data.get("rope_theta", 10000.0)} | (dict(scaling) if isinstance(scaling, Mapping) else {})


def _local_theta(data: Mapping[str, Any]) -> float:
    parameters = data.get("rope_parameters")
    if isinstance(parameters, Mapping) and "sliding_attention" in parameters:
        return float(parameters["sliding_attention"]["rope_theta"])
    return float(data.get("rope_local_base_freq", 10000.0))


def _rope_factors(rope: Mapping[str, Any], width: int) -> list[float]:
    """What each frequency is divided by; empty when nothing is."""
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return []
    if kind == "linear":
        return [float(rope["factor"])] * (width // 2)
    if kind != "llama3":
        raise ReverieError(f"The model stretches its context by {kind!r}: Reverie knows 'llama3' and 'linear'.")
    return [_llama3_factor(rope, 2 * i / width) for i in range(width // 2)]


def _llama3_factor(rope: Mapping[str, Any], exponent: float) -> float:
    """Long waves are stretched by the whole factor, short ones not at all, those between in part (Llama 3.1)."""
    wavelength = 2 * math.pi * rope["rope_theta"] ** exponent
    turns = rope["original_max_position_embeddings"] / wavelength
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    smooth = float(min(max((turns - low) / (high - low), 0.0), 1.0))
    return 1 / ((1 - smooth) / float(rope["factor"]) + smooth)


def _qwen_windowed(data: Mapping[str, Any]) -> list[int]:
    if not data.get("use_sliding_window"):
        return []
    first, depth = data.get("max_window_layers", 28), data["num_hidden_layers"]
    types = _given(data, "layer_types", ["sliding_attention" if i >= first else "full_attention" for i in range(depth)])
    return [i for i, kind in enumerate(types) if kind == "sliding_attention"]


def _window(data: Mapping[str, Any], layers: Sequence[int], theta: float | None = None) -> dict[str, Any]:
    if not layers or data.get("sliding_window") is None:
        return {}
    own = float(_rope(data).get("rope_theta", 10000.0)) if theta is None else theta
    return {"window": {"tokens": data["sliding_window"], "layers": list(layers), "rope_theta": own}}


def _gguf_decoder(data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that every GGUF decoder has."""
    heads = data["attention.head_count"]
    return {
        "vocab_size": data["vocab_size"],
        "width": data["embedding_length"],
        "depth": data["block_count"],
        "num_heads": heads,
        "num_kv_heads": data.get("attention.head_count_kv", heads),
        "head_width": data.get("attention.key_length", data["embedding_length"] // heads),
        "mlp_width": data["feed_forward_length"],
        "max_tokens": data["context_length"],
        "norm_eps": data.get("attention.layer_norm_rms_epsilon", data.get("attention.layer_norm_epsilon", 1e-5)),
        "rope_theta": float(data.get("rope.freq_base", 10000.0)),
        "rope_factors": data["rope_factors"] or _gguf_linear(data),
        "tied": data["tied"],
    }


def _gguf_linear(data: Mapping[str, Any]) -> list[float]:
    kind = data.get("rope.scaling.type", "none")
    if kind not in ("none", "linear"):
        raise ReverieError(f"The model stretches its context by {kind!r}: Reverie knows 'linear' and Llama 3's way.")
    width = data.get("attention.key_length", data["embedding_length"] // data["attention.head_count"])
    return [float(data["rope.scaling.factor"])] * (width // 2) if kind == "linear" else []


def _gguf_gpt2(data: Mapping[str, Any]) -> dict[str, Any]:
    return _gguf_decoder(data) | {"norm": "layer", "mlp": "gelu", "bias": "all", "rope_theta": 0.0}


def _gguf_gemma3(data: Mapping[str, Any]) -> dict[str, Any]:
    fields, tokens = _gguf_decoder(data), data.get("attention.sliding_window")
    windowed = [i for i in range(fields["depth"]) if (i + 1) % 6]
    window = {"tokens": tokens, "layers": windowed, "rope_theta": 10000.0} if tokens else None
    return fields | {
        "norm": "sandwich",
        "mlp": "geglu",
        "qk_norm": True,
        "rope_theta": float(data.get("rope.freq_base", 1e6)),
        "embed_scale": math.sqrt(fields["width"]),
        "window": window,
    }


_HUGGING_FACE: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "llama": _llama,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "gpt2": _gpt2,
}
_GGUF: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "llama": _gguf_decoder,
    "qwen2": lambda data: _gguf_decoder(data) | {"bias": "qkv"},
    "qwen3": lambda data: _gguf_decoder(data) | {"qk_norm": True},
    "gemma3": _gguf_gemma3,
    "gpt2": _gguf_gpt2,
}
