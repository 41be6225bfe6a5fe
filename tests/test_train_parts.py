"""The parts of training: schedule, optimisers, running mean, adapters, conversations, and what the commands say."""

from __future__ import annotations

import copy
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from typer.testing import CliRunner

from reverie import engine
from reverie.cli.app import app
from reverie.cli.training_view import braille, in_time, smooth
from reverie.hub.tokenizers import from_folder
from reverie.lm.chat import ChatTemplate
from reverie.lm.family import Autoregressive
from reverie.lm.model import Decoder
from reverie.train import Training, run, schedule
from reverie.train.adapters import AdapterConfig, Tuner, adapt, merge, save_merged
from reverie.train.chats import NOT_ASKED, encode, read_chats
from reverie.train.dropout import add_dropout
from reverie.train.optim import Mean, Optimiser
from reverie.train.watch import Progress
from reverie.types import Message, ReverieError
from tiny_models import LLAMA, TEMPLATE, save, write_tokenizer
from train_setup import training, write_text

# --- schedule ---


@settings(deadline=None)  # the machine may be busy
@given(st.integers(1, 300), st.integers(0, 50), st.floats(0.05, 1))
def test_rates_warm_up_stay_and_fall_to_nothing(max_steps: int, warmup: int, decay: float) -> None:
    run_settings = training(max_steps=max_steps, warmup_steps=warmup, decay=decay)
    scales = [schedule.scale(run_settings, s, schedule.progress(run_settings, s, 0.0)) for s in range(max_steps)]
    assert all(0 < scale <= 1 for scale in scales)
    rises = [b > a for a, b in pairwise(scales) if b != a]
    assert rises == sorted(rises, reverse=True)  # up, then down, never up again
    assert scales[-1] <= 1 / (decay * max_steps) + 1e-9  # one step more, and it is zero


def test_what_is_further_decides_steps_or_minutes() -> None:
    limits = training(max_steps=100, max_minutes=1.0)
    assert schedule.progress(limits, 10, 6.0) == pytest.approx(0.1)
    assert schedule.progress(limits, 10, 30.0) == pytest.approx(0.5)
    assert schedule.progress(limits, 90, 30.0) == pytest.approx(0.9)
    assert schedule.progress(limits, 500, 0.0) == 1


# --- optimisers ---


