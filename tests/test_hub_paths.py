"""Names become paths in one place, and only such as lie inside."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import reverie
from reverie.hub import paths
from reverie.types import ReverieError

SOURCE = Path(reverie.__file__).parent
CLIMBS = [
    "",
    ".",
    "..",
    "...",
    "../x",
    "a/../../b",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "..\\..\\x",
    "a..b",
    "\u2025",
    "％2e",
]
WINDOWS = [
    "C:",
    "C:x",
    "C:\\x",
    "\\\\server\\share",
    "//server/share",
    "x:stream",
    "nul",
    "NUL.txt",
    "con",
    "Com1.gguf",
]
ENDINGS = ["lpt9", "aux.", "name.", "name ", " name", ".hidden", "-rf", "a" * 129, "x\u202egpj.exe"]
SIGNS = ["a\0b", "a\nb", "~", "~root", "$HOME", "%TEMP%", "ä", "*", "?", "<", "|", '"', "sha256:" + "0" * 64]


@pytest.mark.parametrize("name", CLIMBS + WINDOWS + ENDINGS + SIGNS)
def test_bad_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ReverieError, match="not a file name"):
        paths.inside(tmp_path, name)
    with pytest.raises(ReverieError, match="not a file name"):
        paths.inside(tmp_path, "models", name, "model.gguf")


@pytest.mark.parametrize("name", ["smollm2", "smollm2-1.7b", "SmolLM2-135M-Instruct.Q4_1.gguf", "model-00001-of-00002"])
def test_good_name_is_a_child(name: str, tmp_path: Path) -> None:
    assert paths.inside(tmp_path, "models", name) == tmp_path.resolve() / "models" / name


pieces = st.text() | st.lists(st.sampled_from([*"./\\:a0-_~\0 ", "..", "nul", "C:", "model"])).map("".join)


@given(st.lists(pieces, min_size=1, max_size=4))
@example(["..", "x"])
@example(["a", "..", "..", "x"])
def test_whatever_the_names_the_path_lies_inside(names: list[str]) -> None:
    root = Path("/nowhere/reverie")
    try:
        path = paths.inside(root, *names)
    except ReverieError:
        return
    assert path.relative_to(root.resolve()).parts == tuple(names)
    for windows in (PureWindowsPath(name) for name in names):
        assert not windows.drive
        assert not windows.root
        assert len(windows.parts) == 1
        assert windows.stem.split(".")[0].upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT1"}


def test_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)
    (root / "loop").symlink_to(root / "loop")
    (root / "alias").symlink_to(root / "real")
    with pytest.raises(ReverieError, match="leads out"):
        paths.inside(root, "link", "file")
    with pytest.raises(ReverieError):
        paths.inside(root, "loop", "file")
    assert paths.inside(root, "alias") == (root / "real").resolve()


def test_home_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "here"))
    assert paths.home() == tmp_path / "here"
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize(
    ("platform", "variable", "default"),
    [
        ("linux", "XDG_CACHE_HOME", ".cache"),
        ("darwin", None, "Library/Caches"),
        ("win32", "LOCALAPPDATA", "AppData/Local"),
    ],
)
def test_home_of_each_platform(
    platform: str, variable: str | None, default: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("REVERIE_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", platform)
    assert paths.home() == tmp_path / default / "reverie"
    if variable is not None:
        monkeypatch.setenv(variable, "relative/is/ignored")
        assert paths.home() == tmp_path / default / "reverie"
        monkeypatch.setenv(variable, str(tmp_path / "chosen"))
        assert paths.home() == tmp_path / "chosen" / "reverie"


def test_repository_names_become_folders_and_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path))
    assert paths.model_path("hf:openai/gpt-2.5") == tmp_path.resolve() / "models" / "hf--openai--gpt-2.5"
    assert paths.model_name("hf--openai--gpt-2.5") == "hf:openai/gpt-2.5"
    assert paths.model_name("smollm2-1.7b") == "smollm2-1.7b"
    for bad in ("hf:../x", "hf:a/../b", "hf:/x", "../x", "a/b", "hf:a--b/c"):
        with pytest.raises(ReverieError):
            paths.model_path(bad)


ROOTS = {"home", "inside", "model_path"}


def joins_of_our_folders(tree: ast.Module) -> Iterator[int]:
    """Lines that join names to a path which came from paths.py, other than by `inside`."""
    ours: set[str] = set()

    def touches(node: ast.AST) -> bool:
        names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        calls = {ast.unparse(n.func).rpartition(".")[2] for n in ast.walk(node) if isinstance(n, ast.Call)}
        return bool(names & ours or calls & ROOTS)

    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and touches(node.value):
            targets = [name for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)]
            ours |= {target.id for target in targets}
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and touches(node.left):
            yield node.lineno
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            function = node.func
            joins = function.attr in {"joinpath", "with_name"} and touches(function.value)
            if joins or ast.unparse(function) in {"os.path.join", "path.join"}:
                yield node.lineno


def test_only_paths_joins_names_to_our_folders() -> None:
    files = [path for path in SOURCE.rglob("*.py") if path != SOURCE / "hub" / "paths.py"]
    assert any(path.name == "sources.py" for path in files)
    found = [f"{path}:{line}" for path in files for line in joins_of_our_folders(ast.parse(path.read_text()))]
    assert not found, "use hub.paths.inside"


@pytest.mark.parametrize(
    "code",
    [
        "home() / name",
        "paths.home().joinpath(name)",
        "x = paths.model_path(n)\ny = x / n",
        "os.path.join(a, b)",
        "a, b = inside(r, 'x'), 1\nprint(a / 'y')",
    ],
)
def test_the_lint_sees_joins(code: str) -> None:
    assert list(joins_of_our_folders(ast.parse(code)))
