"""How good a model's tunes are, beside real ones that it never saw and beside a Markov chain.

A tune is asked for as each of the real ones is: its kind, metre, key and mode. So the three columns can be compared.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from reverie.data.tunes import MODES, Kept
from reverie.modalities.music import BEGIN
from reverie.notation import abc, words
from reverie.notation.theory import Key, at_pitch_class, correlation, heard_key, turned
from reverie.notation.tune import Tune, parts, sounding, unfolded
from reverie.types import ReverieError

if TYPE_CHECKING:
    from reverie.engine import Model

ORDER = 2  # of the Markov chain: how many words it remembers; more cost more bits
MOST_WORDS = 500
START = ""  # before the first word
FINAL = 0.1  # what the last note is worth when a key is heard: of 0, 0.05, 0.1, 0.2 the best on real tunes
ANY_WORD = 1 / 500  # of a word that was never heard

Composer = Callable[[Tune, int], Tune]  # (a tune like which, seed)


@dataclass(frozen=True)
class Figures:
    """What is measured of some tunes; shares are from 0 to 1.

    bars: those that add up, before anything is corrected. parses: tunes that can be read back from their own ABC.
    key: heard as asked for (Krumhansl). metre: all bars are of the metre asked for. tonic: that the last note is it.
    key_major, key_others: the same of tunes in major, and in minor and the old modes, which his profiles know less of
    or not at all; None where there are none. key_ending: heard as asked for by `heard_as`, which knows all four and
    listens to the end.
    repeats: bars whose notes were there before. pitch_distance, length_distance: of the histograms of pitches above the
    tonic and of lengths from those of the tunes learnt from, in total variation. longest: the longest run of intervals
    that a tune learnt from has too, the median over tunes, and most of any. bits_per_note: on tunes never seen.
    """

    num: int
    bars: float
    parses: float
    key: float
    key_major: float | None
    key_others: float | None
    key_ending: float
    metre: float
    tonic: float
    repeats: float
    pitch_distance: float
    length_distance: float
    longest: float
    most: int
    bits_per_note: float | None


@dataclass(frozen=True)
class Reference:
    """What tunes are compared with: those that were learnt from."""

    learnt: Sequence[Tune]

    @cached_property
    def melodies(self) -> str:
        """All steps of all melodies, each a letter; no run goes over the end of a tune."""
        return "\n".join(_letters(tune) for tune in self.learnt)

    @cached_property
    def histograms(self) -> tuple[dict[int, float], dict[int, float]]:
        """Shares of pitches above the tonic and of lengths."""
        return histograms(self.learnt)

    @cached_property
    def profiles(self) -> dict[str, list[float]]:
        """For each mode how long each pitch above the tonic sounds, as a share (12,)."""
        found = {mode: [tune for tune in self.learnt if tune.key.mode == mode] for mode in MODES}
        return {mode: _profile(kin) for mode, kin in found.items() if kin}


def figures(made: Sequence[Tune], asked: Sequence[Tune], reference: Reference, bits: float | None) -> Figures:
    """Measures tunes that were asked for like `asked`."""
    runs = [longest_run(tune, reference) for tune in made]
    full = [full_bars(tune) for tune in made]
    pitches, lengths = histograms(made)
    heard = [(like.key.mode, _is_heard(_krumhansl(tune), like.key)) for tune, like in zip(made, asked, strict=True)]
    ending = (_is_heard(heard_as(tune, reference), like.key) for tune, like in zip(made, asked, strict=True))
    return Figures(
        num=len(made),
        bars=sum(whole for whole, _ in full) / sum(of for _, of in full),
        parses=_share(_parses(tune) for tune in made),
        key=_share(right for _, right in heard),
        key_major=_share_of_any([right for mode, right in heard if mode == "major"]),
        key_others=_share_of_any([right for mode, right in heard if mode != "major"]),
        key_ending=_share(ending),
        metre=_share(_is_in(tune, like) for tune, like in zip(made, asked, strict=True)),
        tonic=_share(tune.pitches[-1] % 12 == tune.key.pitch_class for tune in made),
        repeats=sum(map(repeated, made)) / len(made),
        pitch_distance=distance(pitches, reference.histograms[0]),
        length_distance=distance(lengths, reference.histograms[1]),
        longest=sorted(runs)[len(runs) // 2],
        most=max(runs),
        bits_per_note=bits,
    )


def full_bars(tune: Tune) -> tuple[int, int]:
    """How many bars are as long as they should be, of how many: upbeats and the ends that they shorten may be short."""
    whole = of = 0
    for part in parts(tune.bars):
        upbeat = words.upbeat(part, tune.metre.ticks)
        for bar, after in zip(part, [*part[1:], None], strict=True):
            if bar is part[0] and upbeat:
                continue
            ends = after is None or bar.closes != ""
            whole += bar.ticks == tune.metre.ticks - (upbeat if ends else 0)
            of += 1
    return whole, of


def _parses(tune: Tune) -> bool:
    try:
        return abc.from_abc(abc.to_abc(tune)).bars == tune.bars
    except ReverieError:
        return False


def weights(tune: Tune) -> list[float]:
    """How long each pitch class sounds, in ticks (12,), repeats played out."""
    found = [0.0] * 12
    for pitch, _, ticks in sounding(unfolded(tune.bars)):
        if pitch is not None:
            found[pitch % 12] += ticks
    return found


def _profile(kin: Sequence[Tune]) -> list[float]:
    shares = [0.0] * 12
    for tune in kin:
        found = weights(tune)
        for above in range(12):
            shares[above] += found[(tune.key.pitch_class + above) % 12] / sum(found) / len(kin)
    return shares


def _krumhansl(tune: Tune) -> Key:
    return heard_key(weights(tune))


def heard_as(tune: Tune, reference: Reference) -> Key:
    """The key and mode in which the pitches of tunes learnt from are most like the tune's; its last note counts."""
    found, last = weights(tune), tune.pitches[-1] % 12
    fits = {
        (mode, tonic): correlation(found, turned(profile, tonic)) + FINAL * (tonic == last)
        for mode, profile in reference.profiles.items()
        for tonic in range(12)
    }
    mode, tonic = max(fits, key=lambda each: fits[each])
    return at_pitch_class(tonic, mode)


