"""Prompts are read as the reference encoder reads them, each by itself, and what cannot be read is said so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor

from reverie.engine import prompt_encoder
from reverie.hub import paths, sources
from reverie.hub.catalogue import entry
from reverie.hub.encoders import open_encoder
from reverie.hub.keymaps import TABLES, to_theirs
from reverie.lm.encoder import Encoder
from reverie.lm.prompt_states import MAX_TOKENS, PromptEncoder
from reverie.types import ReverieError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[", "]", "a", "red", "blue", "cat", "dog", "sep", "cls", "riding", "##s"]
SIZES: Any = {"vocab_size": 20, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
SIZES |= {"intermediate_size": 48, "max_position_embeddings": 40}
CAPTIONS = ["a red cat", "a blue dog riding a red cat", "", "dogs", "a dog riding a cat", "a red dog"]


def reference(config: Any) -> Any:
    """A transformers model with weights large enough that every part of it matters."""
    torch.manual_seed(0)
    model = transformers.BertModel(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.normal_(std=0.2 if weight.ndim > 1 else 0.5)
            if "LayerNorm.weight" in name:
                weight.add_(1.0)
    return model


@pytest.fixture(scope="module")
def tiny() -> Any:
    return reference(transformers.BertConfig(**SIZES))


@pytest.fixture(scope="module")
def folder(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random encoder as Hugging Face lays it out, with the padding and truncation that real ones ask for."""
    path = tmp_path_factory.mktemp("encoder")
    tiny.save_pretrained(path)
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(WORDS[:4])
    tokenizer.enable_padding(length=16)
    tokenizer.enable_truncation(8)
    tokenizer.save(str(path / "tokenizer.json"))
    return path


@pytest.fixture(scope="module")
def reader(folder: Path) -> PromptEncoder:
    core, tokenise = open_encoder(str(folder), torch.bfloat16)
    return PromptEncoder(core, tokenise, core.config.width)


@torch.no_grad()
def test_states_equal_the_reference_with_and_without_padding(tiny: Any, folder: Path) -> None:
    core, _ = open_encoder(str(folder), torch.float32)
    tokens = torch.randint(20, (2, 30), generator=torch.Generator().manual_seed(1))
    mask = torch.ones(2, 30, dtype=torch.bool)
    mask[1, 17:] = False
    for ours, expected in (
        (core(tokens), tiny(tokens).last_hidden_state),
        (core(tokens, mask)[mask], tiny(tokens, attention_mask=mask.long()).last_hidden_state[mask]),
    ):
        assert expected.std() > 0.5  # the comparison is about something
        assert (ours - expected).abs().max() <= 1e-4


def test_key_map_and_back_gives_the_same_weights(tiny: Any, folder: Path) -> None:
    core, _ = open_encoder(str(folder), torch.float32)
    back: dict[str, Tensor] = {}
    for name, weight in core.state_dict().items():
        back |= to_theirs(TABLES["bert"], name, weight, core.config)
    expected = {name: weight for name, weight in tiny.state_dict().items() if not name.startswith("pooler")}
    assert set(back) == set(expected)
    assert all(torch.equal(back[name], weight) for name, weight in expected.items())


def test_states_stand_where_the_mask_says(reader: PromptEncoder) -> None:
    states, mask = reader.encode(CAPTIONS)
    assert (states.shape, states.dtype) == ((len(CAPTIONS), MAX_TOKENS, 32), torch.bfloat16)
    assert mask.sum(1).tolist() == [reader.num_tokens(text) for text in CAPTIONS] == [5, 9, 2, 4, 7, 5]
    assert (mask[:, 1:] <= mask[:, :-1]).all()  # they come first
    assert (states[~mask] == 0).all()
    assert states[mask].float().mean(-1).abs().max() < 0.02
    assert (states[mask].float().var(-1, correction=0) - 1).abs().max() < 0.02


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(CAPTIONS), min_size=1, max_size=9))
def test_a_prompt_is_read_the_same_in_any_company(reader: PromptEncoder, texts: list[str]) -> None:
    states, mask = reader.encode(texts)
    for text, row, places in zip(texts, states, mask, strict=True):
        alone, there = reader.encode([text])
        assert torch.equal(row, alone[0])
        assert torch.equal(places, there[0])


def test_typed_control_tokens_are_only_text(reader: PromptEncoder) -> None:
    assert reader.num_tokens("a [SEP] dog [CLS]") == reader.num_tokens("a [ sep ] dog [ cls ]") == 10
    assert torch.equal(reader.encode(["a [SEP] dog"])[0], reader.encode(["A [sep] dog"])[0])


def test_what_does_not_fit_is_said_and_never_cut(reader: PromptEncoder) -> None:
    longest = "a " * (MAX_TOKENS - 2)
    assert reader.num_tokens(longest) == MAX_TOKENS
    assert reader.encode([longest])[1].all()
    with pytest.raises(ReverieError, match=f"{MAX_TOKENS + 1} tokens and {MAX_TOKENS} fit"):
        reader.encode(["a dog", longest + "dog"])


