"""doctor: is everything here that Reverie needs, and is it whole?"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import typer

from reverie.cli import version
from reverie.cli.feedback import Feedback
from reverie.types import ReverieError


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    well: bool
    text: str


def doctor() -> None:
    """Check this machine and the installed models."""
    well = True
    for finding in _all_findings():
        print(f"{'ok' if finding.well else 'problem':8} {finding.text}", flush=True)
        well = well and finding.well
    if not well:
        raise typer.Exit(1)


def _all_findings() -> Iterator[Finding]:
    yield _python()
    yield from _torch()
    yield from _home()
    yield from _models()


def _python() -> Finding:
    enough = sys.version_info >= (3, 11)
    advice = "" if enough else ": Reverie needs Python 3.11 or newer"
    return Finding(enough, f"reverie {version()}, Python {platform.python_version()} on {platform.platform()}{advice}")


def _torch() -> Iterator[Finding]:
    try:
        with Feedback() as feedback:
            feedback.status("Loading PyTorch")
            import torch
    except (ImportError, OSError) as error:
        yield Finding(False, f"PyTorch does not start ({error}): install Reverie again")
        return
    from reverie import engine

    place = engine.placement()
    yield Finding(True, f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads")
    yield Finding(True, f"runs on {place.device} in {str(place.dtype).removeprefix('torch.')}")
    yield Finding(True, f"processor: {_processor()}")


def _processor() -> str:
    """What decides how fast a CPU is here: its vector instructions, and whether it multiplies bfloat16 itself."""
    import torch

    able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # not in every version of PyTorch
    bf16 = any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16"))
    return f"{torch.backends.cpu.get_cpu_capability()}, bfloat16 products {'in hardware' if bf16 else 'emulated'}"


def _home() -> Iterator[Finding]:
    from reverie.hub.files import in_words
    from reverie.hub.paths import home

    folder = home()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    enough = free > 500_000_000
    yield Finding(enough, f"models in {folder}: {in_words(free)} free" + ("" if enough else ": free some space"))
    if not os.access(existing, os.W_OK):
        yield Finding(False, f"{existing} cannot be written: set REVERIE_HOME to a folder that can")


def _models() -> Iterator[Finding]:
    from reverie.hub.sources import installed

    models = installed()
    for model in models:
        mend = f"remove it with `reverie models rm {model.name}`, and pull it again"
        trouble = _trouble(model.name)
        well = trouble is None
        yield Finding(well, f"model {model.name}: {'verified' if well else f'{trouble}: {mend}'}")
    if not models:
        yield Finding(True, "no models yet: the first command that needs one fetches it")


def _trouble(name: str) -> str | None:
    """What is wrong with an installed model; reads all of it."""
    from reverie.hub.sources import verify_installed

    with Feedback() as feedback:
        feedback.status(f"Verifying {name}")
        try:
            return None if verify_installed(name) else "its files are not what they were when they were fetched"
        except ReverieError as error:
            return str(error).rstrip(".")
