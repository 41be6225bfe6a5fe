"""The OpenAPI document on stdout, for the studio's types: `python -m reverie.serve.openapi > openapi.json`."""

from __future__ import annotations

import json
import sys

from reverie.serve.app import create_app
from reverie.serve.security import Settings
from reverie.serve.store import Store


class NoWorker:
    """In place of a worker, where nothing is made."""

    beat_seconds = 0.0

    def listen(self, listener: object) -> None:
        """To nothing."""

    def waiting(self) -> int:
        """None."""
        return 0

    def running(self) -> int:
        """None."""
        return 0


def document() -> str:
    """The document as JSON."""
    app = create_app(NoWorker(), Store(None), settings=Settings())
    return json.dumps(app.openapi(), indent=1)


if __name__ == "__main__":
    sys.stdout.write(document() + "\n")
