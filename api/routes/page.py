"""The page for people: HTML, scripts and styles of `api/web`, which speak to the documented routes alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import Scope

router = APIRouter(include_in_schema=False)

_FOLDER = Path(__file__).parents[1] / "web"
_HEADERS = {
    "Cache-Control": "no-cache",  # a browser asks whether it changed, so that page and API are of one version
    # Nothing inline, nothing from elsewhere, and text that reaches the page can become no script.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
}


@router.get("/")
def page(accept: Annotated[str, Header()] = "") -> Response:
    """Answer a browser with the page; programs find their routes in /openapi.json."""
    if "text/html" not in accept:
        raise HTTPException(404)
    return FileResponse(_FOLDER / "index.html", headers=_HEADERS | {"Vary": "Accept"})


class _Files(StaticFiles):
    """The parts of the page."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file with our headers."""
        response = await super().get_response(path, scope)
        response.headers.update(_HEADERS)
        return response


files = _Files(directory=_FOLDER)


files = _Files(directory=_FOLDER)
