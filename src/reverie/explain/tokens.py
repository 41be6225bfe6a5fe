"""Tokens: how text becomes the numbers a model reads."""

from __future__ import annotations

from collections import Counter

from reverie.engine import Model
from reverie.explain.exhibit import Prompt, Shown, maker
from reverie.explain.reading import quoted, read

MOST_TOKENS = 512


@maker(
    "tokens",
    title="Tokens",
    question="How does a text become numbers that a model can read?",
    family="lm",
)
def tokens(model: Model, prompt: Prompt) -> Shown:
    """The pieces of a prompt, in order.

    data: tokens [{"id", "text", "bytes", "control"}], where bytes of no whole character are shown as <0xE4>;
    num_tokens, num_bytes, vocab_size, and longest: the largest number of bytes in one piece.
    """
    reading, tokenizer = read(model, prompt, MOST_TOKENS), model.medium.tokenizer
    ids = reading.tokens[0].tolist()
    named = set(tokenizer.control.values())
    rows = [
        {"id": token, "text": text, "bytes": list(tokenizer.token_bytes(token)), "control": token in named}
        for token, text in zip(ids, reading.texts, strict=True)
    ]
    sizes = [len(row["bytes"]) for row in rows]
    data = {
        "tokens": rows,
        "num_tokens": len(rows),
        "num_bytes": sum(sizes),
        "vocab_size": tokenizer.vocab_size,
        "longest": max(sizes),
    }
    says = [
        f"The prompt is {sum(sizes)} bytes long and becomes {len(rows)} tokens, "
        f"each one of the {tokenizer.vocab_size:,} pieces that this model knows."
    ]
    text, times = Counter(reading.texts).most_common(1)[0]
    if times > 1:
        says.append(
            f"{quoted(text)} comes {times} times, each time as the same number {ids[reading.texts.index(text)]}."
        )
    if fragments := [row["text"].strip() for row in rows if not _is_whole(bytes(row["bytes"]))]:
        says.append(f"{len(fragments)} tokens are parts of a character, shown as bytes, such as {fragments[0]}.")
    return data, says + reading.notes


def _is_whole(data: bytes) -> bool:
    """Whether bytes are characters of their own."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
