"""Text: files -> windows to learn from; prompts and conversations -> token ids, token ids -> text that streams.

B batch, T tokens of a window
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeGuard

import torch
from torch import Tensor

from reverie.lm.chat import ChatTemplate
from reverie.lm.constrain import AnyText, Json
from reverie.lm.family import Autoregressive
from reverie.lm.generate import Prompt
from reverie.lm.model import DecoderConfig, small_decoder
from reverie.lm.tokenizer import StopScanner, TextStream, Tokenizer, byte_pairs
from reverie.types import Artifact, Example, LMRequest, Message, ReverieError, Step

# What a model that only ever read one text continues: the words themselves, without roles.
AS_IT_STANDS = "{{ messages | map(attribute='content') | join('\n\n') }}"

HELD_OUT = 0.1  # the share of a text, at its end, that is never learnt from


class Text:
    """Text, as a language model reads and writes it."""

    name = "text"
    family = Autoregressive()
    request = LMRequest
    needs = ()  # nothing but the source
    presets: ClassVar[dict[str, DecoderConfig]] = {
        "tiny": small_decoder(192, 5, 128, 1024),
        "small": small_decoder(256, 6, 256, 512),
        "medium": small_decoder(512, 8, 512, 4096),
        "large": small_decoder(768, 12, 1024, 16_384),
    }
    recipes: ClassVar[dict[str, Mapping[str, Any]]] = {
        "tiny": {"batch": 16, "warmup_steps": 20, "max_steps": 500},
        "small": {"batch": 16, "warmup_steps": 20, "max_steps": 1400, "dropout": 0.15, "weight_decay": 0.1},
        "medium": {"batch": 32, "max_steps": 10_000},
        "large": {"batch": 64, "accumulate": 4, "max_steps": 20_000},
    }

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate, window_tokens: int = 128) -> None:
        self.tokenizer = tokenizer
        self.template = template
        self.window_tokens = window_tokens

    @classmethod
    def fresh(cls, source: str, config: DecoderConfig) -> tuple[Self, DecoderConfig]:
        """Text in pieces that are found in what is learnt from, in windows as long as the context.

        config.vocab_size: how many different pieces there are at most; 256 is bytes alone.
        """
        tokenizer = learnt_tokenizer(_part(source, held_out=False), config.vocab_size)
        medium = cls(tokenizer, ChatTemplate(AS_IT_STANDS), config.max_tokens)
        return medium, replace(config, vocab_size=tokenizer.vocab_size)

    def examples(self, source: str, *, held_out: bool) -> Windows:
        """Windows of the text file `source`: of its last tenth if `held_out`, else of the rest."""
        tokens = torch.tensor(self.tokenizer.encode(_part(source, held_out=held_out)), dtype=torch.int32)
        if len(tokens) <= self.window_tokens:
            raise ReverieError(
                f"{source} is too short: a tenth of it is held out and must have more than {self.window_tokens} tokens."
            )
        return Windows(tokens, self.window_tokens)

    def batch(self, examples: Sequence[Example]) -> tuple[Tensor, None]:
        """Windows as one tensor of token ids (B, T + 1); text is conditioned on nothing but itself."""
        return torch.stack([example.x for example in examples]), None

    def trials(self) -> Sequence[LMRequest]:
        """A page from nothing but a new line."""
        return [LMRequest("\n", max_tokens=300, temperature=0.8, slide=True)]

    def encode(self, prompt: str | Sequence[int] | Sequence[Message]) -> list[int]:
        """A text to continue, or a conversation to answer, as token ids; ids as they are."""
        if isinstance(prompt, str):
            return self.tokenizer.encode_prompt(prompt)
        if is_conversation(prompt):
            return self.template.encode(self.tokenizer, prompt)
        return self._checked(prompt)

    def _checked(self, ids: Sequence[Any]) -> list[int]:
        most = self.tokenizer.vocab_size - 1
        if wrong := [token for token in ids if not 0 <= token <= most]:
            raise ReverieError(f"{wrong[0]} is no token of this model: give ids from 0 to {most}.")
        return list(ids)

    def condition(self, request: LMRequest) -> Prompt:
        """What the decoder is given."""
        rule = AnyText() if request.json_schema is None else Json(self.tokenizer, request.json_schema)
        return Prompt(tuple(self.encode(request.prompt)), self.tokenizer.eos_ids, rule)

    def shape(self, request: LMRequest) -> tuple[int, ...]:
        """The most new tokens."""
        return (request.max_tokens,)

    def decode(self, x: Sequence[int]) -> Artifact:
        """Token ids -> text; a character whose bytes are not all there yet is left out."""
        stream = TextStream(self.tokenizer)
        return Artifact("".join(stream.push(token) for token in x), "text/plain")

    def stream(self, steps: Iterator[Step], request: LMRequest) -> Iterator[Step]:
        """Adds the new piece of "text" to each step's info, and ends before a stop string."""
        stream = TextStream(self.tokenizer, after_text=not is_conversation(request.prompt))
        scanner = StopScanner(request.stop)
        for step in steps:
            if "token" not in step.info:
                yield step
                continue
            ended = "finish_reason" in step.info
            piece, stopped = scanner.push(_piece(stream, step))
            if ended and not stopped:
                tail, stopped = scanner.push(stream.flush())
                piece += tail if stopped else tail + scanner.flush()
            finish = {"finish_reason": "stop"} if stopped else {}
            yield replace(step, info={**step.info, "text": piece, **finish})
            if stopped:
                return


