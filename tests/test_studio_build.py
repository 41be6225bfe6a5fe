"""What the studio is built from and into: types as the server has them, and little to load."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

import reverie
from reverie.serve import shapes
from reverie.serve.openapi import document

ROOT = Path(reverie.__file__).parents[2]
BUILT = ROOT / "src" / "reverie" / "serve" / "studio"


@pytest.mark.skipif(not (BUILT / "index.html").is_file(), reason="needs the built studio: make studio")
def test_the_first_load_is_small() -> None:
    """All pages together are: so is whichever comes first."""
    files = [BUILT / "index.html", *(BUILT / "assets").iterdir()]
    assert len(files) > 10
    assert sum(len(gzip.compress(file.read_bytes())) for file in files) < 300_000


def test_the_types_are_those_of_the_server() -> None:
    ours, theirs = json.loads((ROOT / "studio" / "openapi.json").read_text()), json.loads(document())
    names = [name for name, kind in vars(shapes).items() if isinstance(kind, type) and issubclass(kind, shapes.Shape)]
    paths = [path for path in {*ours["paths"], *theirs["paths"]} if path.startswith("/api/")]
    assert {path: ours["paths"].get(path) for path in paths} == {path: theirs["paths"].get(path) for path in paths}
    for name in names:
        assert ours["components"]["schemas"].get(name) == theirs["components"]["schemas"].get(name), name
