"""Models on the Hugging Face hub: safetensors and the small text files around them, never anything that is unpickled.

The list of files, their sizes and hashes come from the hub's interface for one commit; each file is fetched by
`huggingface_hub` and verified here. A pull that was killed is taken up at the file it had reached.
"""

from __future__ import annotations

import fnmatch
import hashlib
import logging
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reverie.hub import files, paths
from reverie.hub.catalogue import Entry
from reverie.hub.files import Progress
from reverie.hub.safetensors_file import read_header
from reverie.hub.watch import watching
from reverie.types import ReverieError

SUMS = "SHA256SUMS"  # written beside the files, in the format of sha256sum; that it is there says all of them are
WEIGHTS = "*.safetensors"
TEXTS = ("*.json", "*.jinja", "*.model", "merges.txt", "LICENSE*", "README.md")
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository, as the hub lists it.

    sha256: None for small files, which the hub does not hash so. blob: git's SHA-1 of those; None if not known.
    """

    name: str
    size_bytes: int
    sha256: str | None
    blob: str | None


def download(entry: Entry, staging: Path, progress: Progress | None) -> Path:
    """Fetches the entry's repository to a folder under `staging`, verifies it and gives the folder."""
    from huggingface_hub import hf_hub_download  # noqa: PLC0415 - slow to import, and only this needs it
    from huggingface_hub.utils.tqdm import disable_progress_bars  # noqa: PLC0415

    folder = paths.inside(staging, "fetched")
    folder.mkdir(exist_ok=True)
    for part in folder.rglob("*.incomplete"):  # of a process that was killed; huggingface_hub never takes them up
        part.unlink()
    disable_progress_bars()  # the caller shows its own
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # and says what went wrong
    with explained(entry):
        commit, wanted = _list_files(entry)
        for file in wanted:
            paths.inside(folder, file.name)  # refuses names before anything is fetched under them
        total = sum(file.size_bytes for file in wanted)
        files.need_space(folder, total - files.folder_bytes(folder))
        with watching(folder, total, progress), files.explained(folder, total):
            for file in wanted:
                hf_hub_download(entry.where, file.name, revision=commit, local_dir=folder)
    try:
        return _finish(folder, paths.inside(staging, "model"), wanted)
    except ReverieError:
        shutil.rmtree(folder, ignore_errors=True)  # there is nothing here worth going on from
        raise


def _list_files(entry: Entry) -> tuple[str, list[RemoteFile]]:
    """The commit that the entry's revision stands for now, and the files of it that make up the model."""
    from huggingface_hub import HfApi  # noqa: PLC0415

    try:
        info = HfApi().model_info(entry.where, revision=entry.revision, files_metadata=True)
        found = {sibling.rfilename: sibling for sibling in (() if info.siblings is None else info.siblings)}
        wanted = [_remote_file(found[name]) for name in choose(list(found))]
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise ReverieError(
            f"What Hugging Face says of {entry.where} cannot be understood: pull again later."
        ) from error
    if not any(fnmatch.fnmatch(file.name, WEIGHTS) for file in wanted):
        raise ReverieError(f"{entry.where} has no safetensors, and Reverie never unpickles: choose another repository.")
    return str(info.sha), wanted


def _remote_file(sibling: Any) -> RemoteFile:
    """A file whose size is known and, if it holds weights, its SHA-256; others are a `ReverieError`."""
    name, size, shown = sibling.rfilename, sibling.size, repr(sibling.rfilename[:140])
    if type(size) is not int or size < 0:
        raise ReverieError(f"Hugging Face does not say how large {shown} is: pull again later.")
    if sibling.lfs is not None:
        if not _SHA256.fullmatch(sibling.lfs.sha256):
            raise ReverieError(f"The SHA-256 that Hugging Face gives for {shown} is none: pull again later.")
        return RemoteFile(name, size, sibling.lfs.sha256, None)  # git's blob would be that of a pointer to the file
    if fnmatch.fnmatch(name, WEIGHTS):
        raise ReverieError(f"Hugging Face gives no SHA-256 for {shown}: choose another repository.")
    return RemoteFile(name, size, None, sibling.blob_id)