class OneBlock(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.embed = nn.Parameter(torch.ones(3, 4))
        self.blocks = nn.ParameterList([weight])


def orthogonal(matrix: Tensor, num_steps: int) -> Tensor:
    """Muon's iteration as it is written in the papers, in float64: X <- aX + (bA + cA^2) X with A = X X^T."""
    x: Tensor = matrix.double() / matrix.double().norm()
    for _ in range(num_steps):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x


@pytest.mark.parametrize(("shape", "num_steps"), [((8, 24), 4), ((8, 24), 5), ((24, 24), 5)])
def test_muon_moves_a_matrix_by_an_orthogonal_one(shape: tuple[int, int], num_steps: int) -> None:
    torch.manual_seed(0)
    model, gradient = OneBlock(torch.zeros(shape)), torch.randn(shape)
    optimiser = Optimiser(model, training(matrix_rate=0.1, momentum=0.9, muon_steps=num_steps, weight_decay=0.0))
    model.blocks[0].grad, model.embed.grad = gradient.clone(), torch.zeros_like(model.embed)
    optimiser.step(0.5)
    moved = -model.blocks[0].detach().double() / 0.05
    # Momentum starts at (1 - 0.9) g, and Nesterov's look ahead is along g too: the direction is the gradient's.
    assert torch.allclose(moved, orthogonal(gradient, num_steps), atol=0.05)  # the optimiser computes in bf16
    strengths = torch.linalg.svdvals(moved)
    assert strengths.min() > 0.3
    assert strengths.max() < 1.3


def test_everything_but_matrices_of_blocks_moves_as_adam_says() -> None:
    model = OneBlock(torch.zeros(3))
    optimiser = Optimiser(model, training(rate=0.01, weight_decay=0.1))
    model.embed.grad, model.blocks[0].grad = torch.full((3, 4), 5.0), torch.full((3,), -2.0)
    optimiser.step(1.0)
    # The first step of Adam is the rate, in the direction of the sign; decay is for matrices alone.
    assert torch.allclose(model.embed, torch.full((3, 4), 1 - 0.01 * 0.1 - 0.01))
    assert torch.allclose(model.blocks[0], torch.full((3,), 0.01))


def test_a_running_mean_forgets_at_its_rate() -> None:
    model = OneBlock(torch.zeros(2))
    mean = Mean(model, 0.9)
    for step in range(1000, 1003):
        with torch.no_grad():
            model.blocks[0].fill_(float(step - 999))
        mean.update(step)
    expected = 0.1 * (3 + 0.9 * 2 + 0.81 * 1)
    assert mean.tensors["blocks.0"].tolist() == pytest.approx([expected] * 2)
    with mean.applied():
        assert model.blocks[0].tolist() == pytest.approx([expected] * 2)
    assert model.blocks[0].tolist() == [3.0, 3.0]


# --- dropout ---


def test_dropout_leaves_out_its_share_while_a_model_trains_and_nothing_afterwards() -> None:
    torch.manual_seed(0)
    plain = Autoregressive().build(LLAMA)
    model = copy.deepcopy(plain)
    add_dropout(model, 0.25)
    x = torch.randn(8, 50, LLAMA.width)
    for path in ("blocks.0.mlp", "blocks.1.attention"):
        layer, expected = model.get_submodule(path), plain.get_submodule(path)
        nn.init.normal_(layer.get_parameter("down.weight" if "mlp" in path else "out.weight"))
        expected.load_state_dict(layer.state_dict())
        given, whole = layer(x), expected(x)
        assert 0.23 < float((given == 0).float().mean()) < 0.27
        assert torch.allclose(given[given != 0] * 0.75, whole[given != 0])
        assert torch.equal(layer.eval()(x), whole)


# --- adapters ---


@pytest.fixture
def base(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save(tmp_path / "base", Decoder(LLAMA))
    return tmp_path / "base"


def test_fresh_adapters_change_nothing_and_merged_ones_compute_the_same(base: Path) -> None:
    tokens = torch.randint(0, 300, (2, 9))
    model = engine.load(str(base), place=engine.EXACT).core
    plain = model(tokens)
    tuned = adapt(model, AdapterConfig(str(base), rank=2))
    assert torch.equal(tuned(tokens), plain)
    learning = {name: weight for name, weight in tuned.named_parameters() if weight.requires_grad}
    assert len(learning) == 2 * 4 * LLAMA.depth
    with torch.no_grad():
        for weight in learning.values():
            weight.normal_(std=0.2)
    changed = tuned(tokens)
    assert not torch.allclose(changed, plain, atol=1e-2)
    assert torch.allclose(merge(tuned)(tokens), changed, atol=1e-4)


def write_chats(path: Path) -> str:
    lines = [[("user", f"the dog {i % 4}"), ("assistant", "barking at the old house")] for i in range(20)]
    texts = [json.dumps({"messages": [{"role": r, "content": c} for r, c in line]}) for line in lines]
    path.write_text("\n".join(texts))
    return str(path)


def test_tuning_learns_the_answers_and_leaves_the_base_alone(base: Path, tmp_path: Path) -> None:
    source, losses = write_chats(tmp_path / "chats.jsonl"), list[float]()
    config = AdapterConfig(str(base), rank=4)
    tuning = Training(
        config, batch=4, max_steps=60, rate=0.02, matrix_rate=0.0, weight_decay=0.0, warmup_steps=5,
        evaluate_every_steps=10, evaluate_examples=2, compute="fp32",
    )  # fmt: skip
    before = (base / "model.safetensors").read_bytes()
    run(
        Tuner.of(str(base)), tuning, source, tmp_path / "run",
        lambda event: losses.append(event.held_out) if isinstance(event, Progress) and event.held_out else None,
    )  # fmt: skip
    assert losses[-1] < losses[0] / 2
    assert (base / "model.safetensors").read_bytes() == before
    adapters = tmp_path / "run" / "model"
    assert (adapters / "adapters.safetensors").stat().st_size < 40_000 < len(before)
    save_merged(adapters, tmp_path / "merged")
    tuner = Tuner.of(str(base))
    rows, _ = tuner.batch([tuner.examples(source, held_out=True).item(0, 0)])
    plain, tuned = (
        float(tuner.family.loss(engine.load(str(folder), place=engine.EXACT).core, rows, None, torch.Generator()))
        for folder in (base, tmp_path / "merged")
    )
    assert tuned < plain / 3


def test_only_answers_are_asked_for(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    tokenizer = from_folder(tmp_path)
    messages = [
        Message("user", "the dog"),
        Message("assistant", "ran"),
        Message("user", "the"),
        Message("assistant", "old"),
    ]
    tokens, targets = encode(messages, tokenizer, ChatTemplate(TEMPLATE)).tolist()
    asked = [token for token in targets if token != NOT_ASKED]
    end = tokenizer.control["<|endoftext|>"]
    assert asked == [*tokenizer.encode("ran"), end, *tokenizer.encode("old"), end]
    assert all(target in (token, NOT_ASKED) for token, target in zip(tokens, targets, strict=True))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "Line 2 of .* is no conversation"),
        ("[]", "Line 2 of .* is no conversation"),
        ('{"messages": 1}', "Line 2 of .* is no conversation"),
        ('{"messages": [{"role": "robot", "content": "x"}]}', "a message that is none"),
        ('{"messages": [{"role": "user", "content": 1}]}', "a message that is none"),
        ('{"messages": [{"role": "user", "content": "x"}]}', "no answer to learn"),
        ("[" * 100_000, "Line 2 of .* is no conversation"),
    ],
)
def test_lines_that_are_no_conversation(tmp_path: Path, line: str, message: str) -> None:
    write_tokenizer(tmp_path)
    good = '{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}'
    (tmp_path / "chats.jsonl").write_text(f"{good}\n{line}\n{good}\n")
    with pytest.raises(ReverieError, match=message):
        read_chats(str(tmp_path / "chats.jsonl"), from_folder(tmp_path), ChatTemplate(TEMPLATE), 128, held_out=False)


