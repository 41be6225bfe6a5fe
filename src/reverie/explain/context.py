"""Context: the same word in two sentences is the same vector at the bottom, and parts on its way up.

L layers, W model width, S senses
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reverie.engine import Model
from reverie.explain.capture import capture
from reverie.explain.exhibit import Prompt, Shown, maker
from reverie.explain.reading import percent, read
from reverie.explain.tunes import composes
from reverie.types import ReverieError

Senses = dict[str, list[str]]  # sense -> sentences that end with the word


@maker(
    "context",
    title="Meaning from context",
    question="How does one word come to mean two things?",
    family="lm",
    when=lambda model: not composes(model),
)
def context(model: Model, prompt: Prompt, *, other: str | None = None, word: str = "", accuracy: bool = False) -> Shown:
    """A word's state in the prompt after every layer, beside the same word elsewhere.

    other: a second sentence with the word. word: which; left out, the last one of the prompt that is known to have two
    senses, or that both sentences have. accuracy: also how often the nearest sense is the right one, over all committed
    sentences (a second or two the first time).
    data: word, sentences; layers [{"layer" (0 is the embedding), "similarity": cosine with the word in `other`, after
    what all words of both have in common is taken away, or null; "senses" {sense: cosine} from -1 to 1, for a known
    word}]; settled: the layer from which the final sense leads, or null; accuracy {"layers" [share], "sentences"}.
    """
    text = prompt if isinstance(prompt, str) else prompt[-1].content
    word = word if word else _word(text, other)
    own = _states(model, text, word)
    rows: list[dict[str, Any]] = [{"layer": i, "similarity": None, "senses": {}} for i in range(len(own[0]))]
    data: dict[str, Any] = {"word": word, "sentences": [text] if other is None else [text, other], "layers": rows}
    data |= {"settled": None, "accuracy": None}
    says = []
    if other is not None:
        says += _beside(rows, own, _states(model, other, word), word)
    if word in senses():
        says += _by_sense(rows, own[0], _known_states(model, word), data)
    if accuracy:
        data["accuracy"] = _accuracy(model)
        says.append(_praise(data["accuracy"]))
    if not says:
        raise ReverieError(f"There is nothing to compare {word[:80]!r} with: give a second sentence with it as other.")
    return data, says


def _beside(
    rows: list[dict[str, Any]], own: tuple[Tensor, Tensor], their: tuple[Tensor, Tensor], word: str
) -> list[str]:
    """Fills in how alike the two states are after every layer."""
    common = torch.cat((own[1], their[1]), 1).mean(1)  # (L + 1, W)
    similar = F.cosine_similarity(own[0] - common, their[0] - common, dim=-1)
    for row, value in zip(rows, similar.tolist(), strict=True):
        row["similarity"] = value
    least = int(similar.argmin())
    return [
        f"“{word}” begins as the same vector in both sentences (similarity {float(similar[0]):.2f}) and is least alike "
        f"after layer {least} of {len(rows) - 1} ({float(similar[least]):.2f})."
    ]


def _by_sense(rows: list[dict[str, Any]], own: Tensor, known: dict[str, Tensor], data: dict[str, Any]) -> list[str]:
    """Fills in how near each sense the state is after every layer."""
    nearness = _nearness(own, known)  # (L + 1, S)
    for row, values in zip(rows, nearness.tolist(), strict=True):
        row["senses"] = dict(zip(known, values, strict=True))
    final = int(nearness[-1].argmax())
    leads = (nearness[:, [final]] > nearness + 1e-4).sum(1) == nearness.shape[1] - 1  # the embedding leans to none
    data["settled"] = max((i + 1 for i, lead in enumerate(leads.tolist()) if not lead), default=0)
    return [
        f"At the end “{data['word']}” is nearest to the sense “{list(known)[final]}”, "
        f"and it has been since layer {data['settled']} of {len(rows) - 1}."
    ]


def _nearness(state: Tensor, known: dict[str, Tensor]) -> Tensor:
    """Cosine of a state (L + 1, W) with each sense's mean state, seen from the middle between the senses (L + 1, S)."""
    means = torch.stack([F.normalize(states, dim=-1).mean(0) for states in known.values()])  # (S, L + 1, W)
    middle = means.mean(0)
    return F.cosine_similarity((F.normalize(state, dim=-1) - middle)[None], means - middle, dim=-1).T


