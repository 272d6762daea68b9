"""Saved pictures by URL: `/file=PATH`, as A1111's page has it, with the caller's rights; nothing but pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from easel.api.auth import user_of
from easel.errors import BadRequest, Forbidden, NotFound
from easel.files import ScopedFiles

if TYPE_CHECKING:
    from easel.app import Easel

_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
_CHUNK = 1 << 18


def routes(app: Easel) -> APIRouter:
    """`GET /file=PATH` and `/sd_extra_networks/thumb`."""
    router = APIRouter(tags=["pictures"])

    @router.get("/file={path:path}", response_class=StreamingResponse)
    def file(path: str, request: Request) -> StreamingResponse:
        """A saved picture: `path` below the data folder, absolute or from there, as `image_url` and results name it."""
        return _picture(app.files_for(user_of(request)), path)

    @router.get("/sd_extra_networks/thumb", response_class=StreamingResponse)
    def thumb(request: Request, filename: str = "") -> StreamingResponse:
        """The same, as A1111's page asks for the preview beside a model."""
        return _picture(app.files_for(user_of(request)), filename)

    return router


def _picture(files: ScopedFiles, path: str) -> StreamingResponse:
    kind = _TYPES.get(PurePosixPath(path).suffix.lower())
    try:
        if kind is None:
            raise Forbidden
        handle = files.open(files.relative(path))
    except NotFound:
        raise NotFound(f"File not found: {path}") from None
    except (Forbidden, BadRequest):
        raise Forbidden(f"File not allowed: {path}") from None
    headers = {
        "Content-Length": str(os.fstat(handle.fileno()).st_size),
        "Cache-Control": "private, max-age=3600",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(_chunks(handle), media_type=kind, headers=headers)


def _chunks(handle: BinaryIO) -> Iterator[bytes]:
    with handle:
        while data := handle.read(_CHUNK):
            yield data
