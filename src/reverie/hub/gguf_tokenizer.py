"""Tokenizers out of GGUF metadata, with the pre-tokenizers and score orders that go with their names."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

from reverie.hub.added_tokens import assembled
from reverie.lm.tokenizer import Tokenizer
from reverie.types import ReverieError

MAX_TOKENS = 2_000_000
MAX_TOKEN_CHARACTERS = 512
MAX_PAIRS_A_TOKEN = 8  # that make pieces, on average; real vocabularies have about two

# The kinds of tokens in a GGUF vocabulary (token_type).
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


SPACE = "▁"  # how SentencePiece writes a space

_GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# How text is cut into words before pairs are merged, by tokenizer.ggml.pre: each expression cuts the pieces that the
# one before has left. The names are llama.cpp's, the expressions those of the models' own tokenizers.
PRE_TOKENIZERS: dict[str, tuple[str, ...]] = {
    "gpt-2": (_GPT_2,),
    "smollm": (r"\p{N}", _GPT_2),
    "llama-bpe": (_LLAMA_3,),
    "qwen2": (_LLAMA_3.replace("{1,3}", ""),),
    "default": (r"[\p{P}\$\+<=>\^~\|]+", _GPT_2, r"\p{N}+", r"[0-9][0-9][0-9]"),
}
PRE_ALIASES = {"phi-2": "gpt-2", "olmo": "gpt-2", "mpt": "gpt-2", "starcoder": "smollm", "refact": "smollm"}
PRE_ALIASES |= {"llama3": "llama-bpe", "llama-v3": "llama-bpe", "smaug-bpe": "llama-bpe", "deepseek-r1-qwen": "qwen2"}


def from_gguf(metadata: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that GGUF metadata describes. Wrong or unknown metadata is a `ReverieError`."""
    kind = _get(metadata, "tokenizer.ggml.model", str)
    if kind not in ("gpt2", "llama"):
        raise ReverieError(f"The GGUF file's tokenizer is of the kind {kind!r}: Reverie reads 'gpt2' and 'llama'.")
    tokens = _tokens(metadata)
    types = _numbers(metadata, "tokenizer.ggml.token_type", len(tokens))
    types = [NORMAL] * len(tokens) if types is None else types
    bos, eos, others = (_ids(metadata, names, len(tokens)) for names in ("bos", "eos", "eot eom"))
    named = {*bos, *eos, *others}
    words, added = _sort_out(tokens, types, named, kind)
    merges = _merges(metadata, added)
    is_bytes = kind == "gpt2"
    plain = _byte_level(metadata, words, merges) if is_bytes else _sentencepiece(metadata, words, merges, types)
    special = {text for text, token in added.items() if types[token] != USER_DEFINED or token in named}
    wants_bos = not is_bytes or _pre(metadata) == "llama-bpe"
    return assembled(
        plain, added, special, template(metadata),
        bos_id=next(iter(bos), None),
        eos_id=next(iter(eos), None),
        ends=[*eos, *others],
        add_bos=wants_bos if (flag := _get(metadata, "tokenizer.ggml.add_bos_token", bool)) is None else flag,
    )  # fmt: skip


def template(metadata: Mapping[str, Any]) -> str | None:
    """The chat template in GGUF metadata; None if the model has none."""
    text: str | None = _get(metadata, "tokenizer.chat_template", str)
    return text


def _get(metadata: Mapping[str, Any], key: str, kind: type) -> Any:
    """The value of a key, which must be of a kind; None if there is none."""
    value = metadata.get(key)
    if value is not None and not isinstance(value, kind):
        raise ReverieError(f"The GGUF file's {key} is not a {kind.__name__}: use another file.")
    return value


def _tokens(metadata: Mapping[str, Any]) -> list[str]:
    tokens: list[str] = _get(metadata, "tokenizer.ggml.tokens", list)
    if not tokens or set(map(type, tokens)) != {str}:
        raise ReverieError("The GGUF file has no list of tokens (tokenizer.ggml.tokens): use another file.")
    if len(tokens) > MAX_TOKENS or max(map(len, tokens)) > MAX_TOKEN_CHARACTERS:
        raise ReverieError(
            f"The GGUF file has more than {MAX_TOKENS:,} tokens, or one of more than {MAX_TOKEN_CHARACTERS} "
            "characters, which no real model has: use another file."
        )
    if len(set(tokens)) != len(tokens):
        raise ReverieError("The GGUF file lists a token twice (tokenizer.ggml.tokens): use another file.")
    return tokens


def _numbers(metadata: Mapping[str, Any], key: str, count: int) -> list[Any] | None:
    """A list of so many numbers; None if there is none."""
    values = metadata.get(key)
    if values is None:
        return None
    numbers = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(numbers, list) or len(numbers) != count:
        raise ReverieError(f"The GGUF file's {key} does not have one number for each token: use another file.")
    if not set(map(type, numbers)) <= {int, float} or not all(map(math.isfinite, numbers)):
        raise ReverieError(f"The GGUF file's {key} holds something that is no number: use another file.")
    return numbers


def _ids(metadata: Mapping[str, Any], names: str, count: int) -> list[int]:
    """The ids under tokenizer.ggml.NAME_token_id, of the names that are there."""
    ids = []
    for name in names.split():
        token = metadata.get(f"tokenizer.ggml.{name}_token_id")
        if token is None:
            continue
        if not hasattr(token, "__index__") or not 0 <= operator.index(token) < count:
            raise ReverieError(f"The GGUF file's {name}_token_id is {token!r}, which is none of its {count:,} tokens.")
        ids.append(operator.index(token))
    return ids


