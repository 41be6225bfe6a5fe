"""The map in CONTRIBUTING.md is true: no import points up, and a few words occur only where they belong."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

import reverie

Node = TypeVar("Node", bound=ast.AST)

ROOT = Path(reverie.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# Bottom first. Parts on one level never import each other.
LEVELS: list[set[str]] = [
    {"types"},
    {"config"},
    {"media"},
    {"layers", "moving", "notation"},
    {"lm", "diffusion", "data"},
    {"modalities"},
    {"hub"},
    {"engine", "database"},
    {"records"},
    {"tasks", "drawing", "composing", "animating", "train", "explain", "evaluate"},
    {"learn"},
    {"serve"},
    {"cli"},
]
LEVEL = {part: level for level, parts in enumerate(LEVELS) for part in parts}
DOORS = {"__init__", "__main__"}  # the package itself opens onto everything; nothing but these may import from it
SUBCLASSES = {("modalities.video", "modalities.image")}


def module(file: Path) -> str:
    """src/reverie/lm/model.py -> "lm.model"; the package itself -> "__init__"."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imports(tree: ast.AST, package: str) -> Iterator[str]:
    """What a file imports from Reverie, without "reverie."; under TYPE_CHECKING and inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = ["reverie", *package.split(".")] if package else ["reverie"]
            base = above[: len(above) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{source}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("reverie."):
                yield name.removeprefix("reverie.")


def wrong(importer: str, imported: str) -> str | None:
    """Why `importer` must not import `imported`, or None if it may."""
    own, other = importer.split(".", maxsplit=1)[0], imported.split(".", maxsplit=1)[0]
    if own in DOORS:
        return None
    for part in (own, other):
        if part not in LEVEL:
            return f"{part} has no level"
    if LEVEL[own] < LEVEL[other]:
        return "points up"
    if LEVEL[own] == LEVEL[other] and own != other:
        return "siblings never import each other"
    media = own == other == "modalities" and len(imported.split(".")) > 1 and len(importer.split(".")) > 1
    target = ".".join(imported.split(".")[:2])
    is_module = (ROOT / "modalities" / f"{target.split('.')[-1]}.py").exists()
    if media and is_module and target != importer and (importer, target) not in SUBCLASSES:
        return "one medium never imports another"
    return None


@pytest.mark.parametrize("file", FILES, ids=module)
def test_no_import_points_up(file: Path) -> None:
    name = module(file)
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    arrows = {imported: wrong(name, imported) for imported in imports(ast.parse(file.read_text()), package)}
    assert not {imported: why for imported, why in arrows.items() if why is not None}


@pytest.mark.parametrize(
    ("importer", "imported", "why"),
    [
        ("lm.model", "layers.Block", None),
        ("lm.model", "lm.cache.Cache", None),
        ("cli.text", "engine", None),
        ("tasks", "engine.Model", None),
        ("config", "types.ReverieError", None),
        ("__init__", "engine", None),
        ("modalities.video", "modalities.image.Image", None),
        ("types", "config.Config", "points up"),
        ("lm.model", "hub.gguf_file", "points up"),
        ("engine", "cli.app", "points up"),
        ("lm.model", "diffusion.model", "siblings never import each other"),
        ("tasks", "explain.tokens", "siblings never import each other"),
        ("modalities.image", "modalities.text.Text", "one medium never imports another"),
        ("lm.model", "novelty.thing", "novelty has no level"),
    ],
)
def test_the_rule_itself(importer: str, imported: str, why: str | None) -> None:
    assert wrong(importer, imported) == why


def test_all_ways_to_import_are_seen() -> None:
    source = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from reverie.a import A
def f():
    import reverie.b
from reverie import c
from . import d
from ..e import E
import torch
"""
    found = set(imports(ast.parse(source), "lm"))
    assert found == {"a.A", "b", "c", "lm.d", "e.E"}


def nodes(kind: type[Node]) -> Iterator[tuple[str, Node]]:
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, kind):
                yield module(file), node


def mentions(node: ast.AST, names: set[str]) -> bool:
    return any(
        (isinstance(n, ast.Name) and n.id in names) or (isinstance(n, ast.Attribute) and n.attr in names)
        for n in ast.walk(node)
    )


def test_media_are_told_apart_only_in_their_own_files() -> None:
    comparing = set()
    for name, node in nodes(ast.Compare):
        sides = (node.left, *node.comparators)
        texts = any(isinstance(side, ast.Constant) and isinstance(side.value, str) for side in sides)
        if texts and any(mentions(side, {"modality", "medium"}) for side in sides):
            comparing.add(name)
    assert {name for name in comparing if not name.startswith("modalities")} == set()


def test_only_the_command_line_prints() -> None:
    printing = {name for name, node in nodes(ast.Call) if called(node) == "print"}
    assert {name for name in printing if name.split(".")[0] != "cli"} == set()


def called(call: ast.Call) -> str:
    return ast.unparse(call.func)


def test_nothing_is_ever_unpickled() -> None:
    unsafe = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    whole = {(name, alias.name) for name, node in nodes(ast.Import) for alias in node.names}
    partly = {(name, node.module) for name, node in nodes(ast.ImportFrom) if node.module is not None}
    calls = {(name, called(node)) for name, node in nodes(ast.Call)}
    keywords = {(name, node.arg) for name, node in nodes(ast.keyword)}
    assert {(name, source) for name, source in whole | partly if source.split(".")[0] in unsafe} == set()
    assert {(name, call) for name, call in calls if call in {"torch.load", "np.load", "numpy.load"}} == set()
    assert {(name, keyword) for name, keyword in keywords if keyword == "allow_pickle"} == set()


QUICK = [["--help"], ["write", "--help"], ["animate", "--help"], ["models", "list"], ["--version"]]


@pytest.mark.parametrize("arguments", QUICK, ids=" ".join)
def test_quick_commands_import_nothing_heavy(arguments: list[str]) -> None:
    script = f"""
import sys
sys.argv = ["reverie", *{arguments!r}]
from reverie.cli import main
try:
    main()
except SystemExit as ended:
    assert not ended.code
heavy = {{"torch", "transformers", "numpy", "jinja2", "rich", "prompt_toolkit", "av", "PIL"}} & set(sys.modules)
sys.exit(f"imported {{heavy}}" if heavy else 0)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr


def test_importing_the_package_imports_no_torch() -> None:
    script = "import sys, reverie; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0
