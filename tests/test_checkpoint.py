"""Whole models come in through every door - Hugging Face folders, GGUF files, our own folders - and are the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import pytest
import safetensors.torch
import torch
import transformers
from torch import Tensor
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from reverie.engine import EXACT, Model, Placement, load
from reverie.hub import checkpoint
from reverie.hub.checkpoint import open_checkpoint
from reverie.hub.keymaps import TABLES, to_ours
from reverie.lm.model import Decoder
from reverie.types import ReverieError
from test_parity import reference
from tiny_models import (
    END,
    LLAMA,
    TEMPLATE,
    VOCABULARY,
    bpe,
    decoder,
    gguf_configs,
    is_matrix,
    save,
    theirs,
    tokens,
    write_gguf,
    write_tokenizer,
)

PACKED = Placement("cpu", torch.bfloat16, packed=True)
SIZES: Any = {"vocab_size": VOCABULARY, "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
SIZES |= {"num_key_value_heads": 2, "intermediate_size": 96, "max_position_embeddings": 128, "head_dim": 16}
ROPE: Any = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
ROPE |= {"original_max_position_embeddings": 32}
FAMILIES: dict[str, Any] = {
    "gpt2": transformers.GPT2Config(vocab_size=VOCABULARY, n_embd=64, n_layer=2, n_head=4, n_positions=128),
    "llama": transformers.LlamaConfig(**SIZES, tie_word_embeddings=False),
    "llama3": transformers.LlamaConfig(**SIZES, rope_parameters=ROPE, tie_word_embeddings=True),
    "llama-narrow": transformers.LlamaConfig(**SIZES | {"hidden_size": 48, "head_dim": 12}),  # no kernel takes these
    "qwen2": transformers.Qwen2Config(**SIZES),
    "qwen3": transformers.Qwen3Config(**SIZES, tie_word_embeddings=True),
    "gemma3": transformers.Gemma3TextConfig(**SIZES, sliding_window=5, query_pre_attn_scalar=24),
    "gemma2": transformers.Gemma2Config(**SIZES, sliding_window=5, query_pre_attn_scalar=16),
}
GGUF = gguf_configs()


def write_folder(folder: Path, family: str, **settings: Any) -> Any:
    """A tiny model as transformers writes it."""
    model: Any = reference(FAMILIES[family])
    model.save_pretrained(folder, **settings)
    write_tokenizer(folder)
    return model


@torch.no_grad()
def logits(model: Any) -> Tensor:
    found: Any = model.core(tokens()) if isinstance(model, Model) else model(tokens())
    return found if isinstance(found, Tensor) else found.logits


def assert_close(model: Model, expected: Tensor) -> None:
    assert expected.std() > 0.3  # the comparison is about something
    assert (logits(model) - expected).abs().max() <= 1e-4


def relative_error(model: Model, expected: Tensor) -> float:
    return float((logits(model) - expected).norm() / expected.norm())


# Hugging Face folders


@pytest.mark.parametrize("family", FAMILIES)
def test_a_hugging_face_folder_gives_the_logits_of_the_reference(family: str, tmp_path: Path) -> None:
    expected = logits(write_folder(tmp_path, family))
    model = load(str(tmp_path), place=EXACT)
    assert_close(model, expected)
    assert model.checkpoint.tokenizer.encode("the old dog") == bpe().encode("the old dog").ids
    assert model.checkpoint.template.source == TEMPLATE


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_weights_are_close(family: str, tmp_path: Path) -> None:
    expected = logits(write_folder(tmp_path, family))
    assert relative_error(load(str(tmp_path), place=PACKED), expected) < 0.06


def test_a_sharded_folder_is_one_model(tmp_path: Path) -> None:
    expected = logits(write_folder(tmp_path, "qwen3", max_shard_size="100KB"))
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    assert_close(load(str(tmp_path), place=EXACT), expected)
    next(tmp_path.glob("*.safetensors")).unlink()
    with pytest.raises(ReverieError):
        load(str(tmp_path), place=EXACT)


def test_gpt2_is_read_without_its_prefix_and_with_its_masks(tmp_path: Path) -> None:
    expected = logits(write_folder(tmp_path, "gpt2"))
    file = tmp_path / "model.safetensors"
    found = safetensors.torch.load_file(file)
    assert all(name.startswith("transformer.") for name in found)
    bare = {name.removeprefix("transformer."): weight for name, weight in found.items()}
    safetensors.torch.save_file(bare | {"h.0.attn.bias": torch.ones(1, 1, 128, 128)}, file)
    assert_close(load(str(tmp_path), place=EXACT), expected)


def test_a_tensor_that_the_config_has_no_place_for_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, "llama")
    file = tmp_path / "model.safetensors"
    bias = {"model.layers.1.self_attn.q_proj.bias": torch.ones(64)}  # computing without it would be another model
    safetensors.torch.save_file(safetensors.torch.load_file(file) | bias, file)
    with pytest.raises(ReverieError, match=r"q_proj\.bias' that its config has no place for"):
        load(str(tmp_path), place=EXACT)


# GGUF files


def rounded(model: Decoder, weights: str) -> Decoder:
    """The model with its matrices as the format `weights` keeps them."""
    form = gguf.GGMLQuantizationType[weights]
    for name, weight in model.named_parameters():
        if is_matrix(name, weight):
            weight.copy_(torch.from_numpy(gguf.dequantize(gguf.quantize(weight.numpy(), form), form)))
    return model


@pytest.mark.parametrize("case", GGUF)
@pytest.mark.parametrize("weights", ["F32", "F16", "Q8_0", "Q4_1", "Q4_0"])
def test_a_gguf_file_gives_the_logits_of_what_was_written(case: str, weights: str, tmp_path: Path) -> None:
    kind, config = GGUF[case]
    model = decoder(config)
    path = write_gguf(tmp_path / "x.gguf", kind, model, weights)
    loaded = load(str(path), place=EXACT)
    assert loaded.checkpoint.config == config
    assert_close(loaded, logits(rounded(model, weights)))


@pytest.mark.parametrize("case", [case for case in GGUF if case != "llama3"])  # whose factors the reference drops
def test_the_reference_reads_the_same_model_from_a_gguf_file(case: str, tmp_path: Path) -> None:
    kind, config = GGUF[case]
    path = write_gguf(tmp_path / "x.gguf", kind, decoder(config))
    left_out = {"qwen3": {"head_dim": 32}, "gpt2": {"n_positions": 128, "n_inner": 96}}.get(case, {})
    settings = transformers.AutoConfig.from_pretrained(tmp_path, gguf_file=path.name, **left_out)
    model = transformers.AutoModelForCausalLM.from_config(settings).eval()
    found = load_gguf_checkpoint(str(path), return_tensors=True, model_to_load=model)["tensors"]
    missing, unexpected = model.load_state_dict(found, strict=False)
    assert (set(missing) - {"lm_head.weight"}, unexpected) == (set(), [])
    model.tie_weights()
    assert_close(load(str(path), place=EXACT), logits(model))


@pytest.mark.parametrize("case", GGUF)
@pytest.mark.parametrize("weights", ["Q4_1", "Q4_0", "Q8_0"])
def test_packed_weights_of_a_gguf_file_are_close_to_exact_ones(case: str, weights: str, tmp_path: Path) -> None:
    kind, config = GGUF[case]
    path = str(write_gguf(tmp_path / "x.gguf", kind, decoder(config), weights))
    packed, exact = load(path, place=PACKED), load(path, place=EXACT)
    assert relative_error(packed, logits(exact)) < 0.03
    bits = {name: module.bits for name, module in packed.core.named_modules() if hasattr(module, "bits")}
    assert bool(bits) == (case != "llama-narrow")
    assert {bits[name] for name in bits if name != "head"} <= ({8} if weights == "Q8_0" else {4})


def test_the_tokenizer_and_template_come_from_the_gguf_file(tmp_path: Path) -> None:
    opened = open_checkpoint(str(write_gguf(tmp_path / "x.gguf", "llama", decoder(LLAMA))))
    text = "the robot dogs, into the 漢字 garden"
    assert opened.tokenizer.encode(text) == bpe().encode(text).ids
    assert opened.tokenizer.eos_ids == {bpe().token_to_id(END)}
    assert opened.template.source == TEMPLATE


@pytest.mark.parametrize("case", GGUF)
def test_gguf_key_maps_are_undone_exactly(case: str) -> None:
    kind, config = GGUF[case]
    model, table = decoder(replace(config, tied=False)), f"gguf-{kind}"
    written = dict(theirs(table, model))
    for name, weight in model.state_dict().items():
        assert torch.equal(to_ours(TABLES[table], name, written.__getitem__, config), weight)
    assert sum(weight.numel() for weight in written.values()) == sum(weight.numel() for weight in model.parameters())


# Our own folders


@pytest.mark.parametrize("case", GGUF)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_saved_and_loaded_is_bit_equal(case: str, dtype: torch.dtype, tmp_path: Path) -> None:
    model = decoder(GGUF[case][1]).to(dtype)
    save(tmp_path, model)
    loaded = load(str(tmp_path), place=EXACT)
    assert loaded.checkpoint.config == model.config
    assert torch.equal(logits(loaded), logits(model.float()))
    assert loaded.checkpoint.template.source == TEMPLATE
    for text in ("the robot dog", "漢字 🐶  x\n"):
        assert loaded.checkpoint.tokenizer.encode(text) == bpe().encode(text).ids
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json", "model.safetensors", "README.md", "tokenizer.json", "tokenizer_config.json",
        "generation_config.json", "chat_template.jinja",
    }  # fmt: skip


def test_a_lone_safetensors_file_has_its_config_beside_it(tmp_path: Path) -> None:
    model = decoder(LLAMA)
    save(tmp_path, model)
    assert torch.equal(logits(load(str(tmp_path / "model.safetensors"), place=EXACT)), logits(model))
    (tmp_path / "config.json").unlink()
    with pytest.raises(ReverieError, match=r"no config\.json"):
        load(str(tmp_path / "model.safetensors"))


def test_saving_over_a_folder_leaves_nothing_of_what_was_there(tmp_path: Path) -> None:
    write_folder(tmp_path, "qwen3", max_shard_size="100KB")
    model = decoder(LLAMA)
    save(tmp_path, model, template=None)
    loaded = load(str(tmp_path), place=EXACT)
    assert torch.equal(logits(loaded), logits(model))
    assert loaded.checkpoint.template.source is None


def test_a_loaded_model_can_be_saved_where_it_came_from(tmp_path: Path) -> None:
    save(tmp_path, decoder(LLAMA))
    before = load(str(tmp_path), place=EXACT)
    kept = before.checkpoint
    checkpoint.save(tmp_path, before.core, kept.tokenizer, kept.template, "card")
    assert torch.equal(logits(load(str(tmp_path), place=EXACT)), logits(decoder(LLAMA)))


def test_packed_weights_are_not_saved(tmp_path: Path) -> None:
    save(tmp_path, decoder(LLAMA))
    packed = load(str(tmp_path), place=PACKED)
    with pytest.raises(ReverieError, match="packed weights cannot be saved"):
        save(tmp_path / "new", packed.core)
    assert not (tmp_path / "new" / "model.safetensors").exists()


KILLED = """
import os, pathlib, signal, sys
from dataclasses import replace
from tiny_models import LLAMA, decoder, save

