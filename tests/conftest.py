"""What many tests share: the default model, fetched as a user would fetch it; tiny models, a server and a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from openai import OpenAI
from playwright.sync_api import Browser

import serve_setup
import studio_setup
import tiny_video
from reverie.engine import Model
from reverie.hub.catalogue import entry
from reverie.hub.sources import fetch


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """The verified GGUF file of the default text model."""
    return fetch(entry("smollm2"))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The folders of a tiny model that writes and one that draws."""
    return serve_setup.write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def animators(models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The tiny models, and one that animates."""
    folder = tmp_path_factory.mktemp("animator")
    tiny_video.write_model(folder)
    return {**models, serve_setup.ANIMATOR: str(folder)}


@pytest.fixture(scope="module")
def http(models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server of the tiny models."""
    with serve_setup.served(tmp_path_factory.mktemp("home"), models) as client:
        yield client


@pytest.fixture(scope="module")
def client(http: httpx.Client) -> OpenAI:
    """OpenAI's own client of that server."""
    return OpenAI(base_url=f"{http.base_url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def writer(models: dict[str, str]) -> Model:
    """The tiny model that writes, beside the server."""
    return serve_setup.load(models[serve_setup.WRITER])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real one."""
    with studio_setup.started() as browser:
        yield browser


@pytest.fixture
def studio(browser: Browser, http: httpx.Client) -> Iterator[studio_setup.Studio]:
    """The studio of the server of the tiny models."""
    with studio_setup.opened(browser, http) as studio:
        yield studio
