"""Uploads: announce a file, send it in pieces one after the other, ask how far it is and go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.requests import ClientDisconnect

from . import models
from .space import Space
from .uploads import Upload, Uploads

_BLOCK = 1 << 20  # bytes that are gathered before they are written
_BYTES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def upload_routes(space_of: Callable[[Request], Space], uploads: Uploads, chunk: int) -> APIRouter:
    """The routes; a piece may have `chunk` bytes."""
    router = APIRouter(prefix="/filebrowser/api/uploads", tags=["filebrowser"])

    def state(space: Space, upload: Upload, *, complete: bool = False) -> models.UploadState:
        offset = upload.size if complete else uploads.offset(space, upload)
        return models.UploadState(
            id=upload.id, path=upload.path, size=upload.size, offset=offset, complete=complete, chunk=chunk
        )

    @router.post("", status_code=201)
    def begin(request: Request, body: models.UploadBody) -> models.UploadState:
        """Announce a file."""
        space = space_of(request)
        upload = uploads.begin(space, body.path, body.size, replace=body.replace)
        if body.size == 0:
            uploads.finish(space, upload)
        return state(space, upload, complete=body.size == 0)

    @router.get("")
    def under_way(request: Request) -> list[models.UploadState]:
        """The uploads that are not complete; after a day without a new piece they are gone."""
        space = space_of(request)
        return [state(space, upload) for upload in uploads.of(space)]

    @router.get("/{id}")
    def progress(request: Request, id: str) -> models.UploadState:
        """How far an upload is: where the next piece begins."""
        space = space_of(request)
        return state(space, uploads.find(space, id))

    @router.put("/{id}", openapi_extra=_BYTES)
    async def add(request: Request, id: str, offset: Annotated[int, Query(ge=0)]) -> models.UploadState:
        """Send the piece that begins at `offset`, which is where the last one ended. The last piece completes it."""
        space = await asyncio.to_thread(space_of, request)
        upload = await asyncio.to_thread(uploads.take, space, id)
        try:
            await asyncio.to_thread(uploads.check_room, space, upload)
            offset = await _receive(request, lambda data, at: uploads.add(space, upload, data, at=at), offset)
            complete = offset == upload.size
            if complete:
                await asyncio.to_thread(uploads.finish, space, upload)
            return await asyncio.to_thread(state, space, upload, complete=complete)
        finally:
            uploads.release(upload)

    @router.delete("/{id}", status_code=204)
    def give_up(request: Request, id: str) -> None:
        """Give an upload up."""
        space = space_of(request)
        upload = uploads.take(space, id)
        try:
            uploads.drop(space, upload)
        finally:
            uploads.release(upload)

    return router


async def _receive(request: Request, add: Callable[[bytes, int], None], at: int) -> int:
    """Write a body as it comes; what came before it broke off counts. The offset after it."""
    gathered = bytearray()

    async def flush() -> None:
        nonlocal at
        data = bytes(gathered)
        gathered.clear()  # first: what could not be written is not tried again
        await asyncio.to_thread(add, data, at)
        at += len(data)

    try:
        async for data in request.stream():
            gathered += data
            if len(gathered) >= _BLOCK:
                await flush()
    except ClientDisconnect:
        pass  # nobody reads our answer
    await flush()
    return at
