"""Music: tunes -> words to learn from; free words -> what kind of tune is wanted -> a tune in ABC, bar by bar.

B batch, T tokens of a window, V vocabulary
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from reverie.data import tunes
from reverie.lm.chat import ChatTemplate
from reverie.lm.constrain import AnyText
from reverie.lm.family import Autoregressive
from reverie.lm.generate import Guide, Prompt
from reverie.lm.model import DecoderConfig, small_decoder
from reverie.lm.tokenizer import TextStream, Tokenizer, byte_pairs
from reverie.notation import abc, plan, words
from reverie.notation.plan import Plan
from reverie.notation.theory import Key, at_pitch_class, neighbours
from reverie.notation.tune import Note, Tune
from reverie.types import Artifact, Example, LMRequest, ReverieError, Step

DATA = "tunes"  # the data set that Reverie builds; any other source is a file of ABC
BEGIN, FINISH = "<tune>", "<end>"
LEAST_OFTEN = 8  # a word that occurs less often in the data, in all keys, is none
TITLE_PIECES = 1024  # 256 bytes, and what titles are made of
MOST_TITLE_TOKENS = 16
LEAST_TOLD_BARS = 8  # a shorter tune is made as the beginning of one of eight: the data set has three of seven
USUAL_BARS, LEAST_NEW_BARS = (16, 24, 32, 48, 64), 4  # of a tune that is carried on
OWN_KEY = 0.3  # the share of examples in the key of their book
TITLE_CHARS = re.compile(r"[A-Za-z'&,. -]+")

FindData = Callable[[str, int], Path]


@dataclass(frozen=True)
class MusicRequest(LMRequest):
    """What is asked of a model that composes.

    prompt: free words ("a lively jig in D major"). key, metre, rhythm, bars, tempo_bpm count more than the words.
    begin: a tune in ABC to go on from. free: let the model write what it wants, whether or not the bars add up.
    guidance: how far the choice of pitches goes beyond what the key alone would give, away from the keys that it may be
    taken for; 1 is not at all, arXiv:2306.17806. It acts where key and mode are asked for.
    """

    prompt: str
    max_tokens: int = 700
    temperature: float = 0.85
    min_p: float = 0.03
    guidance: float = 1.5
    key: str | None = None
    metre: str | None = None
    rhythm: str | None = None
    bars: int | None = None
    tempo_bpm: int | None = None
    begin: str | None = None
    free: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.prompt, str):
            raise ReverieError("A tune's prompt is a text: give a str.")

    @cached_property
    def begun(self) -> Tune | None:
        """The tune to go on from; read once, as every look at what there is so far needs it."""
        return None if self.begin is None else abc.from_abc(self.begin)

    @cached_property
    def plan(self) -> Plan:
        """All that is wanted."""
        told = plan.read(self.prompt)
        if self.key is not None:
            key = abc.read_key(self.key)
            told = told.with_(tonic=key.tonic, mode=key.mode, german=self.key.strip()[0] in "hH")
        return told.with_(metre=self.metre, rhythm=self.rhythm, num_bars=self.bars, tempo_bpm=self.tempo_bpm)


class Music:
    """Tunes, as a language model reads and writes them."""

    name = "music"
    family = Autoregressive()
    request = MusicRequest
    needs = ("find_data",)
    presets: ClassVar[dict[str, DecoderConfig]] = {
        "tiny": small_decoder(128, 3, 768),
        "small": small_decoder(256, 6, 768),
        "medium": small_decoder(384, 8, 768),
    }
    recipes: ClassVar[dict[str, Mapping[str, Any]]] = {
        "tiny": {"batch": 8, "warmup_steps": 20, "max_steps": 500},
        "small": {"batch": 16, "max_steps": 5000, "dropout": 0.1, "weight_decay": 0.1},
        "medium": {"batch": 16, "max_steps": 10_000, "dropout": 0.2, "weight_decay": 0.1},
    }

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate, window_tokens: int = 256) -> None:
        self.tokenizer, self.template, self.window_tokens = tokenizer, template, window_tokens
        self._find_data: FindData | None = None
        self.vocabulary = Vocabulary(tokenizer)

    @classmethod
    def fresh(cls, source: str, config: DecoderConfig, find_data: FindData) -> tuple[Self, DecoderConfig]:
        """Tunes in the words that are found in what is learnt from."""
        kept = tunes.load(_path(source, find_data), held_out=False)
        medium = cls(learnt_tokenizer([one.tune for one in kept]), ChatTemplate(None))
        medium._find_data = find_data
        return medium, replace(config, vocab_size=medium.tokenizer.vocab_size)

    # --- to learn from ---

    def examples(self, source: str, *, held_out: bool) -> Tunes:
        """Tunes of the data set, or of a file of ABC; those held out stay in their own keys."""
        assert self._find_data is not None
        kept = tunes.load(_path(source, self._find_data), held_out=held_out)
        found = [list(self._in_keys(one.tune, own_only=held_out)) for one in kept]
        return Tunes([keys for keys in found if keys], self.window_tokens)

    def _in_keys(self, tune: Tune, *, own_only: bool) -> Iterator[Tensor]:
        """A whole tune as token ids, int16, in each key; without those that need a word that there is none for."""
        begin, finish = (self.tokenizer.control[name] for name in (BEGIN, FINISH))
        title = self.tokenizer.encode(f" {tune.title}") if tune.title else []
        for told in in_keys(tune, own_only=own_only):
            music = [self.vocabulary.ids.get(word) for word in told]
            if None not in music:
                yield torch.tensor([begin, *music, *title, finish], dtype=torch.int16)

    def batch(self, examples: Sequence[Example]) -> tuple[Tensor, None]:
        """Windows as one tensor of token ids (B, T + 1)."""
        return torch.stack([example.x for example in examples]), None

    def trials(self) -> Sequence[MusicRequest]:
        """A jig, and whatever it likes."""
        return [MusicRequest("a lively Irish jig in D major"), MusicRequest("a tune", seed=1)]

    # --- to compose ---

    def condition(self, request: MusicRequest) -> Prompt:
        """The beginning of the tune, and what may follow."""
        wanted, num_bars = self._wanted(request.plan, request.begun)
        rule = Bars(self.vocabulary, wanted, num_bars, free=request.free)
        tokens = [*self.tokenizer.encode_control(BEGIN)]
        if request.begun is not None:
            tokens += rule.begin(words.opening(wanted, request.begun))
        guide = self.vocabulary.guide(wanted, request.guidance)
        return Prompt(tuple(tokens), self.tokenizer.eos_ids, rule, guide)

    def _wanted(self, told: Plan, begun: Tune | None) -> tuple[dict[str, str], int | None]:
        """Words of the head that must come, and how many bars there are to be."""
        if begun is not None:
            written = words.num_bars(begun)
            over = words.ended_bars(begun) % PHRASE_BARS  # so that what comes is of whole phrases
            usual = (length + over for length in USUAL_BARS if length + over >= written + LEAST_NEW_BARS)
            num_bars = next(usual, 0) if told.num_bars is None else told.num_bars
            rhythm = told.rhythm or tunes.kind_of(begun)
            told = Plan(rhythm, str(begun.metre), begun.key.tonic, begun.key.mode, num_bars)
            if num_bars <= written:
                raise ReverieError(f"The tune has {written} bars already: ask for more with --bars, or give fewer.")
        known = self.vocabulary.heads
        kind = None if told.rhythm is None else told.rhythm.replace(" ", words.SPACE)
        plan.check(told.with_(rhythm=kind), *(tuple(known[name]) for name in ("rhythm", "metre", "mode")))
        tonic = None if told.tonic is None else _known_tonic(told, known["key"])
        heads = {"rhythm": kind, "metre": told.metre, "key": tonic, "mode": told.mode}
        if told.num_bars is not None:
            like = max(told.num_bars, LEAST_TOLD_BARS)
            heads["bars"] = min(known["bars"], key=lambda bars: abs(int(bars) - like))
        return {name: value for name, value in heads.items() if value is not None}, told.num_bars

    def encode(self, prompt: Any) -> list[int]:
        """A tune in words, from its beginning on, as token ids; ids as they are."""
        told = f"{BEGIN} {prompt.removeprefix(BEGIN).strip()}".rstrip() if isinstance(prompt, str) else ""
        return self.tokenizer.encode_control(told) if told else list(prompt)

    def shape(self, request: MusicRequest) -> tuple[int, ...]:
        """The most new tokens."""
        return (request.max_tokens,)

    def tune(self, x: Sequence[int], request: MusicRequest | None = None) -> Tune:
        """Token ids -> the tune so far; with a request its tempo, and what it goes on from."""
        told, begun = (Plan(), None) if request is None else (request.plan, request.begun)
        if begun is None:
            tune = words.from_text(self.tokenizer.decode(x))
            return replace(tune, tempo_bpm=told.tempo_of(tune.rhythm))
        opening = words.opening(self._wanted(told, begun)[0], begun)
        tune = words.from_text("".join(f" {word}" for word in opening) + self.tokenizer.decode(x))
        tempo_bpm = begun.tempo_bpm if told.tempo_bpm is None else told.tempo_bpm
        return replace(tune, tempo_bpm=tempo_bpm, title=begun.title if begun.title else tune.title)

    def decode(self, x: Sequence[int]) -> Artifact:
        """Token ids -> ABC; of a tune that has only begun what there is."""
        return Artifact(abc.to_abc(self.tune(x)), "text/vnd.abc")

    def stream(self, steps: Iterator[Step], request: MusicRequest) -> Iterator[Step]:
        """Adds the new words as "text" to each step's info."""
        stream = TextStream(self.tokenizer, after_text=True)
        for step in steps:
            if "token" not in step.info:
                yield step
                continue
            yield replace(step, info={**step.info, "text": stream.push(step.info["token"])})


