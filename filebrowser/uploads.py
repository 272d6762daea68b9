"""Uploads in pieces that can go on after an interruption.

An upload has a number of bytes that it will bring, and a part that is already there: a hidden file beside its target,
added to at the end only. When it is complete it gets its name. What nobody went on with for a day is thrown away.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass

from easel import BadRequest, Conflict, DiskFull, EaselError, NotFound, ScopedFiles

from . import trash
from .quota import Quota
from .space import Space

_FOLDER = "uploads"
_ID = re.compile("[0-9a-f]{32}")
_NOTE = 1 << 16  # bytes
_PATIENCE = 24 * 3600.0  # seconds without a new piece
_SWEEP = 3600.0  # seconds between two looks for abandoned uploads


@dataclass(frozen=True)
class Upload:
    """One upload of `owner`: `size` bytes for `path`; a file that is there may be `replace`d."""

    id: str
    owner: str
    path: str
    size: int
    replace: bool

    @property
    def folder(self) -> str:
        """Where the file will be."""
        return self.path.rpartition("/")[0]

    @property
    def part(self) -> str:
        """Where the pieces are: beside the target, so on the same disk."""
        return f"{self.folder}/.easel-{self.id}.part".removeprefix("/")


class Uploads:
    """The uploads under way, noted in `kept`, so that they outlive a restart."""

    def __init__(self, kept: ScopedFiles, quota: Quota, files_of: Callable[[str], ScopedFiles]) -> None:
        self._kept, self._quota, self._files_of = kept, quota, files_of
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._swept = 0.0

    def begin(self, space: Space, path: str, size: int, *, replace: bool) -> Upload:
        """A new upload. Errors: BadRequest (name), Conflict (there is something), DiskFull, Forbidden."""
        if time.monotonic() - self._swept > _SWEEP:
            self.sweep()
        path = space.named(path)
        space.shown.check_portable(path)
        _refuse_taken(space, path, replace=replace)
        upload = Upload(secrets.token_hex(16), space.owner, path, size, replace)
        try:
            with self._lock:  # of two that together are too much, one is refused
                self._kept.write(f"{_FOLDER}/{upload.id}.json", json.dumps(asdict(upload)).encode())
                space.shown.append(upload.part, b"", at=0)
                coming = sum(one.size - self.offset(space, one) for one in self.of(space))
                self._quota.check(space, upload.folder, coming)
        except EaselError:
            self.drop(space, upload)
            raise
        return upload

    def of(self, space: Space) -> list[Upload]:
        """The person's uploads under way."""
        return [upload for upload in self._all() if upload.owner == space.owner]

    def find(self, space: Space, id: str) -> Upload:
        """One of the person's uploads."""
        upload = self._read(id)
        if upload is None or upload.owner != space.owner:
            raise NotFound(f"there is no upload {id!r}: it is complete, was given up, or waited for more than a day")
        return upload

    def offset(self, space: Space, upload: Upload) -> int:
        """Bytes that are there; 0 when the part went with its folder."""
        try:
            return space.shown.stat(upload.part).size
        except NotFound:
            return 0

    def take(self, space: Space, id: str) -> Upload:
        """One of the person's uploads, kept from other calls until `release`. Errors: Conflict, NotFound."""
        with self._lock:
            if id in self._busy:
                raise Conflict("another call is sending a piece of this upload")
            upload = self.find(space, id)
            self._busy.add(id)
        return upload

    def release(self, upload: Upload) -> None:
        """Other calls may go on."""
        with self._lock:
            self._busy.discard(upload.id)

    def add(self, space: Space, upload: Upload, data: bytes, *, at: int) -> None:
        """Add a piece. A disk that is full ends the upload: nobody shall find half a file, nor a full disk."""
        if at + len(data) > upload.size:
            raise BadRequest("more than was announced", field="size", value=at + len(data), allowed=str(upload.size))
        try:
            space.shown.append(upload.part, data, at=at)
        except DiskFull:
            self.drop(space, upload)
            raise

    def check_room(self, space: Space, upload: Upload) -> None:
        """Errors: DiskFull when others took meanwhile what this upload needs; it may go on later."""
        self._quota.check(space, upload.folder, upload.size - self.offset(space, upload))

    def finish(self, space: Space, upload: Upload) -> None:
        """Give a complete upload its name; what it replaces goes to the trash. Errors: Conflict, and it is dropped."""
        try:
            space.shown.sync(upload.part)
            if upload.replace and space.shown.exists(upload.path):
                _refuse_taken(space, upload.path, replace=True)
                trash.put(space, upload.path)
            space.shown.rename(upload.part, upload.path)
        finally:
            self.drop(space, upload)
        self._quota.count(space, upload.size)
        space.changed(upload.path)

    def drop(self, space: Space, upload: Upload) -> None:
        """Forget an upload and what came of it."""
        self._drop(space.all, upload)

    def sweep(self) -> None:
        """Throw away what nobody went on with."""
        self._swept = time.monotonic()
        for upload in self._all():
            with suppress(EaselError):  # a disk that is not there now: the next time
                files = self._files_of(upload.owner)
                last = self._kept.stat(f"{_FOLDER}/{upload.id}.json").modified
                with suppress(NotFound):
                    last = files.stat(upload.part).modified
                if time.time() - last > _PATIENCE:
                    self._drop(files, upload)

    def _drop(self, files: ScopedFiles, upload: Upload) -> None:
        for among, path in ((files, upload.part), (self._kept, f"{_FOLDER}/{upload.id}.json")):
            with suppress(NotFound):
                among.delete(path)

    def _all(self) -> list[Upload]:
        try:
            entries = self._kept.list(_FOLDER)
        except NotFound:
            return []
        return [one for entry in entries if (one := self._read(entry.name.removesuffix(".json"))) is not None]

    def _read(self, id: str) -> Upload | None:
        if not _ID.fullmatch(id):
            return None
        try:
            return Upload(**json.loads(self._kept.read(f"{_FOLDER}/{id}.json", _NOTE)))
        except (NotFound, ValueError, TypeError):
            return None


def _refuse_taken(space: Space, path: str, *, replace: bool) -> None:
    """Errors: Conflict when the name belongs to something that must not be replaced; folders never are."""
    if space.shown.exists(path) and (not replace or space.shown.stat(path).folder):
        raise Conflict("there is something of that name already", field="path", value=path)
