"""compose: a tune from a prompt, to hear, to read and to edit."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reverie.cli.feedback import Feedback, load_for, note
from reverie.cli.making import numbered
from reverie.cli.options import Offline, piped, read_as, read_bytes, spread
from reverie.hub import files
from reverie.types import ReverieError, Step

if TYPE_CHECKING:
    from reverie.composing import Composed
    from reverie.engine import Model

SETTINGS = (
    "seed", "temperature", "guidance", "key", "metre", "rhythm", "bars", "tempo_bpm", "free",
)  # that are options too  # fmt: skip
PART_ENDS = (":|", "||", "|]")

PromptArgument = Annotated[
    str | None, typer.Argument(metavar="PROMPT", help='Like "a lively jig in D major"; also from stdin.')
]


@dataclass(frozen=True)
class ComposeOptions:
    """Options of `compose`. None: as the prompt says, or what suits best."""

    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output", "-o", metavar="FILE",
            help="Sound (.wav .ogg .mp3), score (.png .svg .pdf) or notes (.mid .abc .musicxml); repeatable. "
            "None: ABC on stdout.",
        ),
    ] = None  # fmt: skip
    model: Annotated[str | None, typer.Option("--model", "-m", help="A model's name or folder.")] = None
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same tune.")] = None
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=64, help="How many tunes.")] = 1
    key: Annotated[str | None, typer.Option(help="D, F#m, Bb, Ador ...")] = None
    metre: Annotated[str | None, typer.Option("--meter", "--metre", help="6/8, 4/4, 3/4 ...")] = None
    rhythm: Annotated[str | None, typer.Option(help="jig, reel, hornpipe, waltz, march, air ...")] = None
    bars: Annotated[int | None, typer.Option(help="How many are written; repeats are played twice.")] = None
    tempo_bpm: Annotated[int | None, typer.Option("--tempo", help="Beats a minute.")] = None
    temperature: Annotated[float | None, typer.Option(help="0: the likeliest note always; 0.85: as a rule.")] = None
    guidance: Annotated[float | None, typer.Option(help="How clearly to keep to the key; 1: as it comes.")] = None
    instrument: Annotated[str | None, typer.Option(help="fiddle, flute, piano, harp ...")] = None
    backing: Annotated[bool, typer.Option("--backing", help="With a bass, and chords on a guitar or harp.")] = False
    begin: Annotated[
        Path | None, typer.Option("--continue", metavar="FILE", help="Go on from this melody (.abc or .mid).")
    ] = None
    free: Annotated[bool, typer.Option("--free", help="Do not keep the bars whole where the model slips.")] = False
    again: Annotated[Path | None, typer.Option(metavar="FILE", help="Prompt and settings of this tune.")] = None
    offline: Offline = False

    def settings(self) -> dict[str, Any]:
        """What the person set, for `reverie.composing.compose`."""
        given = {name: getattr(self, name) for name in SETTINGS if getattr(self, name) not in (None, False)}
        if self.begin is not None:
            given["begin"] = melody(self.begin)
        if self.instrument is not None:
            given["instrument_name"] = self.instrument
        return given | ({"backing": True} if self.backing else {})


@spread
def compose(prompt: PromptArgument = None, *, options: ComposeOptions) -> None:
    """Compose a tune; say where its files are, or print it as ABC."""
    check_files(options)
    prompt, settings, name = asked(prompt, options)
    with Feedback() as feedback:
        model = load_composer(name, options.offline, feedback)
    for number in range(options.count):
        made = _composed(model, prompt, settings)
        _tell(made, told=number == 0)
        for file in options.output if options.output is not None else ():
            files.write(numbered(file, number, options.count), _written(made, file.suffix))
            print(numbered(file, number, options.count))
        if options.output is None:
            print(_written(made, ".abc").decode(), end="\n" if number + 1 < options.count else "")
        settings = {**settings, "seed": made.record["seed"] + 1}


def _composed(model: Model, prompt: str, settings: dict[str, Any]) -> Composed:
    from reverie import composing

    with Page() as page:
        return composing.compose(model, prompt, page.step, **settings)


def _written(made: Composed, suffix: str) -> bytes:
    from reverie import composing

    return composing.written(made, suffix)


def _tell(made: Composed, *, told: bool) -> None:
    """What the tune is, what was assumed, and what had to be mended."""
    tune = made.tune
    seconds = round(tune.seconds())
    kind = f"{tune.rhythm} in " if tune.rhythm else ""
    note(
        f'"{tune.title}", {kind}{tune.key}, {tune.metre}, {seconds // 60}:{seconds % 60:02}, seed {made.record["seed"]}'
    )
    for sentence in made.notes if told else ():
        note(sentence)
    if told and made.assumed:
        note("Assumed: " + ", ".join(f"{name} {value}" for name, value in made.assumed.items()) + ".")
    if made.corrected:
        note(_corrections(made))
    if made.brought_home:
        note("Led the last bar home to the tonic.")


def _corrections(made: Composed) -> str:
    """How often the rule had to, or with --free would have had to, keep the model from its likeliest choice."""
    places = f"At {made.corrected} of {made.asked} notes and bar lines"
    if made.record["free"]:
        return f"{places} the likeliest choice would break a bar or a repeat; --free allowed it."
    return f"{places} the likeliest choice would have broken a bar, a repeat or the form; another was taken."


def asked(prompt: str | None, options: ComposeOptions) -> tuple[str, dict[str, Any], str | None]:
    """Prompt, settings and model's name: those of the file to repeat, unless others are given."""
    settings, name = options.settings(), options.model
    if options.again is not None:
        from reverie import composing, records

        record = read_as(options.again, composing.read_record)
        told, told_settings = composing.asked(record)
        settings = told_settings | settings
        prompt, name = told if prompt is None else prompt, records.model_of(record) if name is None else name
    prompt = piped() if prompt is None else prompt
    prompt = "" if prompt is None else prompt.strip()
    if not prompt and options.begin is None and options.again is None:
        raise typer.BadParameter("give at least one word, or pipe it in", param_hint="PROMPT")
    return prompt, settings, name


