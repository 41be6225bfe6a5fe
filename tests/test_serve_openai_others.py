"""Pictures, responses, tokens and embeddings by the official `openai` client; the real model; the real harness."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from openai import OpenAI
from PIL import Image

from reverie import media
from reverie.engine import Model
from reverie.hub.catalogue import entry
from reverie.hub.sources import fetch
from reverie.types import Message, ReverieError
from serve_setup import DRAWER, WRITER, served

ASKED: Any = {"model": WRITER, "messages": [{"role": "user", "content": "the robot dog"}], "temperature": 1}


# --- pictures ---


def pixels(png: str | None) -> np.ndarray:
    return media.read_picture(base64.b64decode(png or ""))


def test_pictures_are_drawn_with_seeds_one_after_the_other(client: OpenAI) -> None:
    more = {"seed": 5, "num_inference_steps": 2, "guidance_scale": 1.0, "negative_prompt": "dark"}
    several = client.images.generate(model=DRAWER, prompt="a blue cat", n=2, size="64x64", extra_body=more)
    assert several.data is not None
    second = client.images.generate(model=DRAWER, prompt="a blue cat", extra_body=more | {"seed": 6})
    assert second.data is not None
    assert pixels(several.data[0].b64_json).shape == (64, 64, 3)
    assert np.array_equal(pixels(several.data[1].b64_json), pixels(second.data[0].b64_json))
    assert not np.array_equal(pixels(several.data[0].b64_json), pixels(several.data[1].b64_json))
    record = media.read_record(base64.b64decode(second.data[0].b64_json or ""))
    assert (record["prompt"], record["seed"], record["negative"]) == ("a blue cat", 6, "dark")


def test_pictures_are_shown_while_they_sharpen(client: OpenAI) -> None:
    more = {"seed": 5, "num_inference_steps": 4}
    events = list(
        client.images.generate(model=DRAWER, prompt="a cat", stream=True, partial_images=2, extra_body=more)
    )  # fmt: skip
    assert events[-1].type == "image_generation.completed"
    partial = [event for event in events if event.type == "image_generation.partial_image"]
    assert [event.partial_image_index for event in partial] == list(range(len(partial)))
    assert 1 <= len(partial) <= 2
    whole = client.images.generate(model=DRAWER, prompt="a cat", extra_body=more)
    assert whole.data is not None
    assert np.array_equal(pixels(events[-1].b64_json), pixels(whole.data[0].b64_json))


def png(array: np.ndarray) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    file.seek(0)
    file.name = "picture.png"
    return file


def test_a_picture_is_changed_where_the_mask_is_transparent(client: OpenAI) -> None:
    before = np.full((64, 64, 3), 200, np.uint8)
    mask = np.zeros((64, 64, 4), np.uint8)
    mask[:, :32, 3] = 255  # opaque on the left: kept
    reply = client.images.edit(
        model=DRAWER,
        image=png(before),
        mask=png(mask),
        prompt="a cat",
        extra_body={"num_inference_steps": 2, "seed": 1},
    )
    assert reply.data is not None
    after = pixels(reply.data[0].b64_json)
    assert np.array_equal(after[:, :32], before[:, :32])
    assert not np.array_equal(after[:, 32:], before[:, 32:])
    events = client.images.edit(model=DRAWER, image=png(before), prompt="a cat", stream=True)
    assert list(events)[-1].type == "image_edit.completed"


def test_pictures_that_cannot_be_had_are_refused(client: OpenAI) -> None:
    def refuse(match: str, **asked: Any) -> None:
        with pytest.raises(openai.BadRequestError, match=match):
            client.images.generate(**{"model": DRAWER, "prompt": "a cat", **asked})

    refuse("square", size="64x128")
    refuse("multiple", size="63x63")
    refuse("quality", quality="hd")
    refuse("response_format", response_format="url")
    refuse("partial_images", partial_images=2)
    refuse("briefly", prompt="word " * 500)
    refuse("n:", n=9)
    with pytest.raises(openai.BadRequestError, match="picture"):
        client.images.edit(model=DRAWER, image=io.BytesIO(b"no picture"), prompt="a cat")
    image = np.zeros((64, 64, 4), np.uint8)
    with pytest.raises(openai.BadRequestError, match="same size"):
        client.images.edit(model=DRAWER, image=png(image), mask=png(image[:32, :32]), prompt="a cat")


# --- responses ---


def test_a_response_is_the_same_as_a_chat(client: OpenAI) -> None:
    reply = client.responses.create(
        model=WRITER, input="the robot dog", temperature=1, max_output_tokens=10, store=False, extra_body={"seed": 3}
    )
    chat = client.chat.completions.create(**ASKED, seed=3, max_tokens=10)
    assert reply.output_text == chat.choices[0].message.content
    assert reply.status == ("completed" if chat.choices[0].finish_reason == "stop" else "incomplete")
    assert reply.usage is not None
    assert reply.usage.total_tokens == chat.usage.total_tokens


def test_a_response_streams(client: OpenAI) -> None:
    asked: Any = {"model": WRITER, "instructions": "be brief", "temperature": 1, "max_output_tokens": 9}
    asked |= {"input": [{"role": "user", "content": "the robot"}], "extra_body": {"seed": 3}}
    whole = client.responses.create(**asked)
    events = list(client.responses.create(**asked, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    assert events[-1].type == f"response.{whole.status}"
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == whole.output_text


def test_a_response_in_json(client: OpenAI) -> None:
    wanted: Any = {"format": {"type": "json_schema", "name": "x", "schema": {"const": {"a": 1}}}}
    with client.responses.stream(model=WRITER, input="the robot", text=wanted) as stream:
        reply = stream.get_final_response()
    assert json.loads(reply.output_text) == {"a": 1}
    assert reply.status == "completed"


def test_a_response_keeps_nothing(client: OpenAI) -> None:
    asked: Any
    for name, asked in {"store": True, "previous_response_id": "resp_1", "tools": []}.items():
        with pytest.raises(openai.BadRequestError) as caught:
            client.responses.create(model=WRITER, input="x", extra_body={name: asked})
        assert caught.value.param == name


# --- tokens and embeddings ---


def test_tokens_there_and_back(http: httpx.Client, writer: Model) -> None:
    tokens = http.post("/tokenize", json={"model": WRITER, "prompt": "the robot dog"}).json()["tokens"]
    assert tokens == writer.medium.encode("the robot dog")
    assert http.post("/detokenize", json={"model": WRITER, "tokens": tokens}).json() == {"prompt": "the robot dog"}
    assert http.get("/tokenizer_info").json()["eos_token"] == writer.medium.tokenizer.eos_text
    chat = {"model": WRITER, "messages": ASKED["messages"]}
    assert http.post("/tokenize", json=chat).json()["count"] == writer.count_tokens([Message("user", "the robot dog")])
    assert http.post("/tokenize", json={"model": WRITER}).status_code == 400
    assert http.post("/detokenize", json={"model": WRITER, "tokens": [10**6]}).status_code == 400


@pytest.fixture(scope="module")
def minilm() -> None:
    try:
        fetch(entry("minilm"))
    except ReverieError as error:
        pytest.skip(str(error))


def test_near_texts_have_near_vectors(client: OpenAI, minilm: None) -> None:
    texts = ["a cat sleeps on the sofa", "the kitten naps on the couch", "interest rates rose by one percent"]
    reply = client.embeddings.create(model="minilm", input=texts)  # the client asks for base64
    cat, kitten, rates = (np.array(each.embedding) for each in reply.data)
    assert cat @ kitten > 0.5 > 0.2 > abs(cat @ rates)
    assert math.isclose(float(np.linalg.norm(cat)), 1, abs_tol=1e-5)
    plain = client.embeddings.create(model="minilm", input=texts[0], encoding_format="float")
    assert np.allclose(plain.data[0].embedding, cat, atol=1e-6)  # alone as among others
    wrong: Any
    for wrong in ({"input": "dog " * 600}, {"input": [[1, 2]]}, {"input": texts, "dimensions": 10}, {"input": [""]}):
        with pytest.raises(openai.BadRequestError):
            client.embeddings.create(model="minilm", **wrong)
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model=WRITER, input="x")


# --- the real model, and the real harness ---


@pytest.fixture(scope="module")
def real(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    models = {"smollm2": str(smollm2_path)}
    with served(tmp_path_factory.mktemp("real"), models) as http:
        yield f"{http.base_url}/v1"


def test_the_real_model_answers_in_words_and_in_json(real: str) -> None:
    client = OpenAI(base_url=real, api_key="none", max_retries=0)
    asked: Any = {"model": "smollm2", "temperature": 0, "max_tokens": 60}
    asked |= {"messages": [{"role": "user", "content": "What is the capital of France?"}]}
    reply = client.chat.completions.create(**asked)
    assert "Paris" in str(reply.choices[0].message.content)
    assert reply.choices[0].finish_reason == "stop"
    schema: Any = {"type": "object", "properties": {"capital": {"type": "string"}, "country": {"type": "string"}}}
    schema |= {"required": ["capital", "country"], "additionalProperties": False}
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "city", "schema": schema}}
    reply = client.chat.completions.create(**asked, response_format=wanted)
    assert "Paris" in json.loads(str(reply.choices[0].message.content))["capital"]


def test_the_client_of_the_readme_gets_an_answer(real: str, capsys: pytest.CaptureFixture[str]) -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    [example] = [code for code in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "OpenAI" in code]
    assert "http://localhost:8321/v1" in example
    exec(compile(example.replace("http://localhost:8321/v1", real), "README.md", "exec"), {})
    assert len(capsys.readouterr().out.split()) > 10


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_curl_line_of_the_readme_gets_the_answer_shown_there(real: str) -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    command, shown = re.findall(r"^\$ (curl (?:.*\\\n)*.*)\n((?:.+\n)+?)```", readme, re.MULTILINE)[0]
    assert "localhost:8321/v1" in command
    line = command.replace("http://", "").replace("localhost:8321/v1", real)
    result = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, timeout=120)
    told, reply = json.loads(shown.replace("\n ", " ")), json.loads(result.stdout)
    assert reply.keys() == told.keys()
    assert reply["choices"] == told["choices"]
    assert reply["usage"] == told["usage"]


HARNESS = shutil.which("lm_eval")  # in any environment: to the server it is one more client


def run_harness(real: str, folder: Path) -> dict[str, float]:
    """The figures of lm-evaluation-harness for the task in tests/harness, asked over HTTP for everything."""
    assert HARNESS is not None
    arguments = f"model=smollm2,base_url={real}/completions,num_concurrent=1"
    command = [HARNESS, "run", "--model", "local-completions", "--model_args", arguments, "--tasks", "capitals"]
    command += ["--include_path", ".", "--output_path", str(folder / "out")]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder)}
    here = Path(__file__).parent / "harness"
    result = subprocess.run(
        command, cwd=here, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert result.returncode == 0, result.stderr[-2000:]
    (report,) = (folder / "out").rglob("results_*.json")
    figures: dict[str, float] = json.loads(report.read_text())["results"]["capitals"]
    return figures


@pytest.mark.skipif(HARNESS is None, reason="lm-eval is not installed")
def test_the_harness_scores_a_local_task(real: str, tmp_path: Path) -> None:
    found = run_harness(real, tmp_path)
    assert found["acc,none"] == 1.0
