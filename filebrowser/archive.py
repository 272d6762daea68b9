"""A ZIP file of folders and selections, made while it is sent: neither disk nor memory holds it."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import RawIOBase
from typing import Any

from easel import BadRequest, FileEntry, Forbidden, NotFound, ScopedFiles

from .space import Space

_BLOCK = 1 << 18  # bytes read at once
_FIRST, _LAST = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)  # the moments that the format knows


def zip_blocks(space: Space, paths: Sequence[str]) -> Iterator[bytes]:
    """The archive of files and folders, by name; stored, for pictures and weights hardly get smaller.

    Errors, before the first block: NotFound, Forbidden, BadRequest (two of one name).
    """
    tops = [space.named(path) for path in paths]
    names = [top.rpartition("/")[2] for top in tops]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise BadRequest("two of one name do not go into one archive", field="path", value=twice)
    found = [space.shown.stat(top) for top in tops]
    return _blocks(space.shown, list(zip(tops, found, strict=True)))


def _blocks(files: ScopedFiles, tops: list[tuple[str, FileEntry]]) -> Iterator[bytes]:
    out = _Outlet()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for top, entry in tops:
            above = len(top) - len(entry.name)
            for path, one in ((top, entry), *(files.walk(top) if entry.folder else ())):
                if path:  # the data folder itself has no name
                    with suppress(NotFound, Forbidden):  # gone meanwhile
                        yield from _member(files, archive, out, path, path[above:], one)
    yield out.take()


def _member(
    files: ScopedFiles, archive: zipfile.ZipFile, out: _Outlet, path: str, name: str, entry: FileEntry
) -> Iterator[bytes]:
    """One file or folder; names are relative and free of `..` and backslashes, as everything that `walk` tells."""
    moment = min(max(time.localtime(entry.modified)[:6], _FIRST), _LAST)
    info = zipfile.ZipInfo(name + "/" * entry.folder, moment)
    info.external_attr = (0o40755 if entry.folder else 0o100644) << 16
    if entry.folder:
        archive.writestr(info, b"")
        return
    with files.open(path) as file, archive.open(info, "w", force_zip64=True) as member:
        while block := file.read(_BLOCK):
            member.write(block)
            yield out.take()


class _Outlet(RawIOBase):
    """A file that only grows, and is emptied as it does."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting = bytearray()

    def writable(self) -> bool:
        """Yes; neither seekable nor readable."""
        return True

    def write(self, data: Any) -> int:
        """Take bytes."""
        self._waiting += data
        return len(data)

    def take(self) -> bytes:
        """What came since the last time."""
        taken = bytes(self._waiting)
        self._waiting.clear()
        return taken
