"""Text <-> token ids: byte-pair encoding (arXiv:1508.07909), control tokens that nobody can type, streams of text."""

from __future__ import annotations

import bisect
import codecs
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from reverie.types import ReverieError


class Tokenizer:
    """A vocabulary of pieces of text, and of control tokens that give a conversation its structure.

    plain: encodes text into pieces, and knows no control tokens at all.
    control: text -> id of the tokens that typed text never becomes; only a template can write them.
    bos_id, eos_id: the tokens that begin and end a document; eos_ids: all tokens that end a text.
    add_bos: whether a prompt begins with bos_id.
    shorthand: text -> id of the tokens that are found whole in any text, before `plain` sees it.
    shown: the ids of control tokens that are nevertheless written when decoding, such as <think>.
    inner: encodes text that follows a control token, where that differs from the beginning of a text.
    """

    def __init__(
        self,
        plain: tokenizers.Tokenizer,
        control: Mapping[str, int],
        bos_id: int | None = None,
        eos_ids: Iterable[int] = (),
        add_bos: bool = False,
        *,
        eos_id: int | None = None,
        shorthand: Mapping[str, int] | None = None,
        shown: Iterable[int] = (),
        inner: tokenizers.Tokenizer | None = None,
    ) -> None:
        self.plain = plain
        self.inner = plain if inner is None else inner
        self.control = dict(control)
        self.shorthand = {} if shorthand is None else dict(shorthand)
        self.shown = frozenset(shown)
        self.bos_id, self.eos_id, self.eos_ids, self.add_bos = bos_id, eos_id, frozenset(eos_ids), add_bos
        self._added = self.shorthand | self.control
        self._names = {token: text for text, token in self._added.items()}
        self._bytes: dict[int, bytes] = {}

    @cached_property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        return 1 + max([*self.plain.get_vocab(with_added_tokens=False).values(), *self._names], default=-1)

    @property
    def bos_text(self) -> str:
        """What a template calls bos_token; "" if there is none."""
        return "" if self.bos_id is None else self.token_text(self.bos_id)

    @property
    def eos_text(self) -> str:
        """What a template calls eos_token; "" if there is none."""
        return "" if self.eos_id is None else self.token_text(self.eos_id)

    def encode(self, text: str) -> list[int]:
        """Typed text as ids: never a control token, and no beginning of its own."""
        return self._encode(text, self._shorthand_pattern, "")

    def encode_prompt(self, text: str) -> list[int]:
        """Typed text to continue, after the token that begins a document if this model wants one."""
        begin = [self.bos_id] if self.add_bos and self.bos_id is not None else []
        return begin + self.encode(text)

    def encode_control(self, text: str, guard: str = "") -> list[int]:
        """Text of a template as ids, control tokens among them. A token behind a `guard` is text; guards vanish."""
        return self._encode(text, _pattern(tuple(self._added), guard), guard)

    def guard(self, text: str, guard: str) -> str:
        """Text with `guard` put before whatever is a control token, in any case, or may become one by what follows."""
        end = len(text) - self._longest
        starts = {match.start() for match in self._control_anywhere.finditer(text)}
        starts |= {start for start in range(max(end, 0), len(text)) if self._begins_control(text[start:])}
        cuts = [0, *sorted(starts), len(text)]
        return guard.join(text[start:stop] for start, stop in pairwise(cuts))

    def decode(self, ids: Iterable[int]) -> str:
        """Ids as text, without control tokens. Bytes that are no UTF-8 become U+FFFD."""
        stream = TextStream(self)
        return "".join([stream.push(token) for token in ids]) + stream.flush()

    def token_text(self, token: int) -> str:
        """One token, to be shown: bytes that are no character of their own as <0xE4>, control tokens by name."""
        name = self._names.get(token)
        if name is not None:
            return name
        text = self.token_bytes(token).decode("utf-8", "surrogateescape")
        return "".join(f"<0x{ord(char) - 0xDC00:02X}>" if 0xDC80 <= ord(char) <= 0xDCFF else char for char in text)

    def token_bytes(self, token: int) -> bytes:
        """What a token adds to the text: nothing for control tokens, and for ids that are no token."""
        known = self._bytes.get(token)
        if known is None:
            known = self._bytes[token] = self._spell(token)
        return known

    def _spell(self, token: int) -> bytes:
        if token in self._names:
            hidden = token in self._control_ids and token not in self.shown
            return b"" if hidden else self._names[token].encode()
        piece = self.plain.id_to_token(token) if 0 <= token < 2**32 else None
        if piece is None:
            return b""
        return _byte_level(piece) if self._is_byte_level else _sentencepiece(piece)

    def _encode(self, text: str, pattern: re.Pattern[str], guard: str) -> list[int]:
        ids: list[int] = []
        try:
            for index, part in enumerate(pattern.split(text)):
                if index % 2:
                    ids.append(self._added[part])
                elif part := part.replace(guard, "") if guard else part:
                    plain = self.inner if index else self.plain
                    ids += plain.encode(part, add_special_tokens=False).ids
        except (UnicodeEncodeError, TypeError) as error:
            raise ReverieError("The text is not valid Unicode (half a surrogate pair): save it as UTF-8.") from error
        return ids

    @cached_property
    def _shorthand_pattern(self) -> re.Pattern[str]:
        return _pattern(tuple(self.shorthand), "")

    @cached_property
    def _control_anywhere(self) -> re.Pattern[str]:
        return re.compile(f"(?={_alternatives(self.control)})", re.IGNORECASE)

    def _begins_control(self, text: str) -> bool:
        place = bisect.bisect_left(self._sorted, text)
        return place < len(self._sorted) and self._sorted[place].startswith(text)

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(self.control)

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.control), default=0)

    @cached_property
    def _control_ids(self) -> frozenset[int]:
        return frozenset(self.control.values())

    @cached_property
    def _decoders(self) -> list[dict[str, Any]]:
        """The steps of the decoder of `plain`."""
        state = json.loads(self.plain.decoder.__getstate__()) if self.plain.decoder is not None else {}
        return list(state.get("decoders", [state]))

    @cached_property
    def _is_byte_level(self) -> bool:
        return any(step.get("type") == "ByteLevel" for step in self._decoders)

    @cached_property
    def strips_space(self) -> bool:
        """Whether the space before the first word is not part of the text (SentencePiece's dummy prefix)."""
        return any(step.get("start") or step.get("prepend_scheme") in ("first", "always") for step in self._decoders)


