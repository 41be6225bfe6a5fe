"""What exhibits of models that compose have in common: a prompt as a tune in words, and where each word stands.

T words of a tune, its beginning, head and title among them
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reverie.data import tunes
from reverie.engine import Model, find_data
from reverie.notation import abc, words
from reverie.notation.order import upbeats
from reverie.notation.tune import QUARTER, Tune
from reverie.types import ReverieError

ABC = re.compile(r"^K:", re.MULTILINE)
DATA = "tunes"  # where tunes are that people made
MOST_TITLE = 40  # tokens of a title, and two more
HEAD = tuple(f"{name}=" for name in words.HEAD)


@dataclass(frozen=True)
class Word:
    """A word of a tune and where it stands; what it has not is None.

    kind: "begin", "head", "note", "rest", "sign" or "title". bar: its place among the bars, from 0; number: as
    musicians count, upbeats with the bar that follows. beat: where it begins in its bar, from 1. pitch: MIDI's number.
    start, length: in quarter notes as it is written, repeats once.
    """

    text: str
    kind: str
    bar: int | None = None
    number: int | None = None
    beat: float | None = None
    pitch: int | None = None
    start: float | None = None
    length: float | None = None

    @property
    def sounds(self) -> bool:
        """Whether it is a note or a rest."""
        return self.kind in ("note", "rest")

    @property
    def name(self) -> str:
        """A word to be spoken of: what it is, and where."""
        bare = self.text.strip().partition(":")[0] if self.sounds else self.text.strip()
        return f"{bare} (bar {self.number}, beat {self.beat:.3g})" if self.sounds else f"“{bare}”"


@dataclass(frozen=True)
class Heard:
    """A tune as a model reads it. tokens: (1, T). composed: whether the model made it just now.

    wanted, num_bars: what was asked for of its head, and how many bars, as in `modalities.music.Bars`.
    """

    tokens: Tensor
    words: list[Word]
    composed: bool = False
    wanted: Mapping[str, str] = field(default_factory=dict)
    num_bars: int | None = None

    @property
    def texts(self) -> list[str]:
        """All words."""
        return [word.text for word in self.words]

    @property
    def notes(self) -> list[int]:
        """The places of notes and rests."""
        return [place for place, word in enumerate(self.words) if word.sounds]

    @property
    def tune(self) -> Tune:
        """The tune itself."""
        return words.from_text("".join(self.texts[1:]))


def composes(model: Model) -> bool:
    """Whether a model makes tunes."""
    return hasattr(model.medium, "tune")


def in_words(model: Model, prompt: Any) -> Any:
    """What a model reads of a prompt: one that composes the words of a tune, any other the prompt as it is.

    A tune may be given in ABC or in words. Of free words ("a jig in D") it is the head that they ask for, up to what
    they leave open.
    """
    if not composes(model):
        return prompt
    if not isinstance(prompt, str):
        raise ReverieError("The prompt is a conversation: say in a few words what to compose, or give a tune in ABC.")
    if ABC.search(prompt) is not None:
        tune = abc.from_abc(prompt)
        return _known(model, words.to_text(replace(tune, rhythm=tunes.kind_of(tune))))
    if any(part.startswith(HEAD) or words.word_note(part) is not None for part in prompt.split()):
        return _known(model, " " + " ".join(prompt.split()))
    wanted = model.medium.condition(model.medium.request(prompt)).rule.wanted
    return "".join(f" {name}={wanted[name]}" for name in itertools.takewhile(wanted.__contains__, words.HEAD))


def _known(model: Model, text: str) -> str:
    """The same, if the model has a token for every note and every word of the head."""
    for word in text.partition(f" {words.END}")[0].split():
        is_music = word.startswith(HEAD) or words.word_note(word) is not None
        if is_music and word not in model.medium.vocabulary.ids:
            raise ReverieError(f"The model has no word for {word[:40]!r}: give plain notes from G3 to E6.")
    return text


def heard(model: Model, prompt: Any, seed: int = 0) -> Heard:
    """The tune that a prompt gives, in ABC or in words; or, where it only says what kind of tune, one composed now."""
    text = in_words(model, prompt)
    asked: tuple[Any, ...] = ()
    if any(words.word_note(word) is not None for word in text.split()):
        ids = model.medium.encode(text)
    else:
        generation = model.generate(prompt, seed=seed)
        *_, last = generation
        begun, rule = generation.condition.tokens, generation.condition.rule
        ids, asked = [*begun, *last.guess], (True, rule.wanted, generation.request.plan.num_bars)
    if len(ids) > model.context_tokens:
        raise ReverieError(f"The tune has {len(ids)} words, and the model reads {model.context_tokens}: give a part.")
    texts = [model.medium.tokenizer.token_text(token) for token in ids]
    return Heard(torch.tensor([ids], device=model.core.embed.weight.device), placed(texts), *asked)


def placed(texts: Sequence[str]) -> list[Word]:
    """Where each word of a tune stands; the first text is the token that begins it."""
    tune = words.from_text("".join(texts[1:]))
    return [Word(texts[0], "begin"), *_placed(texts[1:], tune)]


def _placed(texts: Sequence[str], tune: Tune) -> Iterator[Word]:
    short, beat_ticks = _starts(texts, tune), tune.metre.beat_ticks
    bar = filled = start = 0
    over = False
    for text in texts:
        word = text.strip()
        note = None if over else words.word_note(word)
        number = 1 + bar - sum(ticks > 0 for ticks in short[:bar])
        if note is not None:
            kind, beat = ("rest" if note.pitch is None else "note"), 1 + (short[bar] + filled) / beat_ticks
            yield Word(text, kind, bar, number, beat, note.pitch, start / QUARTER, note.ticks / QUARTER)
            filled, start = filled + note.ticks, start + note.ticks
        elif over or word not in words.SIGNS:
            yield Word(text, "title" if over else "head")
        else:
            yield Word(text, "sign", bar, number)
            over = word == words.END
            bar, filled = (bar + 1, 0) if word in words.LINES and filled else (bar, filled)


def _starts(texts: Sequence[str], tune: Tune) -> list[int]:
    """For each bar, and one that may come, the ticks that an upbeat lacks at its beginning; 0 of any other bar."""
    lacks = [tune.metre.ticks - bar.ticks if is_up else 0 for bar, is_up in zip(tune.bars, upbeats(tune), strict=True)]
    whole = any(text.strip() == words.END for text in texts) or not texts or texts[-1].strip() in words.SIGNS
    if lacks and not whole:
        lacks[-1] = 0  # it has only begun
    return [*lacks, 0]


# --- tunes that people made ---


def held_out() -> list[Tune]:
    """The real tunes that no model of Reverie learns from; a `ReverieError` if they are not on this machine."""
    return _held_out(find_data(DATA, 0))


@lru_cache(maxsize=1)
def _held_out(path: Path) -> list[Tune]:
    return [one.tune for one in tunes.load(path, held_out=True)]


def like(model: Model, tune: Tune, seed: int) -> Tune | None:
    """A held-out tune that a model can read, of the same kind, metre and mode, and nearly as long; None: there is none.

    Another one for each seed.
    """
    kind, num = (tune.rhythm, tune.metre, tune.key.mode), words.num_bars(tune)
    kin = [other for other in held_out() if (other.rhythm, other.metre, other.key.mode) == kind]
    near = [other for other in kin if abs(words.num_bars(other) - num) <= num // 4]
    found = near if near else kin
    turn = seed % len(found) if found else 0
    return next((other for other in [*found[turn:], *found[:turn]] if _readable(model, other)), None)


def _readable(model: Model, tune: Tune) -> bool:
    """Whether a model has a token for every word of a tune."""
    told = [*words.head(tune), *words.body(tune.bars)]
    return len(told) + MOST_TITLE < model.context_tokens and all(word in model.medium.vocabulary.ids for word in told)
