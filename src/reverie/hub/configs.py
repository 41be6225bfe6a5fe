"""Configs of others as ours: Hugging Face's config.json and the metadata of a GGUF file -> DecoderConfig."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reverie.config import from_json
from reverie.lm.model import DecoderConfig, Window
from reverie.types import ReverieError

# (Least, most) of any real model; a file that says otherwise is broken or hostile, and is refused before memory is
# asked for.
LIMITS: dict[str, tuple[float, float]] = {
    "vocab_size": (1, 2**20),
    "width": (1, 2**15),
    "depth": (1, 512),
    "num_heads": (1, 512),
    "num_kv_heads": (1, 512),
    "head_width": (1, 1024),
    "mlp_width": (1, 2**18),
    "max_tokens": (1, 2**24),
    "norm_eps": (0, 1),
    "rope_theta": (1, 1e12),
    "attention_scale": (0, 1e3),
    "embed_scale": (0, 1e6),
}


def from_hugging_face(data: Mapping[str, Any]) -> tuple[str, DecoderConfig]:
    """The key map's name and the config, from the contents of config.json."""
    kind = data.get("model_type")
    if kind == "gemma3" and isinstance(data.get("text_config"), Mapping):
        raise ReverieError("This is a Gemma 3 that also sees pictures: use one of the text models (270m, 1b).")
    if not isinstance(kind, str) or kind not in _HUGGING_FACE:
        raise ReverieError(f"The model is of the kind {_shown(kind)}: Reverie reads {', '.join(_HUGGING_FACE)}.")
    for key, values in _ONLY[kind].items():
        if data.get(key) is not None and data[key] not in values:
            raise ReverieError(f"The model's {key} is {_shown(data[key])}: Reverie computes only {values[0]!r}.")
    return kind.removesuffix("_text"), _checked(_HUGGING_FACE[kind], data, "config.json")


def from_reverie(data: Mapping[str, Any]) -> tuple[str, DecoderConfig]:
    """The key map's name and the config, from the contents of our own config.json."""
    if data.get("reverie") != 1:
        raise ReverieError("This model was made by a newer Reverie: update to read it.")
    return "reverie", _checked(operator.itemgetter("model"), data, "config.json")


def from_gguf(
    metadata: Mapping[str, Any], *, tied: bool, rope_factors: Sequence[float] = ()
) -> tuple[str, DecoderConfig]:
    """The key map's name and the config, from GGUF metadata. rope_factors: the tensor rope_freqs.weight, if any."""
    kind = metadata.get("general.architecture")
    if not isinstance(kind, str) or kind not in _GGUF:
        raise ReverieError(f"The GGUF file's model is of the kind {_shown(kind)}: Reverie reads {', '.join(_GGUF)}.")
    fields = {key.removeprefix(f"{kind}."): value for key, value in metadata.items() if key.startswith(f"{kind}.")}
    vocabulary = metadata.get("tokenizer.ggml.tokens")
    num_tokens = len(vocabulary) if isinstance(vocabulary, list) else 0
    fields |= {"tied": tied, "rope_factors": list(rope_factors), "vocab_size": num_tokens}
    return f"gguf-{kind}", _checked(_GGUF[kind], fields, "the GGUF metadata")


def _checked(
    read: Callable[[Mapping[str, Any]], Mapping[str, Any]], data: Mapping[str, Any], where: str
) -> DecoderConfig:
    """What `read` makes of the data, with every way it can be wrong turned into one sentence."""
    try:
        fields = read(data)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise _broken(where, f"it lacks {error}" if isinstance(error, KeyError) else str(error)) from error
    try:
        config = from_json(DecoderConfig, fields)
    except (ReverieError, OverflowError) as error:
        raise _broken(where, str(error)) from error
    check(config)
    return config


def _broken(where: str, what: str) -> ReverieError:
    what = " ".join(what.split())[:200].rstrip(".")
    return ReverieError(f"The model's {where} is incomplete or wrong ({what}): fetch the model again.")


def _shown(value: Any) -> str:
    """A value out of a file, short enough for a sentence."""
    return repr(value)[:80]