def is_conversation(prompt: str | Sequence[int] | Sequence[Message]) -> TypeGuard[Sequence[Message]]:
    """Whether a prompt is to be answered, not continued."""
    return not isinstance(prompt, str) and any(isinstance(turn, Message) for turn in prompt)


class Windows:
    """Windows of T + 1 tokens of a text, T apart: every epoch in another order, and shifted by less than T."""

    def __init__(self, tokens: Tensor, window_tokens: int) -> None:
        self._tokens, self._length = tokens, window_tokens
        self._num = max((len(tokens) - window_tokens) // window_tokens, 1)  # that there are, however shifted
        self._epoch: tuple[tuple[int, int], int, Tensor] | None = None

    def item(self, seed: int, index: int) -> Example:
        """Token ids (T + 1,)."""
        epoch, place = divmod(index, self._num)
        shift, order = self._shuffled(seed, epoch)
        start = shift + int(order[place]) * self._length
        return Example(self._tokens[start : start + self._length + 1].long())

    def _shuffled(self, seed: int, epoch: int) -> tuple[int, Tensor]:
        if self._epoch is None or self._epoch[0] != (seed, epoch):
            rng = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
            most = min(self._length, len(self._tokens) - self._num * self._length)
            shift = int(torch.randint(most, (), generator=rng))
            self._epoch = (seed, epoch), shift, torch.randperm(self._num, generator=rng)
        return self._epoch[1:]


def learnt_tokenizer(text: str, vocab_size: int) -> Tokenizer:
    """A tokenizer with the 256 bytes, so that no text is foreign to it, and the pieces most frequent in `text`."""
    return Tokenizer(byte_pairs([text], vocab_size), {})


def _part(source: str, *, held_out: bool) -> str:
    """The last tenth of a text file, or what comes before."""
    text = _read(Path(source))
    cut = int(len(text) * (1 - HELD_OUT))
    return text[cut:] if held_out else text[:cut]


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise ReverieError(f"{file} cannot be read ({error.strerror}): give a text file to learn from.") from error
    except UnicodeDecodeError as error:
        raise ReverieError(f"{file} is not UTF-8 text: give a text file to learn from.") from error


def _piece(stream: TextStream, step: Step) -> str:
    """The text that the newest token completes; an end token has none."""
    is_end = step.info.get("finish_reason") == "stop"
    return "" if is_end else stream.push(step.info["token"])


Medium = Text
