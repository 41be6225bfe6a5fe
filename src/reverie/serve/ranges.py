"""A file as a reply, or a range of its bytes: players of sounds and films ask for those (RFC 9110, section 14)."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Header, Response

RANGE = re.compile(r"bytes=([0-9]{1,12})-([0-9]{1,12})?")

Wanted = Annotated[str | None, Header(alias="Range", max_length=100)]


def ranged(data: bytes, media_type: str, headers: dict[str, str], wanted: str | None) -> Response:
    """All of it, or what the header `Range` asks for; a header of another form is as none."""
    headers = {**headers, "Accept-Ranges": "bytes"}
    found = None if wanted is None else RANGE.fullmatch(wanted)
    if found is None:
        return Response(data, media_type=media_type, headers=headers)
    start, end = int(found[1]), min(int(found[2] or len(data)), len(data) - 1)
    if start > end:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
    return Response(data[start : end + 1], 206, media_type=media_type, headers=headers)
