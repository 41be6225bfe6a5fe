"""What tunes are played with: a synthesiser and its instruments, a SoundFont; each is fetched once, then kept."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from reverie.hub import files, npm, paths, pypi
from reverie.hub.npm import Package
from reverie.hub.sources import offline_wished
from reverie.types import ReverieError

# Not among our dependencies: it depends on a library that plays through a sound card, is not needed, and has no wheel.
SYNTHESISER, SYNTHESISER_MODULE = "tinysoundfont==0.3.7", "tinysoundfont"

# Sonivox's General MIDI instruments, as Android has them: small, and free to use. size_bytes is the SoundFont's.
SONIVOX = Package(
    name="alphatab",
    package="@coderline/alphatab@1.8.4",
    integrity="sha512-VN5rfTZZWgA63Ny1aDKCp02k3Qm9CHhg4Q9AnK0kHm7G+fNDNZo36TeToPDFoJ6VpB9+AHcCrHwHFUP1tKqdsw==",
    size_bytes=1_351_896,
    licence="Apache-2.0",
)
_MEMBER = "dist/soundfont/sonivox.sf2"


def soundfont(package: Package = SONIVOX) -> Path:
    """The SoundFont's file; fetched first, by npm, if it is not there, and offline from then on.

    A `ReverieError` if it is not there and cannot be fetched, or is not the one that is pinned.
    """
    version = package.package.rpartition("@")[2]
    target = paths.inside(paths.home(), "data", "soundfonts", f"{package.name}-{version}.sf2")
    if not target.is_file():
        data = npm.read_member(npm.fetch(package), package, _MEMBER)
        with files.atomic_write(target, len(data)) as sink:
            sink.write(data)
    return target


def need_synthesiser() -> None:
    """Makes the module `tinysoundfont` importable; fetched first, by pip, if it is not there."""
    if importlib.util.find_spec(SYNTHESISER_MODULE) is not None:
        return
    folder = paths.inside(paths.home(), "data", "synthesiser")
    if offline_wished() and not paths.inside(folder, SYNTHESISER_MODULE).is_dir():
        raise ReverieError(f"{SYNTHESISER} is not on this machine: run the same command once with a network.")
    pypi.install(SYNTHESISER, folder, SYNTHESISER_MODULE, f"pip could not fetch {SYNTHESISER}: check the network.")
    sys.path.append(str(folder))
    importlib.invalidate_caches()
