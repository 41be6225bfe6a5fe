"""Which of the tokens that were added to a vocabulary are control tokens: decided here, for all kinds of files.

They are those that the file calls so, and those among the others that look like <|this|> or that the model's own chat
template writes, such as Qwen's <tool_call>. What remains, such as runs of line ends, is shorthand for ordinary text: it
is found in typed text as well, because the model has learnt it so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import tokenizers

from reverie.lm.tokenizer import Tokenizer

# Control tokens of these names end an answer, whether or not the file says so.
END_NAMES = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<end_of_turn>")


def assembled(
    plain: tokenizers.Tokenizer,
    added: Mapping[str, int],
    special: set[str],
    template: str | None,
    *,
    bos_id: int | None,
    eos_id: int | None,
    ends: Iterable[int],
    add_bos: bool,
    inner: tokenizers.Tokenizer | None = None,
) -> Tokenizer:
    """The tokenizer of these parts. added: text -> id; special: the added tokens that the file calls control tokens."""
    control = {text: token for text, token in added.items() if is_control(text, special, template)}
    return Tokenizer(
        plain,
        control,
        bos_id,
        {*ends, *(control[name] for name in END_NAMES if name in control)},
        add_bos and bos_id is not None,
        eos_id=eos_id,
        shorthand={text: token for text, token in added.items() if text not in control},
        shown=[token for text, token in control.items() if text not in special],
        inner=inner,
    )


def is_control(text: str, special: set[str], template: str | None) -> bool:
    """Whether an added token must never come from typed text."""
    written = template is not None and text in template and not text.isspace()
    return text in special or written or (text.startswith("<|") and text.endswith("|>"))
