"""A file system that cannot be left: everything a user can name a path for goes through `ScopedFiles`.

A path is walked one component at a time from the root's open descriptor, and no component may be a link. So neither
`..`, absolute paths and links (dangling ones too) nor a directory swapped for a link while we look leads outside.
What an attacker can still do is what the file system itself lets them do inside the root.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from easel.errors import BadRequest, EaselError, Forbidden, NotFound, TooLarge

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LINK_OR_FILE = (errno.ELOOP, errno.ENOTDIR, errno.EMLINK)  # what opening something that is no folder answers


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or folder in a listing; `size` in bytes (0 for folders), `modified` in seconds since 1970."""

    name: str
    folder: bool
    size: int
    modified: float


class ScopedFiles:
    """The files below `root`. Paths are relative, with `/`; `denied` subtrees behave as if they were not there.

    Errors: Forbidden (leaves the root, a link, a denied subtree), NotFound, BadRequest (not a possible name),
    EaselError (disk full, read-only). Messages name the path as it was given, never where the root is.
    """

    def __init__(self, root: Path, denied: Iterable[str] = ()) -> None:
        self.root = root.resolve(strict=True)
        self._denied = tuple(_parts(path) for path in denied)
        if not all(self._denied):
            raise ValueError("the root itself cannot be denied")

    def relative(self, path: str) -> str:
        """`path` as this file system names it; an absolute path is taken when it names a place below the root."""
        parts = _parts(path.removeprefix(f"{self.root}/") if path != str(self.root) else "")
        self._refuse_denied(parts, path)
        return "/".join(parts)

    def resolve(self, path: str) -> Path:
        """The checked path on disk, for libraries that open files themselves (a race can undo the check)."""
        parts = _parts(path)
        with self._folder(parts[:-1], path) as folder:
            if parts:
                self._check(parts, os.stat(parts[-1], dir_fd=folder, follow_symlinks=False), path)
        return self.root.joinpath(*parts)

    def open(self, path: str) -> BinaryIO:
        """Open a regular file for reading."""
        with self._parent(path) as (folder, name):
            # O_NONBLOCK: a named pipe must not hang us before we see that it is none of ours.
            handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise Forbidden(f"{path!r} is not a regular file")
        return os.fdopen(handle, "rb")

    def read(self, path: str, limit: int) -> bytes:
        """The bytes of a file of at most `limit` bytes; TooLarge beyond."""
        with self.open(path) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise TooLarge("the file is too large", field="path", value=path, allowed=f"up to {limit} bytes")
        return data

    def write(self, path: str, data: bytes) -> None:
        """Write a file, making its folders: whole or not at all, replacing what was there."""
        parts = _parts(path)
        if not parts:
            raise BadRequest("a file name is needed", field="path", value=path)
        with self._folder(parts[:-1], path, make=True) as folder:
            self._refuse_denied(parts, path)
            temporary = f".easel-{secrets.token_hex(8)}.tmp"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            handle = os.open(temporary, flags, 0o666, dir_fd=folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(temporary, parts[-1], src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(OSError):  # the first error is the one to report
                    os.unlink(temporary, dir_fd=folder)
                raise
            os.fsync(folder)

    def list(self, path: str = "") -> tuple[Entry, ...]:
        """What a folder holds, folders first, then by name; links and special files are left out."""
        parts = _parts(path)
        entries = []
        with self._folder(parts, path) as folder, os.scandir(folder) as found:
            for item in found:
                try:
                    status = item.stat(follow_symlinks=False)
                except FileNotFoundError:  # deleted between the listing and the look
                    continue
                kind = stat.S_IFMT(status.st_mode)
                if kind not in (stat.S_IFREG, stat.S_IFDIR) or self._is_denied((*parts, item.name), status):
                    continue
                is_folder = kind == stat.S_IFDIR
                entries.append(Entry(item.name, is_folder, 0 if is_folder else status.st_size, status.st_mtime))
        return tuple(sorted(entries, key=lambda entry: (not entry.folder, entry.name)))

    def exists(self, path: str) -> bool:
        """Is there a file or folder of this name?"""
        try:
            self.resolve(path)
        except NotFound:
            return False
        return True

    def mkdir(self, path: str) -> None:
        """Make a folder and those above it; fine when it is there already."""
        with self._folder(_parts(path), path, make=True):
            pass

    def rename(self, old: str, new: str, *, replace: bool = False) -> None:
        """Move a file or folder within the root; an existing target is refused unless `replace`."""
        self._refuse_above_denied(_parts(old), old)
        self._refuse_above_denied(_parts(new), new)
        if not replace and self.exists(new):
            raise BadRequest("there is something of that name already", field="new", value=new)
        with self._parent(old) as (source, name), self._parent(new) as (target, new_name):
            self._check(_parts(old), os.stat(name, dir_fd=source, follow_symlinks=False), old)
            os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)

    def delete(self, path: str, *, recursive: bool = False) -> None:
        """Delete a file or an empty folder; with `recursive` a folder with all that is in it."""
        self._refuse_above_denied(_parts(path), path)
        with self._parent(path) as (folder, name):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                os.unlink(name, dir_fd=folder)  # a link itself may go, what it points to is not touched
            elif recursive:
                shutil.rmtree(name, dir_fd=folder)
            else:
                os.rmdir(name, dir_fd=folder)

    @contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int, str]]:
        """Open the folder that holds `path`; gives its descriptor and the last name."""
        parts = _parts(path)
        if not parts:
            raise Forbidden("the root folder itself cannot be changed")
        with self._folder(parts[:-1], path) as folder:
            self._refuse_denied(parts, path)
            yield folder, parts[-1]

    @contextmanager
    def _folder(self, parts: tuple[str, ...], path: str, *, make: bool = False) -> Iterator[int]:
        """Open a folder component by component, and speak our errors while it is in use."""
        self._refuse_denied(parts, path)
        with _clear_errors(path):
            current = os.open(self.root, _FOLDER)
            try:
                for depth, name in enumerate(parts, start=1):
                    if make:
                        with suppress(FileExistsError):
                            os.mkdir(name, dir_fd=current)
                    following = os.open(name, _FOLDER, dir_fd=current)
                    os.close(current)
                    current = following
                    self._check(parts[:depth], os.fstat(current), path)
                yield current
            finally:
                os.close(current)

    def _is_denied(self, parts: tuple[str, ...], status: os.stat_result) -> bool:
        """By name, and by identity: another spelling or a bind mount of a denied folder is the same folder."""
        if any(_key(parts[: len(denied)]) == _key(denied) for denied in self._denied):
            return True
        return any((status.st_dev, status.st_ino) == identity for identity in self._denied_identities())

    def _denied_identities(self) -> Iterator[tuple[int, int]]:
        for denied in self._denied:
            with suppress(FileNotFoundError, NotADirectoryError):
                status = self.root.joinpath(*denied).stat()
                yield status.st_dev, status.st_ino

    def _refuse_denied(self, parts: tuple[str, ...], path: str) -> None:
        if any(_key(parts[: len(denied)]) == _key(denied) for denied in self._denied):
            raise Forbidden(f"{path!r} is not yours to see")

    def _refuse_above_denied(self, parts: tuple[str, ...], path: str) -> None:
        """Moving or deleting a folder above a denied one would uncover or destroy it."""
        if any(_key(denied[: len(parts)]) == _key(parts) for denied in self._denied):
            raise Forbidden(f"{path!r} holds what is not yours to change")

    def _check(self, parts: tuple[str, ...], status: os.stat_result, path: str) -> None:
        if self._is_denied(parts, status):
            raise Forbidden(f"{path!r} is not yours to see")
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise Forbidden(f"{path!r} is a link or a special file")


