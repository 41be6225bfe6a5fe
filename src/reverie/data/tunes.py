"""Tunes to learn from: old collections of dance music and airs, cleaned, and split by families of like tunes.

A family is every tune that shares much of its melody with another, in whatever key and collection: all of a family are
learnt from, or none is.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from reverie.notation import abc
from reverie.notation.theory import Key, at_pitch_class
from reverie.notation.tune import Metre, Tune
from reverie.notation.words import adds_up, num_bars
from reverie.types import ReverieError

LOWEST, HIGHEST = 55, 88  # the fiddle's, in first and third position
LEAST_BARS, MOST_BARS, MOST_NOTES = 6, 64, 420
SHINGLE = 7  # intervals: eight notes
LIKE = 0.25  # the share of a tune's shingles that make it one of a family
HELD_OUT_IN = 10  # one family in so many

# What a tune is called where its book does not say what it is: words of titles.
KINDS = {
    "jig": ("jig",),
    "slip jig": ("slip jig", "slipjig", "hop jig"),
    "reel": ("reel",),
    "hornpipe": ("hornpipe", "clog"),
    "strathspey": ("strathspey", "fling", "highland fling"),
    "waltz": ("waltz",),
    "march": ("march", "quick step", "quickstep", "quick-step", "slow march"),
    "polka": ("polka",),
    "minuet": ("minuet", "menuet"),
    "air": ("air", "song", "lament", "slow air"),
}
WORDS = {word: kind for kind, words in KINDS.items() for word in words}
# (metres that go with a kind): whatever a book says besides is a slip of the pen
FITS = {
    "jig": ("6/8", "12/8"),
    "slip jig": ("9/8",),
    "reel": ("2/2", "4/4", "2/4"),
    "hornpipe": ("2/2", "4/4", "2/4"),
    "strathspey": ("4/4", "2/2"),
    "waltz": ("3/4", "3/8"),
    "march": ("4/4", "2/4", "6/8", "2/2"),
    "polka": ("2/4",),
    "minuet": ("3/4", "3/8"),
}
METRES = ("2/2", "2/4", "3/4", "3/8", "4/4", "6/4", "6/8", "9/8", "12/8")
MODES = ("major", "minor", "dorian", "mixolydian")
SLOW = re.compile(r"slow|plaintive|tender|pathetic|mournful|sorrow|expression|with feeling", re.IGNORECASE)

SMALL_WORDS = {"a", "an", "and", "at", "by", "for", "from", "in", "of", "on", "o'", "or", "the", "to", "with"}

# Titles of the nineteenth century that demean people: their tunes are learnt, their names are not.
DEMEANING = re.compile(
    r"n[i]gg|dark(?:y|ie|ey)|\bcoon|\bjim crow|plantation|minstrel|\bsambo|squaw|gyps|jew\b|negro|ethiop|uncle tom"
    r"|cotton[- ]pick|chinaman|\bturk|savage|\bred ?skin|hottentot|cripple"
    r"|bastard|whore|slut",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Kept:
    """A tune of the data set. source: its collection. family: the same number for tunes that are alike."""

    tune: Tune
    source: str
    family: int
    held_out: bool


def collect(texts: Mapping[str, str]) -> list[Kept]:
    """The tunes in ABC files, by the name of each file's collection and then its own ("ryansMammoth/Reel.abc")."""
    found = [(tune, name.split("/")[0]) for name in sorted(texts) for tune in read(texts[name])]
    families = alike([intervals(tune) for tune, _ in found])
    firsts = {family: found[at][0] for at, family in reversed(list(enumerate(families)))}
    held = {family: _held_out(first) for family, first in firsts.items()}
    return [Kept(*pair, family, held[family]) for pair, family in zip(found, families, strict=True)]


def read(text: str) -> Iterator[Tune]:
    """The usable tunes of an ABC file."""
    for part in abc.tunes(text):
        try:
            tune = cleaned(abc.from_abc(part), SLOW.search(part) is not None)
        except ReverieError:
            continue
        if tune is not None:
            yield tune


def cleaned(tune: Tune, is_slow: bool = False) -> Tune | None:
    """The tune with its kind known and its key in simple terms; None if it cannot serve as an example."""
    lowest, highest = min(tune.pitches), max(tune.pitches)
    fits = lowest >= LOWEST and highest <= HIGHEST and LEAST_BARS <= num_bars(tune) <= MOST_BARS
    if not fits or len(tune.notes) > MOST_NOTES or str(tune.metre) not in METRES or tune.key.mode not in MODES:
        return None
    tune = replace(tune, rhythm=kind_of(tune, is_slow), title=shown_title(tune.title))
    return tune if adds_up(tune) else None


def kind_of(tune: Tune, is_slow: bool = False) -> str:
    """What kind of tune it is: as its book says, or its title, or else by its metre."""
    for told in (tune.rhythm, tune.title.lower()):
        words = [word for word in WORDS if re.search(rf"\b{word}\b", told)]
        kinds = [WORDS[word] for word in sorted(words, key=len, reverse=True)]
        for kind in kinds:
            if str(tune.metre) in FITS.get(kind, METRES):
                return kind
    return _by_metre(tune.metre, is_slow)


