"""Icons for tests: every name that the scenes know, as a simple shape, in two styles; nothing is fetched."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reverie.data import draw
from reverie.data.draw import PARTS
from reverie.data.vocabulary import vocabulary

STYLES = ("noto", "twemoji")
SIZE_PX = 64


def table() -> dict[str, Any]:
    """As an icon set's own JSON: a brown body with a dark eye, of a shape that depends on the name."""
    words = vocabulary()
    names = {
        name
        for kind in PARTS
        for concept in getattr(words, kind).values()
        for name in (*concept.icons, *concept.face, *concept.body)
    }
    names |= {name for single in words.singles.values() for name in single.icons}
    return {"width": 32, "height": 32, "icons": {name: {"body": body(name)} for name in sorted(names)}}


def body(name: str) -> str:
    """A picture that differs from name to name."""
    width, height = (16 + byte % 14 for byte in hashlib.sha256(name.encode()).digest()[:2])
    left, top = (32 - width) // 2, (32 - height) // 2
    eye = f'<rect x="{left + width // 2}" y="{top + 3}" width="4" height="4" fill="#101010"/>'
    return f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="#a0622d"/>{eye}'


def build(path: Path, styles: Iterable[str] = STYLES) -> Path:
    """Writes the icons' file."""
    pictures = table()
    draw.save(
        path, ((style, each) for style in styles for each in draw.drawings(style, pictures, vocabulary(), SIZE_PX))
    )
    return path
