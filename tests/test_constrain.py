"""Answers in JSON always parse and fit their schema, however little room there is; hostile schemas are refused."""

from __future__ import annotations

import json
import time
from typing import Any

import jsonschema_rs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny_models
from reverie.hub.tokenizers import from_folder
from reverie.lm.constrain import ANY_OBJECT, Json, check_schema
from reverie.lm.tokenizer import Tokenizer
from reverie.types import ReverieError

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 2},
        "age": {"type": "integer", "minimum": 100, "maximum": 130},
        "kind": {"enum": ["robot", "robots", "dog"]},
        "score": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 4},
        "day": {"type": "string", "format": "date"},
    },
    "required": ["name", "age", "kind", "score", "code", "tags", "day"],
    "additionalProperties": False,
}
TREE = {
    "$defs": {
        "tree": {
            "type": "object",
            "properties": {
                "value": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
            },
            "required": ["value", "children"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/tree",
}
SCHEMAS: list[dict[str, Any]] = [
    {"type": "object"},
    {},
    PERSON,
    TREE,
    {"type": "array", "items": {"type": "array", "items": {"type": "integer"}, "minItems": 1}, "minItems": 3},
    {"enum": ["0\x1f", '"\\']},
    {"anyOf": [{"type": "null"}, {"type": "string", "pattern": "^a*b$"}]},
    {"type": "string", "pattern": "^((a{1,9}){1,9}){1,9}$"},
    {"const": {"é": ["ü", 1.5, None, True]}},
]

SMALL, WHOLE = st.integers(0, 3), st.integers(-1000, 1000)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny_models.write_tokenizer(folder)
    return from_folder(folder)


def answer(tokenizer: Tokenizer, schema: dict[str, Any], seed: int, room: int) -> tuple[str, bool, int]:
    """What a model that likes every token equally writes: the text, whether it was cut short, how many tokens."""
    rule, rng, written = Json(tokenizer, json.dumps(schema)), torch.Generator().manual_seed(seed), list[int]()
    while len(written) < room:
        chances = rule.allow(torch.zeros(tokenizer.vocab_size)).softmax(-1)
        token = rule.take(int(torch.multinomial(chances, 1, generator=rng)), room - len(written))
        if token in tokenizer.eos_ids:
            break
        written.append(token)
    return tokenizer.decode(written), rule.cut_short, len(written)


@pytest.mark.parametrize("schema", SCHEMAS, ids=range(len(SCHEMAS)))
def test_a_model_of_pure_chance_always_fits_the_schema(tokenizer: Tokenizer, schema: dict[str, Any]) -> None:
    least = Json(tokenizer, json.dumps(schema)).least_tokens
    for seed, room in enumerate([least, least + 1, least + 3, least + 20, 150]):
        text, _, num_tokens = answer(tokenizer, schema, seed, room)
        assert num_tokens <= room
        assert jsonschema_rs.is_valid(schema, json.loads(text)), text


LEAVES = st.one_of(
    st.just({"type": "boolean"}),
    st.builds(lambda least, more: {"type": "string", "minLength": least, "maxLength": least + more}, SMALL, SMALL),
    st.builds(lambda least, more: {"type": "integer", "minimum": least, "maximum": least + more}, WHOLE, SMALL),
    st.builds(lambda least: {"type": "number", "exclusiveMinimum": least, "exclusiveMaximum": least + 1}, WHOLE),
    st.builds(lambda size: {"type": "string", "pattern": f"^[a-c]{{{size}}}(-|x)\\d+$"}, SMALL),
    st.builds(lambda names: {"enum": [*names, None]}, st.lists(st.text(max_size=4), max_size=3, unique=True)),
)


def grown(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Schemas of lists and objects of what there is."""
    lists = st.builds(
        lambda items, least, more: {"type": "array", "items": items, "minItems": least, "maxItems": least + more},
        inner, SMALL, SMALL,
    )  # fmt: skip
    objects = st.builds(
        lambda parts, free: {
            "type": "object", "properties": dict(parts), "required": sorted(parts)[::2], "additionalProperties": free,
        },
        st.dictionaries(st.sampled_from(["a", "ab", "é", "a b", '"']), inner, max_size=3), st.booleans(),
    )  # fmt: skip
    return st.one_of(lists, objects, st.builds(lambda either, other: {"anyOf": [either, other]}, inner, inner))


@settings(max_examples=60, deadline=None)
@given(schema=st.recursive(LEAVES, grown, max_leaves=5), seed=st.integers(0, 1000), more=st.integers(0, 40))
def test_so_it_is_for_any_schema(tokenizer: Tokenizer, schema: dict[str, Any], seed: int, more: int) -> None:
    room = Json(tokenizer, json.dumps(schema)).least_tokens + more
    text, _, num_tokens = answer(tokenizer, schema, seed, room)
    assert num_tokens <= room
    assert jsonschema_rs.is_valid(schema, json.loads(text)), (schema, text)


def test_the_client_can_be_told_that_an_answer_was_cut_short(tokenizer: Tokenizer) -> None:
    free, least = answer(tokenizer, {"const": [1, 2]}, 0, 50), answer(tokenizer, {"type": "object"}, 0, 2)
    assert (free[0], free[1]) == ("[1, 2]", False)
    assert (least[0], least[1]) == ("{}", True)


def test_too_little_room_for_any_answer_is_said(tokenizer: Tokenizer) -> None:
    rule = Json(tokenizer, json.dumps(PERSON))
    token = int(rule.allow(torch.zeros(tokenizer.vocab_size)).argmax())
    with pytest.raises(ReverieError, match=f"needs {rule.least_tokens} tokens: raise max_tokens"):
        rule.take(token, 3)


def nested(depth: int) -> dict[str, Any]:
    return {"type": "array", "items": nested(depth - 1)} if depth else {}


BAD: dict[str, Any] = {
    "no json": "{",
    "no object": "true",
    "no number": '{"const": NaN}',
    "no character": json.dumps({"const": "\ud800"}),
    "deep": json.dumps(nested(40)),
    "deep beyond the parser": '{"items":' * 20_000 + "{}" + "}" * 20_000,
    "large": json.dumps({"description": "x" * 70_000}),
    "many": json.dumps({"enum": list(range(5000))}),
    "a long pattern": json.dumps({"type": "string", "pattern": "a" * 600}),
    "a broken pattern": json.dumps({"type": "string", "pattern": "(a"}),
    "a long string": json.dumps({"type": "string", "minLength": 10**9}),
    "not enforceable": json.dumps({"not": {"type": "string"}}),
    "not enforceable, hushed up": json.dumps({"x-guidance": {"lenient": True}, "not": {"type": "string"}}),
    "not enforceable, numbers": json.dumps({"type": "number", "exclusiveMinimum": 0, "maximum": 0.5}),
    "elsewhere": json.dumps({"$ref": "http://localhost:1/schema.json"}),
    "a file": json.dumps({"$ref": "file:///etc/passwd"}),
    "impossible": json.dumps({"type": "object", "properties": {"a": False}, "required": ["a"]}),
    "without an end": json.dumps({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}),
}


@pytest.mark.parametrize("schema", BAD.values(), ids=BAD.keys())
def test_hostile_schemas_are_refused_soon(tokenizer: Tokenizer, schema: str) -> None:
    began = time.process_time()
    with pytest.raises(ReverieError, match=r"[Ss]chema"):
        Json(tokenizer, schema)
    assert time.process_time() - began < 2


def test_a_model_without_an_end_token_is_refused() -> None:
    with pytest.raises(ReverieError, match="choose another"):
        Json(Tokenizer(tiny_models.bpe(), {}), ANY_OBJECT)


def test_an_ordinary_schema_passes() -> None:
    check_schema(json.dumps(PERSON))
