"""SentencePiece's vocabularies, and tokenizers in Hugging Face's folders: ids as the reference has them, or why not."""

from __future__ import annotations

import functools
import json
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from reverie.hub.tokenizers import chat_template, from_folder, from_gguf, save
from reverie.lm.tokenizer import TextStream
from reverie.types import ReverieError
from tiny_vocabularies import ANYTHING, STORY, byte_level, names, sentencepiece

SENTENCEPIECE = from_gguf(sentencepiece(STORY))


# SentencePiece.


def test_the_space_before_the_first_word_belongs_to_a_text_that_goes_on() -> None:
    ids = SENTENCEPIECE.encode("the world")
    assert names(SENTENCEPIECE, ids) == [" the", " world"]
    assert SENTENCEPIECE.decode(ids) == "the world"
    goes_on = TextStream(SENTENCEPIECE, after_text=True)
    assert "".join(map(goes_on.push, ids)) == " the world"


def test_no_dummy_space_where_the_file_wants_none() -> None:
    gemma = from_gguf(sentencepiece(STORY, ggml__add_space_prefix=False))
    assert names(gemma, gemma.encode("the the")) == ["t", "he", " the"]
    assert gemma.decode(gemma.encode(" the")) == " the"


@functools.cache
def llama_reference() -> tokenizers.Tokenizer:
    """transformers' tokenizer of the same pieces and scores, without added tokens."""
    from transformers.convert_slow_tokenizer import generate_merges
    from transformers.models.llama.tokenization_llama import LlamaTokenizer

    data = sentencepiece(STORY)
    vocab = {token: place for place, token in enumerate(data["tokenizer.ggml.tokens"])}
    pieces = {token: place for token, place in vocab.items() if place >= 259}
    scores = {token: data["tokenizer.ggml.scores"][place] for token, place in pieces.items()}
    backend = LlamaTokenizer(vocab=vocab, merges=generate_merges(pieces, scores)).backend_tokenizer
    content = json.loads(backend.to_str()) | {"added_tokens": [], "post_processor": None}
    return tokenizers.Tokenizer.from_str(json.dumps(content))


@settings(max_examples=300, deadline=None)  # the first example imports transformers
@given(text=st.text("thewandorlig \n<>s/é👍", max_size=40))
def test_sentencepiece_ids_are_those_of_transformers(text: str) -> None:
    # Before a text that begins with a space, transformers puts no other; SentencePiece itself and llama.cpp do.
    text = text.lstrip(" ")
    assert SENTENCEPIECE.encode(text) == llama_reference().encode(text).ids


def test_scores_must_be_there_and_be_numbers() -> None:
    good = sentencepiece(STORY)
    for scores in (None, [0.0], [float("nan")] * len(good["tokenizer.ggml.tokens"])):
        with pytest.raises(ReverieError, match="scores"):
            from_gguf(good | {"tokenizer.ggml.scores": scores})


