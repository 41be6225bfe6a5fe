"""The wheel: it has all it needs inside, and its command starts where nothing else is installed."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import reverie

ROOT = Path(reverie.__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    [built] = folder.glob("*.whl")
    return built


def test_it_has_the_package_data_and_the_licence(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"reverie/hub/catalogue.toml", "reverie/py.typed", "reverie/__main__.py"} <= names
    assert {"reverie/explain/senses.toml", "reverie/cli/report.html.jinja", "reverie/serve/studio/index.html"} <= names
    assert {"reverie/learn/bank/01-attention.toml", "reverie/learn/lessons/01-generative-ai.md"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith("tests/") or name.endswith(".pyc") for name in names)


def test_the_command_starts_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "empty", symlinks=True)
    [scripts] = [path for path in (tmp_path / "empty").iterdir() if path.name in {"bin", "Scripts"}]
    install = ["-m", "pip", "--python", str(scripts / "python"), "install", "--no-deps", "--no-index", str(wheel)]
    result = subprocess.run([sys.executable, *install], capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    for command in ([scripts / "reverie"], [scripts / "python", "-m", "reverie"]):
        shown = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False, timeout=60)
        assert shown.returncode == 0, shown.stderr
        assert shown.stdout == f"reverie {wheel.name.split('-')[1]}\n"