def byte_pairs(texts: Iterable[str], size: int) -> tokenizers.Tokenizer:
    """Pieces of texts, at most `size` of them, the 256 bytes among them.

    Byte-pair encoding (arXiv:1508.07909): the most frequent pair of tokens becomes a token, again and again.
    """
    plain = tokenizers.Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    plain.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=size, initial_alphabet=letters, show_progress=False)
    )
    return plain


class TextStream:
    """Token ids -> pieces of text, one at a time; a character comes when its last byte has come.

    after_text: the tokens continue a text, so that a space before the first word is meant.
    """

    def __init__(self, tokenizer: Tokenizer, after_text: bool = False) -> None:
        self._tokenizer = tokenizer
        self._strip = tokenizer.strips_space and not after_text
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The new text, "" while a character is incomplete."""
        data = self._tokenizer.token_bytes(token)
        if self._strip and data:
            data, self._strip = data.removeprefix(b" "), False
        return self._decoder.decode(data)

    def flush(self) -> str:
        """What is left at the end: U+FFFD if a character stayed incomplete."""
        return self._decoder.decode(b"", final=True)


class StopScanner:
    """Finds the first of some stop strings in a text that comes in pieces."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._longest = max(map(len, self._stops), default=0)
        self._held = ""
        self._stopped = False

    def push(self, piece: str) -> tuple[str, bool]:
        """The text that is certainly before any stop string, and whether one has been reached."""
        if not self._stops:
            return piece, False
        if self._stopped:
            return "", True
        text = self._held + piece
        found, open_ = self._find(text), self._find_open(text)
        self._stopped = found <= open_ and found < len(text)
        self._held = "" if self._stopped else text[open_:]
        return text[: min(found, open_)], self._stopped

    def flush(self) -> str:
        """At the end of the text, what was held back because a stop string might have come of it."""
        text, self._held = self._held, ""
        return text[: self._find(text)]

    def _find(self, text: str) -> int:
        """Where the first stop string begins; the text's length if there is none."""
        places = [text.find(stop) for stop in self._stops]
        return min((place for place in places if place >= 0), default=len(text))

    def _find_open(self, text: str) -> int:
        """Where the longest end of the text begins that more text could make a stop string of."""
        for place in range(max(0, len(text) - self._longest + 1), len(text)):
            if any(stop.startswith(text[place:]) for stop in self._stops):
                return place
        return len(text)


@lru_cache(maxsize=16)
def _pattern(names: tuple[str, ...], guard: str) -> re.Pattern[str]:
    """Splits a text at the names that do not follow a guard; they are every second part."""
    unguarded = f"(?<!{re.escape(guard)})" if guard else ""
    return re.compile(f"{unguarded}({_alternatives(names)})")


def _alternatives(names: Iterable[str]) -> str:
    """A regular expression for any of the names, the longest first; grouped by first letter, so that it is fast."""
    groups: dict[str, list[str]] = {}
    for name in sorted(filter(None, names), key=len, reverse=True):
        groups.setdefault(name[0], []).append(re.escape(name[1:]))
    return "|".join(f"{re.escape(first)}(?:{'|'.join(rest)})" for first, rest in groups.items()) if groups else "(?!)"


@lru_cache(maxsize=1)
def _bytes_of_letters() -> dict[str, int]:
    """GPT-2's alphabet for bytes: printable Latin-1 letters stand for themselves, U+0100 and on for the others."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = sorted(set(range(256)) - set(printable))
    return {chr(byte): byte for byte in printable} | {chr(0x100 + place): byte for place, byte in enumerate(others)}


def _byte_level(piece: str) -> bytes:
    letters = _bytes_of_letters()
    try:
        return bytes([letters[letter] for letter in piece])
    except KeyError:  # a word that was added as it stands
        return piece.encode()


def _sentencepiece(piece: str) -> bytes:
    byte = re.fullmatch(r"<0x([0-9A-F]{2})>", piece)
    return bytes([int(byte[1], 16)]) if byte else piece.replace("▁", " ").encode()
