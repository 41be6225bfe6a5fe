"""What many tests share: the default model, fetched once as a user would fetch it."""

from __future__ import annotations

from pathlib import Path

import pytest

from reverie.hub.catalogue import entry
from reverie.hub.sources import fetch


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """The verified GGUF file of the default text model."""
    return fetch(entry("smollm2"))
