"""Tunes as files: notes, score and sound, each with the record of how it was made, and the replay that checks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from reverie import media, records
from reverie.data.tunes import FITS
from reverie.hub.soundfont import soundfont
from reverie.notation import abc, marks, words
from reverie.notation.harmony import Chord, chords
from reverie.notation.instruments import Instrument, instrument, named_in
from reverie.notation.plan import Plan
from reverie.notation.tune import Tune
from reverie.records import Verdict
from reverie.types import ReverieError, Step

if TYPE_CHECKING:
    from reverie.engine import Generation, Model

KIND = "tune"  # of a record
SETTINGS = (
    "seed", "temperature", "top_k", "top_p", "min_p", "max_tokens", "guidance", "key", "metre", "rhythm", "bars",
    "tempo_bpm", "begin", "free",
)  # of a request, as recorded  # fmt: skip
USUAL = "fiddle"
MOST_SHIFT = 36  # semitones to bring a tune into an instrument's range


@dataclass(frozen=True)
class Composed:
    """A finished tune, and how it came about.

    assumed: what the prompt left open and the model chose, by name. notes: sentences on how it was understood where
    that is not plain. corrected, asked: at how many of how many words the
    likeliest one would have broken a bar, a repeat or the form. brought_home: whether the last bar was led to
    the tonic.
    """

    tune: Tune
    record: Mapping[str, Any]
    assumed: Mapping[str, str]
    corrected: int
    asked: int
    brought_home: bool = False
    notes: tuple[str, ...] = ()

    @property
    def played_by(self) -> Instrument:
        """The instrument of the melody."""
        return instrument(self.record["instrument"])

    @cached_property
    def chords(self) -> list[Chord]:
        """What a guitar would play to it; none if no backing was asked for."""
        return chords(self.tune) if self.record["backing"] else []


def compose(
    model: Model,
    prompt: str,
    watch: Callable[[Step], None] | None = None,
    *,
    instrument_name: str | None = None,
    backing: bool = False,
    **settings: Any,
) -> Composed:
    """Composes a tune. settings: fields of `MusicRequest`. watch: is told of every step."""
    need_composing(model)
    player = who_plays(prompt, instrument_name)
    generation = model.generate(prompt, **settings)
    guess = records.last_step(generation, watch).guess
    return finished(model, generation, guess, player, backing)


def finished(model: Model, generation: Generation, guess: Sequence[int], player: Instrument, backing: bool) -> Composed:
    """The tune of a generation that has come to its end, where its instrument can play it."""
    request, rule = generation.request, generation.condition.rule
    tune = in_range(model.medium.tune(guess, request), player)
    if not tune.title:
        tune = replace(tune, title=f"{(tune.rhythm.capitalize() + ' in ') if tune.rhythm else 'In '}{tune.key}")
    how = {"kind": KIND, "instrument": player.name, "backing": backing}
    record = records.record(model, request, SETTINGS) | how
    told, notes = _assumed(tune, request.plan, request.begin), tuple(_notes(tune, request.plan, request.begin))
    return Composed(tune, record, told, rule.corrected, rule.asked, rule.brought_home, notes)


def who_plays(prompt: str, name: str | None) -> Instrument:
    """Who plays: as asked for, or as the prompt says, or the usual one."""
    told = named_in(prompt) if name is None else instrument(name)
    return instrument(USUAL) if told is None else told


def in_range(tune: Tune, player: Instrument) -> Tune:
    """The tune in the octave that fits the instrument best: with the fewest notes out of its range, moved least."""
    shifts = sorted(range(-MOST_SHIFT, MOST_SHIFT + 1, 12), key=abs)
    best = min(shifts, key=lambda shift: sum(not player.lowest <= p + shift <= player.highest for p in tune.pitches))
    return tune.transposed(best, tune.key) if best else tune


def _assumed(tune: Tune, plan: Plan, begin: str | None) -> dict[str, str]:
    """What nobody asked for, in the words of a musician."""
    if begin is not None:
        return {}
    told = {"rhythm": plan.rhythm, "metre": plan.metre, "key": plan.tonic, "mode": plan.mode, "bars": plan.num_bars}
    key, bars = str(tune.key), str(words.num_bars(tune))
    chosen = {"rhythm": tune.rhythm, "metre": str(tune.metre), "key": key, "mode": key, "bars": bars}
    names = {"mode": "key"}
    return {names.get(name, name): chosen[name] for name, value in told.items() if value is None}


def _notes(tune: Tune, plan: Plan, begin: str | None) -> Iterator[str]:
    """What of the wishes was understood in another way, or is unusual."""
    if plan.german and begin is None:
        yield "H is read as B, which is its name in English."
    usual = FITS.get(tune.rhythm, ()) if plan.rhythm is not None else ()
    if not usual or str(tune.metre) in usual:
        return
    *others, last = usual
    whose = "was asked for and is used" if begin is None else "is that of the melody and is kept"
    yield f"A {tune.rhythm} is in {' or '.join(filter(None, (', '.join(others), last)))}; {tune.metre} {whose}."


def need_composing(model: Model) -> None:
    """A `ReverieError` unless the model composes."""
    if not hasattr(model.medium, "tune"):
        raise ReverieError(f"{model.name} makes {model.medium.name}: choose a model that composes with -m.")


# --- files ---


def written(made: Composed, suffix: str) -> bytes:
    """The file of a tune with this suffix, one of `SUFFIXES`; a `ReverieError` for any other."""
    if suffix.lower() not in SUFFIXES:
        raise ReverieError(f"A tune cannot be written as {suffix[:20]!r}: choose {', '.join(SUFFIXES)}.")
    return SUFFIXES[suffix.lower()](made)


def _abc(made: Composed) -> bytes:
    head, _, notes = abc.to_abc(made.tune).partition("\nM:")
    mark = f"N:{marks.MADE_BY} ({marks.SOURCE_TYPE})\n%%{marks.RECORD} {media.record_text(made.record)}"
    return f"{head}\n{mark}\nM:{notes}".encode()


def _midi(made: Composed) -> bytes:
    from reverie.notation.backing import backing  # noqa: PLC0415 - mido takes its time
    from reverie.notation.midi import to_midi  # noqa: PLC0415

    parts = backing(made.tune, made.chords) if made.chords else []
    return to_midi(made.tune, parts, made.played_by.program, made.record)


def _musicxml(made: Composed) -> str:
    from reverie.notation.musicxml import to_musicxml  # noqa: PLC0415

    return to_musicxml(made.tune, made.chords)


def _svg(made: Composed) -> bytes:
    from reverie.notation import engrave  # noqa: PLC0415

    (page,) = engrave.svg(_musicxml(made))
    return page.encode()


def _png(made: Composed) -> bytes:
    from reverie.notation import engrave  # noqa: PLC0415

    return engrave.png(_musicxml(made))


def _pdf(made: Composed) -> bytes:
    from reverie.notation import engrave  # noqa: PLC0415

    return engrave.pdf(_musicxml(made))


def _sound(kind: str) -> Callable[[Composed], bytes]:
    def write(made: Composed) -> bytes:
        from reverie.notation import sound  # noqa: PLC0415

        encode = {"wav": sound.wav, "ogg": sound.ogg, "mp3": sound.mp3}[kind]
        samples = sound.render(_midi(made), soundfont())
        return encode(samples, title=made.tune.title, record=made.record)

    return write


SUFFIXES: Mapping[str, Callable[[Composed], bytes]] = {
    ".abc": _abc,
    ".mid": _midi,
    ".musicxml": lambda made: _musicxml(made).encode(),
    ".svg": _svg,
    ".png": _png,
    ".pdf": _pdf,
    ".wav": _sound("wav"),
    ".ogg": _sound("ogg"),
    ".mp3": _sound("mp3"),
}


# --- replays ---


def read_record(data: bytes) -> dict[str, Any]:
    """How the tune in a file was made; a `ReverieError` if it does not tell: MIDI, ABC, WAV, Ogg and MP3 do."""
    from reverie.notation.midi import read_midi_record  # noqa: PLC0415
    from reverie.notation.sound import read_sound_record  # noqa: PLC0415

    if suffix_of(data) == ".mid":
        return read_midi_record(data)
    if suffix_of(data) != ".abc":
        return read_sound_record(data)
    lines = data[: media.MAX_RECORD_CHARS + 4000].decode("utf-8", "replace").splitlines()
    mark = f"%%{marks.RECORD} "
    return marks.read_record_text(next((line.removeprefix(mark) for line in lines if line.startswith(mark)), None))


def asked(record: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The prompt and the settings of `compose` that a record tells of; whatever is missing is a `ReverieError`."""
    record = {"guidance": 1.0, **record}  # none, where nothing is said of it: there was none
    prompt, settings = records.told(record, KIND, ("instrument", "backing", *SETTINGS), "a tune")
    player, backing = settings.pop("instrument"), settings.pop("backing") is True
    if not isinstance(player, str):
        raise ReverieError("The file's record names no instrument: give a tune as Reverie wrote it.")
    return prompt, settings | {"instrument_name": player, "backing": backing}


def suffix_of(data: bytes) -> str:
    """The suffix of a file that holds a record, by what is in it."""
    begins = {b"MThd": ".mid", b"RIFF": ".wav", b"OggS": ".ogg", b"ID3": ".mp3"}
    return next((suffix for magic, suffix in begins.items() if data.startswith(magic)), ".abc")


def verify(data: bytes, model: Model) -> Verdict:
    """Composes the tune in a file again, from its own record, and compares."""
    told = read_record(data)
    prompt, settings = asked(told)
    with records.threads_of(told):
        again = compose(model, prompt, **settings)
    same = written(replace(again, record=told), suffix_of(data)) == data
    return Verdict(same, same, tuple(records.changes(told, again.record)), parts="notes")
