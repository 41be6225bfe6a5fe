"""The instruments that tunes are played with: a SoundFont that is fetched once, then kept."""

from __future__ import annotations

from pathlib import Path

from reverie.hub import files, npm, paths
from reverie.hub.npm import Package

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