def _sort_out(
    tokens: Sequence[str], types: Sequence[int], named: set[int], model: str
) -> tuple[dict[str, int], dict[str, int]]:
    """Text -> id of the tokens that are pieces of text, and of those that were added as they stand."""
    words = dict(zip(tokens, range(len(tokens)), strict=True))
    added: dict[str, int] = {}
    marked = {token for token, kind in enumerate(types) if kind in (CONTROL, USER_DEFINED, UNUSED)}
    for token in sorted(marked | named):
        text = tokens[token]
        del words[text]
        if model == "llama" and types[token] == USER_DEFINED and not text.strip(f" {SPACE}"):
            # Gemma's runs of spaces are found by merging, like any other piece.
            words[text.replace(" ", SPACE)] = token
        elif types[token] != UNUSED:
            added[text] = token
    words.pop("", None)
    added.pop("", None)
    return words, added


def _pre(metadata: Mapping[str, Any]) -> str:
    name = _get(metadata, "tokenizer.ggml.pre", str)
    name = "default" if name is None else PRE_ALIASES.get(name, name)
    if name not in PRE_TOKENIZERS:
        known = ", ".join([*PRE_TOKENIZERS, *PRE_ALIASES])
        raise ReverieError(f"The GGUF file's text is to be cut as in {name!r}: Reverie knows {known}.")
    return str(name)


def _byte_level(
    metadata: Mapping[str, Any], words: dict[str, int], merges: list[tuple[str, str]] | None
) -> tokenizers.Tokenizer:
    """Byte-pair encoding over bytes, as in GPT-2."""
    name = _pre(metadata)
    if merges is None:
        raise ReverieError("The GGUF file has no list of merges (tokenizer.ggml.merges): use another file.")
    plain = _bpe(words, merges, ignore_merges=name == "llama-bpe")
    cuts: list[Any] = [pre_tokenizers.Split(Regex(expression), "isolated") for expression in PRE_TOKENIZERS[name]]
    plain.pre_tokenizer = pre_tokenizers.Sequence(
        [*cuts, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    if name == "qwen2":
        plain.normalizer = normalizers.NFC()
    plain.decoder = decoders.ByteLevel()
    return plain


def _sentencepiece(
    metadata: Mapping[str, Any], words: dict[str, int], merges: list[tuple[str, str]] | None, types: Sequence[int]
) -> tokenizers.Tokenizer:
    """Byte-pair encoding over characters, with a mark for a space, as in Llama 2 and Gemma."""
    prefix = _get(metadata, "tokenizer.ggml.add_space_prefix", bool) is not False
    unknown = [text for text, token in words.items() if types[token] == UNKNOWN]
    plain = _bpe(
        words,
        _derived_merges(metadata, words, types) if merges is None else merges,
        unk_token=next(iter(unknown), None),
        fuse_unk=True,
        byte_fallback=any(types[token] == BYTE for token in words.values()),
    )
    spaces = normalizers.Replace(" ", SPACE)
    plain.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), spaces]) if prefix else spaces
    strip = [decoders.Strip(" ", 1, 0)] if prefix else []
    plain.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    return plain


def _merges(metadata: Mapping[str, Any], added: Mapping[str, int]) -> list[tuple[str, str]] | None:
    """The pairs to merge, without those that would spell an added token; None if the file has none."""
    lines = _get(metadata, "tokenizer.ggml.merges", list)
    if lines is None:
        return None
    if not set(map(type, lines)) <= {str}:
        raise ReverieError("The GGUF file's tokenizer.ggml.merges are not text: use another file.")
    pairs: list[Any] = [tuple(line.split(" ")) for line in lines]
    if not set(map(len, pairs)) <= {2}:
        raise ReverieError("The GGUF file's tokenizer.ggml.merges are not pairs: use another file.")
    if added.keys().isdisjoint(map("".join, pairs)):
        return pairs
    return [pair for pair in pairs if added.keys().isdisjoint(("".join(pair), *pair))]


def _derived_merges(
    metadata: Mapping[str, Any], words: Mapping[str, int], types: Sequence[int]
) -> list[tuple[str, str]]:
    """All ways to make a piece of two others, the best piece first: what SentencePiece does with its scores.

    Gemma's scores do not say in which order its pieces were learnt, but their ids do.
    """
    scores = _numbers(metadata, "tokenizer.ggml.scores", len(types))
    if str(metadata.get("general.architecture")).startswith("gemma"):
        scores = [-token for token in range(len(types))]
    if scores is None:
        raise ReverieError("The GGUF file has neither merges nor scores of its tokens: use another file.")
    pieces = {text: token for text, token in words.items() if types[token] not in (UNKNOWN, BYTE)}
    found = []
    for text, token in pieces.items():
        halves = [(text[:cut], text[cut:]) for cut in range(1, len(text))]
        ways = [(left, right) for left, right in halves if left in pieces and right in pieces]
        ways.sort(key=lambda way: (pieces[way[0]], pieces[way[1]]))
        found += [(-scores[token], -len(left), -len(right), left, right) for left, right in ways]
        if len(found) > MAX_PAIRS_A_TOKEN * len(types):
            raise ReverieError(
                "The GGUF file's tokens fit together in more ways than any real model's: use another file."
            )
    found.sort(key=operator.itemgetter(0, 1, 2))
    return [(left, right) for *_, left, right in found]


def _bpe(words: dict[str, int], merges: list[tuple[str, str]], **settings: Any) -> tokenizers.Tokenizer:
    settings = {name: value for name, value in settings.items() if value is not None}
    try:
        return tokenizers.Tokenizer(models.BPE(words, merges, **settings))
    except Exception as error:  # the library raises a bare Exception
        raise ReverieError(f"The GGUF file's merges do not fit its tokens ({error}): use another file.") from error