def _is_heard(heard: Key, asked: Key) -> bool:
    """Whether it has the tonic that was asked for, and its third."""
    return heard.pitch_class == asked.pitch_class and heard.has_minor_third == asked.has_minor_third


def _is_in(tune: Tune, like: Tune) -> bool:
    whole, of = full_bars(tune)
    return str(tune.metre) == str(like.metre) and whole == of


def repeated(tune: Tune) -> float:
    """The share of bars whose notes an earlier bar has too, as written."""
    before, again = set[tuple[object, ...]](), 0
    for bar in tune.bars:
        again += bar.notes in before
        before.add(bar.notes)
    return again / len(tune.bars)


def histograms(found: Sequence[Tune]) -> tuple[dict[int, float], dict[int, float]]:
    """Shares of the twelve pitches above the tonic by how long they sound, and of the lengths of notes."""
    pitches, lengths = Counter[int](), Counter[int]()
    for tune in found:
        for pitch, _, ticks in sounding(tune.bars):
            if pitch is not None:
                pitches[(pitch - tune.key.pitch_class) % 12] += ticks
                lengths[ticks] += 1
    return tuple({key: count / counts.total() for key, count in counts.items()} for counts in (pitches, lengths))  # type: ignore[return-value]


def distance(one: dict[int, float], other: dict[int, float]) -> float:
    """Total variation: half the sum of differences, 0 for the same and 1 for nothing in common."""
    return sum(abs(one.get(key, 0.0) - other.get(key, 0.0)) for key in {*one, *other}) / 2


def longest_run(tune: Tune, reference: Reference) -> int:
    """How many steps of the melody in a row a tune that was learnt from has too."""
    letters, most, start = _letters(tune), 0, 0
    for end in range(1, len(letters) + 1):
        while letters[start:end] not in reference.melodies:
            start += 1
        most = max(most, end - start)
    return most


def _letters(tune: Tune) -> str:
    return "".join(chr(0x100 + after - before) for before, after in pairwise(tune.pitches))


def _share_of_any(told: Sequence[bool]) -> float | None:
    return _share(iter(told)) if told else None


def _share(told: Iterator[bool]) -> float:
    found = list(told)
    return sum(found) / max(len(found), 1)


def like(kept: Sequence[Kept], num: int, seed: int) -> list[Tune]:
    """Some tunes that were never learnt from, to be asked for the like of."""
    held = [one.tune for one in kept if one.held_out]
    return random.Random(seed).sample(held, min(num, len(held)))  # noqa: S311 - no secret


def compare(
    model: Model, kept: Sequence[Kept], num: int, seed: int, progress: Callable[[int, int], None]
) -> dict[str, Figures]:
    """Real tunes that were held out, what a model makes when asked for the like of them, and what a chain makes."""
    asked, learnt = like(kept, num, seed), [one.tune for one in kept if not one.held_out]
    reference, chain, held = Reference(learnt), Chain(learnt), [one.tune for one in kept if one.held_out]
    bits = {"model": bits_per_note(bits_of(model), held), "chain": bits_per_note(chain.bits, held)}
    makers: Mapping[str, tuple[Composer, float]] = {
        "as written": (composer(model, free=True), bits["model"]),
        "kept whole": (composer(model, free=False), bits["model"]),
        "Markov chain": (chain.compose, bits["chain"]),
    }
    table = {}
    for number, (name, (make, cost)) in enumerate(makers.items()):
        made = []
        for at, tune in enumerate(asked):
            made.append(make(tune, at))
            progress(number * len(asked) + at + 1, len(makers) * len(asked))
        heard = [at for at, tune in enumerate(made) if len(tune.pitches) > 1]
        table[name] = figures([made[at] for at in heard], [asked[at] for at in heard], reference, cost)
    return {**table, "real": figures(asked, asked, reference, None)}


