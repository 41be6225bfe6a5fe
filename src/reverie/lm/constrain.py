"""Constrained decoding: of the tokens that could come, only those that keep the answer inside a JSON schema.

llguidance says which tokens those are (an Earley parser over the bytes of the vocabulary). Added here: an answer is
always whole, as no token is taken from which it could not be finished within the tokens that are left.

V vocabulary
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper
from torch import Tensor

from reverie.lm.tokenizer import Tokenizer
from reverie.types import ReverieError

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

ANY_OBJECT = '{"type": "object"}'

MOST_CHARS, MOST_DEPTH, MOST_VALUES = 64_000, 32, 4000  # of a schema
MOST_PATTERN_CHARS, MOST_COUNT = 500, 10_000  # of a regular expression; of a minLength and its like
MOST_CLOSING_BYTES = 4096  # that the rest of an answer may need
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")

# JSON on one line, as Python writes it: with free white space a small model may write nothing else.
_LAYOUT: JsonCompileOptions = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}

# Bytes to go on with towards the end, best first: out of a string, and in one.
_ENDING = b'}],1234567890"-.tfn[{: rueals+E'
_LETTERS = b"abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_OTHERS = bytes([*range(0x80, 0xC0), *(byte for byte in range(0x20, 0xF5) if not 0x80 <= byte < 0xC0)])


def check_schema(schema: str) -> None:
    """A `ReverieError` if a schema is none, is larger than the bounds above, or has what cannot be enforced."""
    _check_size(schema)
    grammar = _grammar(schema)
    if error := LLMatcher.validate_grammar(grammar, limits=_limits()):
        raise _unusable(error)


class AnyText:
    """No constraint."""

    cut_short = False

    def allow(self, logits: Tensor) -> Tensor:
        """The logits as they are (V,)."""
        return logits

    def take(self, token: int, left: int) -> int:
        """The token that was chosen."""
        return token


class Json(AnyText):
    """Lets only JSON through that fits `schema`. It follows one answer: `allow` and `take` in turn, token by token.

    cut_short: whether the answer had to be brought to its end before the model did so itself.
    """

    def __init__(self, tokenizer: Tokenizer, schema: str) -> None:
        check_schema(schema)
        if not tokenizer.eos_ids:
            raise ReverieError("This model has no token that ends a text: choose another for answers in JSON.")
        self._eos = tokenizer.eos_ids
        self._words, self._ids = _vocabulary(tokenizer)
        self._matcher = LLMatcher(self._words, _grammar(schema), limits=_limits(), log_level=0)
        self._spell = tokenizer.token_bytes
        self._place = (False, False)  # in a string, after a backslash
        rest = self._shortest_rest()
        if rest is None:
            raise _unusable("no end of an answer was found")
        self._rest = rest

    @property
    def least_tokens(self) -> int:
        """How many tokens an answer needs from here, as far as is known."""
        return len(self._rest)

    def allow(self, logits: Tensor) -> Tensor:
        """Logits (V,) with -inf for every token that would leave the schema."""
        mask = torch.zeros(len(logits), dtype=torch.bool)
        if self.cut_short:
            mask[self._rest[:1] if self._rest else list(self._eos)] = True
        else:
            allowed = torch.frombuffer(bytearray(self._matcher.compute_logit_bias()), dtype=torch.uint8)
            self._check()
            mask[: len(allowed)] = allowed[: len(logits)] > 0
        return logits.masked_fill(~mask, -torch.inf)

    def take(self, token: int, left: int) -> int:
        """The token that comes: the chosen one, if the answer can still be finished in the `left` tokens with it.

        Otherwise the answer goes to its end the shortest way. A `ReverieError` if there was never room for that.
        """
        if token in self._eos:
            return token
        if not self.cut_short:
            self._matcher.consume_token(token)
            self._check()
            before, self._place = self._place, _scan(self._place, self._spell(token))
            rest = self._shortest_rest()
            if rest is not None and len(rest) < left:
                self._rest = rest
                return token
            self._matcher.rollback(1)
            self._place, self.cut_short = before, True
        if not self._rest:  # it is whole as it stands
            return min(self._eos)
        if len(self._rest) > left:
            raise ReverieError(f"An answer that fits the schema needs {self.least_tokens} tokens: raise max_tokens.")
        token, *self._rest = self._rest
        return token

    def _shortest_rest(self) -> list[int] | None:
        """Tokens that make the answer whole from here, a short way if not the shortest; None if none was found."""
        rest, place = bytearray(), self._place
        while not self._matcher.is_accepting() and len(rest) < MOST_CLOSING_BYTES:
            more = self._matcher.compute_ff_bytes() or self._next_byte(place, len(rest))
            taken = self._matcher.try_consume_tokens([self._ids.get(bytes([byte]), -1) for byte in more])
            rest += more[:taken]
            place = _scan(place, more)
            if taken < len(more) or not more:
                break
        whole = self._matcher.is_accepting()
        self._matcher.rollback(len(rest))
        self._check()
        return self._tokens(bytes(rest)) if whole else None

    def _next_byte(self, place: tuple[bool, bool], turn: int) -> bytes:
        """A byte that may come and leads towards the end; letters take turns, so that no pattern repeats for ever."""
        at = turn % len(_LETTERS)
        in_string = chain(b'"', _LETTERS[at:], _LETTERS[:at], _OTHERS)
        for byte in in_string if place[0] else _ENDING:
            token = self._ids.get(bytes([byte]))
            if token is not None and self._matcher.validate_tokens([token]):
                return bytes([byte])
        return b""

    def _tokens(self, data: bytes) -> list[int]:
        """Bytes as tokens, the longest first."""
        found: list[int] = []
        while data:
            size = next(size for size in range(min(len(data), 32), 0, -1) if data[:size] in self._ids)
            found.append(self._ids[data[:size]])
            data = data[size:]
        return found

    def _check(self) -> None:
        if self._matcher.is_error():
            raise _unusable(self._matcher.get_error())


class _Spelling:
    """A vocabulary as llguidance wants it."""

    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.eos_token_id = min(tokenizer.eos_ids)
        self.tokens = [tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size)]
        self.special_token_ids = sorted({*tokenizer.control.values(), *tokenizer.eos_ids})
        self._encode = tokenizer.encode

    def __call__(self, text: str | bytes) -> list[int]:
        return self._encode(text if isinstance(text, str) else text.decode("utf-8", "replace"))


@lru_cache(maxsize=4)
def _vocabulary(tokenizer: Tokenizer) -> tuple[LLTokenizer, dict[bytes, int]]:
    """The vocabulary for llguidance, and bytes -> the first token that stands for them."""
    spelling = _Spelling(tokenizer)
    special = set(spelling.special_token_ids)
    ids = {data: token for token, data in reversed(list(enumerate(spelling.tokens))) if data and token not in special}
    words = LLTokenizer(TokenizerWrapper(spelling), eos_token=sorted(tokenizer.eos_ids))
    return words, ids


def _scan(place: tuple[bool, bool], data: bytes) -> tuple[bool, bool]:
    """Whether JSON is in a string, and after a backslash, once more bytes have come."""
    inside, escaped = place
    for byte in data:
        if escaped:
            escaped = False
        elif byte == ord("\\"):
            escaped = inside
        elif byte == ord('"'):
            inside = not inside
    return inside, escaped


def _check_size(schema: str) -> None:
    if len(schema) > MOST_CHARS:
        raise ReverieError(f"The JSON schema has {len(schema):,} characters: {MOST_CHARS:,} are the most.")
    try:
        whole = json.loads(schema)
    except (ValueError, RecursionError) as error:
        raise ReverieError("The JSON schema is not JSON: send it as an object.") from error
    if not isinstance(whole, dict):
        raise ReverieError("The JSON schema must be an object: write {} for any value.")
    level: Sequence[Any] = [whole]
    num_values = 0
    for _ in range(MOST_DEPTH):
        num_values += len(level)
        if num_values > MOST_VALUES:
            raise ReverieError(f"The JSON schema has too many parts: {MOST_VALUES:,} are the most.")
        level = [inner for value in level for inner in _parts(value)]
    if level:
        raise ReverieError(f"The JSON schema is nested too deeply: {MOST_DEPTH} levels are the most.")


def _parts(value: Any) -> Sequence[Any]:
    """What a part of a schema contains; a `ReverieError` for numbers and patterns out of bounds."""
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        return ()
    for key in _COUNTS:
        count = value.get(key)
        if isinstance(count, int) and count > MOST_COUNT:
            raise ReverieError(f"The JSON schema's {key} is {count}: {MOST_COUNT:,} is the most.")
    _check_bounds(value)
    several = value.get("patternProperties")
    patterns = [value.get("pattern"), *(several if isinstance(several, dict) else ())]
    if any(isinstance(pattern, str) and len(pattern) > MOST_PATTERN_CHARS for pattern in patterns):
        raise ReverieError(f"A pattern of the JSON schema is too long: {MOST_PATTERN_CHARS} characters are the most.")
    if "x-guidance" in value:  # would change the layout, or the keywords that are enforced
        raise ReverieError("The JSON schema has the key 'x-guidance': leave it out.")
    return list(value.values())


def _check_bounds(value: dict[str, Any]) -> None:
    """Refuses what llguidance 1.9 gets wrong: between 0 and 0.5, both excluded, it lets 0 through."""
    for excluded, others in {
        "exclusiveMinimum": ("maximum", "exclusiveMaximum"),
        "exclusiveMaximum": ("minimum", "exclusiveMinimum"),
    }.items():
        fractions = [value[other] for other in others if isinstance(value.get(other), float)]
        if isinstance(value.get(excluded), int | float) and any(not other.is_integer() for other in fractions):
            raise ReverieError(f"The JSON schema has {excluded} beside a fraction: give minimum and maximum instead.")


def _limits() -> LLParserLimits:
    return LLParserLimits(max_lexer_states=20_000, max_grammar_size=50_000, verbose_errors=False)


def _grammar(schema: str) -> str:
    try:
        return LLMatcher.grammar_from_json_schema(schema, overrides=_LAYOUT)
    except ValueError as error:  # what Python reads as JSON, and others do not: NaN, half a surrogate pair
        raise _unusable(str(error)) from error


def _unusable(reason: str) -> ReverieError:
    return ReverieError(f"The JSON schema cannot be used ({' '.join(reason.split())[:200]}): make it simpler.")
