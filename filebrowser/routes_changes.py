"""Changing: folders, moving, copying, the trash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from fastapi import APIRouter, Request

from easel import Conflict

from . import models, trash
from .quota import Quota
from .routes_files import item_of
from .space import Space


def change_routes(space_of: Callable[[Request], Space], quota: Quota) -> APIRouter:
    """The routes that change what is there."""
    router = APIRouter(prefix="/filebrowser/api", tags=["filebrowser"])
    _changes(router, space_of, quota)
    _trash(router, space_of, quota)
    return router


def _changes(router: APIRouter, space_of: Callable[[Request], Space], quota: Quota) -> None:
    @router.post("/folders", status_code=201)
    def make_folder(request: Request, body: models.FolderBody) -> models.Item:
        """Make a folder, and those above it."""
        space = space_of(request)
        files, path = space.shown, space.named(body.path)
        files.check_portable(path)
        if files.exists(path):
            raise Conflict("there is something of that name already", field="path", value=path)
        files.mkdir(path)
        return item_of(path, files.stat(path))

    @router.post("/move")
    def move(request: Request, body: models.MoveBody) -> models.Item:
        """Move or rename a file or folder."""
        space = space_of(request)
        old, new = _ready(space, body)
        space.shown.rename(old, new)
        space.changed(old, new)
        return item_of(new, space.shown.stat(new))

    @router.post("/copy", status_code=201)
    def copy(request: Request, body: models.MoveBody) -> models.Item:
        """Copy a file or folder."""
        space = space_of(request)
        old, new = _ready(space, body)
        size = space.size(old)
        quota.check(space, new.rpartition("/")[0], size)
        space.shown.copy(old, new)
        quota.count(space, size)
        space.changed(new)
        return item_of(new, space.shown.stat(new))


def _ready(space: Space, body: models.MoveBody) -> tuple[str, str]:
    """Both paths; what is in the way and may be replaced is put into the trash."""
    files = space.shown
    old, new = space.named(body.path), space.named(body.to)
    files.check_portable(new)
    files.stat(old)
    if body.replace and old != new and files.exists(new) and not files.stat(new).folder:
        trash.put(space, new)
    return old, new


def _trash(router: APIRouter, space_of: Callable[[Request], Space], quota: Quota) -> None:
    @router.get("/trash")
    def trashed(request: Request) -> list[models.TrashItem]:
        """What is in the trash, the last deleted first."""
        return [_shown(item) for item in trash.items(space_of(request))]

    @router.post("/trash", status_code=201)
    def delete(request: Request, body: models.PathsBody) -> list[models.TrashItem]:
        """Delete files and folders: they go to the trash."""
        space = space_of(request)
        try:
            return [_shown(trash.put(space, path)) for path in body.paths]
        finally:
            space.changed(*body.paths)

    @router.post("/trash/{id}/restore")
    def restore(request: Request, id: str) -> models.Item:
        """Put something back where it was."""
        space = space_of(request)
        path = trash.restore(space, id).path
        space.changed(path)
        return item_of(path, space.shown.stat(path))

    @router.delete("/trash/{id}", status_code=204)
    def delete_for_good(request: Request, id: str) -> None:
        """Delete something in the trash for good."""
        space = space_of(request)
        quota.count(space, -trash.delete(space, id).size)

    @router.delete("/trash", status_code=204)
    def empty(request: Request) -> None:
        """Delete everything in the trash for good."""
        space = space_of(request)
        quota.count(space, -trash.empty(space))


def _shown(item: trash.Trashed) -> models.TrashItem:
    return models.TrashItem(**asdict(item))