def check(config: DecoderConfig) -> None:
    """Refuses numbers that no real model has, and parts that do not fit together."""
    for name in LIMITS:
        if name != "rope_theta" or config.rope_theta:  # 0: learned positions
            limited(name, getattr(config, name))
    if config.num_heads % config.num_kv_heads:
        raise ReverieError(f"{config.num_heads} heads cannot share {config.num_kv_heads} key-value heads evenly.")
    if config.rope_theta and config.head_width % 2:
        raise ReverieError(f"The model's head_width is {config.head_width}: RoPE needs an even one.")
    if config.rope_factors and len(config.rope_factors) != config.head_width // 2:
        raise ReverieError(f"The model has {len(config.rope_factors)} RoPE factors for {config.head_width} channels.")
    if not all(0 < factor < math.inf for factor in config.rope_factors):
        raise ReverieError("The model's rope_factors are not all positive numbers: fetch it again.")
    if len(config.softcaps) != 2 or not all(0 <= cap < math.inf for cap in config.softcaps):
        raise ReverieError(f"The model's softcaps are {_shown(config.softcaps)}: they must be two numbers from 0 up.")
    if config.window is not None:
        _check_window(config.window, config)


def _check_window(window: Window, config: DecoderConfig) -> None:
    if not 1 <= window.tokens <= LIMITS["max_tokens"][1]:
        raise ReverieError(f"The model's window is {_shown(window.tokens)} tokens long: it must be at least 1.")
    if not set(window.layers) <= set(range(config.depth)):
        raise ReverieError(f"The model has windows in layers that are not among its {config.depth}: fetch it again.")
    if bool(window.rope_theta) != bool(config.rope_theta):
        raise ReverieError("The model has RoPE in some layers only, which Reverie does not read.")
    if window.rope_theta:
        limited("rope_theta", window.rope_theta)


def limited(name: str, value: Any) -> Any:
    """The value, if a real model can have a field of that name with it; else a `ReverieError`."""
    least, most = LIMITS[name]
    if not least <= value <= most:
        raise ReverieError(f"The model's {name} is {_shown(value)}: it must be from {least} to {most}.")
    return value


def _llama_like(data: Mapping[str, Any], theta: float = 10000.0) -> dict[str, Any]:
    """The fields that Llama, Qwen and Gemma configs share. theta: RoPE's base where the file does not say."""
    heads, rope = data["num_attention_heads"], _rope(data)
    head_width = _given(data, "head_dim", data["hidden_size"] // heads)
    theta = limited("rope_theta", float(_given(rope, "rope_theta", theta)))
    return {
        "vocab_size": data["vocab_size"],
        "width": data["hidden_size"],
        "depth": data["num_hidden_layers"],
        "num_heads": heads,
        "num_kv_heads": _given(data, "num_key_value_heads", heads),
        "head_width": head_width,
        "mlp_width": data["intermediate_size"],
        "max_tokens": data["max_position_embeddings"],
        "norm_eps": _given(data, "rms_norm_eps", 1e-6),
        "rope_theta": theta,
        "rope_factors": _rope_factors(rope, theta, head_width),
        "tied": _given(data, "tie_word_embeddings", False),
    }


def _llama(data: Mapping[str, Any]) -> dict[str, Any]:
    attention, mlp = bool(data.get("attention_bias")), bool(data.get("mlp_bias"))
    if mlp and not attention:
        raise ReverieError("This Llama has biases in its MLP alone, which Reverie does not read.")
    return _llama_like(data) | {"bias": "all" if mlp else "attention" if attention else "none"}


def _qwen2(data: Mapping[str, Any]) -> dict[str, Any]:
    return _qwen(data) | {"bias": "qkv"}


def _qwen3(data: Mapping[str, Any]) -> dict[str, Any]:
    return _qwen(data) | {"qk_norm": True}


def _qwen(data: Mapping[str, Any]) -> dict[str, Any]:
    """What Qwen 2 and 3 share: windows in the upper layers, and those only on request."""
    fields, first = _llama_like(data), _given(data, "max_window_layers", 28)
    windowed = _windowed(data, lambda layer: layer >= first) if data.get("use_sliding_window") else []
    return fields | _window(data, windowed, _unstretched(fields) if windowed else 0.0)


def _gemma2(data: Mapping[str, Any]) -> dict[str, Any]:
    fields, windowed = _gemma(data), _windowed(data, lambda layer: layer % 2 == 0)
    caps = _caps(data, "attn_logit_softcapping", "final_logit_softcapping")
    return fields | {"softcaps": caps} | _window(data, windowed, _unstretched(fields))


def _gemma3(data: Mapping[str, Any]) -> dict[str, Any]:
    every = _given(data, "sliding_window_pattern", _given(data, "_sliding_window_pattern", 6))
    windowed = _windowed(data, lambda layer: (layer + 1) % every != 0)
    # The reference implementation of Gemma 3 has a cap on the logits alone.
    caps = (0.0, *_caps(data, "final_logit_softcapping"))
    fields = _gemma(data, theta=1e6) | {"qk_norm": True, "softcaps": caps}
    return fields | _window(data, windowed, _local_theta(data))


def _gemma(data: Mapping[str, Any], theta: float = 10000.0) -> dict[str, Any]:
    """What Gemma 2 and 3 share."""
    return _llama_like(data, theta) | {
        "norm": "sandwich",
        "mlp": "geglu",
        "tied": _given(data, "tie_word_embeddings", True),
        "embed_scale": math.sqrt(data["hidden_size"]),
        "attention_scale": data["query_pre_attn_scalar"] ** -0.5,
    }


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
        "tied": _given(data, "tie_word_embeddings", True),
    }


