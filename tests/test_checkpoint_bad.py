"""Folders and files that are no whole model are refused in one sentence, at once, and nothing is left half loaded."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reverie.config import to_json
from reverie.engine import EXACT, load
from reverie.hub.checkpoint import skeleton
from reverie.hub.configs import check, from_hugging_face, from_reverie
from reverie.hub.keymaps import TABLES, parts
from reverie.modalities import modality
from reverie.types import ReverieError
from test_configs import GEMMA3, GPT2, LLAMA3, QWEN2
from tiny_models import LLAMA, decoder, gguf_configs, save, theirs, write_gguf, write_tokenizer

GGUF = gguf_configs()
SENTENCE = re.compile(r"[^\n]{20,450}\.")


def assert_refused(path: str, what: str) -> None:
    begin = time.monotonic()
    with pytest.raises(ReverieError, match=what) as found:
        load(path, place=EXACT)
    assert SENTENCE.fullmatch(str(found.value)), str(found.value)
    assert time.monotonic() - begin < 2


@pytest.fixture(scope="module")
def _folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    own, other = tmp_path_factory.mktemp("own"), tmp_path_factory.mktemp("other")
    save(own, decoder(LLAMA))
    write_tokenizer(other)
    safetensors.torch.save_file(dict(theirs("llama", decoder(LLAMA))), other / "model.safetensors")
    config = transformers.LlamaConfig(
        vocab_size=320, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=96, max_position_embeddings=128, tie_word_embeddings=True, rms_norm_eps=2**-17,
    )  # fmt: skip
    config.save_pretrained(other)
    return own, other


@pytest.fixture
def own(_folders: tuple[Path, Path], tmp_path: Path) -> Path:
    """A whole model in Reverie's layout, to be damaged."""
    return Path(shutil.copytree(_folders[0], tmp_path / "own"))


@pytest.fixture
def other(_folders: tuple[Path, Path], tmp_path: Path) -> Path:
    """The same in Hugging Face's layout."""
    return Path(shutil.copytree(_folders[1], tmp_path / "other"))


def edit(file: Path, change: Callable[[Any], Any]) -> None:
    data = json.loads(file.read_text())
    changed = change(data)
    file.write_text(json.dumps(data if changed is None else changed))


def test_undamaged_folders_are_read(own: Path, other: Path) -> None:
    tokens = torch.arange(9)[None]
    with torch.no_grad():
        assert torch.equal(load(str(own), place=EXACT).core(tokens), load(str(other), place=EXACT).core(tokens))


# Weights