# --- the baseline ---


class Chain:
    """A Markov chain over the words of a tune: what came after the last `ORDER` words, or after fewer where none did.

    It learns from all tunes of a metre, each moved to C.
    """

    def __init__(self, learnt: Sequence[Tune]) -> None:
        self._learnt = learnt
        self._tables: dict[str, dict[tuple[str, ...], Counter[str]]] = {}

    def compose(self, like: Tune, seed: int) -> Tune:
        """A tune of the kind, metre and key of another."""
        dice, table = random.Random(seed), self._table(str(like.metre))  # noqa: S311 - no secret
        told = [START]
        while len(told) < MOST_WORDS and told[-1:] != [words.END]:
            after = next(table[memory] for memory in _memories(told) if memory in table)
            told += dice.choices(list(after), list(after.values()))
        moved = (words.shifted(word, -_to_c(like)) for word in told[1:])
        made = words.from_text("".join(f" {word}" for word in [*words.head(like), *moved]))
        return replace(made, key=like.key)

    def bits(self, tune: Tune) -> float:
        """What the bars of a tune cost it, in bits. A memory leaves belief to shorter ones by how many words it knows.

        (Witten and Bell 1991, method C.)
        """
        table, told, total = self._table(str(tune.metre)), [START], 0.0
        for word in _in_c(tune):
            belief, rest = 0.0, 1.0
            for memory in _memories(told):
                if memory in table:
                    after = table[memory]
                    belief += rest * after[word] / (after.total() + len(after))
                    rest *= len(after) / (after.total() + len(after))
            total -= math.log2(belief + rest * ANY_WORD)
            told.append(word)
        return total

    def _table(self, metre: str) -> dict[tuple[str, ...], Counter[str]]:
        if metre not in self._tables:
            table = self._tables[metre] = defaultdict[tuple[str, ...], Counter[str]](Counter)
            for tune in (tune for tune in self._learnt if str(tune.metre) == metre):
                told = [START]
                for word in _in_c(tune):
                    for memory in _memories(told):
                        table[memory][word] += 1
                    told.append(word)
        return self._tables[metre]


def _in_c(tune: Tune) -> Iterator[str]:
    """The words of a tune's bars, moved so that its tonic is C."""
    shift = _to_c(tune)
    return (words.shifted(word, shift) for word in words.body(tune.bars))


def _to_c(tune: Tune) -> int:
    return 6 - (tune.key.pitch_class + 6) % 12


def _memories(told: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The last words, from `ORDER` of them to none."""
    for length in range(min(ORDER, len(told)), -1, -1):
        yield tuple(told[len(told) - length :])


def bits_of(model: Model) -> Callable[[Tune], float]:
    """What the words of a tune's bars cost a model, in bits, given its head."""

    @torch.inference_mode()
    def bits(tune: Tune) -> float:
        ids = model.medium.vocabulary.ids
        told = [ids.get(word) for word in [*words.head(tune), *words.body(tune.bars)]]
        if None in told:
            raise ReverieError(f"The model has no word for something in {tune.title!r}: it was trained on other tunes.")
        tokens = torch.tensor([[*model.medium.encode(BEGIN), *told]], device=model.place.device)
        nats = -model.core(tokens[:, :-1])[0].float().log_softmax(-1)  # (T, V)
        each = nats.gather(1, tokens[0, 1:, None])[:, 0]  # (T,)
        return float(each[len(words.HEAD) :].sum()) / math.log(2)

    return bits


def composer(model: Model, *, free: bool) -> Composer:
    """Asks a model for a tune like another. free: as the model writes it, whether or not its bars add up."""

    def compose(like: Tune, seed: int) -> Tune:
        key = f"{like.key.tonic} {like.key.mode}"
        wanted = {"key": key, "metre": str(like.metre), "rhythm": like.rhythm, "free": free, "seed": seed}
        generation = model.generate("", **wanted)
        *_, last = generation
        tune: Tune = model.medium.tune(last.guess, generation.request)
        return replace(tune, key=like.key)

    return compose


def bits_per_note(cost: Callable[[Tune], float], found: Sequence[Tune]) -> float:
    """The cost of tunes in bits, for each note and rest that is written."""
    return sum(map(cost, found)) / sum(len(tune.notes) for tune in found)