def check_files(options: ComposeOptions) -> None:
    """A usage error for file names that a tune cannot be written to."""
    known = (".abc", ".mid", ".musicxml", ".svg", ".png", ".pdf", ".wav", ".ogg", ".mp3")
    for file in options.output if options.output is not None else ():
        if file.suffix.lower() not in known:
            raise typer.BadParameter(f"give a name that ends in {' '.join(known)}", param_hint="--output")


def melody(file: Path) -> str:
    """The melody in an ABC or MIDI file, as ABC."""
    if file.suffix.lower() in (".mid", ".midi"):
        from reverie.notation.abc import to_abc
        from reverie.notation.listen import from_midi

        return to_abc(read_as(file, from_midi))
    try:
        return read_bytes(file).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ReverieError(f"{file} is neither MIDI nor text: give a melody as .mid or .abc.") from error


def load_composer(name: str | None, offline: bool, feedback: Feedback) -> Model:
    """The model that was asked for, or the default one that composes."""
    model = load_for("music", name, offline, feedback)
    from reverie.composing import need_composing

    need_composing(model)
    return model


class Page:
    """The words of a tune on stderr as they come, bar by bar; nothing where that is no terminal."""

    def __init__(self) -> None:
        self._shows = sys.stderr.isatty()

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *error: object) -> None:
        if self._shows:
            print(file=sys.stderr)

    def step(self, step: Step) -> None:
        """One more word."""
        text = step.info.get("text", "")
        if not self._shows or not text or "=" in text:
            return
        pitch, _, length = text.strip().partition(":")
        shown = text if not length else f" {pitch}"
        end = "\n" if text.strip() in PART_ENDS else ""
        print(f"\x1b[2m{shown}\x1b[22m", end=end, file=sys.stderr, flush=True)
