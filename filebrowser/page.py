"""The page: the files in `page/`, as they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse

from easel import NotFound

_TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:;"
    " media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def page_routes(folder: Path, language: Callable[[], str]) -> APIRouter:
    """`/filebrowser/` and what the page is made of; its words in the `language` of the service."""
    router = APIRouter(prefix="/filebrowser", include_in_schema=False)
    assets = {file.name: file for file in (folder / "page").iterdir() if file.suffix in _TYPES}

    languages = {file.stem: file for file in (folder / "localizations").glob("*.json")}

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

    @router.get("/texts")
    def texts() -> Response:
        """The language for browsers and its texts; nothing where the page stays English."""
        file = languages.get(language())
        told = {"language": file.stem.replace("_", "-"), "texts": json.loads(file.read_bytes())} if file else {}
        return JSONResponse(told, headers=_HEADERS)

    @router.get("/page/{name}")
    def asset(name: str) -> Response:
        """A part of it."""
        return send(name)

    return router
