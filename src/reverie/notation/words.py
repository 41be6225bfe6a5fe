"""A tune as words, as the model of `modalities/music.py` reads and writes it, and the grammar of those.

    rhythm=jig metre=6/8 key=D mode=major bars=16 |: F#4:1/8 A4:1/4 ... | ... :| ... |] The Title

First what kind of tune it is, then its bars - a note is its pitch (MIDI's, with sharps) and its share of a whole note,
with a - if it is tied to the next - and at last its title, which is plain text.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache

from reverie.notation.theory import Key
from reverie.notation.tune import QUARTER, Bar, Metre, Note, Tune, parts

WHOLE = 4 * QUARTER
HEAD = ("rhythm", "metre", "key", "mode", "bars")
OPENS, LINE, REPEAT, DOUBLE, END = "|:", "|", ":|", "||", "|]"
ENDINGS = ("[1", "[2")
SIGNS = (OPENS, LINE, REPEAT, DOUBLE, END, *ENDINGS)
LINES = {LINE: "", REPEAT: "repeat", DOUBLE: "double"}
CLOSED = {closes: line for line, closes in LINES.items()}
REST = "z"
SPACE = "-"  # within a word of the head
NOTE = re.compile(r"(?:z|(?P<name>[A-G]#?)(?P<octave>-?\d)):(?P<length>\d{1,3}(?:/[1-9]\d{0,2})?)(?P<tied>-)?")
NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


def to_text(tune: Tune) -> str:
    """A tune as words with a space before each, and its title."""
    title = f" {tune.title}" if tune.title else ""
    return "".join(f" {word}" for word in [*head(tune), *body(tune.bars)]) + title


def head(tune: Tune) -> list[str]:
    """What is said before the first bar."""
    told = (tune.rhythm.replace(" ", SPACE), tune.metre, tune.key.tonic, tune.key.mode, num_bars(tune))
    return [f"{name}={value}" for name, value in zip(HEAD, told, strict=True)]


def body(bars: Sequence[Bar]) -> Iterator[str]:
    """The bars as words, to the end of the tune."""
    ending = 0
    for bar in bars:
        if bar.opens:
            yield OPENS
        if bar.ending and bar.ending != ending:
            yield ENDINGS[bar.ending - 1]
        ending = bar.ending
        yield from (note_word(note) for note in bar.notes)
        if bar.closes != "final":
            yield CLOSED[bar.closes]
    yield END


def opening(wanted: Mapping[str, str], begun: Tune) -> list[str]:
    """What a tune begins with that goes on from another: its head, and the bars, of which a full last one is closed."""
    told = list(body(begun.bars))[:-1]
    return [*(f"{name}={wanted[name]}" for name in HEAD), *told, *_next_line(begun)]


def _next_line(begun: Tune) -> list[str]:
    """The line after the last bar, if that is full: a double one after a second ending as long as the first."""
    full, found, last = begun.metre.ticks, parts(begun.bars), begun.bars[-1]
    if last.closes != "final":
        return []
    if _has_ended(found[-1]) and last.ticks == full - upbeat(found[0], full):
        return [DOUBLE]
    return [LINE] if last.ticks >= full else []


def _has_ended(part: Sequence[Bar]) -> bool:
    """Whether a line ends a part, and not only its first ending, or else a second ending as long as the first."""
    endings = [bar.ending for bar in part if bar.ending]
    if part[-1].closes in ("repeat", "double"):
        return part[-1].ending != 1
    return 0 < endings.count(1) <= endings.count(2)


@lru_cache(maxsize=65536)
def shifted(word: str, semitones: int) -> str:
    """A word of the body, higher by so many semitones: of a note another note, of anything else itself."""
    note = word_note(word)
    if note is None or note.pitch is None:
        return word
    return note_word(replace(note, pitch=note.pitch + semitones))


def num_bars(tune: Tune) -> int:
    """How many bars are written, upbeats not counted."""
    return sum(len(part) - (upbeat(part, tune.metre.ticks) > 0) for part in parts(tune.bars))


def ended_bars(tune: Tune) -> int:
    """How many bars are written in the parts that have ended: the last one may be going on."""
    ended = [part for part in parts(tune.bars) if _has_ended(part) or part[-1] is not tune.bars[-1]]
    return sum(len(part) - (upbeat(part, tune.metre.ticks) > 0) for part in ended)


@lru_cache(maxsize=8192)
def note_word(note: Note) -> str:
    """F#4:1/8 is an eighth; its octave is the one in which middle C is C4."""
    name = REST if note.pitch is None else f"{NAMES[note.pitch % 12]}{note.pitch // 12 - 1}"
    return f"{name}:{Fraction(note.ticks, WHOLE)}{'-' if note.tied else ''}"


@lru_cache(maxsize=4096)
def word_note(word: str) -> Note | None:
    """The note that a word stands for; None if it stands for none."""
    match = NOTE.fullmatch(word)
    if match is None or not (ticks := int(Fraction(match["length"]) * WHOLE)):
        return None
    pitch = None if match["name"] is None else NAMES.index(match["name"]) + 12 * (int(match["octave"]) + 1)
    return Note(pitch, ticks, match["tied"] is not None)


