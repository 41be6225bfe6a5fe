"""Nothing touches the network unasked: each command in a process in which every connection ends it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

GUARD = """
import os, socket
def refuse(*arguments, **named):
    os.write(2, b"the network was touched")
    os._exit(97)  # an exception might be caught
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
"""

pytestmark = pytest.mark.usefixtures("smollm2_path")  # the default model is installed


def guarded(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "REVERIE_OFFLINE"}
    return subprocess.run(
        [sys.executable, "-c", GUARD + code, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "models list",
        "models show smollm2",
        "models pull smollm2",
        "doctor",
        "write Hello. --offline --max-tokens 2",
        "write Hello. --max-tokens 2",
    ],
)
def test_a_command_needs_no_network(command: str) -> None:
    result = guarded("from reverie.cli import main; main()", *command.split())
    assert result.returncode == 0, result.stderr


def test_an_import_needs_no_network() -> None:
    assert guarded("import reverie, reverie.engine").returncode == 0


def test_the_guard_would_notice() -> None:
    result = guarded("socket.create_connection(('localhost', 9))")
    assert (result.returncode, result.stderr) == (97, "the network was touched")