def _parts(path: str) -> tuple[str, ...]:
    """Split a path; refuse what could mean a place outside. Backslashes too: elsewhere they separate folders."""
    if path.startswith("/"):
        raise Forbidden(f"{path!r} is not below this folder")
    if "\0" in path or "\\" in path:
        raise Forbidden(f"{path!r} holds characters that no path may hold")
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if ".." in parts:
        raise Forbidden(f"{path!r} leaves its folder")
    return parts


def _key(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Names as a file system that ignores case or composition compares them."""
    return tuple(unicodedata.normalize("NFKC", part).casefold() for part in parts)


@contextmanager
def _clear_errors(path: str) -> Iterator[None]:
    """Turn the system's errors into ours, without the place of the root."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"{path!r} does not exist") from error
    except OSError as error:
        if error.errno in _LINK_OR_FILE:
            raise Forbidden(f"{path!r} goes through a link or a file") from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise EaselError(f"the disk is full: {path!r} was not written") from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise EaselError(f"the server may not write or read {path!r} (read-only or missing rights)") from error
        if error.errno in (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ):
            raise BadRequest("not a possible file name", field="path", value=path) from error
        raise EaselError(f"{path!r}: {os.strerror(error.errno or 0)}") from error
    except UnicodeEncodeError as error:
        raise BadRequest("not a possible file name", field="path", value=path) from error
