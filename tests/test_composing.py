"""Composing with the model that ships: what is asked for is kept, files tell how they were made, a replay agrees."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tunes as examples
from reverie import composing, engine
from reverie.cli.app import app
from reverie.composing import SUFFIXES, Composed, compose, in_range, written
from reverie.engine import Model
from reverie.notation import words
from reverie.notation.abc import from_abc, to_abc
from reverie.notation.instruments import instrument
from reverie.notation.midi import to_midi
from reverie.notation.theory import Key
from reverie.notation.tune import Metre, Tune, parts
from reverie.types import ReverieError

MAGIC = {
    ".abc": b"X:1", ".mid": b"MThd", ".musicxml": b"<?xml", ".svg": b"<", ".png": b"\x89PNG", ".pdf": b"%PDF",
    ".wav": b"RIFF", ".ogg": b"OggS", ".mp3": b"ID3",
}  # fmt: skip
TOLD = (".abc", ".mid", ".wav", ".ogg", ".mp3")  # that hold their record


@pytest.fixture(scope="module")
def model() -> Model:
    return engine.load("tunes")


@pytest.fixture(scope="module")
def jig(model: Model) -> Composed:
    return compose(model, "a lively jig in D major for flute", seed=1, backing=True)


def test_a_seed_repeats_and_another_one_does_not(model: Model, jig: Composed) -> None:
    again = compose(model, "a lively jig in D major for flute", seed=1, backing=True)
    other = compose(model, "a lively jig in D major for flute", seed=2, backing=True)
    assert again.tune == jig.tune
    assert other.tune.bars != jig.tune.bars


def test_what_the_words_say_is_what_comes(jig: Composed) -> None:
    tune = jig.tune
    assert (tune.rhythm, tune.metre, tune.key, tune.tempo_bpm) == ("jig", Metre(6, 8), Key("D"), 129)
    assert jig.played_by.name == "flute"
    assert words.adds_up(tune)
    assert tune.title
    assert set(jig.assumed) == {"bars"}


def lengths(tune: Tune) -> list[int]:
    """How many bars each part has as it is played once, upbeats not counted."""
    found = []
    for part in parts(tune.bars):
        second = sum(bar.ending == 2 for bar in part)
        found.append(len(part) - (words.upbeat(part, tune.metre.ticks) > 0) - second)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_a_tune_has_the_form_that_was_asked_for_and_closes_on_its_tonic(model: Model, seed: int) -> None:
    made = compose(model, "a reel of 16 bars in E minor", seed=seed)
    assert words.num_bars(made.tune) == 16
    assert made.tune.pitches[-1] % 12 == Key("E").pitch_class
    assert made.tune.notes[-1].pitch is not None
    assert any(bar.ending for bar in made.tune.bars) or all(length % 4 == 0 for length in lengths(made.tune))


@pytest.mark.parametrize("bars", [1, 4, 5, 6, 7, 9, 11, 17])
def test_any_number_of_bars_makes_a_tune_that_closes(model: Model, bars: int) -> None:
    tune = compose(model, "a reel in D", seed=1, bars=bars).tune
    assert words.num_bars(tune) == bars
    assert tune.pitches[-1] % 12 == Key("D").pitch_class
    assert sum(note.pitch is None for note in tune.notes) <= len(tune.notes) // 20
    assert lengths(tune)[-1] >= min(bars, 4)
    assert all(length % 4 == 0 for length in lengths(tune)[:-1])


def test_what_was_led_home_is_told_apart_from_what_was_corrected(model: Model) -> None:
    led = (compose(model, "a jig of 8 bars in C", seed=seed).brought_home for seed in range(40))
    first = next(led)
    assert any(later != first for later in led)
    assert not compose(model, "a short waltz in C", seed=0, free=True).brought_home


def test_options_count_more_than_words(model: Model) -> None:
    made = compose(model, "a jig in D", seed=3, key="Gm", metre="3/4", rhythm="waltz", bars=12, tempo_bpm=99)
    tune = made.tune
    assert (tune.rhythm, str(tune.metre), tune.key, tune.tempo_bpm) == ("waltz", "3/4", Key("G", "minor"), 99)
    assert words.num_bars(tune) == 12
    assert words.adds_up(tune)


def test_a_tune_goes_away_from_the_keys_that_it_may_be_taken_for(model: Model) -> None:
    def against(prompt: str, **settings: Any) -> list[dict[str, str]]:
        medium = model.medium
        texts, guide = medium.vocabulary.texts, medium.condition(medium.request(prompt, **settings)).guide
        return [{texts[one]: texts[other] for one, other in each.items()} for each in guide.others]

    dominant, relative = against("a jig in D")
    assert dominant == {"key=D": "key=A", "mode=major": "mode=major"}
    assert relative == {"key=D": "key=B", "mode=major": "mode=minor"}
    assert against("a reel in E dorian")[1] == {"key=E": "key=G", "mode=dorian": "mode=major"}
    assert against("", begin="X:1\nM:6/8\nL:1/8\nK:G\nGAB BAB|")[0]["key=G"] == "key=D"
    assert against("a jig") == against("a sad jig") == against("a jig in D", guidance=1.0) == []


def test_a_tune_of_before_there_was_guidance_is_made_again_without(model: Model) -> None:
    made = compose(model, "a short jig in D", seed=5, guidance=1.0)
    old = replace(made, record={name: value for name, value in made.record.items() if name != "guidance"})
    assert composing.verify(written(old, ".abc"), model).same_bytes


@pytest.mark.parametrize("seed", range(6))
def test_nothing_asked_is_answered_with_what_was_assumed(model: Model, seed: int) -> None:
    made = compose(model, "surprise me", seed=seed)
    assert set(made.assumed) == {"rhythm", "metre", "key", "bars"}
    assert words.adds_up(made.tune)


@pytest.mark.parametrize("seed", range(4))
def test_no_tune_goes_on_for_ever(model: Model, seed: int) -> None:
    made = compose(model, "a slow air in G minor", seed=seed, temperature=1.2)
    assert words.adds_up(made.tune)
    assert words.num_bars(made.tune) <= 74  # 64 is the most that a head tells


def test_a_melody_is_carried_on(model: Model) -> None:
    begin = "X:1\nM:6/8\nL:1/8\nK:G\nD|GAB BAB|gdB AGE|"
    made = compose(model, "", seed=4, begin=begin)
    told = from_abc(begin)
    assert made.tune.bars[:3] == tuple(replace(bar, closes="") for bar in told.bars)
    assert (made.tune.key, made.tune.metre) == (Key("G"), Metre(6, 8))
    assert words.num_bars(made.tune) == 16
    assert made.assumed == {}


PHRASE = "GAB BAB|gdB AGE|GAB BAB|"
CLOSE = "gdB AGE|"


@pytest.mark.parametrize(
    ("begin", "given"),
    [
        (PHRASE, []),
        (f"{PHRASE}{CLOSE}{PHRASE}{CLOSE[:-1]}|]", []),
        (f"|:{PHRASE}{CLOSE}G3 G3:|", [5]),
        (f"|:D|{PHRASE}{CLOSE}GAB BAB|G3 G2:|", [6]),
        (f"|:{PHRASE}1 G3 G3:|2 G3 G3||", [4]),
        (f"|:{PHRASE}1 G3 G3:|2 G3 G3||{PHRASE}", [4]),
    ],
)
@pytest.mark.parametrize("seed", range(2))
def test_what_a_melody_is_carried_on_with_has_whole_phrases(
    model: Model, begin: str, given: list[int], seed: int
) -> None:
    tune = compose(model, "", seed=seed, begin=f"X:1\nM:6/8\nL:1/8\nK:G\n{begin}").tune
    assert lengths(tune)[: len(given)] == given
    new = lengths(tune)[len(given) :]
    assert new
    assert all(length % 4 == 0 for length in new)
    assert tune.pitches[-1] % 12 == Key("G").pitch_class


@pytest.mark.parametrize(
    ("prompt", "settings", "notes"),
    [
        ("a waltz in H", {}, ["H is read as B, which is its name in English."]),
        ("a waltz", {"key": "Hm"}, ["H is read as B, which is its name in English."]),
        ("a jig", {"metre": "4/4"}, ["A jig is in 6/8 or 12/8; 4/4 was asked for and is used."]),
        ("a slip jig in 3/4", {}, ["A slip jig is in 9/8; 3/4 was asked for and is used."]),
        (
            "a waltz",
            {"begin": "X:1\nM:6/8\nL:1/8\nK:G\nGAB BAB|"},
            ["A waltz is in 3/4 or 3/8; 6/8 is that of the melody and is kept."],
        ),
        ("a jig in B", {}, []),
        ("a march in 6/8", {}, []),
    ],
)
def test_a_wish_that_is_understood_otherwise_or_unusual_is_told(
    model: Model, prompt: str, settings: dict[str, Any], notes: list[str]
) -> None:
    made = compose(model, prompt, seed=1, **settings)
    assert list(made.notes) == notes


def test_without_its_rule_the_model_is_free(model: Model) -> None:
    made = [compose(model, "a reel", seed=seed, free=True, temperature=2.0) for seed in range(3)]
    assert not all(words.adds_up(one.tune) for one in made)
    assert all(one.corrected for one in made)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_kind_of_file_is_what_it_says(jig: Composed, suffix: str) -> None:
    data = written(jig, suffix)
    assert data.startswith(MAGIC[suffix])
    assert written(jig, suffix) == data


@pytest.mark.parametrize("suffix", TOLD)
def test_a_file_tells_how_it_was_made_and_that_is_true(model: Model, jig: Composed, suffix: str) -> None:
    data = written(jig, suffix)
    assert composing.read_record(data) == jig.record
    assert composing.verify(data, model).same_bytes
    assert b"trainedAlgorithmicMedia" in data or suffix in (".ogg", ".mp3")


def test_an_edited_tune_is_found_out(model: Model, jig: Composed) -> None:
    edited = written(jig, ".abc").replace(b"\nK:D\n", b"\nK:D\nd")
    verdict = composing.verify(edited, model)
    assert not verdict.same_bytes
    assert "edited" in verdict.summary


@pytest.mark.parametrize(
    "data", [b"", b"X:1\nK:C\nCDE", b"MThd", b"RIFF0000WAVE", b"%%reverie {", b"%%reverie []", b"ID3"]
)
def test_a_file_that_tells_nothing_says_so(data: bytes) -> None:
    with pytest.raises(ReverieError, match=r"\.$"):
        composing.asked(composing.read_record(data))


def test_a_tune_is_moved_to_where_its_instrument_can_play() -> None:
    tune = examples.jig()
    assert in_range(tune, instrument("fiddle")) == tune
    low = in_range(tune, instrument("cello"))
    assert max(low.pitches) <= instrument("cello").highest
    assert (min(tune.pitches) - min(low.pitches)) % 12 == 0


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"key": "Hx"}, "no key 'Hx'"),
        ({"metre": "5/4"}, "metre"),
        ({"rhythm": "tango"}, "rhythm"),
        ({"bars": 0}, "bars"),
        ({"bars": 1000}, "bars"),
        ({"tempo_bpm": 4}, "tempo"),
        ({"begin": ""}, "no note"),
        ({"begin": "X:1\nM:6/8\nK:C\nABcd efgab|c3"}, "add up"),
        ({"begin": "X:1\nM:5/4\nK:C\nA|"}, "metre"),
        ({"begin": "X:1\nM:4/4\nL:1/8\nK:C\nC,,8|"}, "no word"),
        ({"begin": "X:1\nM:4/4\nL:1/8\nK:C\n" + "C8|" * 61}, "bars"),
        ({"instrument_name": "kazoo"}, "instrument"),
        ({"nonsense": 1}, "no setting"),
    ],
)
def test_what_cannot_be_done_says_why(model: Model, settings: dict[str, object], says: str) -> None:
    with pytest.raises(ReverieError, match=says):
        compose(model, "a tune", **settings)  # type: ignore[arg-type]


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """A command in an empty folder -> its status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))

    def command(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            app([*arguments], prog_name="reverie")
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return command


def test_the_command_writes_each_file_and_names_it(run: Run) -> None:
    status, out, err = run("compose", "a jig in D", "--seed", "1", "-n", "2", "-o", "jig.abc", "-o", "jig.svg")
    assert status == 0
    assert out.splitlines() == ["jig-1.abc", "jig-1.svg", "jig-2.abc", "jig-2.svg"]
    assert all(Path(name).stat().st_size for name in out.splitlines())
    assert "jig in D major, 6/8" in err
    assert "Assumed: bars" in err
    status, out, _ = run("verify", "jig-2.abc")
    assert (status, out) == (0, "jig-2.abc: verified, the same to the last byte\n")
    assert run("compose", "--again", "jig-1.abc", "-o", "again.abc")[0] == 0
    assert Path("again.abc").read_bytes() == Path("jig-1.abc").read_bytes()


def test_a_replay_goes_by_what_is_in_a_file_and_says_what_tells(run: Run) -> None:
    run("compose", "a jig in D", "--seed", "1", "-o", "jig.mid", "-o", "jig.png", "-o", "jig.svg")
    Path("jig.mid").rename("tune")
    assert run("verify", "tune")[0] == 0
    for score in ("jig.png", "jig.svg"):
        status, _, err = run("verify", score)
        assert status == 1
        assert "the sound, .abc or .mid" in err
    status, _, err = run("verify", "tune", "--init", "jig.png")
    assert (status, err.count("leave it out: the file is a tune")) == (2, 1)


def test_the_command_tells_what_it_made_of_the_wishes(run: Run) -> None:
    _, _, err = run("compose", "a jig in H", "--meter", "4/4", "--seed", "1", "-o", "jig.abc")
    assert err.splitlines()[1:3] == [
        "H is read as B, which is its name in English.",
        "A jig is in 6/8 or 12/8; 4/4 was asked for and is used.",
    ]
    assert "Assumed: bars" in err
    assert "key" not in err.partition("Assumed")[2]


@pytest.mark.parametrize(("options", "says"), [((), "another was taken"), (("--free",), "--free allowed it")])
def test_the_command_tells_how_often_the_rule_counted(run: Run, options: tuple[str, ...], says: str) -> None:
    _, _, err = run("compose", "a reel", "--temperature", "2", "-n", "3", "--seed", "0", "-o", "a.abc", *options)
    told = [line for line in err.splitlines() if "notes and bar lines" in line]
    assert told
    assert all(re.match(r"At \d+ of \d+ notes and bar lines the likeliest choice ", line) for line in told)
    assert all(says in line for line in told)


@pytest.mark.parametrize("suffix", [".abc", ".mid"])
def test_the_command_goes_on_from_a_file(run: Run, suffix: str) -> None:
    begun = replace(examples.jig(), bars=examples.jig().bars[:4])
    data = to_abc(begun).encode() if suffix == ".abc" else to_midi(begun)
    Path(f"begun{suffix}").write_bytes(data)
    status, out, err = run("compose", "--continue", f"begun{suffix}", "--seed", "2")
    assert status == 0, err
    assert from_abc(out).pitches[: len(begun.pitches)] == begun.pitches


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["a jig", "-o", "jig.doc"], 2),
        ([], 2),
        (["a jig", "-m", "scenes"], 1),
        (["a jig", "--key", "X"], 1),
        (["--continue", "nowhere.abc"], 1),
    ],
)
def test_mistakes_are_told_without_a_traceback(run: Run, arguments: list[str], status: int) -> None:
    told = run("compose", *arguments)
    assert told[0] == status
    assert "Traceback" not in told[2]


@pytest.mark.parametrize("arguments", [["compose", "--again"], ["compose", "--continue"], ["verify"]])
def test_a_file_that_is_no_tune_is_named(run: Run, arguments: list[str]) -> None:
    Path("words.mid").write_text("hello, this is no tune")
    status, out, err = run(*arguments, "words.mid")
    assert (status, out) == (1, "")
    assert "words.mid: The file " in err
