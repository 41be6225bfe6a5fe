"""The official `openai` client, sync and async, against a real server with tiny models."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import openai
import pytest
import torch
from openai import AsyncOpenAI, OpenAI

import tiny_models
from reverie import engine
from reverie.engine import Model
from reverie.types import Message
from serve_setup import DRAWER, WRITER, served

ASKED: Any = {"model": WRITER, "messages": [{"role": "user", "content": "the robot dog"}], "temperature": 1}
END_TOKEN = tiny_models.bpe().token_to_id(tiny_models.END)
CONTINUED: Any = {"model": WRITER, "prompt": "the robot dog", "temperature": 1, "max_tokens": 12}


def refused(error: openai.APIStatusError) -> tuple[Any, ...]:
    return error.status_code, error.param, error.code


# --- models ---


def test_models_are_listed_by_the_names_they_are_asked_by(client: OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert {WRITER, DRAWER} <= set(names)
    assert client.models.retrieve(WRITER).id == WRITER
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("hf:nobody/nothing")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize("name", ["nothing", "../secrets", "/etc/passwd", "hf:a/b"])
def test_no_name_reaches_the_file_system(client: OpenAI, name: str) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(**ASKED | {"model": name})
    assert caught.value.code == "model_not_found"


# --- chats ---


def test_an_answer_is_what_the_engine_says(client: OpenAI, writer: Model) -> None:
    reply = client.chat.completions.create(**ASKED, seed=3, max_completion_tokens=10)
    alone = writer.generate([Message("user", "the robot dog")], seed=3, temperature=1, max_tokens=10)
    assert reply.choices[0].message.content == alone.text()
    assert reply.choices[0].finish_reason == alone.finish_reason
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (
        alone.timings.prompt_tokens, alone.timings.new_tokens,
    )  # fmt: skip
    assert str(reply.system_fingerprint).startswith("reverie-")


def test_a_stream_is_the_same_answer_in_pieces(client: OpenAI) -> None:
    asked = ASKED | {"seed": 3, "max_tokens": 10, "n": 2}
    whole = client.chat.completions.create(**asked)
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    for index in range(2):
        mine = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
        assert "".join(choice.delta.content or "" for choice in mine) == whole.choices[index].message.content
        assert mine[0].delta.role == "assistant"
        assert mine[-1].finish_reason == whole.choices[index].finish_reason
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_n_answers_are_those_of_seeds_one_after_the_other(client: OpenAI) -> None:
    asked = ASKED | {"max_tokens": 8}
    several = client.chat.completions.create(**asked, seed=7, n=3)
    for index in range(3):
        alone = client.chat.completions.create(**asked, seed=7 + index)
        assert several.choices[index].message.content == alone.choices[0].message.content


def test_the_async_client(http: httpx.Client, client: OpenAI) -> None:
    async def both() -> tuple[str, str]:
        async with AsyncOpenAI(base_url=f"{http.base_url}/v1", api_key="none", max_retries=0) as there:
            whole = await there.chat.completions.create(**ASKED, seed=1, max_tokens=6)
            stream = await there.chat.completions.create(**ASKED, seed=1, max_tokens=6, stream=True)
            pieces = [chunk.choices[0].delta.content async for chunk in stream]
            return str(whole.choices[0].message.content), "".join(piece or "" for piece in pieces)

    whole, pieces = asyncio.run(both())
    assert whole == pieces == client.chat.completions.create(**ASKED, seed=1, max_tokens=6).choices[0].message.content


def test_log_probabilities_of_an_answer(client: OpenAI) -> None:
    asked = ASKED | {"seed": 2, "max_tokens": 6, "logprobs": True, "top_logprobs": 3}
    reply = client.chat.completions.create(**asked)
    assert reply.choices[0].logprobs is not None
    content = reply.choices[0].logprobs.content or []
    spelt = b"".join(bytes(token.bytes or []) for token in content)
    assert spelt.decode("utf-8", "replace") == reply.choices[0].message.content
    for token in content:
        values = [top.logprob for top in token.top_logprobs]
        assert values == sorted(values, reverse=True)
        assert len(values) == 3
        assert token.logprob <= values[0] <= 0
    chunks = client.chat.completions.create(**asked, stream=True)
    streamed = [t for chunk in chunks if chunk.choices[0].logprobs for t in chunk.choices[0].logprobs.content or []]
    assert streamed == content


def test_half_a_character_is_told_in_bytes(client: OpenAI, writer: Model) -> None:
    reply = client.chat.completions.create(**ASKED, seed=2, max_tokens=8, logprobs=True, top_logprobs=20)
    assert reply.choices[0].logprobs is not None
    told = [each for token in reply.choices[0].logprobs.content or [] for each in (token, *token.top_logprobs)]
    ids = {writer.medium.tokenizer.token_text(token): token for token in range(writer.core.config.vocab_size)}
    assert all(bytes(each.bytes or []) == writer.medium.tokenizer.token_bytes(ids[each.token]) for each in told)
    assert any(each.bytes and each.bytes[0] >= 0x80 for each in told)  # no character by themselves
    assert "\ufffd" not in "".join(each.token for each in told)


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_and_steps_are_counted(http: httpx.Client, client: OpenAI, stream: bool) -> None:
    def figure(name: str) -> float:
        lines = http.get("/metrics").text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))

    tokens, steps = figure("reverie_tokens_total"), figure("reverie_step_seconds_count")
    asked = CONTINUED | {"seed": 1, "n": 2, "max_tokens": 5, "logit_bias": {str(END_TOKEN): -100}}
    if stream:
        list(client.completions.create(**asked, stream=True))
    else:
        client.completions.create(**asked)
    assert figure("reverie_tokens_total") == tokens + 10
    assert figure("reverie_step_seconds_count") >= steps + 10


def test_a_bias_and_penalties_reach_the_model(client: OpenAI) -> None:
    biased = client.chat.completions.create(**ASKED, logit_bias={"72": 100}, max_tokens=5, seed=0)
    token = client.chat.completions.create(
        **ASKED, logit_bias={"72": 100}, max_tokens=1, logprobs=True
    ).choices[0].logprobs.content[0].token  # fmt: skip
    assert biased.choices[0].message.content == token * 5
    fewer = client.chat.completions.create(**ASKED, logit_bias={"72": 3}, presence_penalty=2, max_tokens=5, seed=0)
    assert fewer.choices[0].message.content != biased.choices[0].message.content


def test_a_stop_string_ends_an_answer(client: OpenAI) -> None:
    whole = client.chat.completions.create(**ASKED, seed=5, max_tokens=12).choices[0].message.content or ""
    stopped = client.chat.completions.create(**ASKED, seed=5, max_tokens=12, stop=[whole[4:6]])
    assert stopped.choices[0].message.content == whole[: whole.index(whole[4:6])]
    assert stopped.choices[0].finish_reason == "stop"


def test_content_may_come_in_parts(client: OpenAI) -> None:
    parts = [{"type": "text", "text": "the robot"}, {"type": "text", "text": " dog"}]
    system: Any = [{"role": "developer", "content": "be brief"}]
    one, other = (
        client.chat.completions.create(**ASKED | {"messages": [*system, {"role": "user", "content": content}]}, seed=1)
        for content in ("the robot dog", parts)
    )
    assert one.choices[0].message.content == other.choices[0].message.content


# --- JSON ---

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "tags": {"type": "array", "minItems": 1}},
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("max_tokens", [36, 45, 100])
def test_json_always_fits_its_schema(client: OpenAI, max_tokens: int) -> None:
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
    for seed in range(3):
        reply = client.chat.completions.create(**ASKED, response_format=wanted, seed=seed, max_tokens=max_tokens)
        assert jsonschema_rs.is_valid(PERSON, json.loads(reply.choices[0].message.content or ""))
    assert reply.choices[0].finish_reason in ("stop", "length")


def test_any_json_object(client: OpenAI) -> None:
    reply = client.chat.completions.create(**ASKED, response_format={"type": "json_object"}, max_tokens=9, seed=1)
    assert isinstance(json.loads(reply.choices[0].message.content or ""), dict)
    assert reply.choices[0].finish_reason == "length"


def test_json_that_cannot_be_had_is_refused(client: OpenAI) -> None:
    def ask(schema: dict[str, Any], **more: Any) -> openai.BadRequestError:
        wanted: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(**ASKED, response_format=wanted, **more)
        return caught.value

    assert ask(PERSON, max_tokens=3).param == "max_tokens"
    assert ask(PERSON, stop="x").param == "stop"
    assert "not" in ask({"not": {}}).message
    assert "pattern" in ask({"type": "string", "pattern": "a" * 10_000}).message


# --- completions ---


def test_a_text_goes_on(client: OpenAI, writer: Model) -> None:
    reply = client.completions.create(**CONTINUED, seed=4)
    alone = writer.generate("the robot dog", seed=4, temperature=1, max_tokens=12).text()
    assert reply.choices[0].text == alone
    pieces = client.completions.create(**CONTINUED, seed=4, stream=True)
    assert "".join(chunk.choices[0].text for chunk in pieces) == alone


def test_prompts_may_be_several_and_token_ids(client: OpenAI, writer: Model) -> None:
    texts = ["the robot dog", "seven yellow"]
    ids = [writer.medium.encode(text) for text in texts]
    asked = CONTINUED | {"seed": 4, "n": 2}
    several = client.completions.create(**asked | {"prompt": texts})
    assert [choice.index for choice in several.choices] == [0, 1, 2, 3]
    for prompt in (ids, None):
        for place, text in enumerate(texts):
            alone = client.completions.create(**asked | {"prompt": ids[place] if prompt else text})
            found = [choice.text for choice in several.choices[2 * place : 2 * place + 2]]
            assert [choice.text for choice in alone.choices] == found
    with pytest.raises(openai.BadRequestError):
        client.completions.create(**CONTINUED | {"prompt": [1, 2, 10**6]})


def test_echo_tells_how_likely_the_prompt_is(client: OpenAI, writer: Model) -> None:
    asked: Any = {"model": WRITER, "prompt": "the robot dog ran", "temperature": 0, "echo": True, "logprobs": 2}
    reply = client.completions.create(**asked, max_tokens=1).choices[0]
    assert reply.logprobs is not None
    ids = writer.medium.encode("the robot dog ran")
    row = torch.tensor([ids])
    expected = writer.core(row)[0].log_softmax(-1)
    values = reply.logprobs.token_logprobs or []
    assert values[0] is None
    for place, token in enumerate(ids[1:], 1):
        assert values[place] == pytest.approx(float(expected[place - 1, token]), abs=1e-4)
        best = max((reply.logprobs.top_logprobs or [])[place].values())
        assert best == pytest.approx(float(expected[place - 1].max()), abs=1e-4)
    assert reply.text.startswith("the robot dog ran")
    tokens = reply.logprobs.tokens or []
    assert len(tokens) == len(ids) + 1 == len(reply.logprobs.text_offset or [])
    assert [reply.text[offset:].startswith(token) for offset, token in zip(
        (reply.logprobs.text_offset or [])[:-1], tokens[:-1], strict=True
    )] == [True] * len(ids)  # fmt: skip
    nothing_new = client.completions.create(**asked, max_tokens=0).choices[0]
    assert nothing_new.text == "the robot dog ran"
    streamed = list(client.completions.create(**asked, max_tokens=1, stream=True))
    assert "".join(chunk.choices[0].text for chunk in streamed) == reply.text
    assert [t for c in streamed for t in c.choices[0].logprobs.tokens or []] == tokens


# --- what is refused ---

UNSUPPORTED: dict[str, Any] = {
    "tools": [], "functions": [], "user": "me", "modalities": ["text"], "reasoning_effort": "low", "verbosity": "low",
}  # fmt: skip


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_is_not_supported_is_refused_by_name(client: OpenAI, name: str) -> None:
    with pytest.raises(openai.BadRequestError, match=name) as caught:
        client.chat.completions.create(**ASKED, extra_body={name: UNSUPPORTED[name]})
    assert refused(caught.value) == (400, name, "unsupported_parameter")


@pytest.mark.parametrize("name", ["suffix", "best_of"])
def test_so_it_is_for_completions(client: OpenAI, name: str) -> None:
    with pytest.raises(openai.BadRequestError, match=name):
        client.completions.create(**CONTINUED, extra_body={name: 2 if name == "best_of" else "x"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 9), ("n", 10**6), ("n", 0), ("temperature", 2.5), ("temperature", "1"), ("top_p", -1), ("max_tokens", 0),
        ("seed", -1), ("seed", 2**70), ("top_logprobs", 3), ("logit_bias", {"x": 1}), ("logit_bias", {"72": 1000}),
        ("stop", [""]), ("stop", ["a"] * 99), ("messages", []), ("messages", [{"role": "tool", "content": "x"}]),
        ("response_format", {"type": "xml"}), ("stream_options", {"include_usage": True}), ("max_completion_tokens", 0),
    ],
)  # fmt: skip
def test_values_out_of_bounds_are_refused(client: OpenAI, name: str, value: Any) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**ASKED | {name: value})
    assert str(caught.value.param).startswith(name)


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long_is_refused_and_never_cut(client: OpenAI, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError, match="context is 128") as caught:
        client.chat.completions.create(
            **ASKED | {"messages": [{"role": "user", "content": "dog " * 200}]}, stream=stream
        )
    assert refused(caught.value) == (400, "messages", "context_length_exceeded")
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(**CONTINUED | {"prompt": "dog " * 200}, stream=stream)
    assert refused(caught.value) == (400, "prompt", "context_length_exceeded")


def test_an_empty_prompt_and_a_model_of_the_wrong_kind_are_refused(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="empty"):
        client.completions.create(**CONTINUED | {"prompt": ""})
    with pytest.raises(openai.BadRequestError, match="choose one that writes"):
        client.chat.completions.create(**ASKED | {"model": DRAWER})
    with pytest.raises(openai.BadRequestError, match="choose one that draws"):
        client.images.generate(model=WRITER, prompt="a cat")


def test_a_model_that_does_not_fit_is_refused_and_the_server_goes_on(
    models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(tmp_path, models) as http:
        client = OpenAI(base_url=f"{http.base_url}/v1", api_key="none", max_retries=0)
        with monkeypatch.context() as patch:
            patch.setattr(engine, "free_bytes", lambda: 0.0)
            with pytest.raises(openai.InternalServerError, match="GB are free") as caught:
                client.chat.completions.create(**ASKED, max_tokens=2)
            assert caught.value.status_code == 503
        assert client.chat.completions.create(**ASKED, max_tokens=2).choices


def test_a_full_line_says_when_to_come_again(models: dict[str, str], tmp_path: Path) -> None:
    with served(tmp_path, models, most_waiting=2) as http:
        client = OpenAI(base_url=f"{http.base_url}/v1", api_key="none", max_retries=0)
        asked = CONTINUED | {"prompt": ["dog"] * 2, "max_tokens": 100, "n": 8}  # more than run at once and wait
        with pytest.raises(openai.RateLimitError) as caught:
            client.completions.create(**asked)
        assert int(caught.value.response.headers["Retry-After"]) > 0
        assert caught.value.code == "rate_limit_exceeded"


# --- clients that go away ---


@pytest.fixture
def tickets(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """All tickets there will be."""
    found: list[Any] = []
    from reverie.serve import openai_run

    submit = openai_run.submit

    def noted(*args: Any) -> list[Any]:
        made = submit(*args)
        found.extend(made)
        return made

    for module in ("openai", "openai_images", "openai_responses"):
        monkeypatch.setattr(f"reverie.serve.{module}.submit", noted)
    return found


def ended(tickets: list[Any]) -> bool:
    """Whether all were cancelled, soon."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if tickets and all(ticket.state == "cancelled" for ticket in tickets):
            return True
        time.sleep(0.02)
    return False


