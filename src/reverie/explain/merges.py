"""Merges: byte-pair encoding replayed, one merge after another (arXiv:1508.07909, section 3.2)."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

from reverie.engine import Model
from reverie.explain.exhibit import Prompt, Shown, maker
from reverie.explain.reading import quoted
from reverie.explain.tunes import composes
from reverie.lm.tokenizer import Tokenizer
from reverie.types import ReverieError

MOST_WORDS = 24

Merges = dict[tuple[str, str], int]  # pair -> how early it was learnt
_KNOWN: WeakKeyDictionary[Tokenizer, Merges] = WeakKeyDictionary()


@maker(
    "merges",
    title="Merges",
    question="How does the tokenizer find the pieces of a word?",
    family="lm",
    when=lambda model: not composes(model),
)
def merges(model: Model, prompt: Prompt) -> Shown:
    """Each word of the prompt from its letters to its tokens, a merge at a time.

    data: words [{"word", "steps" [{"pieces", "pair", "rank"}], "ids", "tokens"}]: the first step has the bytes
    alone; rank says how early the pair was learnt, 0 first. num_merges: that the tokenizer knows. matches: whether the
    tokens found this way are those that the model reads.
    """
    tokenizer = model.medium.tokenizer
    text = prompt if isinstance(prompt, str) else " ".join(message.content for message in prompt)
    if not text:
        raise ReverieError("The prompt is empty: give at least one word.")
    known, parts = _merges(tokenizer), _words(tokenizer, text)
    words = [_replay(tokenizer, known, word) for word in parts[:MOST_WORDS]]
    found = [token for word in words for token in word["ids"]]
    matches = tokenizer.encode(text)[: len(found)] == found
    most = max(words, key=lambda word: len(word["steps"]))
    says = [
        f"{quoted(most['word'])} begins as {len(most['steps'][0]['pieces'])} pieces and needs {len(most['steps']) - 1} "
        f"merges; it ends as {' | '.join(piece.strip() for piece in most['tokens'])}.",
        f"At every step the pair goes together that was learnt earliest, of {len(known):,} pairs in all.",
    ]
    if len(parts) > MOST_WORDS:
        says.append(f"The prompt has {len(parts)} words; the first {MOST_WORDS} are shown.")
    return {"words": words, "num_merges": len(known), "matches": matches}, says


def _merges(tokenizer: Tokenizer) -> Merges:
    if tokenizer not in _KNOWN:
        model = json.loads(tokenizer.plain.to_str())["model"]
        if model["type"] != "BPE":
            raise ReverieError("This model's tokenizer knows no merges (it is not byte-pair encoding): choose another.")
        pairs = (tuple(pair.split(" ", 1)) if isinstance(pair, str) else tuple(pair) for pair in model["merges"])
        _KNOWN[tokenizer] = {(left, right): rank for rank, (left, right) in enumerate(pairs)}
    return _KNOWN[tokenizer]


def _words(tokenizer: Tokenizer, text: str) -> list[str]:
    """The parts of a text within which merges happen, in the tokenizer's own letters."""
    plain = tokenizer.plain
    if plain.normalizer is not None:
        text = plain.normalizer.normalize_str(text)
    return [text] if plain.pre_tokenizer is None else [part for part, _ in plain.pre_tokenizer.pre_tokenize_str(text)]


def _replay(tokenizer: Tokenizer, known: Merges, word: str) -> dict[str, Any]:
    pieces, steps = list(word), list[dict[str, Any]]()
    steps.append({"pieces": _spelt(tokenizer, pieces), "pair": None, "rank": None})
    while pairs := {pair: known[pair] for pair in pairwise(pieces) if pair in known}:
        pair = min(pairs, key=pairs.__getitem__)
        pieces = _joined(pieces, pair)
        steps.append({"pieces": _spelt(tokenizer, pieces), "pair": _spelt(tokenizer, pair), "rank": known[pair]})
    ids = [tokenizer.plain.token_to_id(piece) for piece in pieces]
    return {"word": "".join(steps[-1]["pieces"]), "steps": steps, "ids": ids, "tokens": steps[-1]["pieces"]}


def _joined(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    """The pieces with every occurrence of the pair made one."""
    made = list[str]()
    for piece in pieces:
        if made and (made[-1], piece) == pair:
            made[-1] = "".join(pair)
        else:
            made.append(piece)
    return made


def _spelt(tokenizer: Tokenizer, pieces: Any) -> list[str]:
    """Pieces as people read them; bytes that are no character as <0xE4>."""
    ids = [tokenizer.plain.token_to_id(piece) for piece in pieces]
    return [piece if token is None else tokenizer.token_text(token) for piece, token in zip(pieces, ids, strict=True)]
