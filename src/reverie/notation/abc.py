"""ABC: tunes as text (the standard of https://abcnotation.com, version 2.1), read leniently and written in one way.

Read is one voice: of notes struck together the highest, grace notes and ornaments left out. Whatever changes the metre
in the middle, or plays several voices at once, is a `ReverieError`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction

from reverie.notation.theory import NATURAL, Key, signature, spelled
from reverie.notation.tune import LEAST_PITCH, MOST_PITCH, QUARTER, Bar, Metre, Note, Tune
from reverie.types import ReverieError

WHOLE = 4 * QUARTER
MAX_CHARS = 100_000
MAX_TICKS = 16 * WHOLE  # of one note
MODE_WORDS = {
    **dict.fromkeys(("", "maj", "ion"), "major"),
    **dict.fromkeys(("m", "min", "aeo"), "minor"),
    **{mode[:3]: mode for mode in ("dorian", "mixolydian", "lydian", "phrygian", "locrian")},
}
MODE_LETTERS = {"major": "", "minor": "m", "dorian": "dor", "mixolydian": "mix"}
COMMON, PLAIN = Metre(4, 4), Key("C")  # where nothing is said
BAGPIPES = Key("A", "mixolydian")  # K:HP
TUPLETS = {2: (3, 2), 3: (2, 3), 4: (3, 4), 6: (2, 6), 8: (3, 8)}  # notes -> (in the time of, how many they are)

KEY = re.compile(r"\s*(?P<tonic>[A-G][#b]?)\s*(?P<mode>[A-Za-z]*)")
LENGTH = r"(?P<{0}>\d*(?:/+\d*)*)"
TOKENS = re.compile(
    r"(?P<skip>\"[^\"]*\"|![^!\s]*!|\+[^+\s]*\+|\{[^}]*\}|[~.HLMOPSTuv`\\y]|\s+)"
    r"|\[(?P<field>[A-Za-z]):(?P<value>[^\]]*)\]"
    r"|(?P<line>\[\||:*\|+\]?:*|::+)"
    r"|\[?(?P<ending>[1-9](?:[,-][0-9])*)(?=[^0-9/]|$)"
    r"|\((?P<tuplet>[2-9])(?::(?P<time>\d?))?(?::(?P<many>\d{0,2}))?"
    r"|\[(?P<chord>[^\]\[|:]+)\]"
    + LENGTH.format("chord_length")
    + r"|(?P<rest>[zxZX])"
    + LENGTH.format("rest_length")
    + r"|(?P<accidental>\^\^|\^|__|_|=)?(?P<letter>[A-Ga-g])(?P<octave>[,']*)"
    + LENGTH.format("length")
    + r"|(?P<tie>-)|(?P<broken>>{1,3}|<{1,3})|(?P<slur>[()])"
)
NOTE = re.compile(r"(?P<accidental>\^\^|\^|__|_|=)?(?P<letter>[A-Ga-g])(?P<octave>[,']*)" + LENGTH.format("length"))


def tunes(text: str) -> Iterator[str]:
    """The single tunes of a file of many: each from its X: on."""
    for part in re.split(r"(?m)^(?=X:)", text):
        if part.startswith("X:"):
            yield part


def from_abc(text: str) -> Tune:
    """The first tune of a text; one without headers is read as an unnamed tune in 4/4 and C major."""
    if len(text) > MAX_CHARS:
        raise ReverieError(
            f"The ABC has {len(text):,} characters, and {MAX_CHARS:,} are the most: give a shorter tune."
        )
    found = re.search(r"(?m)^X:", text)
    first = text if found is None else next(tunes(text[found.start() :]))
    reader = _Reader()
    for line in first.splitlines():
        reader.read(re.sub(r"(?<!\\)%.*", "", line).rstrip())
    return reader.tune()


def to_abc(tune: Tune, number: int = 1) -> str:
    """A tune as ABC: eighths are the unit, beams by the beat, four bars a line."""
    head = [
        f"X:{number}",
        f"T:{_one_line(tune.title)}",
        *([f"R:{_one_line(tune.rhythm)}"] if tune.rhythm else []),
        f"M:{tune.metre}",
        "L:1/8",
    ]
    beat = Fraction(tune.metre.beat_ticks, WHOLE)
    head += [f"Q:{beat}={tune.tempo_bpm}", f"K:{key_word(tune.key)}"]
    return "\n".join([*head, *_lines(tune)]) + "\n"


def key_word(key: Key) -> str:
    """As a K: field has it: "D", "Em", "Ador"."""
    return key.tonic + MODE_LETTERS.get(key.mode, key.mode[:3])


def read_key(text: str) -> Key:
    """A key as a person writes it: "D", "F# minor", "Bb", "Ador", the German "H"; a `ReverieError` if it is none."""
    step, rest = text.strip()[:1].upper(), text.strip()[1:].replace("♯", "#").replace("♭", "b")
    match = KEY.fullmatch(("B" if step == "H" else step) + rest)
    mode = None if match is None else MODE_WORDS.get(match["mode"].lower()[:3])
    if match is None or mode is None:
        raise ReverieError(f"There is no key {text[:40]!r}: write D, F# minor, Bb or A dorian.")
    return Key(match["tonic"], mode)


# --- reading ---


@dataclass
class _Reader:
    """What has been read so far. unit: of a note without a length, None until L: or M: tell."""

    title: str = ""
    rhythm: str = ""
    metre: Metre = COMMON
    key: Key = PLAIN
    unit: int | None = None
    tempo: tuple[int, int] | None = None  # ticks, how often a minute
    in_body: bool = False
    bars: list[Bar] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    altered: dict[str, int] = field(default_factory=dict)  # accidentals in this bar
    opens: bool = False
    ending: int = 0
    tuplet: tuple[Fraction, int] = (Fraction(1), 0)  # what lengths are multiplied by, for how many notes more
    broken: Fraction | None = None  # what the next note's length is multiplied by

    def read(self, line: str) -> None:
        """One line: a field or music."""
        if re.match(r"[A-Za-z]:", line) and not re.match(r"[a-z]:\|", line):
            self.header(line[0], line[2:].strip())
        elif self.in_body or not line.startswith(("%", " ")):
            self.in_body = self.in_body or bool(line)
            self.music(line)

    def header(self, name: str, value: str) -> None:
        """A field, on a line of its own or within the music."""
        match name:
            case "T" if not self.title:
                self.title = _tidied(value)
            case "R":
                self.rhythm = value.lower()[:40]
            case "M":
                self._metre(value)
            case "L":
                self.unit = _ticks(Fraction(_fraction(value) * WHOLE))
            case "Q":
                self._tempo(value)
            case "K":
                self.key, self.in_body, self.altered = _key(value, self.key), True, {}
            case "V" if self.bars and value.split()[:1] not in (["1"], []):
                raise ReverieError("The ABC has several voices: give a tune of one.")

    def _metre(self, value: str) -> None:
        words = {"C": "4/4", "C|": "2/2", "none": "4/4", "": "4/4"}
        match = re.fullmatch(r"(\d{1,2})/(\d{1,2})", words.get(value.strip(), value.strip()))
        if match is None or int(match[1]) == 0 or int(match[2]) not in (1, 2, 4, 8, 16):
            raise ReverieError(f"The ABC's metre {value[:20]!r} cannot be played: write M:6/8, M:4/4 and the like.")
        metre = Metre(int(match[1]), int(match[2]))
        if self.notes or self.bars:
            if metre != self.metre:
                raise ReverieError("The ABC changes its metre: give a tune that keeps one.")
            return
        self.metre = metre

    def _tempo(self, value: str) -> None:
        match = re.search(r"(\d+)/(\d+)\s*=\s*(\d+)", value) or re.fullmatch(r"()()(\d+)", value)
        if match is not None and int(match[3]):
            beat = Fraction(int(match[1]), max(int(match[2]), 1)) if match[1] else Fraction(1, 4)
            self.tempo = (max(int(beat * WHOLE), 1), int(match[3]))

    def music(self, line: str) -> None:
        """A line of notes and bar lines."""
        at = 0
        while at < len(line):
            match = TOKENS.match(line, at)
            if match is None:
                if line[at] == "&":
                    raise ReverieError("The ABC has several voices at once (&): give a tune of one.")
                at += 1  # a sign that this reader does not know: an ornament or a slip of the pen
                continue
            self._token(match)
            at = max(match.end(), at + 1)

    def _token(self, match: re.Match[str]) -> None:
        match match.lastgroup:
            case "value":
                self.header(match["field"], match["value"].strip())
            case "line":
                self._line(match["line"])
            case "ending":
                self.ending = min(int(match["ending"][0]), 2)
            case "tuplet" | "time" | "many":
                self._open_tuplet(match)
            case "tie" if self.notes:
                self.notes[-1] = replace(self.notes[-1], tied=self.notes[-1].pitch is not None)
            case "broken":
                self._break(match["broken"])
            case "chord" | "chord_length":
                self._chord(match["chord"], match["chord_length"])
            case "rest" | "rest_length":
                bars = match["rest"] in "ZX"
                unit = self.metre.ticks if bars else self._unit
                self._add(None, _length(match["rest_length"]) * unit)
            case "length":
                self._add(self._pitch(match), _length(match["length"]) * self._unit)

    @property
    def _unit(self) -> int:
        """Where L: says nothing: sixteenths in short metres, else eighths (standard 2.1, section 3.1.7)."""
        if self.unit is not None:
            return self.unit
        return WHOLE // (16 if Fraction(self.metre.beats, self.metre.unit) < Fraction(3, 4) else 8)

    def _chord(self, inner: str, length: str) -> None:
        notes = [(self._pitch(match), _length(match["length"])) for match in NOTE.finditer(inner)]
        if notes:
            pitch, own = max(notes)
            self._add(pitch, own * _length(length) * self._unit)

    def _pitch(self, match: re.Match[str]) -> int:
        letter, octave = match["letter"], match["octave"]
        step = letter.upper()
        name = letter + octave
        if match["accidental"]:
            self.altered[name] = {"^^": 2, "^": 1, "=": 0, "_": -1, "__": -2}[match["accidental"]]
        alter = self.altered.get(name, signature(self.key.sharps)[step])
        octaves = (5 if letter.islower() else 4) + octave.count("'") - octave.count(",")
        pitch = 12 * (octaves + 1) + NATURAL[step] + alter
        if not LEAST_PITCH <= pitch <= MOST_PITCH:
            raise ReverieError(f"The ABC has a note that no piano has ({name[:20]}): give a tune that can be played.")
        return pitch

    def _add(self, pitch: int | None, ticks: Fraction | int) -> None:
        factor, left = self.tuplet
        if left:
            ticks, self.tuplet = ticks * factor, (factor, left - 1)
        if self.broken is not None:
            ticks, self.broken = ticks * self.broken, None
        self.notes.append(Note(pitch, _ticks(Fraction(ticks))))

    def _open_tuplet(self, match: re.Match[str]) -> None:
        count = int(match["tuplet"])
        compound = self.metre.beats % 3 == 0 and self.metre.unit >= 8
        time, many = TUPLETS.get(count, (3 if compound else 2, count))
        time = int(match["time"] or time)
        self.tuplet = (Fraction(time, count), int(match["many"] or many))

    def _break(self, sign: str) -> None:
        """a>b: a is half as long again, and b half as long; >> a quarter, and so on."""
        if not self.notes:
            return
        short = Fraction(1, 2 ** len(sign))
        before, after = (2 - short, short) if sign[0] == ">" else (short, 2 - short)
        last = self.notes[-1]
        self.notes[-1] = replace(last, ticks=_ticks(last.ticks * before))
        self.broken = after

    def _line(self, line: str) -> None:
        closes = "repeat" if line.startswith(":") else "double" if line in ("||", "|]", "[|") else ""
        self._close(closes)
        if line.endswith(":") and (line.strip(":") or len(line) > 1):
            self.opens = True

    def _close(self, closes: str) -> None:
        self.altered = {}
        if not self.notes:
            if self.bars and closes and not self.bars[-1].closes:
                self.bars[-1] = replace(self.bars[-1], closes=closes)
            if closes == "double":
                self.ending = 0
            return
        self.bars.append(Bar(tuple(self.notes), self.opens, closes, self.ending))
        self.notes, self.opens = [], False
        if closes == "double" or (closes == "repeat" and self.ending == 2):
            self.ending = 0

    def tune(self) -> Tune:
        """All that was read."""
        self._close("final")
        if not any(note.pitch is not None for bar in self.bars for note in bar.notes):
            raise ReverieError("There is no note in the ABC: give a tune with notes after its K: line.")
        bars = _without_stray_endings(self.bars)
        bars[-1] = replace(bars[-1], closes=bars[-1].closes.replace("double", "final"))
        if not bars[-1].closes:
            bars[-1] = replace(bars[-1], closes="final")
        tune = Tune(self.title, self.rhythm, self.metre, self.key, tuple(bars))
        return tune if self.tempo is None else replace(tune, tempo_bpm=_bpm(tune.metre, *self.tempo))


def _without_stray_endings(bars: list[Bar]) -> list[Bar]:
    """A first ending ends with a repeat; a second one follows it, for as many bars as the first, or to a line."""
    found: list[Bar] = []
    ending = 0
    for bar in bars:
        starts = bar.ending if bar.ending != ending else 0
        if bar.opens or (ending == 2 and found and found[-1].closes):
            starts, ending = bar.ending, 0
        ending = bar.ending if bar.ending else 0
        found.append(bar if starts or ending else replace(bar, ending=0))
    return found


def _tidied(title: str) -> str:
    """A title on one line, with "The" where it is said."""
    title = _one_line(title).rstrip(".")
    match = re.fullmatch(r"(.+), (The|A|An)( .*)?", title)
    return title if match is None else f"{match[2]} {match[1]}{match[3] or ''}"


def _one_line(text: str) -> str:
    """Text without what would end its line or begin a remark."""
    return " ".join("".join(char if char.isprintable() and char != "%" else " " for char in text[:200]).split())


def _key(value: str, before: Key) -> Key:
    """The key of a K: field; one that only tells of a clef changes nothing."""
    if value.upper().startswith("HP"):
        return BAGPIPES
    match = KEY.match(value)
    if match is None or (mode := MODE_WORDS.get(match["mode"].lower()[:3], MODE_WORDS.get(match["mode"]))) is None:
        return before if value[:4] in ("", "none", "clef") else Key("C")
    return Key(match["tonic"], mode)


def _fraction(value: str) -> Fraction:
    match = re.match(r"(\d{1,4})(?:/(\d{1,4}))?", value)
    if match is None or int(match[2] or 1) == 0 or int(match[1]) == 0:
        raise ReverieError(f"The ABC has no length {value[:20]!r}: write L:1/8 and the like.")
    return Fraction(int(match[1]), int(match[2] or 1))


def _length(text: str) -> Fraction:
    """ "3/2" is three halves of the unit, "/" a half, "//" a quarter."""
    above, *below = text.split("/")
    length = Fraction(int(above[:6] or 1))
    for part in below:
        length /= int(part[:6] or 2) or 1
    return length


def _ticks(length: Fraction) -> int:
    if length.denominator != 1 or not 0 < length <= MAX_TICKS:
        raise ReverieError("The ABC has a note whose length no score has: give a tune in plain lengths and triplets.")
    return int(length)


def _bpm(metre: Metre, ticks: int, often: int) -> int:
    return min(max(round(often * ticks / metre.beat_ticks), 20), 400)


# --- writing ---


def _lines(tune: Tune) -> Iterator[str]:
    line, full = "", 0
    for number, bar in enumerate(tune.bars):
        before = tune.bars[number - 1] if number else None
        line += "|:" if bar.opens else ""
        line += (
            f"[{bar.ending} " if bar.ending and (before is None or before.ending != bar.ending or before.closes) else ""
        )
        line += (
            _bar(bar, tune, before is None or before.closes != "")
            + {"": " | ", "repeat": " :|", "double": " ||", "final": " |]"}[bar.closes]
        )
        full += bar.ticks >= tune.metre.ticks
        if bar.closes or full == 4:
            yield line.strip()
            line, full = "", 0
    if line:
        yield line.strip()


def _bar(bar: Bar, tune: Tune, is_upbeat: bool) -> str:
    altered: dict[tuple[str, int], int] = {}
    text, start, triplet = "", max(tune.metre.ticks - bar.ticks, 0) if is_upbeat else 0, 0
    for at, note in enumerate(bar.notes):
        if start % tune.metre.beat_ticks == 0 and at and not triplet:
            text += " "
        if note.ticks % 3 and not triplet:
            triplet = _triplet(bar.notes[at:])
            text += "(3" if triplet == 3 else f"(3:2:{triplet}"
        text += _note(note, tune.key, altered, bool(triplet))
        start, triplet = start + note.ticks, max(triplet - 1, 0)
    return text


def _triplet(notes: tuple[Note, ...]) -> int:
    """How many notes from here on stand in thirds, until they come out even."""
    total = 0
    for count, note in enumerate(notes, 1):
        total += note.ticks
        if total % 3 == 0:
            return count
    return len(notes)


def _note(note: Note, key: Key, altered: dict[tuple[str, int], int], in_triplet: bool) -> str:
    length = Fraction(note.ticks * 2, QUARTER) * (Fraction(3, 2) if in_triplet else 1)  # in eighths, as written
    word = "" if length == 1 else f"{length}" if length.numerator != 1 else f"/{length.denominator}"
    if note.pitch is None:
        return "z" + word
    step, alter, octave = spelled(note.pitch, key)
    sign = ""
    if altered.get((step, octave), signature(key.sharps)[step]) != alter:
        sign = {1: "^", 0: "=", -1: "_"}[alter]
        altered[step, octave] = alter
    letter = step.lower() + "'" * (octave - 5) if octave >= 5 else step + "," * (4 - octave)
    return sign + letter + word + ("-" if note.tied else "")
