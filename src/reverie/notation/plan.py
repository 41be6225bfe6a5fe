"""Free words -> what kind of tune is wanted: "a lively Irish jig in D major" is a jig, in 6/8, in D major, and fast."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields

from reverie.notation.theory import MODES, Key
from reverie.types import ReverieError

# What people say -> what the model knows, and the metre that goes with it where the model knows several.
KINDS: Mapping[str, tuple[str, str | None]] = {
    "slip jig": ("slip jig", "9/8"),
    "hop jig": ("slip jig", "9/8"),
    "double jig": ("jig", "6/8"),
    "single jig": ("jig", "6/8"),
    "slide": ("jig", "12/8"),
    "jig": ("jig", "6/8"),
    "reel": ("reel", None),
    "hornpipe": ("hornpipe", None),
    "highland fling": ("strathspey", "4/4"),
    "strathspey": ("strathspey", "4/4"),
    "waltz": ("waltz", "3/4"),
    "mazurka": ("waltz", "3/4"),
    "minuet": ("minuet", "3/4"),
    "quick march": ("march", "2/4"),
    "slow march": ("march", "4/4"),
    "march": ("march", None),
    "polka": ("dance", "2/4"),
    "barn dance": ("dance", "4/4"),
    "slow air": ("air", None),
    "lullaby": ("air", "3/4"),
    "ballad": ("air", None),
    "lament": ("air", None),
    "song": ("air", None),
    "air": ("air", None),
    "dance": ("dance", None),
}
TEMPI = {  # beats a minute; a beat is what the foot taps
    "jig": 112,
    "slip jig": 108,
    "reel": 104,
    "hornpipe": 84,
    "strathspey": 126,
    "waltz": 132,
    "minuet": 116,
    "march": 100,
    "air": 66,
    "dance": 108,
}
FASTER, SLOWER = 1.15, 0.8
SPEEDS = {
    **dict.fromkeys(
        ("fast", "quick", "lively", "brisk", "driving", "energetic", "furious", "presto", "allegro"), FASTER
    ),
    **dict.fromkeys(("slow", "gentle", "calm", "relaxed", "stately", "quiet", "peaceful", "adagio", "lento"), SLOWER),
}
MOODS = {  # a mood -> the modes that have it, the usual one first
    **dict.fromkeys(("happy", "merry", "cheerful", "bright", "joyful", "jolly", "playful", "sunny"), "major"),
    **dict.fromkeys(("sad", "mournful", "melancholy", "dark", "sorrowful", "lonely", "wistful", "gloomy"), "minor"),
    **dict.fromkeys(("ancient", "mysterious", "haunting", "eerie", "modal", "medieval"), "dorian"),
}
LENGTHS = {"very short": 8, "short": 8, "long": 32, "very long": 48}
METRE_WORDS = {"common time": "4/4", "cut time": "2/2", "waltz time": "3/4", "six-eight": "6/8", "three-four": "3/4"}
NUMBERS = {
    "eight": 8,
    "twelve": 12,
    "sixteen": 16,
    "twenty": 20,
    "twenty-four": 24,
    "thirty-two": 32,
    "forty-eight": 48,
}
SIGNS = {"sharp": "#", "flat": "b", "#": "#", "b": "b", "♯": "#", "♭": "b", "": ""}
SHORT_MODES = {"maj": "major", "min": "minor", "m": "minor", "mix": "mixolydian", "dor": "dorian", "aeolian": "minor"}
_MODE = rf"(?P<mode>{'|'.join([*MODES, *SHORT_MODES])})"
_KEY = re.compile(rf"\b(?P<step>[A-Ha-h])[ -]?(?P<sign>sharp|flat|[#b♯♭])?[ -]?(?:{_MODE})?(?![\w#♯♭])")
_METRE = re.compile(r"\b(\d{1,2})/(\d{1,2})\b")
_BARS = re.compile(rf"\b(\d{{1,3}}|{'|'.join(sorted(NUMBERS, key=len, reverse=True))})[ -]?(?:bars?|measures?)\b")
_TEMPO = re.compile(r"\b(\d{2,3})\s*(?:bpm|beats)\b|\btempo\s*(?:of\s*)?(\d{2,3})\b", re.IGNORECASE)


@dataclass(frozen=True)
class Plan:
    """What is wanted of a tune; None is left to the model. speed: what the usual tempo is multiplied by.

    german: whether the key is B because H was asked for.
    """

    rhythm: str | None = None
    metre: str | None = None
    tonic: str | None = None
    mode: str | None = None
    num_bars: int | None = None
    tempo_bpm: int | None = None
    speed: float = 1.0
    german: bool = False
    heard: tuple[str, ...] = field(default=(), compare=False)  # the words that told

    def with_(self, **given: object) -> Plan:
        """The plan with what was given besides, where that is not None: it counts more than words."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        return Plan(**{**own, **{name: value for name, value in given.items() if value is not None}})

    def tempo_of(self, rhythm: str) -> int:
        """Beats a minute."""
        return round(TEMPI.get(rhythm, 104) * self.speed) if self.tempo_bpm is None else self.tempo_bpm