def change_config(folder: Path, **fields: Any) -> None:
    data = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**data, **fields}))


def without_a_field(folder: Path) -> None:
    data = json.loads((folder / "config.json").read_text())
    del data["hidden_size"]
    (folder / "config.json").write_text(json.dumps(data))


def with_another_tensor(folder: Path) -> None:
    save_file({"surprise": torch.zeros(3)}, folder / "model.safetensors")


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "another kind": (lambda f: change_config(f, model_type="roberta"), "model_type is 'roberta'.*only 'bert'"),
    "another activation": (lambda f: change_config(f, hidden_act="relu"), "hidden_act"),
    "relative positions": (lambda f: change_config(f, position_embedding_type="relative_key"), "only 'absolute'"),
    "endless": (lambda f: change_config(f, num_hidden_layers=10**9), "depth is 1000000000"),
    "no heads": (lambda f: change_config(f, num_attention_heads=0), "num_heads is 0"),
    "uneven heads": (lambda f: change_config(f, num_attention_heads=5), "32 channels .* 5 heads"),
    "text for a number": (lambda f: change_config(f, hidden_size="32"), "width"),
    "wider than its weights": (lambda f: change_config(f, hidden_size=64), "do not fit"),
    "deeper than its weights": (lambda f: change_config(f, num_hidden_layers=4), r"encoder\.layer\.3"),
    "shallower than its weights": (lambda f: change_config(f, num_hidden_layers=2), r"encoder\.layer\.2.*no place"),
    "fewer words than tokens": (lambda f: change_config(f, vocab_size=9), "do not fit|tokens"),
    "a field missing": (without_a_field, "lacks hidden_size"),
    "no config": (lambda f: (f / "config.json").unlink(), "lacks|model_type"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "missing or broken"),
    "no JSON": (lambda f: (f / "tokenizer.json").write_text("{"), "not JSON"),
    "no vocabulary": (lambda f: (f / "tokenizer.json").write_text("{}"), "missing or broken"),
    "another tensor": (with_another_tensor, "'surprise'"),
    "pickle": (lambda f: (f / "model.safetensors").write_bytes(b"\x80\x04\x95" + bytes(64)), "pickle"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_broken_and_hostile_folders_are_refused_in_a_sentence(name: str, folder: Path, tmp_path: Path) -> None:
    spoil, sentence = HOSTILE[name]
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    spoil(copy)
    with pytest.raises(ReverieError, match=sentence) as caught:
        open_encoder(str(copy), torch.float32)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The verified weights of MiniLM, fetched once as a user would fetch them."""
    return sources.fetch(entry("minilm"))


def test_a_model_of_several_files_is_there_only_as_a_whole(
    minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = paths.model_path("minilm")
    assert {path.name for path in minilm.parent.iterdir()} == {"model.safetensors", "config.json", "tokenizer.json"}
    assert sources.verify_installed("minilm")
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path))
    shutil.copytree(copy, paths.model_path("minilm"))
    assert sources.find(entry("minilm")) == paths.model_path("minilm") / "model.safetensors"
    tokenizer = paths.model_path("minilm") / "tokenizer.json"
    tokenizer.write_bytes(tokenizer.read_bytes()[:-1] + b" ")
    assert not sources.verify_installed("minilm")  # changed
    tokenizer.unlink()
    assert sources.find(entry("minilm")) is None  # not whole, so that it is fetched again


def test_the_real_encoder_equals_the_reference(minilm: Path) -> None:
    core, tokenise = open_encoder(str(minilm.parent), torch.float32)
    model = transformers.BertModel.from_pretrained(minilm.parent).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm.parent)
    for text in ("a red panda riding a skateboard", "Two tiny blue cats, café; unbelievably ☃ [x]"):
        ids = tokenise(text)
        assert ids == tokenizer(text, padding=False)["input_ids"]
        with torch.no_grad():
            expected = model(torch.tensor([ids])).last_hidden_state
            assert (core(torch.tensor([ids])) - expected).abs().max() <= 1e-4
    assert isinstance(core, Encoder)


@pytest.mark.parametrize("name", ["smollm2", "hf:owner/name", "../encoder", ""])
def test_only_an_encoder_of_the_catalogue_reads_prompts(name: str) -> None:
    with pytest.raises(ReverieError, match=r"cannot read prompts .* use minilm"):
        prompt_encoder(name)


def test_a_word_means_what_its_neighbours_mean(minilm: Path) -> None:
    reader = prompt_encoder(offline=True)
    states, mask = reader.encode(["a puppy", "a dog", "a bicycle"])
    puppy, dog, bicycle = (states[:, 2].float() / states[:, 2].float().norm(dim=-1, keepdim=True)).unbind()
    assert mask[:, :4].all()
    assert puppy @ dog > puppy @ bicycle + 0.2