def from_text(text: str) -> Tune:
    """The tune that a text tells of, as far as it goes: a bar that has only begun is there, with what it has."""
    music, end, title = text.partition(f" {END}")
    words = music.split()
    bars = _bars(words)
    if end and bars and bars[-1].closes == "double":  # it was ended where only a part was to end
        bars[-1] = replace(bars[-1], closes="final")
    told = dict(word.split("=", 1) for word in itertools.takewhile(lambda word: "=" in word, words))
    beats, unit = map(int, told.get("metre", "4/4").split("/"))
    key = Key(told.get("key", "C"), told.get("mode", "major"))
    return Tune(title.strip(), told.get("rhythm", "").replace(SPACE, " "), Metre(beats, unit), key, tuple(bars))


def _bars(words: Sequence[str]) -> list[Bar]:
    bars, notes, opens, ending = list[Bar](), list[Note](), False, 0
    for word in words:
        note = word_note(word)
        if note is not None:
            notes.append(note)
        elif word == OPENS:
            opens, ending = True, 0
        elif word in ENDINGS:
            ending = 1 + ENDINGS.index(word)
        elif word in LINES and notes:
            bars.append(Bar(tuple(notes), opens, LINES[word], ending))
            notes, opens = [], False
            ending = 0 if ending == 2 and LINES[word] else ending
    if notes:
        bars.append(Bar(tuple(notes), opens, "final", ending))
    return bars


def upbeat(part: Sequence[Bar], full: int) -> int:
    """Ticks of the short bar that a part begins with, 0 if it begins with a full one."""
    return part[0].ticks if len(part) > 1 and part[0].ticks < full else 0


def adds_up(tune: Tune) -> bool:
    """Whether every bar is full, but for upbeats: those are alike, and what they take is left out where a part ends."""
    follower = Follower()
    for word in [*head(tune), *body(tune.bars)]:
        if not follower.allows(word):
            return False
        follower.take(word)
    return True


