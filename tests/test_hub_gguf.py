"""GGUF files are read as the reference reads them; broken and hostile ones are refused at no cost."""

from __future__ import annotations

import functools
import random
import struct
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reverie.hub import gguf_file
from reverie.hub.gguf_file import SUPPORTED, GGUFFile
from reverie.types import ReverieError

RNG = np.random.default_rng(0)


def stored(kind: str, rows: int, columns: int) -> np.ndarray[Any, Any]:
    """Rows in the format `kind`, of bytes where the reference cannot quantise."""
    numbers = RNG.standard_normal((rows, columns)).astype(np.float32)
    if kind.endswith("_K"):
        block, block_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
        blocks = RNG.integers(0, 256, (rows, columns // block, block_bytes), dtype=np.uint8)
        blocks[..., 1::2] &= 0x3F  # no scale is infinite or not a number
        return blocks.reshape(rows, -1)
    data: np.ndarray[Any, Any] = gguf.quantize(numbers, gguf.GGMLQuantizationType[kind])
    return data


def write(path: Path, kinds: tuple[str, ...] = SUPPORTED, alignment: int | None = None) -> Path:
    """A small file with a tensor of each kind and metadata of each type."""
    writer = gguf.GGUFWriter(path, "llama")
    if alignment is not None:
        writer.add_custom_alignment(alignment)
    writer.add_string("text", "ein Hündchen 🐶")
    writer.add_bool("yes", True)
    for name in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"):
        getattr(writer, f"add_{name}")(name, 7)
    writer.add_array("tokens", ["a", "", "ü", "bc" * 40])
    writer.add_array("scores", [0.5, -1.0])
    writer.add_array("types", [1, -2, 3])
    writer.add_array("flags", [True, False])
    for kind in kinds:
        writer.add_tensor(f"t.{kind}", stored(kind, 6, 512), raw_dtype=gguf.GGMLQuantizationType[kind])
    writer.add_tensor("cube", RNG.standard_normal((2, 3, 4)).astype(np.float32))
    writer.add_tensor("line", RNG.standard_normal(5).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def check_equal(path: Path) -> None:
    """Ours says what the reference reader says."""
    reference = gguf.GGUFReader(path)
    with GGUFFile.open(path) as ours:
        fields = {key: field for key, field in reference.fields.items() if not key.startswith("GGUF.")}
        assert list(ours.metadata) == list(fields)
        for key, field in fields.items():
            value = ours.metadata[key]
            assert (value.tolist() if isinstance(value, np.ndarray) else value) == field.contents(), key
        assert list(ours.tensors) == [tensor.name for tensor in reference.tensors]
        for tensor in reference.tensors:
            info = ours.tensors[tensor.name]
            assert (info.shape, info.type) == (tuple(tensor.shape.tolist()[::-1]), tensor.tensor_type.name)
            assert (info.offset, info.nbytes) == (tensor.data_offset, tensor.n_bytes)
            expected = gguf.dequantize(tensor.data, tensor.tensor_type)
            assert ours.read(tensor.name).numpy().tobytes() == expected.tobytes(), tensor.name


def test_the_default_model_is_read_as_the_reference_reads_it(smollm2_path: Path) -> None:
    check_equal(smollm2_path)


def test_header_of_the_default_model_is_read_fast(smollm2_path: Path) -> None:
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        with GGUFFile.open(smollm2_path) as file:
            seconds.append(time.perf_counter() - start)
            assert len(file.metadata["tokenizer.ggml.tokens"]) == 49_152
    assert min(seconds) < 0.25  # 0.04 on an idle machine; the reference takes 2.4


@pytest.mark.parametrize("alignment", [None, 64, 1024])
def test_every_type_is_read_as_the_reference_reads_it(alignment: int | None, tmp_path: Path) -> None:
    check_equal(write(tmp_path / "x.gguf", alignment=alignment))


def test_version_2_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "x.gguf")
    data = bytearray(path.read_bytes())
    data[4] = 2
    path.write_bytes(data)
    check_equal(path)


@pytest.mark.parametrize("kind", SUPPORTED)
def test_some_rows_are_a_slice_of_all(kind: str, tmp_path: Path) -> None:
    with GGUFFile.open(write(tmp_path / "x.gguf", (kind,))) as file:
        whole = file.read(f"t.{kind}")
        assert whole.shape == (6, 512)
        assert whole.dtype == torch.float32
        for rows in (slice(0, 1), slice(2, 5), slice(4, None), slice(-2, None), slice(3, 3), slice(0, 100)):
            assert torch.equal(file.read(f"t.{kind}", rows), whole[rows])
            assert np.array_equal(file.raw(f"t.{kind}", rows), file.raw(f"t.{kind}")[rows])
        assert file.raw("line").shape == (1, 20)
        assert torch.equal(file.read("cube", slice(1, 2)), file.read("cube")[1:2])
        assert torch.equal(file.read("line", slice(1, 4)), file.read("line")[1:4])


@pytest.mark.parametrize("chunk", [4 * 256, 4 * 1000, 1 << 19])
def test_chunks_do_not_show(chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_file, "CHUNK_BYTES", chunk)
    check_equal(write(tmp_path / "x.gguf"))


def test_threads_read_the_same(tmp_path: Path) -> None:
    with GGUFFile.open(write(tmp_path / "x.gguf")) as file, ThreadPoolExecutor(4) as pool:
        expected = {name: file.read(name) for name in file.tensors}
        for name, tensor in pool.map(lambda name: (name, file.read(name)), list(file.tensors) * 20):
            assert torch.equal(tensor, expected[name])


def test_unknown_tensor(tmp_path: Path) -> None:
    with GGUFFile.open(write(tmp_path / "x.gguf")) as file, pytest.raises(ReverieError, match="has no tensor 'nope'"):
        file.read("nope")


def test_file_that_shrinks_while_open_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "x.gguf")
    with GGUFFile.open(path) as file:
        with path.open("r+b") as other:
            other.truncate(2000)
        with pytest.raises(ReverieError, match="shorter"):
            file.read("t.F32")


# --- hostile files -----------------------------------------------------------------------------------------------


def u32(number: int) -> bytes:
    return struct.pack("<I", number)


def u64(number: int) -> bytes:
    return struct.pack("<Q", number)


def text(value: str | bytes) -> bytes:
    data = value if isinstance(value, bytes) else value.encode()
    return u64(len(data)) + data


def header(*, pairs: tuple[bytes, ...] = (), tensors: tuple[bytes, ...] = (), data: int = 4096) -> bytes:
    """A file of these pieces, with some zeros for data."""
    return b"GGUF" + u32(3) + u64(len(tensors)) + u64(len(pairs)) + b"".join(pairs + tensors) + bytes(data)


def tensor(name: str = "w", dims: tuple[int, ...] = (32, 2), kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + u32(len(dims)) + b"".join(map(u64, dims)) + u32(kind) + u64(offset)


ALIGN = text("general.alignment") + u32(4)
FULL = (1 << 64) - 1
HOSTILE = {
    "empty": b"",
    "one byte": b"G",
    "other magic": b"GGML" + bytes(100),
    "only magic": b"GGUF",
    "pickle": b"\x80\x04\x95" + bytes(100),
    "zip": b"PK\x03\x04" + bytes(100),
    "version 0": b"GGUF" + u32(0) + bytes(100),
    "version 1": b"GGUF" + u32(1) + bytes(100),
    "version 4": b"GGUF" + u32(4) + bytes(100),
    "big-endian": b"GGUF" + struct.pack(">I", 3) + bytes(100),
    "many tensors": b"GGUF" + u32(3) + u64(FULL) + u64(0) + bytes(4096),
    "many pairs": b"GGUF" + u32(3) + u64(0) + u64(1 << 40) + bytes(4096),
    "as many pairs as fit": b"GGUF" + u32(3) + u64(0) + u64(4096 // 13) + bytes(4096),
    "long key": header(pairs=(u64(FULL) + b"x",)),
    "key past the end": header(pairs=(u64(5000) + b"x",)),
    "long string": header(pairs=(text("k") + u32(8) + u64(1 << 62),)),
    "bad UTF-8 key": header(pairs=(text(b"\xff\xfe") + u32(0) + b"\0",)),
    "bad UTF-8 string": header(pairs=(text("k") + u32(8) + text(b"\xc3\x28"),)),
    "bad UTF-8 in a list": header(pairs=(text("k") + u32(9) + u32(8) + u64(1) + text(b"\xff"),)),
    "unknown type": header(pairs=(text("k") + u32(99) + bytes(8),)),
    "unknown type in a list": header(pairs=(text("k") + u32(9) + u32(13) + u64(1) + bytes(8),)),
    "huge list": header(pairs=(text("k") + u32(9) + u32(10) + u64(FULL),)),
    "huge list of strings": header(pairs=(text("k") + u32(9) + u32(8) + u64(1 << 40),)),
    "list longer than it is": header(pairs=(text("k") + u32(9) + u32(8) + u64(600) + text("x" * 1000) * 2,)),
    "deep lists": header(pairs=(text("k") + (u32(9) + u64(1)) * 10_000,)),
    "list of lists": header(pairs=(text("k") + u32(9) + u32(9) + u64(1) + u32(9) + u64(0),)),
    "key twice": header(pairs=(text("k") + u32(0) + b"\0",) * 2),
    "tensor twice": header(tensors=(tensor(), tensor(offset=1024))),
    "no dimension": header(tensors=(tensor(dims=()),)),
    "5 dimensions": header(tensors=(tensor(dims=(1, 1, 1, 1, 1)),)),
    "4 billion dimensions": header(tensors=(text("w") + u32(0xFFFFFFFF) + bytes(64),)),
    "zero dimension": header(tensors=(tensor(dims=(32, 0)),)),
    "product that overflows 64 bits": header(tensors=(tensor(dims=(1 << 32, 1 << 32)),)),
    "product that overflows to little": header(tensors=(tensor(dims=((1 << 62) + 8, 4)),)),
    "huge dimension": header(tensors=(tensor(dims=(FULL, 1)),)),
    "unknown number type": header(tensors=(tensor(kind=9999),)),
    "past the end": header(tensors=(tensor(offset=4096),)),
    "offset that overflows": header(tensors=(tensor(offset=FULL - 31),)),
    "misaligned": header(tensors=(tensor(offset=8),)),
    "overlap": header(tensors=(tensor("a"), tensor("b", offset=32))),
    "same place": header(tensors=(tensor("a"), tensor("b"))),
    "ragged block": header(tensors=(tensor(dims=(33, 2), kind=3),)),
    "ragged K block": header(tensors=(tensor(dims=(128, 4), kind=14),)),
    "alignment 0": header(pairs=(ALIGN + u32(0),)),
    "alignment 48": header(pairs=(ALIGN + u32(48),)),
    "alignment of text": header(pairs=(text("general.alignment") + u32(8) + text("32"),)),
    "alignment beyond the file": header(pairs=(ALIGN + u32(1 << 31),), tensors=(tensor(),)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_refused_with_one_sentence(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(HOSTILE[name])
    tracemalloc.start()
    try:
        with pytest.raises(ReverieError) as caught:
            GGUFFile.open(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert peak < 500_000


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("pickle", "never unpickles: convert it to safetensors"),
        ("zip", "never unpickles: convert it to safetensors"),
        ("big-endian", "of a big-endian machine"),
        ("version 1", "of version 1: Reverie reads little-endian versions 2 and 3"),
        ("unknown number type", "of an unknown type; Reverie reads F32, F16, BF16, Q4_0"),
        ("past the end", "damaged .*misplaced or cut off.*fetch it again"),
    ],
)
def test_sentence_says_what_is_wrong(name: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(ReverieError, match=sentence):
        GGUFFile.open(path)


@pytest.mark.parametrize("kind", ["Q2_K", "IQ4_XS", "I32", "F64", "TQ1_0"])
def test_other_types_are_named(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(header(tensors=(tensor(dims=(256, 2), kind=gguf.GGMLQuantizationType[kind].value),)))
    with pytest.raises(ReverieError, match=f"is {kind}; Reverie reads F32"):
        GGUFFile.open(path)


def test_no_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.gguf", tmp_path, Path("a\0b")):
        with pytest.raises(ReverieError):
            GGUFFile.open(path)


def test_memory_is_bounded_by_the_size(tmp_path: Path) -> None:
    """The costliest honest content: very many, very short strings."""
    path = tmp_path / "x.gguf"
    path.write_bytes(header(pairs=(text("k") + u32(9) + u32(8) + u64(200_000) + text("äb") * 200_000,)))
    tracemalloc.start()
    try:
        with GGUFFile.open(path) as file:
            assert len(file.metadata["k"]) == 200_000
        assert tracemalloc.get_traced_memory()[1] < 12 * path.stat().st_size
    finally:
        tracemalloc.stop()


SPARSE = """
import resource, sys
from pathlib import Path
from reverie.hub.gguf_file import GGUFFile
from reverie.types import ReverieError
before = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (before + (160 << 20),) * 2)
try:
    GGUFFile.open(Path(sys.argv[1]))
except ReverieError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_AS")
@pytest.mark.parametrize(
    "start",
    [
        b"GGUF" + u32(3) + u64(1 << 28) + u64(0),
        b"GGUF" + u32(3) + u64(0) + u64(1 << 28),
        b"GGUF" + u32(3) + u64(0) + u64(1) + text("k") + u32(8) + u64(1 << 33),
        b"GGUF" + u32(3) + u64(0) + u64(1) + text("k") + u32(9) + u32(0) + u64(1 << 33),
    ],
    ids=["tensors", "pairs", "string", "list"],
)
def test_large_file_buys_no_memory(start: bytes, tmp_path: Path) -> None:
    """Counts that a file of 16 GB could hold, in a file of 16 GB that takes no room on the disk."""
    path = tmp_path / "x.gguf"
    with path.open("wb") as file:
        file.write(start)
        file.truncate(1 << 34)
    done = subprocess.run([sys.executable, "-c", SPARSE, str(path)], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert "x.gguf is damaged" in done.stdout


@functools.cache
def valid() -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return write(Path(folder) / "x.gguf", ("F32", "Q4_1", "Q6_K")).read_bytes()


def read_all(data: bytes, path: Path) -> None:
    """Reads a file to the end; anything but success and `ReverieError` fails the test."""
    path.write_bytes(data)
    try:
        with GGUFFile.open(path) as file:
            for name, info in file.tensors.items():
                assert file.read(name).shape == info.shape
    except ReverieError as error:
        assert "\n" not in str(error)  # noqa: PT017 - not raising is as good


Shared = Callable[..., Any]
shared: Shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)


@shared
@given(st.binary(max_size=200), st.booleans())
def test_arbitrary_bytes(tmp_path: Path, data: bytes, with_magic: bool) -> None:
    read_all(b"GGUF" + u32(3) + data if with_magic else data, tmp_path / "x.gguf")


numbers = st.sampled_from([0, 1, 2, 8, 9, 31, 255, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 62, 1 << 63, FULL])


@shared
@given(st.data())
def test_mutations_of_a_valid_file(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(valid())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 1500))  # where the header is
        width = data.draw(st.sampled_from([1, 4, 8]))
        content[at : at + width] = (data.draw(numbers) & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    read_all(bytes(content), tmp_path / "x.gguf")


@shared
@given(st.integers(0, len(valid())), st.integers(0, 40))
@example(0, 0)
def test_truncations_and_gaps(tmp_path: Path, cut: int, gap: int) -> None:
    read_all(valid()[:cut], tmp_path / "x.gguf")
    read_all(valid()[:cut] + valid()[cut + gap :], tmp_path / "x.gguf")


def test_every_truncation_of_the_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    for cut in random.Random(0).sample(range(len(valid()) - 64), 200):
        path.write_bytes(valid()[:cut])
        with pytest.raises(ReverieError):
            GGUFFile.open(path)
