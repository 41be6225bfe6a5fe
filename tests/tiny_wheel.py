"""A tiny model in a tiny wheel, for tests of how models are fetched."""

from __future__ import annotations

import hashlib
import io
import zipfile

from reverie.hub.catalogue import Entry

MODEL = bytes(range(256)) * 8000  # 2 MB: several of the chunks that pip writes
MEMBER = "tiny_model/Tiny.Q4_1.gguf"
TINY = Entry(
    "tiny", "pypi", "tiny-model==0.1.2", "MIT", file=MEMBER, size_bytes=len(MODEL), parameters=7,
    sha256=hashlib.sha256(MODEL).hexdigest(),
)  # fmt: skip
WHEEL = "tiny_model-0.1.2-py3-none-any.whl"


def wheel(*members: tuple[str | zipfile.ZipInfo, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A wheel that pip accepts, with these members."""
    data, info = io.BytesIO(), "tiny_model-0.1.2.dist-info"
    with zipfile.ZipFile(data, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 0.1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return data.getvalue()


GOOD = wheel((MEMBER, MODEL), ("tiny_model/__init__.py", b"raise SystemExit('a wheel was run')"))