@cache
def senses() -> dict[str, Senses]:
    """Word -> its senses, with the committed sentences."""
    found = tomllib.loads((files("reverie.explain") / "senses.toml").read_text(encoding="utf-8"))
    return {word: {sense: row["sentences"] for sense, row in each.items()} for word, each in found.items()}


def _word(text: str, other: str | None) -> str:
    """The last word of the text that is known to have senses, or that the other sentence has too."""
    words = [word.strip(".,;:!?\"'()“”").lower() for word in text.split()]
    theirs = set() if other is None else {word.strip(".,;:!?\"'()“”").lower() for word in other.split()}
    for word in reversed(words):
        if word in theirs or (other is None and word in senses()):
            return word
    known = ", ".join(senses())
    raise ReverieError(f"No word is compared: give a second sentence with the same word, or use one of {known}.")


@torch.inference_mode()
def _states(model: Model, text: str, word: str) -> tuple[Tensor, Tensor]:
    """The state of a word's last token where it comes last in a text (L + 1, W), and of all tokens but the first."""
    reading = read(model, text)
    place = _place(model, reading.tokens[0].tolist(), word)
    blocks = [f"blocks.{layer}" for layer in range(model.core.config.depth)]
    with capture(model.core, *blocks) as tape:
        model.core.hidden(reading.tokens)
    states = torch.cat([tape.inputs["blocks.0"][0][0], *(tape[block][0] for block in blocks)]).float().cpu()
    return states[:, place], states[:, 1:]  # the first token's is like no other, and would drown what is common


def _place(model: Model, ids: list[int], word: str) -> int:
    """The last token of the last occurrence of a word."""
    pieces = [model.medium.tokenizer.token_bytes(token) for token in ids]
    start = b"".join(pieces).lower().rfind(word.lower().encode())
    if not word or start < 0:
        raise ReverieError(f"The word {word[:80]!r} is not in the sentence: give one that stands in both.")
    end, read_bytes = start + len(word.lower().encode()), 0
    for place, piece in enumerate(pieces):
        read_bytes += len(piece)
        if read_bytes >= end:
            return place
    return len(ids) - 1


_KNOWN: WeakKeyDictionary[nn.Module, dict[str, dict[str, Tensor]]] = WeakKeyDictionary()


def _known_states(model: Model, word: str) -> dict[str, Tensor]:
    """Sense -> the states of the word at the end of its sentences (sentences, L + 1, W); read once for each model."""
    known = _KNOWN.setdefault(model.core, {})
    if word not in known:
        known[word] = {
            sense: torch.stack([_states(model, sentence, word)[0] for sentence in sentences])
            for sense, sentences in senses()[word].items()
        }
    return known[word]


def _accuracy(model: Model) -> dict[str, Any]:
    """How often the nearest sense is the right one after each layer, each sentence judged by the others alone."""
    right = []
    for word in senses():
        known = _known_states(model, word)
        for number, states in enumerate(known.values()):
            for i in range(len(states)):
                others = list(known.values())
                others[number] = torch.cat((states[:i], states[i + 1 :]))
                nearness = _nearness(states[i], dict(enumerate(others)))  # type: ignore[arg-type]
                right.append((nearness.argmax(1) == number).float())
    return {"layers": torch.stack(right).mean(0).tolist(), "sentences": len(right)}


def _praise(accuracy: dict[str, Any]) -> str:
    shares = accuracy["layers"]
    best = max(range(len(shares)), key=shares.__getitem__)
    return (
        f"Over {accuracy['sentences']} sentences with two-fold words the nearest sense is right in "
        f"{percent(shares[best])} after layer {best}, where it is best, and in {percent(shares[-1])} at the end; "
        "to guess would be right in 50%."
    )