# --- the commands ---


def reverie(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


SMALL = (
    "model.depth=1", "model.width=32", "model.num_heads=1", "model.num_kv_heads=1", "model.head_width=32",
    "model.mlp_width=32", "model.max_tokens=16", "evaluate_examples=4", "sample_every_steps=0",
)  # fmt: skip


def test_train_says_where_the_model_is_and_goes_on_when_repeated(tmp_path: Path) -> None:
    source, folder = write_text(tmp_path), str(tmp_path / "run")
    small = [word for setting in SMALL for word in ("--set", setting)]
    command = ["train", "text", "--data", source, "-o", folder, "--batch", "2", "--max-steps", "4", *small]
    first = reverie(*command)
    assert first.exit_code == 0, first.output
    assert first.stdout == f"{folder}/model\n"
    assert "begins with a held-out loss of" in first.stderr
    assert "step 4 of 4, loss" in first.stderr
    command[command.index("4")] = "6"
    again = reverie(*command)
    assert "goes on after step 4" in again.stderr
    assert "step 6 of 6" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "vast"], "There is no size 'vast' of text: choose tiny"),
        (["--set", "model.legs=4"], "has no field 'legs'"),
        (["--set", "clip"], "is not a setting"),
        (["--max-steps", "0"], "max_steps is 0: give a number from 1"),
        (["--batch", "-3"], "batch is -3"),
    ],
)
def test_a_mistake_in_the_command_is_one_sentence(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = reverie("train", "text", "--data", write_text(tmp_path), "-o", str(tmp_path / "run"), *arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_there_is_no_training_for_what_is_no_medium(tmp_path: Path) -> None:
    result = reverie("train", "smells", "--data", "x", "-o", str(tmp_path))
    assert result.exit_code == 1
    assert "There is no medium 'smells'" in result.stderr


def test_a_curve_in_braille_goes_from_top_left_to_bottom_right() -> None:
    rows = braille([float(-i) for i in range(100)], 10, 3)
    assert [len(row) for row in rows] == [10, 10, 10]
    blank = chr(0x2800)
    assert rows[0][0] != blank
    assert rows[2][0] == blank
    assert rows[2][-1] != blank
    assert rows[0][-1] == blank
    assert braille([1.0], 4, 2)  # one value, and no range, is a curve too


def test_figures_for_people() -> None:
    assert [in_time(seconds) for seconds in (5, 65, 4000)] == ["5 s", "1 min 5 s", "1 h 6 min"]
    assert smooth([4.0, 4.0, 4.0]) == pytest.approx([4.0, 4.0, 4.0])