def _by_metre(metre: Metre, is_slow: bool) -> str:
    if is_slow:
        return "air"
    return {"6/8": "jig", "12/8": "jig", "9/8": "slip jig", "3/4": "waltz", "3/8": "waltz"}.get(str(metre), "dance")


def shown_title(title: str) -> str:
    """A title as one reads it, without what kind of tune it is; "" for those that demean people."""
    if DEMEANING.search(title):
        return ""
    title = re.sub(
        r"\s*(--?|:)\s*(reel|jig|hornpipe|clog|strathspey|fling|polka|waltz)\b.*$", "", title, flags=re.IGNORECASE
    )
    title = re.sub(r"[^A-Za-z'&,. -]", "", title.replace("’", "'")).strip(" .,-")
    words = [word.strip(".,") for word in title.split() if word.strip(".,-&'")]
    return " ".join(_in_title(word, at) for at, word in enumerate(words))[:60].strip()


def _in_title(word: str, at: int) -> str:
    """Small words small, all others with one capital; Mc and O' keep theirs."""
    if at and word.lower() in SMALL_WORDS:
        return word.lower()
    return word.capitalize() if word.isupper() and len(word) > 1 else re.sub(r"'S$", "'s", word)


def intervals(tune: Tune) -> list[int]:
    """The steps of the melody in semitones: the same in every key."""
    return [after - before for before, after in pairwise(tune.pitches)]


def shingles(steps: Sequence[int]) -> frozenset[tuple[int, ...]]:
    """All runs of `SHINGLE` steps, but those that go up or down a scale or stay, which all tunes have."""
    runs = (tuple(steps[at : at + SHINGLE]) for at in range(len(steps) - SHINGLE + 1))
    return frozenset(run for run in runs if len(set(run)) > 2)


def alike(melodies: Iterable[Sequence[int]]) -> list[int]:
    """The family of each melody: those that share `LIKE` of the shorter one's shingles, and whoever is like these."""
    runs = [shingles(steps) for steps in melodies]
    owners = defaultdict[tuple[int, ...], list[int]](list)
    above = list(range(len(runs)))
    for number, own in enumerate(runs):
        shared = defaultdict[int, int](int)
        for run in own:
            for other in owners[run]:
                shared[other] += 1
            owners[run].append(number)
        for other, count in shared.items():
            if count >= max(LIKE * min(len(own), len(runs[other])), 4):
                above[_root(above, number)] = _root(above, other)
    return [_root(above, number) for number in range(len(runs))]


def _root(above: list[int], number: int) -> int:
    while above[number] != number:
        above[number] = number = above[above[number]]
    return number


def _held_out(first: Tune) -> bool:
    """Whether a family is kept out of learning: by its first tune's melody, so that more data change nothing."""
    steps = ",".join(map(str, intervals(first)))
    return int.from_bytes(hashlib.sha256(steps.encode()).digest()[:8], "big") % HELD_OUT_IN == 0


def to_json(kept: Sequence[Kept]) -> str:
    """The data set as a file."""
    rows = [
        {"abc": abc.to_abc(one.tune), "source": one.source, "family": one.family, "held_out": one.held_out}
        for one in kept
    ]
    return json.dumps({"reverie": 1, "tunes": rows}, indent=0)


def load(path: Path, *, held_out: bool | None = None) -> list[Kept]:
    """The data set in a file that `to_json` made, or the tunes of an ABC file, one family in ten held out.

    held_out: only those that are, or only the others; None: all.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReverieError(f"{path} cannot be read as text: give a file of tunes in ABC.") from error
    if path.suffix != ".json":
        kept = collect({f"{path.stem}/{path.name}": text})
        if not {one.held_out for one in kept} >= {True, False}:
            raise ReverieError(f"{path} holds {len(kept)} tunes that can be learnt: a few dozen are needed.")
        return [one for one in kept if held_out in (None, one.held_out)]
    rows = [row for row in json.loads(text)["tunes"] if held_out in (None, row["held_out"])]
    return [Kept(abc.from_abc(row["abc"]), row["source"], row["family"], row["held_out"]) for row in rows]


def keys(tune: Tune) -> list[tuple[int, Key]]:
    """Every key that a tune can be played in, and by how many semitones it then moves; its own comes first.

    Each is as near to its own as the range allows.
    """
    lowest, highest = min(tune.pitches), max(tune.pitches)
    found = [(0, tune.key)]
    for step in range(1, 12):
        ways = [shift for shift in (step, step - 12) if lowest + shift >= LOWEST and highest + shift <= HIGHEST]
        if ways:
            found.append((min(ways, key=abs), at_pitch_class((tune.key.pitch_class + step) % 12, tune.key.mode)))
    return found
