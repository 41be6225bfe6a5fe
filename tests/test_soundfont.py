"""The SoundFont is fetched once, verified, and kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from reverie.hub import npm
from reverie.hub.soundfont import SONIVOX, soundfont
from reverie.types import ReverieError
from test_npm import fake_npm, tarball

CONTENT = b"RIFF\x10\x00\x00\x00sfbk..."
DATA = tarball(("package/dist/soundfont/sonivox.sf2", CONTENT))
TINY = npm.Package("tiny", "@scope/tiny@1.0.0", npm.integrity(DATA), len(CONTENT), "Apache-2.0")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("REVERIE_OFFLINE", raising=False)
    return tmp_path / "home"


def test_it_is_fetched_once_and_offline_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake_npm(tmp_path / "bin", monkeypatch, gives=DATA)
    assert soundfont(TINY).read_bytes() == CONTENT
    monkeypatch.setenv("REVERIE_OFFLINE", "1")
    assert soundfont(TINY).read_bytes() == CONTENT
    assert len(calls.read_text().splitlines()) == 1


def test_another_package_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    fake_npm(tmp_path / "bin", monkeypatch, gives=tarball(("package/dist/soundfont/sonivox.sf2", CONTENT + b"x")))
    with pytest.raises(ReverieError, match="SHA-512"):
        soundfont(TINY)
    assert not list(home.rglob("*.sf2"))


def test_offline_it_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVERIE_OFFLINE", "1")
    with pytest.raises(ReverieError, match="once with a network"):
        soundfont()
    assert SONIVOX.licence == "Apache-2.0"