def edit_weights(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    file = folder / "model.safetensors"
    weights = safetensors.torch.load_file(file)
    change(weights)
    safetensors.torch.save_file(weights, file)


def test_a_missing_tensor(own: Path, other: Path) -> None:
    edit_weights(own, lambda weights: weights.pop("blocks.1.mlp.up.weight"))
    assert_refused(str(own), r"no tensor 'blocks\.1\.mlp\.up\.weight'")
    edit_weights(other, lambda weights: weights.pop("model.layers.1.self_attn.k_proj.weight"))
    assert_refused(str(other), r"no tensor 'model\.layers\.1\.self_attn\.k_proj\.weight'")


@pytest.mark.parametrize("shape", [(), (0,), (64,), (64, 65), (32, 64, 1), (1, 64, 64)])
def test_a_tensor_of_another_shape(shape: tuple[int, ...], own: Path, other: Path) -> None:
    edit_weights(own, lambda weights: weights.update({"blocks.1.attention.out.weight": torch.ones(shape)}))
    assert_refused(str(own), "another shape")
    edit_weights(other, lambda weights: weights.update({"model.layers.1.self_attn.v_proj.weight": torch.ones(shape)}))
    assert_refused(str(other), "another shape")


def test_more_layers_than_the_config_says(own: Path) -> None:
    edit(own / "config.json", lambda data: data["model"].update(depth=1))
    assert_refused(str(own), "has no place for")


def test_a_pickle_in_disguise(own: Path) -> None:
    (own / "model.safetensors").write_bytes(pickle.dumps({"weight": [1.0] * 99}))
    assert_refused(str(own), "never unpickles")
    torch.save({"weight": torch.ones(3)}, own / "model.safetensors")
    assert_refused(str(own), "never unpickles")


def test_only_a_pickle_in_the_folder(other: Path) -> None:
    (other / "model.safetensors").rename(other / "pytorch_model.bin")
    assert_refused(str(other), "convert the model to safetensors")
    assert_refused(str(other / "pytorch_model.bin"), r"give a folder, a \.gguf or \.safetensors file")


def test_gguf_weights_that_do_not_fit_their_sizes(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "x.gguf", "llama", decoder(LLAMA), "Q4_1")
    data = path.read_bytes()
    key = b"llama.attention.head_count_kv"
    at = data.index(key) + len(key) + 4
    path.write_bytes(data[:at] + (4).to_bytes(4, "little") + data[at + 4 :])
    assert_refused(str(path), "another shape")
    with pytest.raises(ReverieError, match="another shape"):
        load(str(path))  # packed, where there is no other device


# Tokenizers and folders


def test_more_tokens_than_weights_for_them(own: Path, other: Path) -> None:
    for folder in (own, other):
        edit(folder / "tokenizer.json", lambda data: data["model"]["vocab"].update({"zzzz": 320}))
        assert_refused(str(folder), "321 tokens and weights for 320")


def test_a_folder_without_a_tokenizer(own: Path) -> None:
    (own / "tokenizer.json").unlink()
    assert_refused(str(own), r"no tokenizer\.json")


def test_folders_and_paths_that_are_no_model(tmp_path: Path) -> None:
    (tmp_path / "story.txt").write_text("Once upon a time")
    assert_refused(str(tmp_path), r"holds no model\.safetensors")
    assert_refused(str(tmp_path / "story.txt"), "There is no model at")
    assert_refused(str(tmp_path / "nothing"), "There is no model at")
    assert_refused(str(tmp_path / "nothing.gguf"), "There is no model at")
    (tmp_path / "empty.gguf").touch()
    assert_refused(str(tmp_path / "empty.gguf"), "empty")
    (tmp_path / "folder.gguf").mkdir()
    assert_refused(str(tmp_path / "folder.gguf"), "no")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(own: Path) -> None:
    (own / "model.safetensors").chmod(0)
    assert_refused(str(own), "cannot be read")


# config.json


NO_OBJECTS = ["", "{", "null", "[]", "7", '"llama"', "\x00", "[" * 10**5, '{"a": ' + "9" * 5000 + "}"]


@pytest.mark.parametrize("text", NO_OBJECTS, ids=lambda text: text[:9])
def test_a_config_that_is_no_json_object(text: str, own: Path) -> None:
    (own / "config.json").write_text(text)
    assert_refused(str(own), "is not JSON|does not hold a JSON object")


def test_no_config(own: Path) -> None:
    (own / "config.json").unlink()
    assert_refused(str(own), r"There is no config\.json")
    (own / "config.json").mkdir()
    assert_refused(str(own), "cannot be read as JSON")


BAD_SIZES = [10**9, 10**12, 10**19, -1, 0, "64", "x" * 10**4, True, [64], {}, 0.5, float("nan"), float("inf")]
BAD_NUMBERS = [-1, 10**19, "1", [1], True, float("nan"), float("inf")]
SIZES = {
    "vocab_size": "vocab_size", "width": "hidden_size", "depth": "num_hidden_layers",
    "num_heads": "num_attention_heads", "num_kv_heads": "num_key_value_heads", "head_width": "head_dim",
    "mlp_width": "intermediate_size", "max_tokens": "max_position_embeddings",
}  # fmt: skip
NUMBERS = ["norm_eps", "rope_theta", "attention_scale", "embed_scale"]


@pytest.mark.parametrize("name", SIZES)
def test_sizes_that_no_model_has(name: str, own: Path, other: Path) -> None:
    ours, theirs = (json.loads((folder / "config.json").read_text()) for folder in (own, other))
    for value in BAD_SIZES:
        (own / "config.json").write_text(json.dumps(ours | {"model": ours["model"] | {name: value}}))
        assert_refused(str(own), "The model's")
        (other / "config.json").write_text(json.dumps(theirs | {SIZES[name]: value}))
        assert_refused(str(other), "The model|heads")


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_that_no_model_has(name: str, own: Path) -> None:
    ours = json.loads((own / "config.json").read_text())
    for value in BAD_NUMBERS:
        (own / "config.json").write_text(json.dumps(ours | {"model": ours["model"] | {name: value}}))
        assert_refused(str(own), name)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"num_heads": 3, "num_kv_heads": 2}, "share"),
        ({"num_kv_heads": 8}, "share"),
        ({"head_width": 15}, "even"),
        ({"softcaps": [1.0]}, "softcaps"),
        ({"softcaps": [1.0, -1.0]}, "softcaps"),
        ({"rope_factors": [1.0] * 7}, "RoPE factors"),
        ({"rope_factors": [0.0] * 8}, "rope_factors"),
        ({"rope_factors": [float("nan")] * 8}, "rope_factors"),
        ({"window": {"tokens": 0, "layers": [0], "rope_theta": 1e4}}, "window"),
        ({"window": {"tokens": 5, "layers": [2], "rope_theta": 1e4}}, "windows in layers"),
        ({"window": {"tokens": 5, "layers": [0], "rope_theta": 0}}, "RoPE in some layers"),
        ({"window": {"tokens": 5, "layers": [0]}}, "rope_theta"),
        ({"window": 5}, "window"),
        ({"norm": "batch"}, "norm"),
        ({"width_px": 5}, "width_px"),
        ({"rope_theta": 0.0, "head_width": 16}, "positions"),  # which the weights do not have
    ],
    ids=str,
)
def test_parts_that_do_not_go_together(change: dict[str, Any], what: str, own: Path) -> None:
    edit(own / "config.json", lambda data: data["model"].update(change))
    assert_refused(str(own), what)


