"""What every file of music says of itself: that a generative model made it, and how."""

from __future__ import annotations

from typing import Any

from reverie import media
from reverie.types import ReverieError

MADE_BY = "Made by a generative model, Reverie"
# The IPTC's word for what a generative model made: https://cv.iptc.org/newscodes/digitalsourcetype/
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
RECORD = "reverie"  # the word before a record, or the name of its field


def read_record_text(text: str | None) -> dict[str, Any]:
    """The record in a text that `media.record_text` wrote; a `ReverieError` if there is none or it is broken."""
    if text is None:
        kinds = "a picture, a clip, or the sound, .abc or .mid of a tune"
        raise ReverieError(f"The file does not say how it was made: give {kinds} that Reverie made.")
    return media.read_record_text(text, "a file")


def printable(text: str, most: int = 200) -> str:
    """Text on one line as it may stand in XML: no control characters, no halves of surrogate pairs."""
    kept = (letter if letter.isprintable() else " " for letter in text[:most])
    return " ".join("".join(kept).split())
