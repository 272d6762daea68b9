"""`ScopedFiles`: the operations on the files below a root."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from easel.errors import BadRequest, Conflict, Forbidden, NotFound, TooLarge
from easel.files.handles import CAREFUL, NEW_FILE, give_name, refuse_special, write_all
from easel.files.names import TEMPORARY, check_portable, is_nameable, parts_of
from easel.files.walls import Walls

_BLOCK = 1 << 20  # bytes copied at once


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file or folder in a listing; `size` in bytes (0 for folders), `modified` in seconds since 1970."""

    name: str
    folder: bool
    size: int
    modified: float

    @classmethod
    def of(cls, name: str, status: os.stat_result) -> FileEntry:
        """The entry of what the system says."""
        folder = stat.S_ISDIR(status.st_mode)
        return cls(name, folder, 0 if folder else status.st_size, status.st_mtime)


class ScopedFiles:
    """The files below `root`. Paths are relative, with `/`; `denied` subtrees behave as if they were not there.

    Errors: Forbidden (leaves the root, a link, a denied subtree, read-only), NotFound, BadRequest (not a possible
    name), Conflict (there is something already), DiskFull. Messages name the path as it was given, never where the
    root is. `room` is told how many bytes come, where that is known, before files grow; it may refuse them.
    """

    def __init__(
        self,
        root: Path,
        denied: Iterable[str] = (),
        *,
        named: Path | None = None,
        read_only: Iterable[Path] = (),
        room: Callable[[int], None] = lambda coming: None,
    ) -> None:
        """`named`: what people call the root; `read_only`: storages, by those names, in which nothing is changed."""
        self._denied, self._read_only, self._room = tuple(denied), tuple(read_only), room
        self._walls = Walls(root, self._denied)
        self.root = self._walls.root
        self._given = root
        self._named = named or root.absolute()  # as it was given, which may be through a link

    def without(self, *denied: str) -> ScopedFiles:
        """The same files with more denied subtrees."""
        return ScopedFiles(
            self._given,
            (*self._denied, *denied),
            named=self._named,
            read_only=self._read_only,
            room=self._room,
        )

    @staticmethod
    def check_portable(path: str) -> None:
        """Refuse a new name that not every system can hold or show. Errors: BadRequest."""
        check_portable(path)

    # Looking

    def relative(self, path: str) -> str:
        """`path` as this file system names it; an absolute path is taken when it names a place below the root."""
        root = self.root if Path(path).is_relative_to(self.root) else self._named
        if path.startswith("/") and not Path(path).is_relative_to(root):
            self._refuse_read_only(path)  # elsewhere in any case, but this says why
        parts = parts_of(path.removeprefix(f"{root}/") if path != str(root) else "")
        self._walls.refuse_denied(parts, path)
        return "/".join(parts)

    def resolve(self, path: str) -> Path:
        """The checked path on disk, for libraries that open files themselves (a race can undo the check)."""
        self.stat(path)
        return self.root.joinpath(*parts_of(path))

    def stat(self, path: str) -> FileEntry:
        """What there is of this name."""
        parts = parts_of(path)
        with self._walls.folder(parts[:-1], path) as folder:
            status = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False) if parts else os.fstat(folder)
            self._walls.check(parts, status, path)
        return FileEntry.of(parts[-1] if parts else "", status)

    def exists(self, path: str) -> bool:
        """Is there a file or folder of this name?"""
        try:
            self.stat(path)
        except NotFound:
            return False
        return True

    def list(self, path: str = "") -> tuple[FileEntry, ...]:
        """What a folder holds, folders first, then by name; links, special files and unfinished writes are left out."""
        parts = parts_of(path)
        entries, denied = [], self._walls.denied_identities()
        with self._walls.folder(parts, path) as folder, os.scandir(folder) as found:
            for item in found:
                try:
                    status = item.stat(follow_symlinks=False)
                except FileNotFoundError:  # deleted between the listing and the look
                    continue
                if _is_listed(item.name, status) and not self._walls.is_denied((*parts, item.name), status, denied):
                    entries.append(FileEntry.of(item.name, status))
        return tuple(sorted(entries, key=lambda entry: (not entry.folder, entry.name)))

    def walk(self, path: str = "") -> Iterator[tuple[str, FileEntry]]:
        """Everything below a folder as `list` shows it, with its path below the root; a folder before what it holds."""
        path = "/".join(parts_of(path))
        waiting = [(path, self.list(path))]
        while waiting:
            above, entries = waiting.pop()
            for entry in entries:
                below = f"{above}/{entry.name}" if above else entry.name
                yield below, entry
                if entry.folder:
                    with suppress(NotFound, Forbidden):  # gone, swapped or not readable meanwhile
                        waiting.append((below, self.list(below)))

    def writable(self, path: str = "") -> bool:
        """May files be made in this folder? No on a read-only mount."""
        with self._walls.folder(parts_of(path), path) as folder:
            return self._storage_of(path) is None and os.access(".", os.W_OK, dir_fd=folder)

    def free(self, path: str = "") -> int:
        """Bytes that the disk of this folder still takes."""
        with self._walls.folder(parts_of(path), path) as folder:
            disk = os.fstatvfs(folder)
        return disk.f_bavail * disk.f_frsize

    # Reading

    def open(self, path: str) -> BinaryIO:
        """Open a regular file for reading."""
        with self._walls.parent(path) as (folder, name):
            handle = os.open(name, os.O_RDONLY | CAREFUL, dir_fd=folder)
        refuse_special(handle, path)
        return os.fdopen(handle, "rb")

    def read(self, path: str, limit: int) -> bytes:
        """The bytes of a file of at most `limit` bytes; TooLarge beyond."""
        with self.open(path) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise TooLarge("the file is too large", field="path", value=path, allowed=f"up to {limit} bytes")
        return data

    # Changing

    def write(self, path: str, data: bytes) -> None:
        """Write a file, making its folders: whole or not at all, replacing what was there."""
        with self.writing(path) as file:
            file.write(data)

    @contextmanager
    def writing(self, path: str, *, replace: bool = True) -> Iterator[BinaryIO]:
        """A file to write into; it gets its name, whole, when the block ends, and after an error never was there."""
        if not parts_of(path):
            raise BadRequest("a file name is needed", field="path", value=path)
        self._refuse_read_only(path)
        self._room(0)
        with self._walls.parent(path, make=True) as (folder, name):
            temporary = f"{TEMPORARY}{secrets.token_hex(8)}.tmp"
            handle = os.open(temporary, NEW_FILE, 0o666, dir_fd=folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                give_name(folder, temporary, folder, name, replace=replace, path=path)
            except BaseException:
                with suppress(OSError):  # the first error is the one to report
                    os.unlink(temporary, dir_fd=folder)
                raise
            os.fsync(folder)

    def append(self, path: str, data: bytes, *, at: int) -> None:
        """Add to a file that is `at` bytes long (0: made, with its folders): all of it or nothing.

        Errors: Conflict when the file has another length.
        """
        self._refuse_read_only(path)
        self._room(len(data))
        with self._walls.parent(path, make=at == 0) as (folder, name):
            made = os.O_CREAT if at == 0 else 0
            handle = os.open(name, os.O_WRONLY | made | CAREFUL, 0o666, dir_fd=folder)
            refuse_special(handle, path)
            with os.fdopen(handle, "wb", buffering=0) as file:
                if (length := os.fstat(handle).st_size) != at:
                    raise Conflict("the file has another length", field="at", value=at, allowed=str(length))
                try:
                    write_all(handle, data, at)
                except OSError:
                    file.truncate(at)
                    raise

    def sync(self, path: str) -> None:
        """Wait until the disk has what was added to a file."""
        with self.open(path) as file:
            os.fsync(file.fileno())

    def mkdir(self, path: str) -> None:
        """Make a folder and those above it; fine when it is there already."""
        self._refuse_read_only(path)
        with self._walls.folder(parts_of(path), path, make=True):
            pass

    def rename(self, old: str, new: str, *, replace: bool = False) -> None:
        """Move a file or folder within the root; an existing target is refused (Conflict) unless `replace`.

        Between two disks below the root it is copied, then deleted.
        """
        self._refuse_into_itself(old, new)
        self._refuse_read_only(old, above=True)
        self._refuse_read_only(new)
        self._walls.refuse_above_denied(parts_of(old), old)
        self._walls.refuse_above_denied(parts_of(new), new)
        with self._walls.parent(old) as (source, name), self._walls.parent(new) as (target, new_name):
            self._walls.check(parts_of(old), os.stat(name, dir_fd=source, follow_symlinks=False), old)
            try:
                give_name(source, name, target, new_name, replace=replace, path=new)
                return
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
            if not os.access(".", os.W_OK, dir_fd=source):
                raise Forbidden(f"{old!r} cannot be moved away: the server may not write there (read-only)")
        self.copy(old, new, replace=replace)
        self.delete(old, recursive=True)

    def copy(self, old: str, new: str, *, replace: bool = False) -> None:
        """Copy a file, or a folder with all that can be seen in it: whole or not at all."""
        self._refuse_into_itself(old, new)
        self._walls.refuse_above_denied(parts_of(new), new)
        if not self.stat(old).folder:
            self._room(self.stat(old).size)
            with self.open(old) as source, self.writing(new, replace=replace) as target:
                shutil.copyfileobj(source, target, _BLOCK)
            return
        old = "/".join(parts_of(old))
        if self.exists(new):  # a folder is never written over: two of them would get mixed
            raise Conflict("there is something of that name already", field="path", value=new)
        above = "/".join(parts_of(new)[:-1])
        temporary = f"{above}/{TEMPORARY}{secrets.token_hex(8)}".removeprefix("/")
        try:
            self.mkdir(temporary)
            for path, entry in self.walk(old):
                below = temporary + path.removeprefix(old)
                self.mkdir(below) if entry.folder else self.copy(path, below)
            self.rename(temporary, new)
        except BaseException:
            with suppress(NotFound):
                self.delete(temporary, recursive=True)
            raise

    def delete(self, path: str, *, recursive: bool = False) -> None:
        """Delete a file or an empty folder; with `recursive` a folder with all that is in it."""
        self._refuse_read_only(path, above=True)
        self._walls.refuse_above_denied(parts_of(path), path)
        with self._walls.parent(path) as (folder, name):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                os.unlink(name, dir_fd=folder)  # a link itself may go, what it points to is not touched
            elif recursive:
                shutil.rmtree(name, dir_fd=folder)
            else:
                os.rmdir(name, dir_fd=folder)

    def _storage_of(self, path: str, *, above: bool = False) -> Path | None:
        """The read-only storage that a path is in; `above`: or that is in it."""
        whole = Path(path) if path.startswith("/") else self._named.joinpath(*parts_of(path))
        found = (one for one in self._read_only if whole.is_relative_to(one) or (above and one.is_relative_to(whole)))
        return next(found, None)

    def _refuse_read_only(self, path: str, *, above: bool = False) -> None:
        if (storage := self._storage_of(path, above=above)) is not None:
            raise Forbidden(f"{path!r} cannot be changed: the storage at {storage} is read-only")

    def _refuse_into_itself(self, old: str, new: str) -> None:
        if parts_of(new)[: len(parts_of(old))] == parts_of(old):
            raise BadRequest("a file or folder cannot go into itself", field="path", value=new)


def _is_listed(name: str, status: os.stat_result) -> bool:
    kind = stat.S_IFMT(status.st_mode)
    return kind in (stat.S_IFREG, stat.S_IFDIR) and is_nameable(name) and not name.startswith(TEMPORARY)