@pytest.mark.parametrize("name", ["../text", "os", "text.py", "__init__", "", 7, None, ["text"], "x" * 10**4])
def test_a_medium_that_there_is_not(name: Any, own: Path) -> None:
    edit(own / "config.json", lambda data: data.update(modality=name))
    assert_refused(str(own), "There is no medium")


def test_a_medium_is_never_a_path_or_any_other_module() -> None:
    assert modality("text").name == "text"
    for name in ("../text", "os", "..types", "text.Path", "/text", "text\0"):
        with pytest.raises(ReverieError, match="There is no medium"):
            modality(name)


@pytest.mark.parametrize("version", [2, 0, "1", None, [1]])
def test_a_layout_of_another_version(version: Any, own: Path) -> None:
    edit(own / "config.json", lambda data: data.update(reverie=version))
    assert_refused(str(own), "newer Reverie")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from([0, 1, 2, 10**12]),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=6,
)
OWN: dict[str, Any] = {"reverie": 1, "modality": "text", "model": to_json(GGUF["gemma3"][1])}
ROPE = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
VALID: list[dict[str, Any]] = [
    OWN,
    LLAMA3 | {"num_hidden_layers": 2},
    QWEN2 | {"num_hidden_layers": 2, "use_sliding_window": True, "max_window_layers": 1},
    GEMMA3 | {"num_hidden_layers": 7},
    GPT2 | {"num_hidden_layers": 2},
]


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """A valid config with some values, at any depth, replaced or left out."""
    data: dict[str, Any] = json.loads(json.dumps(draw(st.sampled_from(VALID))))
    for _ in range(draw(st.integers(1, 3))):
        place = data
        key = draw(st.sampled_from(sorted(place)))
        while isinstance(place[key], dict) and place[key] and draw(st.booleans()):
            place = place[key]
            key = draw(st.sampled_from(sorted(place)))
        place[key] = draw(JSON)
        if draw(st.integers(0, 4)) == 0:
            del place[key]
        if not data or not place:
            break
    return data


@given(mutated())
@settings(max_examples=300, deadline=2000)
def test_any_config_is_refused_or_can_be_built(data: dict[str, Any]) -> None:
    refusal = ""
    try:
        kind, config = from_reverie(data) if "reverie" in data else from_hugging_face(data)
    except ReverieError as error:
        refusal = str(error)
    if refusal:
        assert SENTENCE.fullmatch(refusal), refusal
    else:
        check(config)
        assert all(parts(TABLES[kind], name) for name in skeleton(config).state_dict())