def test_a_client_that_leaves_a_stream_cancels_its_texts(http: httpx.Client, tickets: list[Any]) -> None:
    asked = CONTINUED | {"max_tokens": 120, "stream": True, "n": 8, "logit_bias": {"0": -100}}
    with http.stream("POST", "/v1/completions", json=asked) as reply:
        for line in reply.iter_lines():
            if line.startswith("data:"):
                break
    assert ended(tickets)


def test_a_client_that_leaves_without_a_stream_cancels_its_texts(http: httpx.Client, tickets: list[Any]) -> None:
    asked = CONTINUED | {"max_tokens": 120, "n": 8, "prompt": ["dog", "the"], "logit_bias": {"0": -100}}
    with httpx.Client(base_url=http.base_url) as other, pytest.raises(httpx.ReadTimeout):
        other.post("/v1/completions", json=asked, timeout=0.15)
    assert ended(tickets[8:])


SURROGATE = json.loads('"\\ud800"')  # half a character: JSON can say it, UTF-8 cannot
HOSTILE: dict[str, Any] = {
    "half a character": {"messages": [{"role": "user", "content": SURROGATE}]},
    "a field of half a character": {SURROGATE: 1},
    "a schema of half a character": {
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"const": SURROGATE}}}
    },
    "a seed that would go beyond the last": {"seed": 2**63 - 1, "n": 2},
    "a bias for no token": {"logit_bias": {"319999": 1}},
    "a picture": {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}]},
}


@pytest.mark.parametrize("asked", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_requests_are_400(http: httpx.Client, asked: dict[str, Any]) -> None:
    body = json.dumps(ASKED | asked)  # httpx itself would not send such a thing
    reply = http.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 400
    assert reply.json()["error"]["type"] == "invalid_request_error"
