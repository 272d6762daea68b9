"""The page: the files in `page/`, as they are."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, RedirectResponse

from easel import NotFound

_TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:;"
    " media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def page_routes(folder: Path) -> APIRouter:
    """`/filebrowser/` and what the page is made of."""
    router = APIRouter(prefix="/filebrowser", include_in_schema=False)
    assets = {file.name: file for file in (folder / "page").iterdir() if file.suffix in _TYPES}

    def send(name: str) -> Response:
        if name not in assets:
            raise NotFound
        return FileResponse(assets[name], media_type=_TYPES[assets[name].suffix], headers=_HEADERS)

    @router.get("")
    def without_slash() -> Response:
        """The page's addresses are relative to the folder."""
        return RedirectResponse("filebrowser/")

    @router.get("/")
    def page() -> Response:
        """The page."""
        return send("index.html")

    @router.get("/page/{name}")
    def asset(name: str) -> Response:
        """A part of it."""
        return send(name)

    return router
