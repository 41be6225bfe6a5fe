"""Safetensors are read as the reference reads them, in one file or many; broken and hostile ones are refused."""

from __future__ import annotations

import io
import json
import struct
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from reverie.hub import safetensors_file
from reverie.hub.safetensors_file import SafetensorsFile, save
from reverie.types import ReverieError


def weights() -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(0)
    kinds = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    found = {f"w.{name}": torch.randn(5, 8, generator=rng).to(kind) for name, kind in kinds.items()}
    return found | {"cube": torch.randn(2, 3, 4, generator=rng), "line": torch.arange(3.0), "one": torch.tensor(7.0)}


def test_what_is_saved_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save(path, weights() | {"ids": torch.arange(4)}, {"format": "pt", "made by": "us"})
    with SafetensorsFile.open(path) as file:
        assert file.metadata == {"format": "pt", "made by": "us"}
        assert set(file.tensors) == {*weights(), "ids"}
        assert {file.tensors[f"w.{kind}"].type for kind in ("F64", "F32", "F16", "BF16")} == set(
            safetensors_file.FLOATS
        )
        for name, expected in weights().items():
            assert file.tensors[name].shape == tuple(expected.shape)
            assert torch.equal(file.read(name), expected.float())
        with pytest.raises(ReverieError, match="'ids' holds I64: Reverie computes with F64, F32"):
            file.read("ids")
        with pytest.raises(ReverieError, match="no tensor 'nope'"):
            file.read("nope")
    back = safetensors.torch.load_file(path)
    assert back["w.BF16"].dtype == torch.bfloat16
    assert all(torch.equal(back[name], tensor) for name, tensor in weights().items())


