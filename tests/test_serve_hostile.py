"""Whatever the OpenAPI document allows or forbids, no request is answered with a failure of the server's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode

from serve_setup import DRAWER, WRITER, served, write_models

ENDLESS = "/api/jobs/events"  # a stream that only the client ends
OTHERS = "^/v1/|^/(de)?tokenize"  # have tests of their own
EXAMPLES = 8  # of each route, of requests that the document allows and of others
BRIEF = settings(max_examples=EXAMPLES, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    patch = pytest.MonkeyPatch()
    patch.setenv("REVERIE_HOME", str(tmp_path_factory.mktemp("empty")))
    patch.setenv("REVERIE_OFFLINE", "1")
    with served(tmp_path_factory.mktemp("home"), write_models(tmp_path_factory.mktemp("models"))) as client:
        client.post("/api/jobs", json={"model": WRITER, "prompt": "x", "settings": {"max_tokens": 1}})
        client.put("/api/chats/a", json={"title": "x", "body": {}})
        yield client
    patch.undo()


def aim(case: schemathesis.Case[Any]) -> None:
    """Half of what can be made is asked of a model that is there, and little of it."""
    body: Any = case.body
    if isinstance(body, dict) and "prompt" in body and len(str(body)) % 2:
        body["model"] = WRITER if len(str(body)) % 4 == 1 else DRAWER
        if isinstance(body.get("settings"), dict):
            body["settings"] |= {"max_tokens": 3} if body["model"] == WRITER else {"steps": 2, "size_px": 64}


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["allowed", "forbidden"])
def test_no_request_breaks_the_server(server: httpx.Client, mode: GenerationMode) -> None:
    document = schemathesis.openapi.from_url(f"{server.base_url}/openapi.json")
    routes = document.exclude(path=ENDLESS).exclude(path_regex=OTHERS)
    tried = 0
    for route in routes.get_all_operations():
        assert isinstance(route, Ok)
        operation = route.ok()

        @BRIEF
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case[Any]) -> None:
            nonlocal tried
            tried += 1
            aim(case)
            response = case.call(timeout=20)
            assert response.status_code < 500, response.text
            if response.status_code >= 400:
                error = response.json()["error"]
                assert error["message"].endswith("."), error
                assert "Traceback" not in error["message"]

        try:
            ask()
        except Unsatisfiable:  # nothing about this route can be forbidden
            assert mode is GenerationMode.NEGATIVE
    assert tried > 100
