"""A route whose errors are OpenAI's: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import ValidationError

from reverie.serve.errors import Refused, sentence
from reverie.types import ReverieError

# Why a field of OpenAI's is refused, where its name alone does not say.
REASONS = {
    "tools": "these models call no tools",
    "functions": "these models call no tools",
    "suffix": "these models write only forwards",
    "best_of": "ask for n texts and choose yourself",
    "dimensions": "this model's vectors have one length",
    "previous_response_id": "nothing is kept here, so send the whole conversation as input",
}
CODES = {404: "model_not_found", 409: "model_not_ready", 429: "rate_limit_exceeded"}
KINDS = {404: "not_found_error", 429: "rate_limit_error"}


_FIELD = re.compile(r"(?!(str|int|float|bool)$)[a-z_]+")


class Route(APIRoute):
    """A route that turns mistakes into OpenAI's error object."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with its errors explained."""
        handle = super().get_route_handler()

        async def explained(request: Request) -> Response:
            try:
                return await handle(request)
            except (RequestValidationError, ValidationError) as error:
                return failure(invalid(error))
            except ReverieError as error:
                return failure(error)

        return explained


def failure(error: ReverieError) -> JSONResponse:
    """A mistake as a reply; a full queue says when to come again."""
    retry = getattr(error, "retry_after_seconds", None)
    status = 429 if retry is not None else getattr(error, "status", 400)
    headers = {} if retry is None else {"Retry-After": str(retry)}
    return JSONResponse(error_body(error, status), status, headers)


def error_body(error: ReverieError, status: int = 400) -> dict[str, Any]:
    """What went wrong, as JSON."""
    return {
        "error": {
            "message": str(error).encode("utf-8", "replace").decode()[:600],
            "type": KINDS.get(status, "invalid_request_error" if status < 500 else "server_error"),
            "param": getattr(error, "param", None),
            "code": getattr(error, "code", None) or CODES.get(status),
        }
    }


def _fields(error: Mapping[str, Any]) -> list[int | str]:
    """Where in the body it is, without the kinds of a union that pydantic puts in between."""
    return [part for part in error["loc"][1:] if isinstance(part, int) or _FIELD.fullmatch(part)]


class Invalid(Refused):
    """A request of the wrong shape."""

    def __init__(self, message: str, param: str, code: str | None) -> None:
        super().__init__(400, message)
        self.param, self.code = param, code


def invalid(error: RequestValidationError | ValidationError) -> Invalid:
    """What is wrong with the shape of a request, and where; a field that is not known is named."""
    errors: list[Mapping[str, Any]] = list(error.errors())
    if isinstance(error, ValidationError):
        errors = [{**each, "loc": ("body", *each["loc"])} for each in errors]
    extra = next((each for each in errors if each["type"] == "extra_forbidden"), None)
    if extra is None:
        first = {**errors[0], "loc": ("body", *_fields(errors[0]))}
        message, where = sentence([first])
        return Invalid(message, where, "invalid_value")
    name = str(extra["loc"][-1])[:100]
    where = ".".join(map(str, [*_fields(extra)[:-1], name]))[:200]
    reason = f" ({REASONS[name]})" if name in REASONS else ""
    return Invalid(f"The field {name!r} is not supported{reason}: leave it out.", where, "unsupported_parameter")
