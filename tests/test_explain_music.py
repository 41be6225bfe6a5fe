"""Exhibits of models that compose: places are those of the notes, and what is told is what the model and rule do."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

import tiny_tunes
import tunes
from explain_setup import check_small_data
from reverie import engine, explain
from reverie.cli.app import app
from reverie.cli.exhibits import show
from reverie.engine import Model
from reverie.explain import tunes as told
from reverie.explain.views import views
from reverie.modalities.music import Bars
from reverie.notation import abc, words
from reverie.types import LMRequest, Message, ReverieError

EXHIBITS = ("music-attention", "music-next", "music-surprise")
TUNE = words.to_text(tunes.jig())
TIGHT = " rhythm=air metre=4/4 key=C mode=major bars=4 C4:1/4 D4:1/4 E4:1/4"
NEEDED: dict[str, dict[str, Any]] = {"what-if": {"layer": 0}}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("composer")
    tiny_tunes.write_model(folder)
    return engine.load(str(folder), place=engine.EXACT)


@pytest.fixture(autouse=True)
def few_real_tunes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told, "held_out", lambda: [tunes.jig()])


def made(name: str, model: Model, prompt: str = TUNE, **options: Any) -> Any:
    return explain.exhibit(name, model, prompt, **options).data


@pytest.mark.parametrize("name", EXHIBITS)
def test_every_exhibit_is_small_data_that_repeats_and_changes_nothing(name: str, model: Model) -> None:
    ids = torch.tensor([model.medium.encode(TUNE)])
    before = model.core(ids)
    seen = explain.exhibit(name, model, TUNE)
    check_small_data(seen)
    assert explain.exhibit(name, model, TUNE) == seen
    assert torch.equal(model.core(ids), before)


# --- what a prompt is ---


def test_free_words_are_read_as_the_head_that_they_ask_for(model: Model) -> None:
    head = [word["text"] for word in made("tokens", model, "a jig in D major")["tokens"]]
    assert head == ["<tune>", " rhythm=jig", " metre=6/8", " key=D", " mode=major"]


def test_a_tune_is_the_same_in_abc_and_in_words(model: Model) -> None:
    by_words, by_abc = (told.heard(model, prompt) for prompt in (TUNE, abc.to_abc(tunes.jig())))
    assert by_words.texts == by_abc.texts
    assert not by_words.composed
    assert by_words.tune.bars == tunes.jig().bars


def test_of_free_words_a_tune_is_composed_and_a_seed_repeats_it(model: Model) -> None:
    first, again = (told.heard(model, "a jig in D", seed=3) for _ in range(2))
    assert first.composed
    assert first.texts == again.texts != told.heard(model, "a jig in D", seed=4).texts
    generation = model.generate("a jig in D", seed=3)
    *_, last = generation
    assert first.tokens[0, 1:].tolist() == list(last.guess)


@pytest.mark.parametrize(
    ("name", "prompt", "options", "says"),
    [
        ("tokens", " rhythm=jig C9:1/8", {}, "no word for 'C9:1/8'"),
        (
            "music-next",
            " rhythm=jig metre=6/8 key=D mode=major bars=4 A4:1/8 | A4:1/8 | A4:1/8 |",
            {},
            "do not add up",
        ),
        ("music-next", TUNE, {"place": 999}, "place is 999"),
        ("music-attention", TUNE, {"head": 0}, "give the layer too"),
        ("music-attention", TUNE, {"note": 0}, "no note"),
        ("music-attention", TUNE, {"layer": 9}, "no layer 9"),
        ("merges", TUNE, {}, "does not show merges"),
        ("context", "a jig", {}, "does not show context"),
        ("denoising", "a jig", {}, "does not show denoising"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(
    model: Model, name: str, prompt: str, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ReverieError, match=says):
        explain.exhibit(name, model, prompt, **options)


def test_a_conversation_is_no_tune(model: Model) -> None:
    with pytest.raises(ReverieError, match="few words"):
        explain.exhibit("music-next", model, [Message("user", "a jig")])


def test_models_of_other_kinds_have_none_of_these(model: Model) -> None:
    assert set(EXHIBITS) <= set(explain.exhibits(model))
    assert {explain.about(name).medium for name in EXHIBITS} == {"music"}
    assert not told.composes(type("Other", (), {"medium": object()})())


@pytest.mark.parametrize("prompt", [TUNE, "a jig in D"])
def test_whatever_a_composing_model_shows_fits_the_terminal(model: Model, prompt: str) -> None:
    for name in explain.exhibits(model):
        if name == "all-at-once":
            continue  # the same for any model, and slow
        shown = explain.exhibit(name, model, prompt, **NEEDED.get(name, {}))
        assert views(shown)
        console = Console(file=io.StringIO(), width=72, record=True)
        show(console, shown)
        assert max(map(len, console.export_text().splitlines())) <= 72


# --- where words stand ---


def test_each_word_stands_where_the_tune_says(model: Model) -> None:
    heard, tune = told.heard(model, TUNE), tunes.jig()
    notes = [heard.words[place] for place in heard.notes]
    assert [note.pitch for note in notes] == [note.pitch for note in tune.notes]
    assert [note.bar for note in notes] == [at for at, bar in enumerate(tune.bars) for _ in bar.notes]
    start = 0.0
    for note in notes:
        bar = note.bar or 0  # 0 and 9 are upbeats
        assert (note.start, note.number) == (start, max(bar, 1) if bar < 9 else max(bar - 1, 9))
        start += note.length or 0
    assert [round(note.beat or 0, 2) for note in notes[:6]] == [2.67, 1.0, 1.67, 2.0, 2.33, 2.67]
    assert {word.kind for word in heard.words} == {"begin", "head", "note", "sign", "title"}
    assert sum(word.bar is None for word in heard.words) == 6 + len(heard.words) - len(TUNE.split()) - 1 + 3


def test_a_bar_that_has_only_begun_is_no_upbeat(model: Model) -> None:
    assert [word.beat for word in told.heard(model, TIGHT).words if word.sounds] == [1, 2, 3]


# --- attention ---


def test_attention_is_the_models_own(model: Model) -> None:
    data = made("music-attention", model, layer=0, head=1)
    with explain.capture(model.core, "blocks.0.attention.attend.weights") as tape, torch.inference_mode():
        model.core.hidden(torch.tensor([model.medium.encode(TUNE)]))
    weights = tape.stack()[0, 0, 1]
    assert data["tokens"][1:6] == [f" {word}" for word in TUNE.split()[:5]]
    for at, row in enumerate(data["weights"]):
        assert len(row) == at + 1
        torch.testing.assert_close(torch.tensor(row), weights[at, : at + 1], atol=1e-3, rtol=1e-2)
    best = data["top"][0]
    heard = [at for at, word in enumerate(data["words"]) if word["kind"] == "note" and at < data["note"]]
    assert best["place"] == max(heard, key=lambda at: float(weights[data["note"] - 1, at]))


def test_without_a_head_it_is_the_average_and_the_finder_is_the_best_of_its_kind(model: Model) -> None:
    whole = made("music-attention", model)
    heads = [torch.tensor(made("music-attention", model, layer=0, head=head)["weights"][-1]) for head in range(2)]
    torch.testing.assert_close(torch.tensor(whole["weights"][-1]), sum(heads) / 2, atol=1e-3, rtol=1e-2)
    finder = made("music-attention", model, finder=True)
    best = max(finder["heads"], key=lambda row: row["same"])
    assert (finder["layer"], finder["head"]) == (best["layer"], best["head"])
    assert torch.tensor(whole["bars"]).sum(1)[1:] == pytest.approx(torch.ones(len(whole["bars"]) - 1), abs=1e-3)


# --- the next note ---


def test_the_rule_forbids_what_does_not_fit_and_says_why(model: Model) -> None:
    place = len(TIGHT.split()) + 1
    data = made("music-next", model, TIGHT, place=place, temperature=1.0, min_p=0.0, guidance=1.0)
    assert (data["left"], data["written"]) == ("1/4", None)
    rule = Bars(model.medium.vocabulary, {}, form=False)
    for token in model.medium.encode(TIGHT)[1:]:
        rule.take(token, 999)
    with torch.inference_mode():
        hidden = model.core.hidden(torch.tensor([model.medium.encode(TIGHT)]))
        logits = model.core.logits(hidden[0, -1:])[0]
    allowed = ~rule.allow(logits).isneginf()
    shares = logits.softmax(-1)
    assert data["forbidden"] == pytest.approx(float(shares[~allowed].sum()), rel=1e-3)
    assert sum(row["probability"] for row in data["reasons"]) == pytest.approx(data["forbidden"], rel=1e-3)
    assert sum(row["num"] for row in data["reasons"]) == int((~allowed).sum())
    for row in data["candidates"]:
        assert row["allowed"] == bool(allowed[row["id"]]) == (row["why"] == "")
        assert row["chosen"] == pytest.approx(
            float(shares[row["id"]] / shares[allowed].sum()) if row["allowed"] else 0, rel=1e-2
        )
    reasons = {row["why"] for row in data["reasons"]}
    assert {"no room: 1/4 of the bar is left", "the bar is not full: 1/4 is missing", "the head is over"} <= reasons


def test_what_is_drawn_is_guided_away_from_the_neighbours_of_the_key(model: Model) -> None:
    place = len(TIGHT.split()) + 1
    told = [TIGHT.replace("key=C", f"key={tonic}") for tonic in "CG"]  # it knows no minor, so no relative
    with torch.inference_mode():
        rows = [model.core(torch.tensor([model.medium.encode(text)]))[0, -1].log_softmax(-1) for text in told]
    data = made("music-next", model, TIGHT, place=place, temperature=1.0, min_p=0.0, guidance=2.0)
    quarters = [row for row in data["candidates"] if row["allowed"] and row["text"].endswith(":1/4")]
    assert len(quarters) > 3  # among notes of a length it chooses
    wanted = (2 * rows[0] - rows[1])[[row["id"] for row in quarters]]
    chosen = torch.tensor([row["chosen"] for row in quarters])
    torch.testing.assert_close(chosen / chosen.sum(), wanted.softmax(-1), rtol=1e-2, atol=1e-4)


def test_every_word_that_is_forbidden_anywhere_has_a_reason(model: Model) -> None:
    from reverie.explain.music_next import why

    heard = told.heard(model, "a jig in D", seed=1)
    rule, size = Bars(model.medium.vocabulary, heard.wanted, heard.num_bars), model.medium.tokenizer.vocab_size
    for token in [*heard.tokens[0, 1:60].tolist(), model.medium.vocabulary.ids["|]"]]:
        forbidden = rule.allow(torch.zeros(size)).isneginf().nonzero()[:, 0].tolist()
        assert all(why(rule, each) for each in forbidden[:: max(1, len(forbidden) // 60)])
        rule.take(token, 999)


def test_the_place_where_the_rule_has_most_to_say_is_shown_first(model: Model) -> None:
    data = made("music-next", model)
    music = [at for at, word in enumerate(data["words"]) if word["bar"] is not None]
    assert data["forbidden"] == max(data["places"][at - 1] for at in music)
    assert len(data["places"]) == len(data["words"])


# --- surprise ---


def test_bits_are_those_of_the_plain_model_and_bars_add_them_up(model: Model) -> None:
    own, real = made("music-surprise", model, TUNE)["tunes"]
    tokens = torch.tensor([model.medium.encode(TUNE)])
    with torch.inference_mode():
        nats = -model.core(tokens[:, :-1])[0].float().log_softmax(-1).gather(1, tokens[0, 1:, None])[:, 0]
    bits = (nats / torch.tensor(2.0).log())[5 : 5 + len(own["words"])]
    assert [word["bits"] for word in own["words"]] == pytest.approx(bits.tolist(), rel=1e-3)
    assert own["mean_bits"] == pytest.approx(float(bits.sum()) / len(tunes.jig().notes), rel=1e-3)
    assert sum(bar["notes"] for bar in own["bars"]) == len(tunes.jig().notes)
    assert sum(bar["bits"] for bar in own["bars"]) <= float(bits.sum()) * 1.001
    assert (own["by"], real["by"], real["mean_bits"]) == ("reader", "people", own["mean_bits"])


def test_a_real_tune_that_the_model_has_no_words_for_is_passed_over(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    high = replace(tunes.jig(), bars=tunes.jig().transposed(12, tunes.jig().key).bars)
    monkeypatch.setattr(told, "held_out", lambda: [high])
    assert len(made("music-surprise", model, TUNE)["tunes"]) == 1
    monkeypatch.setattr(told, "held_out", lambda: [high, tunes.jig()])
    assert [len(made("music-surprise", model, TUNE, seed=seed)["tunes"]) for seed in range(3)] == [2, 2, 2]


def test_without_real_tunes_only_that_is_said(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Any:
        raise ReverieError("The tunes are not built.")

    monkeypatch.setattr(told, "held_out", missing)
    shown = explain.exhibit("music-surprise", model, TUNE)
    assert len(shown.data["tunes"]) == 1
    assert "data build tunes" in shown.says[-1]
    assert "data build" not in str(explain.exhibit("music-surprise", model, TUNE, real=False))


# --- at the keyboard ---


def test_the_tour_of_a_composing_model_is_of_its_tune(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_tunes.write_model(tmp_path / "composer")
    with pytest.raises(SystemExit):
        app(["explain", "-m", str(tmp_path / "composer"), "a jig in D"], prog_name="reverie")
    out = capsys.readouterr().out
    places = [out.index(f"{explain.about(name).title} ─") for name in ("tokens", *("music-next", "music-attention"))]
    assert places == sorted(places)


def test_the_rule_takes_what_composing_takes(model: Model) -> None:
    usual, fields = model.medium.request(""), explain.about("music-next").options
    assert isinstance(usual, LMRequest)
    assert (fields["temperature"], fields["min_p"]) == (usual.temperature, usual.min_p)