def test_some_rows_are_a_slice_of_all(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save(path, weights())
    with SafetensorsFile.open(path) as file:
        for name in ("w.F32", "w.BF16", "cube", "line"):
            for rows in (slice(0, 1), slice(1, 3), slice(1, None), slice(-1, None), slice(1, 1), slice(0, 100)):
                assert torch.equal(file.read(name, rows), file.read(name)[rows])


def test_views_and_transposes_are_saved(tmp_path: Path) -> None:
    path, base = tmp_path / "x.safetensors", torch.randn(4, 6, requires_grad=True)
    save(path, {"rows": base[1:3], "turned": base.T})
    with SafetensorsFile.open(path) as file:
        assert torch.equal(file.read("turned"), base.T)
        assert torch.equal(file.read("rows"), base[1:3])


def test_failed_save_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    save(path, {"a": torch.ones(2)})

    def fill_the_disk(tensors: dict[str, Tensor], part: Path, metadata: object) -> None:
        part.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", fill_the_disk)
    with pytest.raises(ReverieError, match=r"disk is full: 4\.0 kB are needed"):
        save(path, {"a": torch.zeros(1000)})
    with SafetensorsFile.open(path) as file:
        assert torch.equal(file.read("a"), torch.ones(2))
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.skipif(sys.platform == "win32", reason="has no limits on the size of files")
def test_what_the_library_cannot_write_is_said_in_one_sentence(tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(
            ReverieError, match=r"could not be written to .*: free 400\.0 kB there, or choose another folder"
        ):
            save(tmp_path / "model.safetensors", {"a": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


# --- folders -----------------------------------------------------------------------------------------------------


def shard(folder: Path, index: Any = None) -> Path:
    """A model in two files and an index."""
    tensors = weights()
    names = list(tensors)
    places = dict.fromkeys(names[:3], "model-1-of-2.safetensors") | dict.fromkeys(names[3:], "model-2-of-2.safetensors")
    for file in set(places.values()):
        save(folder / file, {name: tensors[name] for name in names if places[name] == file}, {"format": "pt"})
    content = {"metadata": {"total_size": 1}, "weight_map": places} if index is None else index
    (folder / safetensors_file.INDEX).write_text(json.dumps(content))
    return folder


def test_folder_with_an_index(tmp_path: Path) -> None:
    with SafetensorsFile.open(shard(tmp_path)) as file:
        assert file.metadata == {"format": "pt"}
        assert set(file.tensors) == set(weights())
        assert all(torch.equal(file.read(name), tensor.float()) for name, tensor in weights().items())


def test_folder_with_one_file(tmp_path: Path) -> None:
    with pytest.raises(ReverieError, match=r"holds no model\.safetensors"):
        SafetensorsFile.open(tmp_path)
    save(tmp_path / "other.safetensors", weights())
    assert set(SafetensorsFile.open(tmp_path).tensors) == set(weights())
    save(tmp_path / "third.safetensors", weights())
    with pytest.raises(ReverieError, match=r"holds no model\.safetensors"):
        SafetensorsFile.open(tmp_path)
    save(tmp_path / "model.safetensors", {"a": torch.ones(1)})
    assert set(SafetensorsFile.open(tmp_path).tensors) == {"a"}


@pytest.mark.parametrize("file", ["../model.safetensors", "/etc/passwd", "..\\x", "C:\\x", "a/b.safetensors", ""])
def test_index_cannot_leave_its_folder(file: str, tmp_path: Path) -> None:
    save(tmp_path / "model.safetensors", weights())
    (tmp_path / "in").mkdir()
    with pytest.raises(ReverieError, match="not a file name"):
        SafetensorsFile.open(shard(tmp_path / "in", {"weight_map": {"one": file}}))


@pytest.mark.parametrize(
    ("index", "sentence"),
    [
        ([], "not a JSON object"),
        ({}, "lacks a map"),
        ({"weight_map": []}, "lacks a map"),
        ({"weight_map": {"one": 1}}, "lacks a map"),
        ({"weight_map": {"one": "model-1-of-2.safetensors"}}, "not so"),
        ({"weight_map": {"nope": "model-2-of-2.safetensors"}}, "not so"),
        ({"weight_map": {"one": "none.safetensors"}}, "no file"),
    ],
)
def test_index_that_is_wrong(index: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ReverieError, match=sentence):
        SafetensorsFile.open(shard(tmp_path, index))


def test_shard_that_links_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    shard(tmp_path / "in")
    file = tmp_path / "in" / "model-2-of-2.safetensors"
    file.rename(tmp_path / "outside.safetensors")
    file.symlink_to(tmp_path / "outside.safetensors")
    with pytest.raises(ReverieError, match=r"leads out of .*: put the file itself there"):
        SafetensorsFile.open(tmp_path / "in")


# --- hostile files -----------------------------------------------------------------------------------------------


def packed(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def one(kind: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8), **more: Any) -> bytes:
    return packed({"a": {"dtype": kind, "shape": shape, "data_offsets": offsets} | more}, bytes(8))


def pickled() -> bytes:
    data = io.BytesIO()
    torch.save({"a": torch.ones(2)}, data)
    return data.getvalue()


def old_pickled() -> bytes:
    data = io.BytesIO()
    torch.save({"a": torch.ones(2)}, data, _use_new_zipfile_serialization=False)
    return data.getvalue()


def zipped() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("data.pkl", b"x")
    return data.getvalue()


PICKLES = {"torch": pickled(), "old torch": old_pickled(), "zip": zipped(), "bare": b"\x80\x04\x95" + bytes(20)}
A = '"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}'
HOSTILE = {
    "empty": b"",
    "short": b"\x02\0\0\0",
    "length past the end": struct.pack("<Q", 1000) + b"{}",
    "huge length": struct.pack("<Q", (1 << 64) - 1) + b"{}" * 100,
    "length 0": struct.pack("<Q", 0) + b"{}",
    "not JSON": packed(b"{abc}"),
    "list": packed([1]),
    "bad UTF-8": packed(b'{"\xff": 1}'),
    "deep": packed(b'{"a":' + b"[" * 100_000),
    "huge number": packed(b'{"a":' + b"9" * 100_000 + b"}"),
    "infinity": packed(b'{"a":{"dtype":"F32","shape":[Infinity],"data_offsets":[0,8]}}', bytes(8)),
    "name twice": packed(f"{{{A}, {A}}}".encode(), bytes(8)),
    "metadata not text": packed({"__metadata__": {"a": 1}}),
    "metadata no object": packed({"__metadata__": "a"}),
    "tensor no object": packed({"a": 1}),
    "missing field": packed({"a": {"dtype": "F32", "shape": [2]}}, bytes(8)),
    "field too many": one(more=1),
    "unknown type": one("F31"),
    "type no text": one(7),
    "negative dimension": one(shape=[-2]),
    "two negative dimensions": one(shape=[-1, -2]),
    "fraction": one(shape=[2.0]),
    "truth": one(shape=[2, True]),
    "huge dimension": one(shape=[1 << 62]),
    "overflow to 8 bytes": one(shape=[(1 << 62) + 1, 2]),
    "huge and zero": one(shape=[1 << 62, 0], offsets=[0, 0]),
    "very many dimensions": one(shape=[1] * 1000 + [2]),
    "offsets reversed": one(offsets=[8, 0]),
    "offsets negative": one(offsets=[-8, 0]),
    "offsets past the end": one(offsets=[8, 16]),
    "offsets too few": one(offsets=[8]),
    "offsets beyond": one(shape=[1 << 30], offsets=[0, 1 << 32]),
    "bytes left over": one(shape=[1], offsets=[0, 4]),
    "overlap": packed({n: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for n in "ab"}, bytes(8)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_refused_with_one_sentence(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(HOSTILE[name])
    tracemalloc.start()
    try:
        with pytest.raises(ReverieError, match=r"x\.safetensors is damaged .*fetch it again") as caught:
            SafetensorsFile.open(path)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", PICKLES)
def test_pickle_in_disguise(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(PICKLES[name])
    with pytest.raises(ReverieError, match="is a pickle, Reverie never unpickles: convert it to safetensors"):
        SafetensorsFile.open(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ReverieError, match="no file"):
        SafetensorsFile.open(tmp_path / "none.safetensors")


Shared = Callable[..., Any]
shared: Shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
VALID = safetensors.torch.save({"a": torch.ones(2, 3), "b": torch.ones(4, dtype=torch.bfloat16)}, {"k": "v"})


def read_all(data: bytes, path: Path) -> None:
    """Reads a file to the end; anything but success and `ReverieError` fails the test."""
    path.write_bytes(data)
    try:
        with SafetensorsFile.open(path) as file:
            for name, info in file.tensors.items():
                if info.type in safetensors_file.FLOATS:
                    assert file.read(name).shape == info.shape
    except ReverieError as error:
        assert "\n" not in str(error)  # noqa: PT017 - not raising is as good


@shared
@given(st.binary(max_size=100))
def test_arbitrary_bytes(tmp_path: Path, data: bytes) -> None:
    read_all(data, tmp_path / "x.safetensors")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
sizes = st.integers(-1, 5) | st.sampled_from([1 << 31, 1 << 40, 1 << 62, 1 << 63])
tensor_values = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from([*safetensors_file.ITEM_BYTES, "F31"]) | json_values,
        "shape": st.lists(sizes, max_size=4) | json_values,
        "data_offsets": st.tuples(sizes, sizes) | json_values,
    }
)


@shared
@given(
    st.dictionaries(st.sampled_from(["__metadata__", "a", "b", ""]), tensor_values | json_values), st.integers(0, 40)
)
def test_arbitrary_headers(tmp_path: Path, header: dict[str, Any], num_bytes: int) -> None:
    read_all(packed(header, bytes(num_bytes)), tmp_path / "x.safetensors")


@shared
@given(st.data())
def test_mutations_and_truncations_of_a_valid_file(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(VALID)
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(VALID) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(VALID)) | st.just(len(VALID)))
    read_all(bytes(content[:cut]), tmp_path / "x.safetensors")
