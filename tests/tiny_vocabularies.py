"""GGUF metadata of small vocabularies of both kinds, for tests of tokenizers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tokenizers
from hypothesis import strategies as st

from reverie.lm.tokenizer import Tokenizer

BYTES = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())


def byte_level(merges: Sequence[str] = (), control: Sequence[str] = (), **more: Any) -> dict[str, Any]:
    """GGUF metadata of a vocabulary of all bytes, of what the merges make, and of control tokens."""
    words = [*BYTES, *dict.fromkeys(made for merge in merges if (made := merge.replace(" ", "")) not in control)]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": [*words, *control],
        "tokenizer.ggml.token_type": [1] * len(words) + [3] * len(control),
        "tokenizer.ggml.merges": list(merges),
    } | {f"tokenizer.{key.replace('__', '.')}": value for key, value in more.items()}


def sentencepiece(pieces: Sequence[str] = (), user_defined: Sequence[str] = (), **more: Any) -> dict[str, Any]:
    """GGUF metadata of a vocabulary as SentencePiece makes it: pieces, best first, then letters, and all bytes."""
    letters = list(dict.fromkeys("▁" + "".join(pieces) + "abcdefghijklmnopqrstuvwxyz<>/"))
    words = [*pieces, *(letter for letter in letters if letter not in pieces)]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *words, *user_defined]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [2, 3, 3] + [6] * 256 + [1] * len(words) + [4] * len(user_defined),
        "tokenizer.ggml.scores": [0.0] * 259 + [-float(rank) for rank in range(len(words) + len(user_defined))],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    } | {f"tokenizer.{key.replace('__', '.')}": value for key, value in more.items()}


STORY = [
    "▁t",
    "he",
    "▁the",
    "er",
    "▁a",
    "in",
    "▁▁",
    "▁▁▁▁",
    "an",
    "and",
    "▁and",
    "▁w",
    "or",
    "ld",
    "orld",
    "▁world",
    "on",
]

ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2**40), st.floats(), st.text(max_size=5), st.lists(st.text(max_size=4)),
    st.lists(st.integers(-1, 9)),
)  # fmt: skip


def names(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    return [tokenizer.token_text(token) for token in ids]
