"""Text: prompts and conversations -> token ids, token ids -> text that streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import torch

from reverie.lm.chat import ChatTemplate
from reverie.lm.family import Autoregressive
from reverie.lm.generate import Prompt
from reverie.lm.model import DecoderConfig
from reverie.lm.tokenizer import StopScanner, TextStream, Tokenizer
from reverie.types import Artifact, Example, Message, Request, Step


class Text:
    """Text, as a language model reads and writes it."""

    name = "text"
    family = Autoregressive()
    presets: ClassVar[dict[str, DecoderConfig]] = {
        "tiny": DecoderConfig(
            vocab_size=256,
            width=128,
            depth=4,
            num_heads=4,
            num_kv_heads=4,
            head_width=32,
            mlp_width=384,
            max_tokens=256,
        )
    }

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate) -> None:
        self.tokenizer = tokenizer
        self.template = template

    def examples(self, source: str) -> Iterable[Example]:
        """The text file `source` as one example: its token ids (T,)."""
        yield Example(torch.tensor(self.tokenizer.encode(Path(source).read_text(encoding="utf-8"))))

    def encode(self, prompt: str | Sequence[Message]) -> list[int]:
        """A text to continue, or a conversation to answer, as token ids."""
        if isinstance(prompt, str):
            return self.tokenizer.encode_prompt(prompt)
        return self.template.encode(self.tokenizer, prompt)

    def condition(self, request: Request) -> Prompt:
        """What the decoder is given."""
        return Prompt(tuple(self.encode(request.prompt)), self.tokenizer.eos_ids)

    def shape(self, request: Request) -> tuple[int, ...]:
        """The most new tokens."""
        return (request.max_tokens,)

    def decode(self, x: Sequence[int]) -> Artifact:
        """Token ids -> text; a character whose bytes are not all there yet is left out."""
        stream = TextStream(self.tokenizer)
        return Artifact("".join(stream.push(token) for token in x), "text/plain")

    def stream(self, steps: Iterator[Step], request: Request) -> Iterator[Step]:
        """Adds the new piece of "text" to each step's info, and ends before a stop string."""
        stream = TextStream(self.tokenizer, after_text=isinstance(request.prompt, str))
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


def _piece(stream: TextStream, step: Step) -> str:
    """The text that the newest token completes; an end token has none."""
    is_end = step.info.get("finish_reason") == "stop"
    return "" if is_end else stream.push(step.info["token"])


Medium = Text
