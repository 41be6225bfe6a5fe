"""What every file of music says of itself: that a generative model made it, and how."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reverie.types import ReverieError

MADE_BY = "Made by a generative model, Reverie"
MAX_RECORD_CHARS = 64_000
# The IPTC's word for what a generative model made: https://cv.iptc.org/newscodes/digitalsourcetype/
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
RECORD = "reverie"  # the word before a record, or the name of its field


def record_text(record: Mapping[str, Any]) -> str:
    """A record (JSON values) as ASCII text, which survives every file format; the same record, the same text."""
    text = json.dumps(record, ensure_ascii=True, sort_keys=True)
    if len(text) > MAX_RECORD_CHARS:
        raise ReverieError(f"The record of how it was made is longer than {MAX_RECORD_CHARS:,} letters: shorten it.")
    return text


def read_record_text(text: str | None) -> dict[str, Any]:
    """The record in a text that `record_text` wrote; a `ReverieError` if there is none or it is broken."""
    if text is None:
        raise ReverieError("The file does not say how it was made: give a file that Reverie composed.")
    if len(text) > MAX_RECORD_CHARS:
        raise ReverieError("The file's record is too long: give a file as Reverie wrote it.")
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ReverieError("The file's record is broken: give a file as Reverie wrote it.") from error
    if not isinstance(record, dict):
        raise ReverieError("The file's record is not an object: give a file as Reverie wrote it.")
    return record


def printable(text: str, most: int = 200) -> str:
    """Text on one line as it may stand in XML: no control characters, no halves of surrogate pairs."""
    kept = (letter if letter.isprintable() else " " for letter in text[:most])
    return " ".join("".join(kept).split())
