"""Conversations as text and as tokens: a model's chat template, rendered and encoded so that typed text stays text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import chain
from types import CodeType, ModuleType
from typing import TYPE_CHECKING

from reverie.types import Message, ReverieError

if TYPE_CHECKING:
    from reverie.lm.tokenizer import Tokenizer

MAX_SOURCE_CHARACTERS = 65_536  # the longest known templates, with tools in many formats, have about 30,000

# A base model was trained on no template. This is the plainest dialogue that one is likely to have read.
PLAIN = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ {'user': 'User: ', 'assistant': 'Assistant: ', 'system': ''}[message.role] + message.content | trim }}\n\n"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


class ChatTemplate:
    """How a model was taught to read a conversation.

    source: the Jinja template of the model, or None for a base model, which gets `PLAIN`.
    bos, eos: the texts of the tokens that begin and end a document ("" if there are none).
    """

    def __init__(self, source: str | None, bos: str = "", eos: str = "") -> None:
        self.source = source
        self.bos = bos
        self.eos = eos

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> str:
        """The conversation as text, up to where the model's answer begins if `add_generation_prompt`.

        A template that is wrong, refuses the conversation or goes over its limits is a `ReverieError`.
        """
        values = {
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "add_generation_prompt": add_generation_prompt,
            "bos_token": self.bos,
            "eos_token": self.eos,
            "tools": None,
            "documents": None,
        }
        with _explained() as sandbox:
            text: str = sandbox.rendered(self._code, values, sum(len(message.content) for message in messages))
            return text

    def encode(
        self, tokenizer: Tokenizer, messages: Sequence[Message], add_generation_prompt: bool = True
    ) -> list[int]:
        """The conversation as token ids. Control tokens come from the template alone, never from a message."""
        guard = _unused_character([self._text, *(message.content for message in messages)])
        guarded = [Message(message.role, tokenizer.guard(message.content, guard)) for message in messages]
        return tokenizer.encode_control(self.render(guarded, add_generation_prompt), guard)

    @property
    def _text(self) -> str:
        return PLAIN if self.source is None else self.source

    @cached_property
    def _code(self) -> CodeType:
        if len(self._text) > MAX_SOURCE_CHARACTERS:
            raise ReverieError(
                f"The model's chat template has {len(self._text):,} characters, more than {MAX_SOURCE_CHARACTERS:,}: "
                "use another model file."
            )
        with _explained() as sandbox:
            code: CodeType = sandbox.compiled(self._text)
            return code


@contextmanager
def _explained() -> Iterator[ModuleType]:
    """The module `sandbox`, with whatever can go wrong in a template turned into a `ReverieError`."""
    from reverie.lm import meter, sandbox  # noqa: PLC0415 - imports jinja2, which is slow to import

    try:
        yield sandbox
    except ReverieError:
        raise
    except sandbox.Refused as error:
        raise ReverieError(f"The model's chat template refuses this conversation: {error}.") from error
    except meter.TooMuchError as error:
        raise ReverieError(f"The model's chat template was stopped ({error}): use another model file.") from error
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ReverieError(f"The model's chat template is broken ({reason}): use another model file.") from error


def _unused_character(texts: Sequence[str]) -> str:
    """A character that is in none of the texts: one that Unicode keeps for private use inside programs."""
    used = set().union(*texts)
    noncharacters, private = range(0xFDD0, 0xFDF0), range(0xF0000, 0xFFFFE)
    return next(chr(code) for code in chain(noncharacters, private) if chr(code) not in used)
