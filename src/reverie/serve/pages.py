"""The studio's built files at /: assets named by their content are kept by browsers, index.html never is."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from reverie.serve.security import is_protected

ASSETS = "assets/"  # where the build puts what has its hash in its name
KEPT, ASKED = "public, max-age=31536000, immutable", "no-cache"
ABSENT = "The studio is not built: the API is at /api and /v1, its document at /openapi.json.\n"


class Pages(StaticFiles):
    """Files, and index.html for every address that the studio itself makes sense of."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, or the page."""
        if is_protected(scope["path"]):
            raise HTTPException(404)
        try:
            response = await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code != 404 or "." in path.rpartition("/")[2]:
                raise
            response = await super().get_response("index.html", scope)
        response.headers["Cache-Control"] = KEPT if path.startswith(ASSETS) else ASKED
        return response


def add(app: FastAPI, folder: Path) -> None:
    """Serves the studio if it is built, else a sentence."""
    if (folder / "index.html").is_file():
        app.mount("/", Pages(directory=folder, html=True))
        return

    @app.get("/", include_in_schema=False)
    def absent() -> Response:
        return PlainTextResponse(ABSENT)