def read(prompt: str) -> Plan:
    """What a prompt asks for; words that say nothing of a tune are passed over."""
    words = " ".join(prompt.split())
    low = words.lower()
    found = dict[str, object]()
    heard: list[str] = []
    for name, value, word in [*_kinds(low), *_keys(words), *_numbers(low), *_moods(low, found_mode=_has_mode(words))]:
        if name not in found:
            found[name] = value
            heard += [word] if word not in heard else []
    return Plan().with_(**found, heard=tuple(heard))


def _kinds(low: str) -> Iterator[tuple[str, object, str]]:
    for match in _METRE.finditer(low):
        yield "metre", match[0], match[0]
    for word, written in METRE_WORDS.items():
        if word in low:
            yield "metre", written, word
    for word, (kind, metre) in KINDS.items():
        if re.search(rf"\b{word}(?:e?s)?\b", low):
            yield "rhythm", kind, word
            if metre is not None:
                yield "metre", metre, word
            return


def _keys(words: str) -> Iterator[tuple[str, object, str]]:
    for match in _KEY.finditer(words):
        is_german, mode = match["step"] in "hH", match["mode"] or ""
        named = match["sign"] is not None or (mode != "" and not (is_german and mode == "m"))  # "Hm" is said too
        after = words[: match.start()].lower().rstrip().endswith((" in", " key of", " key"))
        follows = re.match(r" (?:key|mood|tone|tune|\w+ (?:key|mood))\b", words[match.end() :])
        is_article = match["step"] in "aA" and (follows or not (after or named))
        if is_article or not (named or (after and match["step"].isupper())):
            continue
        step = "B" if is_german else match["step"].upper()
        yield "tonic", step + SIGNS[match["sign"] or ""], match[0]
        yield "mode", SHORT_MODES.get(mode, mode) or "major", match[0]
        yield "german", is_german, match[0]
        return


def _has_mode(words: str) -> bool:
    return any(name == "mode" for name, *_ in _keys(words))


def _numbers(low: str) -> Iterator[tuple[str, object, str]]:
    for match in _BARS.finditer(low):
        yield "num_bars", NUMBERS.get(match[1]) or int(match[1]), match[0]
    for match in _TEMPO.finditer(low):
        yield "tempo_bpm", int(match[1] or match[2]), match[0]
    for word in sorted(LENGTHS, key=len, reverse=True):
        if re.search(rf"\b{word}\b", low):
            yield "num_bars", LENGTHS[word], word


def _moods(low: str, *, found_mode: bool) -> Iterator[tuple[str, object, str]]:
    for word, speed in SPEEDS.items():
        if re.search(rf"\b{word}\b", low):
            yield "speed", speed, word
    if found_mode:
        return
    for mode in MODES:
        if re.search(rf"\b{mode}\b", low):
            yield "mode", mode, mode
    for word, mode in MOODS.items():
        if re.search(rf"\b{word}\b", low):
            yield "mode", mode, word


def check(plan: Plan, kinds: tuple[str, ...], metres: tuple[str, ...], modes: tuple[str, ...]) -> None:
    """A `ReverieError` if a plan asks for what the model does not know."""
    for name, value, known in (
        ("rhythm", plan.rhythm, kinds),
        ("metre", plan.metre, metres),
        ("mode", plan.mode, modes),
    ):
        if value is not None and value not in known:
            raise ReverieError(f"The model knows no {name} {value[:20]!r}: choose one of {', '.join(sorted(known))}.")
    if plan.tonic is not None:
        Key(plan.tonic)