def _path(source: str, find_data: FindData) -> Path:
    return find_data(DATA, 0) if source == DATA else Path(source)


def _known_tonic(told: Plan, known: Sequence[str]) -> str:
    """The tonic as the model calls it: F# for Gb."""
    if told.tonic in known:
        return str(told.tonic)
    return at_pitch_class(abc.read_key(str(told.tonic)).pitch_class, told.mode or "major").tonic


class Tunes:
    """Windows of T + 1 tokens: tunes drawn at random, each in a random key, one after the other."""

    def __init__(self, encoded: list[list[Tensor]], window_tokens: int) -> None:
        if not encoded:
            raise ReverieError("There is no tune to learn from: give a file with a few dozen tunes in ABC.")
        self.encoded, self._length = encoded, window_tokens + 1

    def item(self, seed: int, index: int) -> Example:
        """Token ids (T + 1,)."""
        dice = random.Random(f"{seed} {index}")  # noqa: S311 - no secret
        pieces, length = list[Tensor](), 0
        while length < self._length:
            keys = dice.choice(self.encoded)
            pieces.append(keys[0] if dice.random() < OWN_KEY else dice.choice(keys))
            length += len(pieces[-1])
        return Example(torch.cat(pieces)[: self._length].long())


class Vocabulary:
    """Which tokens are words of the head, notes, signs and letters of a title."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        names = {text.strip(): token for text, token in tokenizer.shorthand.items()}
        self.ids = names
        self.size = tokenizer.vocab_size
        self.texts = {token: text for text, token in names.items()}
        self.heads = {
            name: [text.partition("=")[2] for text in names if text.startswith(f"{name}=")] for name in words.HEAD
        }
        self.notes: dict[tuple[int, bool], list[int]] = {}
        for text, token in names.items():
            if (note := words.word_note(text)) is not None:
                self.notes.setdefault((note.ticks, note.tied), []).append(token)
        self.durations = tuple(sorted({ticks for ticks, tied in self.notes if not tied}))
        pieces = {token: tokenizer.token_bytes(token) for token in range(self.size) if token not in self.texts}
        self.title = [
            token
            for token, piece in pieces.items()
            if token not in tokenizer.control.values() and TITLE_CHARS.fullmatch(piece.decode("ascii", "replace"))
        ]
        self.finish = min(tokenizer.eos_ids, default=0)

    def guide(self, head: Mapping[str, str], scale: float) -> Guide:
        """Away from the neighbours of the key in a head. It chooses among pitches of a length, and no more."""
        if scale == 1 or not {"key", "mode"} <= head.keys():
            return Guide()
        groups = torch.arange(self.size)
        for alike in self.notes.values():
            groups[alike] = min(alike)
        return Guide(tuple(self._in_neighbours(head)), scale, groups)

    def _in_neighbours(self, head: Mapping[str, str]) -> Iterator[Mapping[int, int]]:
        """For each neighbour of the key: the words of the head -> those that tell of the neighbour."""
        others = ({"key": key.tonic, "mode": key.mode} for key in neighbours(Key(head["key"], head["mode"])))
        for other in others:
            told = {f"{name}={head[name]}": f"{name}={value}" for name, value in other.items()}
            if {*told.keys(), *told.values()} <= self.ids.keys():
                yield {self.ids[word]: self.ids[instead] for word, instead in told.items()}


@dataclass
class Bars(AnyText):
    """Lets only words through that keep a tune whole: bars that add up, repeats that close, a title, an end.

    form: besides, parts are of whole phrases, there are as many bars as the head tells, and it closes on the tonic.
    free: only what is wanted of the head is kept to, and it is counted what would have been wrong.
    asked, corrected: how many words of music there were, and at how many the likeliest one would have been wrong.
    brought_home: whether the last bar would have closed otherwise; that is not among those corrected.
    """

    vocabulary: Vocabulary
    wanted: Mapping[str, str]
    num_bars: int | None = None
    free: bool = False
    form: bool = True
    asked: int = 0
    corrected: int = 0
    brought_home: bool = False
    title_tokens: int = 0
    hurried: bool = False
    follower: words.Follower = field(init=False)

    def __post_init__(self) -> None:
        self.form = self.form and not self.free
        phrase = PHRASE_BARS if self.form else 1
        self.follower = words.Follower(self.wanted, self.num_bars, self.vocabulary.durations, phrase)

    def begin(self, told: Sequence[str]) -> list[int]:
        """Takes the beginning of a given tune; its tokens. A `ReverieError` where its bars do not add up."""
        phrase, self.follower.phrase = self.follower.phrase, 1  # it has its own
        for word in told:
            if word not in self.vocabulary.ids:
                raise ReverieError(f"The model has no word for {word!r}: give a tune in plain notes from G3 to E6.")
            if not self.follower.allows(word):
                raise ReverieError(f"The bars of the tune do not add up (at {word!r}): give one whose bars are full.")
            self.follower.take(word)
        self.follower.phrase = phrase
        return [self.vocabulary.ids[word] for word in told]

    def allow(self, logits: Tensor) -> Tensor:
        """Logits (V,) with -inf for every word that may not come."""
        whole = self._allowed()
        home = self._homeward(whole)
        if not (self.follower.in_head or self.follower.over):
            self._count(int(logits.argmax()), whole, home)
            if self.free:
                return logits
        allowed = torch.zeros(len(logits), dtype=torch.bool)
        allowed[home] = True
        return logits.masked_fill(~allowed, -torch.inf)

    def _count(self, likeliest: int, whole: Sequence[int], home: Sequence[int]) -> None:
        self.asked += 1
        self.corrected += likeliest not in whole
        self.brought_home |= likeliest in whole and likeliest not in home

    def _allowed(self) -> list[int]:
        follower, known = self.follower, self.vocabulary
        if follower.in_head:
            return [token for word, token in known.ids.items() if follower.allows(word)]
        if follower.over:
            return [known.finish, *(known.title if self.title_tokens < MOST_TITLE_TOKENS else ())]
        signs = [known.ids[sign] for sign, may in follower.signs().items() if may and sign in known.ids]
        rooms = [key for key in known.notes if follower.has_room(key[0])]
        if self.hurried:
            return self._shortest(signs, rooms)
        notes = [token for key in rooms for token in known.notes[key]]
        held = follower.held
        if held is not None:
            notes = [token for token in notes if words.word_note(known.texts[token]).pitch == held]  # type: ignore[union-attr]
        return [*signs, *notes]

    def _homeward(self, tokens: list[int]) -> list[int]:
        """The same without what would not lead the last bar to the tonic; all of them where nothing does."""
        if not self.form or self.follower.over or not self.follower.in_last_bar:
            return tokens
        home = [token for token in tokens if self.follower.leads_home(self.vocabulary.texts[token])]
        return home if home else tokens

    def _shortest(self, signs: list[int], rooms: list[tuple[int, bool]]) -> list[int]:
        """What leads to the end soonest: the end itself, any other line, or the longest notes."""
        known = self.vocabulary
        for sign in (words.END, words.REPEAT, words.DOUBLE, words.LINE, words.ENDINGS[1]):
            if known.ids.get(sign) in signs:
                return [known.ids[sign]]
        return known.notes[max(key for key in rooms if not key[1])]

    def take(self, token: int, left: int) -> int:
        """The token that was chosen."""
        word = self.vocabulary.texts.get(token)
        if word is None:
            self.title_tokens += 1
            return token
        self.follower.take(word)
        if self.form and self.num_bars is None and not self.follower.in_head:
            self.follower.num_bars = int(self.follower.told["bars"])
        self.hurried |= left < HURRY_TOKENS and not self.free
        return token


HURRY_TOKENS = 60
PHRASE_BARS = 4  # 97 of 100 tunes of the data set have parts of whole fours


def in_keys(tune: Tune, *, own_only: bool = False) -> Iterator[list[str]]:
    """A tune in words, without its title, in every key that it can be played in; its own comes first."""
    body = list(words.body(tune.bars))
    for semitones, key in tunes.keys(tune)[: 1 if own_only else None]:
        yield [*words.head(replace(tune, key=key)), *(words.shifted(word, semitones) for word in body)]


def learnt_tokenizer(found: Sequence[Tune]) -> Tokenizer:
    """A token for every word that occurs often enough in tunes, in all keys; byte-pair encoding for titles."""
    plain = byte_pairs((f" {tune.title}" for tune in found), TITLE_PIECES)
    counts = Counter(word for tune in found for told in in_keys(tune) for word in told)
    often = {word for word, count in counts.items() if count >= LEAST_OFTEN} | set(words.SIGNS)
    often |= set(_grid([note for word in often if (note := words.word_note(word)) is not None]))
    first = plain.get_vocab_size()
    shorthand = {f" {word}": first + at for at, word in enumerate(sorted(often))}
    control = {BEGIN: first + len(shorthand), FINISH: first + len(shorthand) + 1}
    return Tokenizer(plain, control, control[BEGIN], [control[FINISH]], eos_id=control[FINISH], shorthand=shorthand)


def _grid(notes: Sequence[Note]) -> Iterator[str]:
    """Every pitch and a rest in every length that occurs: whatever has room in a bar, there is a word for it."""
    pitches = [note.pitch for note in notes if note.pitch is not None]
    for ticks in {note.ticks for note in notes if not note.tied}:
        yield from (words.note_word(Note(pitch, ticks)) for pitch in (None, *range(min(pitches), max(pitches) + 1)))


Medium = Music