@dataclass
class Follower:
    """Follows a tune word by word, and knows what may come next.

    wanted: words of the head that must come, by their names. num_bars: how many there must be; None: any number.
    durations: in ticks, that there are words for: a note may come only if they can fill the rest of its bar. () is all.
    phrase: a part ends after so many bars or a multiple of them, or with the tune: bars left over belong to the last
    part. 1: anywhere.
    """

    wanted: Mapping[str, str] = field(default_factory=dict)
    num_bars: int | None = None
    durations: tuple[int, ...] = ()
    phrase: int = 1
    told: dict[str, str] = field(default_factory=dict)
    last: str = ""  # the word before
    metre: Metre = field(default_factory=lambda: Metre(4, 4))
    full: int = 0  # ticks of a bar
    filled: int = 0  # ticks in this bar
    upbeat: int | None = None  # ticks that this tune's parts begin with; None: it has not been heard yet
    starts_part: bool = True
    opened: bool = False  # a repeat has been, and is not closed
    ending: int = 0
    bars: int = 0
    part_bars: int = 0  # of `bars`, those of this part as it is played once: of two endings one counts
    shared_bars: int = 0  # of those, what comes before its endings
    over: bool = False

    @property
    def in_head(self) -> bool:
        """Whether a word of the head comes next."""
        return len(self.told) < len(HEAD)

    def allows(self, word: str) -> bool:
        """Whether this word may come now."""
        if self.in_head:
            name, _, value = word.partition("=")
            return name == HEAD[len(self.told)] and self.wanted.get(name, value) == value
        note = word_note(word)
        if note is None or self.over:
            return not self.over and self.signs().get(word, False)
        return self.held in (None, note.pitch) and self.has_room(note.ticks)

    @property
    def held(self) -> int | None:
        """The pitch of the note before, if it is tied to the next: that must be the same."""
        note = word_note(self.last) if self.last.endswith("-") else None
        return None if note is None else note.pitch

    def has_room(self, ticks: int) -> bool:
        """Whether a note of this length may come: what is then left of the bar can still be filled."""
        may = self._bars_left > 0 and not self._needs_second_ending
        rest = {goal - self.filled - ticks for goal in self._goals()} if may else set()
        sums = _sums(self.durations, self.full)
        return any(left == 0 or (left > 0 and (not self.durations or left in sums)) for left in rest)

    @property
    def _needs_second_ending(self) -> bool:
        return self.ending == 1 and self.last == REPEAT

    def _goals(self) -> list[int]:
        """What this bar may come to, in ticks."""
        last = self.full - (self.upbeat or 0)
        if not self.starts_part:
            return [last] if self._bars_left == 1 else [self.full, last] if self.may_end_part else [self.full]
        if self.upbeat is not None:
            return [self.upbeat or self.full]
        sums = _sums(self.durations, self.full)
        upbeats = [ticks for ticks in range(1, self.full) if not self.durations or self.full - ticks in sums]
        return [self.full, *upbeats]

    @property
    def in_last_bar(self) -> bool:
        """Whether the tune ends with the bar that is being filled."""
        is_upbeat = self.starts_part and bool(self.upbeat)
        return self.num_bars is not None and self.num_bars - self.bars == 1 and self.ending != 1 and not is_upbeat

    def leads_home(self, word: str) -> bool:
        """Whether the last bar may go on like this, if the tune is to close on its tonic, where the foot taps.

        So do 87 of 100 old tunes whose last note is on a beat; of those that end between beats only 25 do.
        """
        note = word_note(word) if self.in_last_bar else None
        if note is None:
            return True
        end, tap = self.full - (self.upbeat or 0), self.metre.tap_ticks
        if self.filled + note.ticks < end:
            return self.filled + note.ticks <= (end - 1) // tap * tap
        is_tonic = note.pitch is not None and note.pitch % 12 == Key(self.told["key"]).pitch_class
        return is_tonic and not note.tied and self.filled % tap == 0

    @property
    def may_end_part(self) -> bool:
        """Whether the bar that is being filled may be the last of its part."""
        is_whole = (self.part_bars + 1) % self.phrase == 0
        return self._bars_left == 1 or (is_whole and (self.ending == 1 or self._leaves_a_part(1)))

    @property
    def _may_begin_endings(self) -> bool:
        """Whether two endings have room in this part, and leave no more bars over than one would.

        So it is with 145 of the 146 first endings of the data set.
        """
        if self.starts_part or self.num_bars is None:
            return not self.starts_part
        bars = self.phrase - self.part_bars % self.phrase
        left = self.num_bars - self.bars - 2 * bars
        return left >= 0 and self._leaves_a_part(2 * bars) and left % self.phrase <= (left + bars) % self.phrase

    def _leaves_a_part(self, bars: int) -> bool:
        """Whether after so many more bars nothing is left of the tune, or a phrase at least."""
        left = None if self.num_bars is None else self.num_bars - self.bars - bars
        return left is None or left == 0 or left >= self.phrase

    @property
    def _bars_left(self) -> int:
        """How many may still come here, one left over for a second ending; very many if any number will do."""
        if self.num_bars is None:
            return 1 << 30
        return self.num_bars - self.bars - (self.ending == 1 and not self._needs_second_ending)

    def signs(self) -> dict[str, bool]:
        """Which of `SIGNS` may come now."""
        begins, left = self.filled == 0, self._bars_left
        between = begins and self.last != OPENS and self.last not in ENDINGS
        is_upbeat = self.starts_part and self.filled == self.upbeat
        closes = not begins and self.filled == self.full - (self.upbeat or 0) and not (self.starts_part and self.upbeat)
        ends = closes and self.may_end_part
        goes_on = self.filled == self.full and left > 1 and not (self.starts_part and self.upbeat)
        is_last = self.num_bars is None or self.num_bars - self.bars == (0 if begins else 1)
        return {
            OPENS: between and self.starts_part and not self.opened and left > 0,
            LINE: not begins and (goes_on or is_upbeat or self._may_be_upbeat()),
            REPEAT: ends and self.ending != 2 and left > 0,
            DOUBLE: ends and self.ending != 1 and (self.ending == 2 or not self.opened) and left > 1,
            END: is_last and self.ending != 1 and (closes or (begins and self.last in (REPEAT, DOUBLE))),
            ENDINGS[0]: between and self.last == LINE and not self.ending and self._may_begin_endings,
            ENDINGS[1]: self._needs_second_ending,
        }

    def _may_be_upbeat(self) -> bool:
        """Whether this is the tune's first bar and may end before it is full."""
        return self.starts_part and self.upbeat is None and self.filled < self.full

    def take(self, word: str) -> None:
        """The word that came."""
        if self.in_head:
            name, _, value = word.partition("=")
            self.told[name] = value
            if name == "metre":
                self.metre = Metre(*map(int, value.split("/")))
                self.full = self.metre.ticks
        elif (note := word_note(word)) is not None:
            self.filled += note.ticks
        elif word in LINES and self.filled:
            self._take_line(word)
        elif word in SIGNS:
            self.opened |= word == OPENS
            self.shared_bars = self.part_bars if word == ENDINGS[0] else self.shared_bars
            self.part_bars = self.shared_bars if word == ENDINGS[1] else self.part_bars
            self.ending = 1 + ENDINGS.index(word) if word in ENDINGS else self.ending
            self.over = word == END
        self.last = word

    def _take_line(self, word: str) -> None:
        is_upbeat = self.starts_part and self.filled < self.full and word == LINE
        if self.starts_part and self.upbeat is None:
            self.upbeat = self.filled if is_upbeat else 0
        self.bars += not is_upbeat
        self.part_bars += not is_upbeat
        self.filled, self.starts_part = 0, False
        if word == DOUBLE or (word == REPEAT and self.ending != 1):  # else the second ending follows
            self.starts_part, self.opened, self.ending, self.part_bars = True, False, 0, 0


@lru_cache(maxsize=64)
def _sums(durations: tuple[int, ...], most: int) -> frozenset[int]:
    """All lengths that durations can make together, up to `most`."""
    reached = {0}
    for total in range(1, most + 1):
        if any(total - ticks in reached for ticks in durations):
            reached.add(total)
    return frozenset(reached)
