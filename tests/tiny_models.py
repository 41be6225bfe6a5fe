"""Tiny random models in every layout that Reverie reads, for tests of how whole models are loaded."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

from reverie.hub import checkpoint
from reverie.hub.keymaps import TABLES, to_theirs
from reverie.hub.tokenizers import from_folder
from reverie.lm.chat import ChatTemplate
from reverie.lm.model import Decoder, DecoderConfig, Window

VOCABULARY, END = 320, "<|endoftext|>"
TEMPLATE = "{% for message in messages %}{{ message['content'] }}" + END + "{% endfor %}"
LLAMA = DecoderConfig(
    vocab_size=VOCABULARY, width=64, depth=2, num_heads=4, num_kv_heads=2, head_width=16, mlp_width=96, max_tokens=128,
    norm_eps=2**-17,
)  # fmt: skip


@functools.cache
def bpe() -> Tokenizer:
    """A byte-level vocabulary of 320 tokens, one of them for the end."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=[END], initial_alphabet=alphabet)
    text = "the robot dog and the other dogs ran into the garden of the old house, barking at seven yellow butterflies"
    tokenizer.train_from_iterator([text] * 9, trainer)
    assert tokenizer.get_vocab_size() == VOCABULARY
    return tokenizer


def write_tokenizer(folder: Path) -> None:
    """The vocabulary in Hugging Face's layout."""
    folder.mkdir(parents=True, exist_ok=True)
    bpe().save(str(folder / "tokenizer.json"))
    config = {"eos_token": END, "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def save(folder: Path, model: Decoder, template: str | None = TEMPLATE) -> None:
    """The model in Reverie's own layout."""
    write_tokenizer(folder / "source")
    tokenizer = from_folder(folder / "source")
    shutil.rmtree(folder / "source")
    checkpoint.save(folder, model, tokenizer, ChatTemplate(template, "", END), "# A tiny model\n")


def decoder(config: DecoderConfig, seed: int = 0) -> Decoder:
    """A decoder with weights large enough that every part of it matters."""
    torch.manual_seed(seed)
    model = Decoder(config).eval().requires_grad_(False)
    for name, weight in model.named_parameters():
        weight.normal_(std=0.15 if weight.ndim > 1 else 0.3)
        if "norm" in name and not name.endswith("bias"):
            weight.add_(1.0)
    return model


def tokens(num: int = 40) -> Tensor:
    """Two rows of random tokens, (2, num)."""
    return torch.randint(VOCABULARY, (2, num), generator=torch.Generator().manual_seed(1))


def write_gguf(path: Path, kind: str, model: Decoder, weights: str = "F32") -> Path:
    """The model as a GGUF file of the architecture `kind`, its matrices in the format `weights`."""
    writer = gguf.GGUFWriter(path, kind)
    _write_sizes(writer, kind, model.config)
    _write_vocabulary(writer)
    if model.config.rope_factors:
        writer.add_tensor("rope_freqs.weight", torch.tensor(model.config.rope_factors).numpy())
    for name, weight in theirs(f"gguf-{kind}", model):
        form = gguf.GGMLQuantizationType[weights if is_matrix(name, weight) else "F32"]
        writer.add_tensor(name, gguf.quantize(weight.numpy(), form), raw_dtype=form)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def is_matrix(name: str, weight: Tensor) -> bool:
    """Whether quantisers would take this weight."""
    return weight.ndim == 2 and weight.shape[1] % 32 == 0 and "position" not in name


def theirs(table: str, model: Decoder) -> Iterator[tuple[str, Tensor]]:
    """The model's weights by the names of a key map; a tied head is none."""
    for name, weight in model.state_dict().items():
        if name != "head.weight" or not model.config.tied:
            yield from to_theirs(TABLES[table], name, weight, model.config).items()


def _write_sizes(writer: gguf.GGUFWriter, kind: str, config: DecoderConfig) -> None:
    writer.add_context_length(config.max_tokens)
    writer.add_embedding_length(config.width)
    writer.add_block_count(config.depth)
    writer.add_feed_forward_length(config.mlp_width)
    writer.add_head_count(config.num_heads)
    if kind == "gpt2":
        writer.add_layer_norm_eps(config.norm_eps)
        return
    writer.add_head_count_kv(config.num_kv_heads)
    writer.add_key_length(config.head_width)
    writer.add_value_length(config.head_width)
    writer.add_rope_dimension_count(config.head_width)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    if config.window is not None:
        writer.add_sliding_window(config.window.tokens)


def _write_vocabulary(writer: gguf.GGUFWriter) -> None:
    model = json.loads(bpe().to_str())["model"]
    words = sorted(model["vocab"], key=model["vocab"].__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(words)
    writer.add_token_types([3 if word == END else 1 for word in words])
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    writer.add_eos_token_id(words.index(END))
    writer.add_chat_template(TEMPLATE)


def gguf_configs() -> dict[str, tuple[str, DecoderConfig]]:
    """Name -> architecture and config, of all that GGUF files hold."""
    gpt2 = replace(LLAMA, num_kv_heads=4, norm="layer", mlp="gelu", bias="all", rope_theta=0.0)
    gemma: Any = {"norm": "sandwich", "mlp": "geglu", "qk_norm": True, "rope_theta": 1e6, "embed_scale": 8.0}
    gemma |= {"depth": 7, "head_width": 256, "num_heads": 2, "num_kv_heads": 1}
    return {
        "llama": ("llama", replace(LLAMA, tied=False)),
        "llama3": ("llama", replace(LLAMA, rope_theta=5e5, rope_factors=(1.0, 1.0, 1.5, 2.0, 4.0, 8.0, 8.0, 8.0))),
        "llama-narrow": ("llama", replace(LLAMA, width=48, head_width=12, mlp_width=72)),  # no kernel takes these
        "qwen2": ("qwen2", replace(LLAMA, bias="qkv")),
        "qwen3": ("qwen3", replace(LLAMA, qk_norm=True, head_width=32, tied=False)),
        "gemma3": ("gemma3", replace(LLAMA, **gemma, window=Window(5, (0, 1, 2, 3, 4, 6), 10000.0))),
        "gpt2": ("gpt2", gpt2),
    }
