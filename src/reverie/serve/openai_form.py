"""Forms of OpenAI's clients: multipart/form-data with files, each field once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from reverie.serve.openai_map import Wrong

MOST_FIELDS = 30


async def read_form(
    http: Request, others: Mapping[str, str], wanted: str, most_files: int = 2
) -> tuple[dict[str, str], dict[str, bytes]]:
    """The fields and the files of a form. others: name of a file -> what else it is called; wanted: what to send."""
    fields: dict[str, str] = {}
    files: dict[str, bytes] = {}
    try:
        async with http.form(max_files=most_files, max_fields=MOST_FIELDS) as form:
            for name, value in form.multi_items():
                if isinstance(value, UploadFile):
                    _take(files, others.get(name, name), await value.read())
                else:
                    _take(fields, name, value)
    except HTTPException as error:
        raise Wrong(f"The form cannot be read ({error.detail}): send multipart/form-data with {wanted}.") from error
    return fields, files


def _take(found: dict[str, Any], name: str, value: Any) -> None:
    if name in found:
        raise Wrong(f"The form has {name[:40]!r} twice: one is enough.", name[:40])
    found[name] = value


def schema(fields: Mapping[str, Any], files: tuple[str, ...], required: tuple[str, ...]) -> dict[str, Any]:
    """What such a form holds, for the OpenAPI document."""
    plain = {name: {"type": "string"} for name in fields}
    given = {name: {"type": "string", "format": "binary"} for name in files}
    return {"type": "object", "required": list(required), "properties": {**plain, **given}}