def choose(found: Sequence[str]) -> list[str]:
    """The names to fetch. Folders are left out (other formats lie there), and weights that stand there twice."""
    top = [name for name in found if "/" not in name]
    weights = [name for name in top if fnmatch.fnmatch(name, WEIGHTS)]
    named = [name for name in weights if name.startswith("model")]
    texts = [name for name in top if any(fnmatch.fnmatch(name, pattern) for pattern in TEXTS)]
    return (named if named else weights) + texts


def _finish(fetched: Path, folder: Path, wanted: Sequence[RemoteFile]) -> Path:
    """Verifies every file, moves them to `folder` and writes down their hashes there."""
    digests = {file.name: _verified(paths.inside(fetched, file.name), file) for file in wanted}
    folder.mkdir(exist_ok=True)
    for name in digests:
        paths.inside(fetched, name).replace(paths.inside(folder, name))
    files.write(paths.inside(folder, SUMS), "".join(f"{digest}  {name}\n" for name, digest in digests.items()))
    return folder


def _verified(path: Path, file: RemoteFile) -> str:
    """The SHA-256 of a fetched file, which must have the size and the hash that the hub lists."""
    if path.stat().st_size != file.size_bytes:
        raise ReverieError(f"{file.name} does not have the {file.size_bytes} bytes that its page says: pull again.")
    digest = files.sha256(path)
    if file.sha256 is not None and digest != file.sha256:
        raise ReverieError(f"{file.name} does not have the SHA-256 that its page says: pull again.")
    if file.blob is not None and _git_blob(path) != file.blob:
        raise ReverieError(f"{file.name} does not have the hash that its page says: pull again.")
    if fnmatch.fnmatch(file.name, WEIGHTS):
        read_header(path)
    files.sync(path)
    return digest


def _git_blob(path: Path) -> str:
    """The name git gives to a small file's content."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0%b" % (len(data), data), usedforsecurity=False).hexdigest()


def check_sums(folder: Path) -> bool:
    """Whether every file in a folder still has the hash that was written down when it was fetched.

    False, too, if a file cannot be read, or what was written down is no list of hashes.
    """
    try:
        lines = paths.inside(folder, SUMS).read_text(encoding="utf-8").splitlines()
        digests = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
        same = [files.sha256(paths.inside(folder, name)) == digest for name, digest in digests.items()]
    except (OSError, ValueError, ReverieError):
        return False
    return same != [] and all(same)


@contextmanager
def explained(entry: Entry) -> Iterator[None]:
    """Turns what huggingface_hub raises into one sentence that says what to do."""
    from huggingface_hub import errors  # noqa: PLC0415

    # HTTPError is of the library beneath, whose name has changed before.
    known = (errors.HTTPError, errors.FileMetadataError, OSError)  # type: ignore[attr-defined]
    try:
        yield
    except known as error:
        raise ReverieError(_why(error, entry)) from error


def _why(error: Exception, entry: Entry) -> str:
    from huggingface_hub import errors  # noqa: PLC0415

    page = f"https://huggingface.co/{entry.where}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError):
        return f"{entry.where} is gated: accept its licence at {page}, run `hf auth login`, then pull again."
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{entry.where} has no revision {entry.revision!r}: check {page}."
    if isinstance(error, errors.RepositoryNotFoundError) or status in (401, 403, 404):
        return f"{entry.where} is not on Hugging Face, or private: check the name, or run `hf auth login`."
    if status is not None:
        return f"Hugging Face answered with error {status} for {entry.where}: pull again later."
    return f"Hugging Face could not be reached for {entry.where}: check the network, then pull again."