target, calls = pathlib.Path(sys.argv[1]), 0
new = decoder(replace(LLAMA, rope_theta=5e4), seed=1)
save(target / "imports", new)  # once, and not in each child

def deadly(original, last):
    def call(*arguments, **settings):
        global calls
        calls += 1
        if calls == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **settings)
    return call

last, status = 0, 1
while status:
    last += 1
    child = os.fork()
    if child == 0:
        os.fsync = deadly(lambda file: None, last)  # what was written outlives the process without it
        pathlib.Path.replace = deadly(pathlib.Path.replace, last)
        pathlib.Path.unlink = deadly(pathlib.Path.unlink, last)
        save(target / str(last), new, template=None)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
print(last)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_moment_a_save_leaves_the_old_model_or_the_new_one_or_none(tmp_path: Path) -> None:
    old = decoder(LLAMA)
    for number in range(60):
        if number == 0:
            save(tmp_path / "0", old)
        else:
            shutil.copytree(tmp_path / "0", tmp_path / str(number))
    tests = str(Path(__file__).parent)
    environment = {**os.environ, "PYTHONPATH": tests, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    last = int(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    assert 10 < last < 60
    found = [state(tmp_path / str(number)) for number in range(1, last + 1)]
    assert found[0] == "old"
    assert found[-1] == "new"
    assert set(found) <= {"old", "new", "none"}
    assert found == sorted(found, key=["old", "none", "new"].index)


def state(folder: Path) -> str:
    """Which model a folder holds: "old", "new", "none", or "parts" of both."""
    try:
        opened = open_checkpoint(str(folder))
    except ReverieError:
        return "none"
    weights = opened.weight("norm.weight", (64,))
    is_new = [
        not torch.equal(decoder(LLAMA).state_dict()["norm.weight"], weights),
        opened.config.rope_theta == 5e4,
        opened.template.source is None,
    ]
    return "new" if all(is_new) else "parts" if any(is_new) else "old"


# Names and paths


def test_a_folder_named_like_a_model_of_the_catalogue_is_a_path_only_when_written_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "gpt2", decoder(LLAMA))
    with pytest.raises(ReverieError, match="gpt2 is not installed"):
        open_checkpoint("gpt2", offline=True)
    assert open_checkpoint("./gpt2", offline=True).config == LLAMA
    (tmp_path / "gpt2").rename(tmp_path / "mine")
    assert open_checkpoint("mine", offline=True).config == LLAMA


NOWHERE = ["", "nothing", "./nothing", "no/thing", "x.gguf", "~nobody/x", "~/nothing", "a" * 5000, "a\0b", "..\\x"]


@pytest.mark.parametrize("name", NOWHERE)
def test_a_name_or_path_with_nothing_there_is_one_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReverieError, match=r"^There is no model .*[a-z.]$"):
        open_checkpoint(name, offline=True)


def test_what_is_written_is_json_that_others_can_read(tmp_path: Path) -> None:
    save(tmp_path, decoder(LLAMA))
    data = json.loads((tmp_path / "config.json").read_text())
    assert data["reverie"] == 1
    assert data["modality"] == "text"
