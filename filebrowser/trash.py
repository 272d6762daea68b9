"""The trash: what is deleted waits there until it is restored or the trash is emptied."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass

from easel import EaselError, NotFound

from .space import HIDDEN, Space

_FOLDER = f"{HIDDEN}/trash"
_NOTE = 1 << 16  # bytes


@dataclass(frozen=True)
class Trashed:
    """One thing in the trash; `path` is where it was, `deleted` in seconds since 1970."""

    id: str
    path: str
    deleted: float
    size: int
    folder: bool

    @property
    def kept(self) -> str:
        """Where it waits."""
        return f"{_FOLDER}/{self.id}/{self.path.rpartition('/')[2]}"


def put(space: Space, path: str) -> Trashed:
    """Move a file or folder into the trash."""
    path = space.named(path)
    id, folder = f"{time.time_ns():x}-{secrets.token_hex(4)}", space.shown.stat(path).folder
    item = Trashed(id, path, time.time(), space.size(path), folder)
    space.all.write(f"{_FOLDER}/{item.id}.json", json.dumps(asdict(item)).encode())
    try:
        space.all.mkdir(f"{_FOLDER}/{item.id}")
        space.all.rename(path, item.kept)
    except EaselError:
        _remove(space, item.id)
        raise
    return item


def items(space: Space) -> list[Trashed]:
    """What is in the trash, the last deleted first."""
    return sorted(_read_all(space), key=lambda item: item.deleted, reverse=True)


def restore(space: Space, id: str) -> Trashed:
    """Put it back where it was. Errors: Conflict when there is something else now."""
    item = _find(space, id)
    above = item.path.rpartition("/")[0]
    if above:
        space.shown.mkdir(above)
    space.all.rename(item.kept, item.path)
    _remove(space, id)
    return item


def delete(space: Space, id: str) -> Trashed:
    """Delete one thing for good."""
    item = _find(space, id)
    _remove(space, item.id)
    return item


def empty(space: Space) -> int:
    """Delete everything for good; how many bytes that was."""
    size = sum(item.size for item in _read_all(space))
    with suppress(NotFound):
        space.all.delete(_FOLDER, recursive=True)
    return size


def _find(space: Space, id: str) -> Trashed:
    for item in _read_all(space):
        if item.id == id:
            return item
    raise NotFound(f"there is no {id!r} in the trash")


def _read_all(space: Space) -> Iterator[Trashed]:
    """What the notes say; they lie among the person's files, so a damaged one is left out."""
    try:
        entries = space.all.list(_FOLDER)
    except NotFound:
        return
    for entry in entries:
        if entry.name.endswith(".json") and not entry.folder:
            with suppress(EaselError, ValueError, TypeError, KeyError):
                note = json.loads(space.all.read(f"{_FOLDER}/{entry.name}", _NOTE))
                item = Trashed(
                    id=entry.name.removesuffix(".json"),
                    path=space.named(str(note["path"])),
                    deleted=float(note["deleted"]),
                    size=int(note["size"]),
                    folder=bool(note["folder"]),
                )
                if space.all.exists(item.kept):
                    yield item


def _remove(space: Space, id: str) -> None:
    for path in (f"{_FOLDER}/{id}", f"{_FOLDER}/{id}.json"):
        with suppress(NotFound):
            space.all.delete(path, recursive=True)
