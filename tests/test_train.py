"""Training: what a run learns, that it survives whatever happens to it, and what it says then."""

from __future__ import annotations

import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import train_setup
from reverie import engine
from reverie.hub import files
from reverie.lm.family import Autoregressive
from reverie.modalities.text import Text, learnt_tokenizer
from reverie.train import state
from reverie.train.plan import plan
from reverie.train.watch import Ended, Event, Progress, Started, read_log
from reverie.types import ReverieError
from train_setup import CONFIG, train, training, write_icons, write_text

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_text(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def unbroken(source: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 40 steps that nothing happened to."""
    folder = tmp_path_factory.mktemp("unbroken")
    train(source, folder)
    return folder


def bits(folder: Path) -> dict[str, bytes]:
    """All that a run has at its end, to be compared bit by bit."""
    saved, _ = state.newest(folder)
    assert saved is not None
    tensors = {name: value.numpy().tobytes() for name, value in saved.tensors().items()}
    return tensors | {"model": (folder / "model" / "model.safetensors").read_bytes()}


def losses(folder: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in read_log(folder)]


# --- what is learnt ---


def test_a_model_learns_more_than_how_often_each_character_comes(tmp_path: Path, source: str) -> None:
    events: list[Event] = []
    train(source, tmp_path, events.append, max_steps=120, rate=0.01, checkpoint_every_steps=0)
    text = Path(source).read_text()
    entropy = -sum(n / len(text) * math.log(n / len(text)) for n in Counter(text).values())
    measured = [event.held_out for event in events if isinstance(event, Progress) and event.held_out is not None]
    assert len(measured) == 12
    assert measured[-1] < 0.6 * entropy
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Ended)
    assert events[-1].finished


def test_the_model_of_a_run_writes(unbroken: Path) -> None:
    model = engine.load(str(unbroken / "model"), place=engine.EXACT)
    assert model.generate("The robot", max_tokens=20, seed=1).text()
    card = (unbroken / "model" / "README.md").read_text()
    assert "| steps | 40 |" in card


def test_the_held_out_tenth_is_never_learnt_from(tmp_path: Path) -> None:
    path = tmp_path / "two.txt"
    path.write_text("a" * 900 + "b" * 100)
    medium, _ = Text.fresh(str(path), CONFIG)
    seen = {int(token) for i in range(200) for token in medium.examples(str(path), held_out=False).item(0, i).x}
    kept = {int(token) for i in range(200) for token in medium.examples(str(path), held_out=True).item(0, i).x}
    assert medium.tokenizer.decode(seen) == "a"
    assert medium.tokenizer.decode(kept) == "b"


def test_the_pieces_of_a_text_are_learnt_from_what_is_not_held_out(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("a robot ran. " * 90 + "zoological." * 12)  # the last tenth begins among the robots
    medium, config = Text.fresh(str(path), replace(CONFIG, vocab_size=300))
    tokenizer = medium.tokenizer
    assert 256 < config.vocab_size == tokenizer.vocab_size <= 300
    assert [len(tokenizer.encode(word)) for word in (" robot", "zoological")] == [1, len("zoological")]
    again, _ = Text.fresh(str(path), config)
    assert again.tokenizer.plain.get_vocab() == tokenizer.plain.get_vocab()


@settings(deadline=None)  # the machine may be busy
@given(st.text(), st.text())
def test_no_text_is_foreign_to_learnt_pieces(learnt: str, text: str) -> None:
    tokenizer = learnt_tokenizer(learnt, 270)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_an_epoch_reads_every_token_and_the_next_in_another_order(source: str) -> None:
    medium, _ = Text.fresh(source, CONFIG)
    examples = medium.examples(source, held_out=False)
    num_tokens = int(len(Path(source).read_text()) * 0.9)
    num = (num_tokens - CONFIG.max_tokens) // CONFIG.max_tokens
    first, second = ([medium.tokenizer.decode(examples.item(3, e * num + i).x) for i in range(num)] for e in (0, 1))
    text = Path(source).read_text()
    covered = {at for window in first for at in [text.find(window)] if at >= 0}
    assert all(window in text for window in first)
    assert len(covered) > 0.9 * num  # some windows read like others
    assert sorted(first) != sorted(second)
    assert first == [medium.tokenizer.decode(medium.examples(source, held_out=False).item(3, i).x) for i in range(num)]


def test_accumulation_changes_nothing_but_memory(tmp_path: Path, source: str, unbroken: Path) -> None:
    train(source, tmp_path, accumulate=2)
    assert [loss for _, loss in losses(tmp_path)] == pytest.approx([loss for _, loss in losses(unbroken)], abs=1e-3)


# --- what it survives ---


@pytest.mark.parametrize("moment", [0, 1, 2])
def test_killed_and_repeated_it_gives_the_same_bits(tmp_path: Path, source: str, unbroken: Path, moment: int) -> None:
    rng = random.Random(moment)
    after = rng.randrange(1, 30)  # so many steps are in the log when it is killed
    process = program(source, tmp_path)
    try:
        while len(read_log(tmp_path)) < after and process.poll() is None:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.02)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    assert len(read_log(tmp_path)) < 40
    train(source, tmp_path)
    assert bits(tmp_path) == bits(unbroken)
    assert losses(tmp_path) == losses(unbroken)


def test_killed_while_it_learns_to_draw_it_gives_the_same_bits(tmp_path: Path) -> None:
    icons = write_icons(tmp_path)
    train(icons, tmp_path / "unbroken")
    process = program(icons, tmp_path / "killed")
    try:
        while len(read_log(tmp_path / "killed")) < 12 and process.poll() is None:
            time.sleep(0.002)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    assert 12 <= len(read_log(tmp_path / "killed")) < 40
    train(icons, tmp_path / "killed")
    assert bits(tmp_path / "killed") == bits(tmp_path / "unbroken")
    assert losses(tmp_path / "killed") == losses(tmp_path / "unbroken")


def program(source: str, folder: Path) -> subprocess.Popen[str]:
    """The same run as `train` makes, in a process of its own."""
    command = [sys.executable, train_setup.__file__, source, str(folder)]
    return subprocess.Popen(command, env=ONE_THREAD, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_saves_and_goes_on_later(
    tmp_path: Path, source: str, unbroken: Path, number: signal.Signals
) -> None:
    events: list[Event] = []

    def stop_after_seven(event: Event) -> None:
        events.append(event)
        if isinstance(event, Progress) and event.step == 7:
            signal.raise_signal(number)

    before = signal.getsignal(number)
    train(source, tmp_path, stop_after_seven)
    assert signal.getsignal(number) == before
    last = events[-1]
    assert isinstance(last, Ended)
    assert not last.finished
    assert (tmp_path / f"step-{last.step:08}").is_dir()
    assert last.step < 10
    train(source, tmp_path)
    assert bits(tmp_path) == bits(unbroken)


@pytest.mark.parametrize("damage", ["flipped", "cut off", "no header", "header cut off", "header of something else"])
def test_a_broken_checkpoint_is_told_and_the_one_before_is_used(
    tmp_path: Path, source: str, unbroken: Path, damage: str
) -> None:
    train(source, tmp_path)
    break_it(state.checkpoints(tmp_path)[0], damage)
    events: list[Event] = []
    train(source, tmp_path, events.append)
    started = events[0]
    assert isinstance(started, Started)
    assert started.step == 35
    assert "step-00000040 is broken" in started.notes[0]
    assert bits(tmp_path) == bits(unbroken)
    assert losses(tmp_path) == losses(unbroken)


def break_it(checkpoint: Path, damage: str) -> None:
    tensors, header = checkpoint / state.TENSORS, checkpoint / state.HEADER
    data = bytearray(tensors.read_bytes())
    match damage:
        case "flipped":
            data[len(data) // 2] ^= 1
            tensors.write_bytes(data)
        case "cut off":
            tensors.write_bytes(data[:-100])
        case "no header":
            header.unlink()
        case "header cut off":
            header.write_text(header.read_text()[:40])
        case _:
            header.write_text("[1, 2]")


def test_where_all_checkpoints_are_broken_nothing_is_begun_anew(tmp_path: Path, source: str) -> None:
    train(source, tmp_path)
    for checkpoint in state.checkpoints(tmp_path):
        break_it(checkpoint, "flipped")
    with pytest.raises(ReverieError, match=r"No checkpoint in .* can be used: step-00000040 is broken"):
        train(source, tmp_path)


def test_a_full_disk_is_one_sentence_and_loses_nothing(
    tmp_path: Path, source: str, unbroken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import safetensors.torch

    def full(tensors: Any, path: Path, metadata: Any) -> None:
        if "step-00000010" in str(path):
            path.write_bytes(b"half of it")
            raise safetensors.SafetensorError("I/O error: No space left on device (os error 28)")
        save_file(tensors, path, metadata)

    save_file = safetensors.torch.save_file
    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch, "save_file", full)
        with pytest.raises(ReverieError, match="No space left"):
            train(source, tmp_path)
    assert [path.name for path in state.checkpoints(tmp_path)] == ["step-00000005"]
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]
    train(source, tmp_path)
    assert bits(tmp_path) == bits(unbroken)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_log_for_which_there_is_no_room_is_one_sentence_too(tmp_path: Path, source: str) -> None:
    (tmp_path / "log.jsonl").symlink_to("/dev/full")
    with pytest.raises(ReverieError, match="The disk is full"):
        train(source, tmp_path)


def test_only_two_checkpoints_are_kept_and_no_half_ones(unbroken: Path) -> None:
    assert [path.name for path in state.checkpoints(unbroken)] == ["step-00000040", "step-00000035"]
    assert {path.name for path in unbroken.iterdir()} - {".lock"} == {
        "step-00000040", "step-00000035", "model", "log.jsonl", "tensorboard",
    }  # fmt: skip


def test_a_run_goes_on_to_a_later_end_and_counts_on(tmp_path: Path, source: str, unbroken: Path) -> None:
    train(source, tmp_path)
    events: list[Event] = []
    train(source, tmp_path, events.append, max_steps=44)
    steps = [event for event in events if isinstance(event, Progress)]
    assert [event.step for event in steps] == [41, 42, 43, 44]
    assert steps[0].examples == 41 * 4
    assert steps[0].seconds > read_log(unbroken)[0]["seconds"]
    seconds = [line["seconds"] for line in read_log(tmp_path)]
    assert seconds == sorted(seconds)


def test_minutes_end_a_run_too(tmp_path: Path, source: str) -> None:
    events: list[Event] = []
    train(source, tmp_path, events.append, max_steps=None, max_minutes=0.01)
    steps = [event for event in events if isinstance(event, Progress)]
    assert 0.6 <= steps[-1].seconds < 5
    assert steps[-1].done == 1
    assert steps[-1].scale < 0.5


# --- what it says ---


def test_a_folder_has_one_run_at_a_time(tmp_path: Path, source: str) -> None:
    with files.lock(tmp_path / ".lock"), pytest.raises(ReverieError, match="Another run is training in"):
        train(source, tmp_path)


@pytest.mark.parametrize(("name", "value"), [("seed", 1), ("batch", 8)])
def test_another_run_does_not_go_on_in_the_same_folder(tmp_path: Path, source: str, name: str, value: Any) -> None:
    train(source, tmp_path, max_steps=5)
    with pytest.raises(ReverieError, match=f"has another {name} .*choose another folder"):
        train(source, tmp_path, max_steps=5, **{name: value})


def test_a_loss_that_is_no_number_ends_the_run_and_is_not_saved(
    tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(100))

    def breaks_down(self: Autoregressive, model: Any, batch: Any, condition: Any, rng: Any) -> Any:
        return model(batch).mean() * (math.nan if next(calls) == 7 else 1.0)

    monkeypatch.setattr(Autoregressive, "loss", breaks_down)
    with pytest.raises(ReverieError, match=r"no number after step 7: .* lower rates"):
        train(source, tmp_path, evaluate_every_steps=0)
    saved, _ = state.newest(tmp_path)
    assert saved is not None
    assert saved.header["step"] == 5
    assert all(value.isfinite().all() for value in saved.tensors().values())


@pytest.mark.parametrize(
    ("text", "message"),
    [("too short", "is too short"), (None, "cannot be read"), (b"\xff\xfe\xff" * 999, "is not UTF-8")],
)
def test_what_cannot_be_learnt_from(tmp_path: Path, text: str | bytes | None, message: str) -> None:
    path = tmp_path / "text.txt"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ReverieError, match=message):
        train(str(path), tmp_path / "run")


def test_a_training_needs_an_end_and_sound_numbers() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"max_steps": None}, "has no end"),
        ({"rate": -1.0}, "rate is -1.0: give a number from 0 to 10"),
        ({"accumulate": 3}, "no 3 equal parts"),
    ]
    for given_settings, message in wrong:
        with pytest.raises(ReverieError, match=message):
            training(**given_settings)


def test_a_plan_is_the_size_then_what_is_chosen_then_the_settings(source: str) -> None:
    medium, small = plan("text", source, "small", ["model.depth=1", "clip=0.5"], batch=7, max_minutes=2.0, seed=None)
    assert medium.name == "text"
    assert (small.batch, small.clip, small.model.depth, small.model.width) == (7, 0.5, 1, 256)
    assert (small.max_steps, small.max_minutes, small.seed) == (None, 2.0, 0)
    with pytest.raises(ReverieError, match="no size 'vast' of text: choose tiny, small"):
        plan("text", source, "vast")


# --- workers and processes ---


def test_worker_processes_make_the_same_run(tmp_path: Path, source: str, unbroken: Path) -> None:
    train(source, tmp_path, num_workers=1)
    assert losses(tmp_path) == losses(unbroken)


def together(source: str, folder: Path, steps: int) -> None:
    """The run, up to `steps`, by two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [train_setup.__file__, source, str(folder), str(steps)]
    subprocess.run(command, env=ONE_THREAD, check=True, capture_output=True, timeout=300)


def test_two_processes_go_the_way_of_one_and_either_goes_on_for_the_other(
    tmp_path: Path, source: str, unbroken: Path
) -> None:
    from_two, from_one = tmp_path / "two", tmp_path / "one"
    thread = threading.Thread(target=together, args=(source, from_two, 5))
    thread.start()
    train(source, from_one, max_steps=5)
    thread.join()
    assert [loss for _, loss in losses(from_two)] == pytest.approx([loss for _, loss in losses(from_one)], abs=2e-3)
    thread = threading.Thread(target=together, args=(source, from_one, 8))
    thread.start()
    train(source, from_two, max_steps=8)
    thread.join()
    assert [step for step, _ in losses(from_one)] == list(range(1, 9))
    assert [loss for _, loss in losses(from_two)] == pytest.approx([loss for _, loss in losses(from_one)], abs=5e-3)
