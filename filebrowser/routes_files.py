"""Looking: lists, search, downloads, previews."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from easel import BadRequest, FileEntry

from . import models
from .archive import zip_blocks
from .downloads import INLINE, SAFE, attachment, send_file
from .pictures import Thumbnails, is_picture
from .quota import Quota
from .space import Space

_TEXTS = (".txt", ".json", ".csv", ".yaml", ".toml", ".md", ".log", ".html", ".svg", ".xml", ".css", ".js")
_TEXT_SIZE = 1 << 20  # bytes of a text that are shown
_MOST_FOUND, _MOST_SEEN = 500, 200_000  # answers of a search, files that it looks at
_SIDES = (128, 256, 512)
Paths = Annotated[list[str], Query(min_length=1, max_length=1000)]


def file_routes(space_of: Callable[[Request], Space], thumbnails: Thumbnails, quota: Quota) -> APIRouter:
    """The routes that change nothing."""
    router = APIRouter(prefix="/filebrowser/api", tags=["filebrowser"])
    _lists(router, space_of, quota)
    _contents(router, space_of, thumbnails)
    return router


def item_of(path: str, entry: FileEntry) -> models.Item:
    """An entry as the API shows it."""
    return models.Item(name=entry.name, path=path, kind=_kind(entry), size=entry.size, modified=entry.modified)


def _kind(entry: FileEntry) -> models.Kind:
    name = entry.name.lower()
    if entry.folder:
        return "folder"
    if is_picture(name):
        return "picture"
    if any(name.endswith(ending) for ending, type_ in INLINE.items() if type_.startswith("video/")):
        return "video"
    return "text" if name.endswith(_TEXTS) else "file"


def _lists(router: APIRouter, space_of: Callable[[Request], Space], quota: Quota) -> None:
    @router.get("/list")
    def list_folder(
        request: Request,
        path: str = "",
        sort: models.Sort = "name",
        descending: bool = False,
        begin: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    ) -> models.Listing:
        """What a folder holds, folders first; `limit` items from number `begin` on."""
        space = space_of(request)
        files, path = space.shown, space.named(path)
        entries = sorted(files.list(path), key=lambda entry: _sort_key(entry, sort), reverse=descending)
        entries.sort(key=lambda entry: not entry.folder)
        items = [item_of(f"{path}/{one.name}".removeprefix("/"), one) for one in entries[begin : begin + limit]]
        return models.Listing(path=path, writable=files.writable(path), total=len(entries), items=items)

    @router.get("/search")
    def search(request: Request, name: str, path: str = "") -> models.Found:
        """Files and folders below `path` by a part of their name, or by a pattern with `*` and `?`."""
        wanted = name.strip().casefold()
        if not wanted:
            raise BadRequest("nothing to look for", field="name", value=name)
        pattern = wanted if "*" in wanted or "?" in wanted else None
        found, seen = [], 0
        for below, entry in islice(space_of(request).shown.walk(path), _MOST_SEEN):
            seen += 1
            known = entry.name.casefold()
            if fnmatchcase(known, pattern) if pattern else wanted in known:
                found.append(item_of(below, entry))
            if len(found) > _MOST_FOUND:
                break
        complete = len(found) <= _MOST_FOUND and seen < _MOST_SEEN
        return models.Found(items=found[:_MOST_FOUND], complete=complete)

    @router.get("/room")
    def room(request: Request, path: str = "") -> models.Room:
        """How much is taken, allowed and free."""
        space = space_of(request)
        return models.Room(used=quota.used(space), quota=quota.limit or None, free=space.shown.free(path))


def _sort_key(entry: FileEntry, sort: models.Sort) -> tuple[float, str]:
    number = {"name": 0.0, "modified": entry.modified, "size": float(entry.size)}[sort]
    return number, entry.name.casefold()


def _contents(router: APIRouter, space_of: Callable[[Request], Space], thumbnails: Thumbnails) -> None:
    @router.head("/file", include_in_schema=False)
    @router.get("/file", response_class=Response, responses=_BINARY)
    def file(request: Request, path: str, inline: bool = False) -> Response:
        """Download a file, or a range of it. `inline`: pictures and videos to look at, never anything scriptable."""
        return send_file(request, space_of(request).shown, path, inline=inline)

    @router.get("/zip", response_class=Response, responses=_BINARY)
    def archive(request: Request, path: Paths) -> Response:
        """A ZIP file of files and folders; `path` may be given many times."""
        name = path[0].strip("/").rpartition("/")[2] if len(path) == 1 else ""
        headers = {**SAFE, "Content-Disposition": attachment(f"{name or 'files'}.zip")}
        return StreamingResponse(zip_blocks(space_of(request), path), media_type="application/zip", headers=headers)

    @router.get("/thumbnail", response_class=Response, responses=_BINARY)
    async def thumbnail(request: Request, path: str, side: int = 256) -> Response:
        """A small picture (WebP) of a picture."""
        if side not in _SIDES:
            raise BadRequest("no such size", field="side", value=side, allowed=", ".join(map(str, _SIDES)))
        data = await thumbnails.in_turn(lambda: thumbnails.thumbnail(space_of(request).shown, path, side))
        # The page asks with the time of change in the address: another picture has another address.
        return Response(data, media_type="image/webp", headers={**SAFE, "Cache-Control": "private, max-age=86400"})

    @router.get("/details")
    async def details(request: Request, path: str) -> models.Details:
        """A file or folder; of a picture its size in pixels and its generation data."""
        return await thumbnails.in_turn(lambda: _details(space_of(request), path, thumbnails))

    @router.get("/text")
    def text(request: Request, path: str) -> models.Text:
        """The beginning of a text file."""
        with space_of(request).shown.open(path) as file:
            data = file.read(_TEXT_SIZE + 1)
        if b"\0" in data:
            raise BadRequest("not a text", field="path", value=path)
        return models.Text(text=data[:_TEXT_SIZE].decode("utf-8", "replace"), complete=len(data) <= _TEXT_SIZE)


def _details(space: Space, path: str, thumbnails: Thumbnails) -> models.Details:
    files, path = space.shown, space.named(path)
    item = item_of(path, files.stat(path))
    if item.kind != "picture":
        return models.Details(item=item)
    try:
        facts = thumbnails.facts(files, path)
    except BadRequest as error:
        return models.Details(item=item, problem=error.message)
    return models.Details(
        item=item,
        width=facts.width,
        height=facts.height,
        infotext=facts.data.infotext,
        fields=dict(facts.data.items),
    )


_BINARY: dict[int | str, dict[str, object]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}
