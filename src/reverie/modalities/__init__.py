"""One file for each medium: how it becomes model input, and back. They are discovered, never listed elsewhere."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from reverie.types import ReverieError


def names() -> list[str]:
    """Every medium there is: the modules of this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def modality(name: str) -> Any:
    """The class of the medium called `name`: what its module calls `Medium`."""
    if name not in names():
        raise ReverieError(f"There is no medium {name!r}: Reverie makes {', '.join(names())}.")
    return importlib.import_module(f"{__name__}.{name}").Medium
