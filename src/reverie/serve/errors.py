"""Errors as replies: one clear sentence, never a traceback; under /v1 in OpenAI's shape, elsewhere in Reverie's."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from reverie.types import ReverieError

KINDS = {401: "unauthorized", 403: "forbidden", 404: "not_found", 409: "conflict", 413: "too_large", 429: "queue_full"}
SENTENCES = {
    400: "The body is not JSON in UTF-8: send an object as the OpenAPI document at /openapi.json tells.",
    404: "There is nothing at this address: the OpenAPI document at /openapi.json lists the routes.",
    405: "This address takes another method: the OpenAPI document at /openapi.json lists the routes.",
}
MOST_CHARS = 600  # of a message

log = logging.getLogger("reverie.serve")


class Refused(ReverieError):  # noqa: N818 - reads as what it says
    """A request that is refused, with the HTTP status that says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def not_found(what: str) -> Refused:
    """Something that was asked for by its id."""
    return Refused(404, f"There is no such {what}: it was deleted, or never there.")


def reply(
    path: str, status: int, message: str, *, headers: Mapping[str, str] | None = None, **more: Any
) -> JSONResponse:
    """An error in the shape that clients of `path` expect. more: OpenAI's `param` and `code`."""
    message = message.encode("utf-8", "replace").decode()[:MOST_CHARS]
    if path.startswith("/v1/"):
        kind = "server_error" if status >= 500 else "invalid_request_error"
        error = {"message": message, "type": kind, "param": None, "code": None, **more}
    else:
        error = {"message": message, "type": KINDS.get(status, "server_error" if status >= 500 else "invalid_request")}
    return JSONResponse({"error": error}, status, headers)


def sentence(errors: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """The first thing that is wrong with a body or query, and the field where. What was sent is not repeated."""
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"][1:])[:100]
    what = str(first["msg"]).rstrip(".")
    return f"{where}: {what}." if where else f"The request cannot be read: {what}.", where


def explain_errors(app: FastAPI) -> None:
    """Makes every error that gets as far as `app` one of these replies."""

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        message, where = sentence(error.errors())
        return reply(request.url.path, 422 if not _is_openai(request) else 400, message, param=where)

    @app.exception_handler(ReverieError)
    async def _mistake(request: Request, error: ReverieError) -> JSONResponse:
        return mistake(request.url.path, error)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        message = SENTENCES.get(error.status_code, str(error.detail))
        return reply(request.url.path, error.status_code, message, headers=error.headers)

    @app.exception_handler(Exception)
    async def _bug(request: Request, error: Exception) -> JSONResponse:  # the traceback is in the log
        return reply(request.url.path, 500, "Something went wrong in the server: its log says what.")


def mistake(path: str, error: ReverieError) -> JSONResponse:
    """A `ReverieError` as a reply: a full queue is 429 and says when to come again."""
    retry = getattr(error, "retry_after_seconds", None)
    if retry is not None:
        return reply(path, 429, str(error), headers={"Retry-After": str(retry)})
    return reply(path, getattr(error, "status", 400), str(error))


def _is_openai(request: Request) -> bool:
    return request.url.path.startswith("/v1/")
