"""Reverie: generative AI that people can use, train and see through.

import reverie
print(reverie.load("smollm2").generate("Once upon a time").text())
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reverie.types import ImageRequest, LMRequest, Message, ReverieError, Step

if TYPE_CHECKING:
    from reverie.engine import Generation, Model, load

__all__ = ["Generation", "ImageRequest", "LMRequest", "Message", "Model", "ReverieError", "Step", "load"]


def __getattr__(name: str) -> Any:
    """Imports what needs torch when it is first asked for, so that `import reverie` is instant."""
    if name in ("Generation", "Model", "load"):
        from reverie import engine  # noqa: PLC0415

        return getattr(engine, name)
    raise AttributeError(f"module 'reverie' has no attribute {name!r}")
