"""Conversations to learn from: a JSON object a line, {"messages": [{"role": "user", "content": "..."}, ...]}.

T tokens of a conversation
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reverie.lm.chat import ChatTemplate
from reverie.lm.tokenizer import Tokenizer
from reverie.types import Example, Message, ReverieError

HELD_OUT = 0.1  # the share of the conversations, the last ones, that is never learnt from
NOT_ASKED = -100
ROLES = ("system", "user", "assistant")


class Chats:
    """Conversations without an end: every epoch all of them, in another order. Tokens and targets (2, T) each."""

    def __init__(self, rows: Sequence[Tensor]) -> None:
        self._rows = rows

    def item(self, seed: int, index: int) -> Example:
        """Token ids (T,), and beneath them the same where the model answers and -100 elsewhere."""
        epoch, place = divmod(index, len(self._rows))
        rng = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
        return Example(self._rows[int(torch.randperm(len(self._rows), generator=rng)[place])])


def read_chats(
    source: str, tokenizer: Tokenizer, template: ChatTemplate, context_tokens: int, *, held_out: bool
) -> Chats:
    """The last tenth of the conversations in a file, or all others. What is wrong with a line is a `ReverieError`."""
    try:
        lines = Path(source).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ReverieError(f"{source} cannot be read as text: give a JSONL file of conversations.") from error
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    num_kept = max(1, int(len(numbered) * HELD_OUT))
    if len(numbered) < 2:
        raise ReverieError(f"{source} holds fewer than two conversations: one is held out, and one must be learnt.")
    wanted = numbered[-num_kept:] if held_out else numbered[:-num_kept]
    rows = []
    for number, line in wanted:
        row = encode(_messages(line, f"Line {number} of {source}"), tokenizer, template)
        if row.shape[1] > context_tokens:
            raise ReverieError(
                f"Line {number} of {source} has {row.shape[1]:,} tokens: {context_tokens:,} are the most."
            )
        rows.append(row)
    return Chats(rows)


def encode(messages: Sequence[Message], tokenizer: Tokenizer, template: ChatTemplate) -> Tensor:
    """A conversation as tokens and targets (2, T): what the assistant says is asked for, and the token that ends it."""
    tokens = template.encode(tokenizer, messages, add_generation_prompt=False)
    targets = [NOT_ASKED] * len(tokens)
    for index, message in enumerate(messages):
        if message.role == "assistant":
            start = len(template.encode(tokenizer, messages[:index]))
            end = len(template.encode(tokenizer, messages[: index + 1], add_generation_prompt=False))
            targets[start:end] = tokens[start:end]
    return torch.tensor([tokens, targets])


def _messages(line: str, where: str) -> list[Message]:
    """The messages of one line."""
    try:
        data: Any = json.loads(line)
        pairs = [(message["role"], message["content"]) for message in data["messages"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ReverieError(
            f'{where} is no conversation: write {{"messages": [{{"role": ..., "content": ...}}]}}.'
        ) from error
    if not all(role in ROLES and isinstance(content, str) for role, content in pairs):
        raise ReverieError(f"{where} has a message that is none: roles are {', '.join(ROLES)}, and content is text.")
    if not any(role == "assistant" for role, _ in pairs[1:]):
        raise ReverieError(f"{where} has no answer to learn: give it a message of the assistant after another.")
    return [Message(role, content) for role, content in pairs]