def test_pieces_that_fit_together_in_too_many_ways_are_refused_at_little_cost() -> None:
    text = "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz", k=150))
    pieces = {text[start:end]: None for start in range(150) for end in range(start + 1, 151)}  # 0.75 MB in a file
    tracemalloc.start()
    try:
        with pytest.raises(ReverieError, match="in more ways than any real model's: use another file"):
            from_gguf(sentencepiece(list(pieces)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 50_000_000


# Folders.


@pytest.mark.parametrize(
    "metadata",
    [
        byte_level(["Ġ t", "h e"], ["<|end|>", "<|im_end|>"], ggml__eos_token_id=257),
        byte_level(["Ġ t", "h e"], ["<|end|>"], ggml__pre="llama-bpe", ggml__bos_token_id=258),
        sentencepiece(STORY, ["\n\n", "<|x|>"]),
        sentencepiece(STORY, ggml__add_space_prefix=False),
    ],
    ids=["gpt2", "llama3", "llama2", "gemma"],
)
def test_what_is_saved_comes_back(metadata: dict[str, Any], tmp_path: Path) -> None:
    tokenizer = from_gguf(metadata)
    save(tokenizer, tmp_path)
    again = from_folder(tmp_path)
    text = " the world\n\n\nand <|x|> <|end|> é👍 <s>12  x"
    assert again.encode_prompt(text) == tokenizer.encode_prompt(text)
    assert again.encode_control(text) == tokenizer.encode_control(text)
    every = range(tokenizer.vocab_size)
    assert names(again, every) == names(tokenizer, every)
    for attribute in ("control", "shorthand", "shown", "bos_id", "eos_id", "eos_ids", "add_bos", "vocab_size"):
        assert getattr(again, attribute) == getattr(tokenizer, attribute), attribute
    # Other programs that read the layout agree.
    other = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert other.encode(text, add_special_tokens=False).ids == tokenizer.encode_control(text)


def write_folder(folder: Path, **files: Any) -> Path:
    for name, content in files.items():
        (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def hugging_face(**more: Any) -> dict[str, Any]:
    """A tokenizer.json as Llama's, with a control token that merges could spell."""
    vocab = {token: place for place, token in enumerate(["<s>", "</s>", "▁", "a", "<", "s", ">", "<s", "▁a", "[x]"])}
    return {
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": None,
        "added_tokens": [
            {"id": place, "content": text, "special": special, "normalized": False}
            | {"single_word": False, "lstrip": False, "rstrip": False}
            for place, text, special in ((0, "<s>", True), (1, "</s>", True), (9, "[x]", False))
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
        },
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False},
        "model": {"type": "BPE", "vocab": vocab, "merges": [["<", "s"], "<s >", ["▁", "a"]], "unk_token": None},
    } | more


def test_a_hugging_face_folder(tmp_path: Path) -> None:
    config = {"bos_token": {"content": "<s>"}, "eos_token": "</s>", "chat_template": "{{ '[x]' }}"}
    folder = write_folder(
        tmp_path, tokenizer=hugging_face(), tokenizer_config=config, generation_config={"eos_token_id": [1, 9]}
    )
    tokenizer = from_folder(folder)
    assert chat_template(folder) == "{{ '[x]' }}"
    assert names(tokenizer, tokenizer.encode_prompt("aaaa")) == ["<s>", " a", "a", "a", "a"]  # not cut off at three
    assert names(tokenizer, tokenizer.encode_control("a<s>a")) == [" a", "<s>", "a"]  # a space at the beginning alone
    assert 0 not in tokenizer.encode("<s>")
    assert tokenizer.eos_ids == {1, 9}
    (folder / "chat_template.jinja").write_text("newer")
    assert chat_template(folder) == "newer"


def test_the_config_of_a_folder_says_whether_a_prompt_has_a_beginning(tmp_path: Path) -> None:
    config = {"bos_token": "<s>", "add_bos_token": False}
    tokenizer = from_folder(write_folder(tmp_path, tokenizer=hugging_face(), tokenizer_config=config))
    assert tokenizer.encode_prompt("a") == tokenizer.encode("a")
    named = [{"name": "tools", "template": "no"}, {"name": "default", "template": "yes"}]
    assert chat_template(write_folder(tmp_path, tokenizer_config={"chat_template": named})) == "yes"
    assert chat_template(write_folder(tmp_path, tokenizer_config={})) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "JSON object"),
        ("[" * 100_000, "not JSON"),
        ({}, "broken"),
        (hugging_face(model={"type": "Unigram", "vocab": [["a", 0.0]]}), "Unigram"),
        (hugging_face(model={"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "b"]]}), "broken"),
        (hugging_face(model={"type": "BPE", "vocab": {"a": -1}, "merges": []}), "broken"),
        (hugging_face(model={"type": "BPE", "vocab": ["a"], "merges": []}), "broken"),
        (hugging_face(added_tokens=[{"id": "x", "content": "a", "special": True}]), "broken"),
        (hugging_face(model={"type": "BPE", "vocab": {"a": 0}, "merges": [], "unk_token": "b"}), "broken"),
        (hugging_face(pre_tokenizer={"type": "Novel"}), "broken"),
    ],
)
def test_a_broken_folder_says_so(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(ReverieError, match=message):
        from_folder(write_folder(tmp_path, tokenizer=content))


def test_a_folder_without_a_tokenizer_says_so(tmp_path: Path) -> None:
    with pytest.raises(ReverieError, match=r"no tokenizer\.json"):
        from_folder(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ReverieError, match="UTF-8"):
        from_folder(tmp_path)


@given(data=st.data())
def test_whatever_a_folder_holds_only_a_clear_error_comes_of_it(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = hugging_face()
    place = content if data.draw(st.booleans()) else content["model"]
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(ANYTHING)
    config = {"bos_token": data.draw(ANYTHING), "add_bos_token": data.draw(ANYTHING)}
    folder = write_folder(tmp_path_factory.mktemp("x"), tokenizer=content, tokenizer_config=config)
    try:
        tokenizer = from_folder(folder)
    except ReverieError:
        return
    tokenizer.decode(tokenizer.encode_prompt("a<s>a é"))