def _given(data: Mapping[str, Any], key: str, default: Any) -> Any:
    """data[key], or the default where the key is absent or null."""
    value = data.get(key)
    return default if value is None else value


def _rope(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The RoPE settings of full attention, which files of different age keep in three places."""
    settings = _given(data, "rope_parameters", _given(data, "rope_scaling", {}))
    full: Mapping[str, Any] = settings.get("full_attention", settings)
    return {"rope_theta": data.get("rope_theta"), **full}


def _local_theta(data: Mapping[str, Any]) -> float:
    """RoPE's base in the windowed layers of Gemma 3."""
    local = _given(data, "rope_parameters", {}).get("sliding_attention", {})
    return float(_given(local, "rope_theta", _given(data, "rope_local_base_freq", 10000.0)))


def _rope_factors(rope: Mapping[str, Any], theta: float, width: int) -> list[float]:
    """What each frequency is divided by; empty when nothing is."""
    kind, num = _given(rope, "rope_type", _given(rope, "type", "default")), limited("head_width", width) // 2
    if kind == "default":
        return []
    if kind == "linear":
        return [float(rope["factor"])] * num
    if kind != "llama3":
        raise ReverieError(f"The model's context is stretched by {_shown(kind)}: Reverie knows 'llama3' and 'linear'.")
    return [_llama3_factor(rope, theta ** (2 * i / width)) for i in range(num)]


def _llama3_factor(rope: Mapping[str, Any], turn: float) -> float:
    """Long waves are stretched by the whole factor, short ones not at all, those between in part (Llama 3.1).

    turn: tokens in which this frequency turns by one radian.
    """
    num_turns = rope["original_max_position_embeddings"] / (2 * math.pi * turn)
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    smooth = float(min(max((num_turns - low) / (high - low), 0.0), 1.0))
    return 1 / ((1 - smooth) / float(rope["factor"]) + smooth)


def _unstretched(fields: Mapping[str, Any]) -> float:
    """RoPE's base in windowed layers that have no base of their own, and would have the factors of the others."""
    if fields["rope_factors"]:
        raise ReverieError("The model has windows and a stretched context, which Reverie does not read together.")
    return float(fields["rope_theta"])


def _windowed(data: Mapping[str, Any], default: Callable[[int], bool]) -> list[int]:
    """The layers with a window: those that the file names or, as older files name none, those that `default` picks."""
    layers = range(limited("depth", data["num_hidden_layers"]))
    kinds = _given(
        data, "layer_types", ["sliding_attention" if default(layer) else "full_attention" for layer in layers]
    )
    if len(kinds) != len(layers) or not set(kinds) <= {"sliding_attention", "full_attention"}:
        raise ValueError("layer_types does not say of each layer whether its attention is sliding or full")
    return [layer for layer in layers if kinds[layer] == "sliding_attention"]


def _window(data: Mapping[str, Any], layers: Sequence[int], theta: float) -> dict[str, Any]:
    if not layers or data.get("sliding_window") is None:
        return {}
    return {"window": {"tokens": data["sliding_window"], "layers": list(layers), "rope_theta": theta}}


def _gguf_decoder(data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that every GGUF decoder has."""
    heads = data["attention.head_count"]
    head_width = data.get("attention.key_length", data["embedding_length"] // heads)
    for key in ("attention.value_length", "rope.dimension_count"):
        if data.get(key, head_width) != head_width:
            raise ValueError(f"Reverie reads no {key} other than that of the keys, {head_width}")
    return {
        "vocab_size": data["vocab_size"],
        "width": data["embedding_length"],
        "depth": data["block_count"],
        "num_heads": heads,
        "num_kv_heads": data.get("attention.head_count_kv", heads),
        "head_width": head_width,
        "mlp_width": data["feed_forward_length"],
        "max_tokens": data["context_length"],
        "norm_eps": data.get("attention.layer_norm_rms_epsilon", data.get("attention.layer_norm_epsilon", 1e-5)),
        "rope_theta": limited("rope_theta", float(data.get("rope.freq_base", 10000.0))),
        "rope_factors": data["rope_factors"] or _gguf_linear(data, head_width),
        "tied": data["tied"],
    }


def _gguf_linear(data: Mapping[str, Any], head_width: int) -> list[float]:
    kind = data.get("rope.scaling.type", "none")
    if kind not in ("none", "linear"):
        raise ReverieError(f"The model's context is stretched by {_shown(kind)}: Reverie knows llama3 and 'linear'.")
    num = limited("head_width", head_width) // 2
    return [float(data["rope.scaling.factor"])] * num if kind == "linear" else []


def _gguf_gpt2(data: Mapping[str, Any]) -> dict[str, Any]:
    return _gguf_decoder(data) | {"norm": "layer", "mlp": "gelu", "bias": "all", "rope_theta": 0.0}


def _gguf_gemma3(data: Mapping[str, Any]) -> dict[str, Any]:
    fields = _gguf_decoder({"rope.freq_base": 1e6} | dict(data))
    layers = range(limited("depth", fields["depth"]))
    windowed = [i for i in layers if (i + 1) % data.get("attention.sliding_window_pattern", 6)]
    tokens, theta = data.get("attention.sliding_window"), float(data.get("rope.freq_base_swa", 10000.0))
    return fields | {
        "norm": "sandwich",
        "mlp": "geglu",
        "qk_norm": True,
        "embed_scale": math.sqrt(fields["width"]),
        "window": {"tokens": tokens, "layers": windowed, "rope_theta": theta} if tokens else None,
    }


_HUGGING_FACE: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "llama": _llama,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "gpt2": _gpt2,
}
# What Reverie computes in one way only: a model that says otherwise is refused, rather than run wrongly.
_ONLY: dict[str, dict[str, tuple[Any, ...]]] = {
    "llama": {"hidden_act": ("silu",), "partial_rotary_factor": (1,)},
    "qwen2": {"hidden_act": ("silu",)},
    "qwen3": {"hidden_act": ("silu",), "attention_bias": (False,)},
    "gemma2": {"hidden_activation": ("gelu_pytorch_tanh",), "attention_bias": (False,)},
    "gemma3_text": {
        "hidden_activation": ("gelu_pytorch_tanh",),
        "attention_bias": (False,),
        "use_bidirectional_attention": (False,),
    },
    "gpt2": {
        "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "add_cross_attention": (False,),
    },
}
_GGUF: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "llama": _gguf_decoder,
    "qwen2": lambda data: _gguf_decoder(data) | {"bias": "qkv"},
    "qwen3": lambda data: _gguf_decoder(data) | {"qk_norm": True},
    "gemma3": _gguf_gemma3,
    "gpt2": _gguf_gpt2,
}
