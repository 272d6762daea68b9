"""The walls around a folder: how a path becomes an open descriptor inside it, or an error.

A path is walked one component at a time from the root's open descriptor, and no component may be a link. So neither
`..`, absolute paths and links (dangling ones too) nor a directory swapped for a link while we look leads outside.
What an attacker can still do is what the file system itself lets them do inside the root.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from easel.errors import BadRequest, DiskFull, EaselError, Forbidden, NotFound
from easel.files.names import key_of, parts_of

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LINK_OR_FILE = (errno.ELOOP, errno.ENOTDIR, errno.EMLINK)  # what opening something that is no folder answers


class Walls:
    """A root that cannot be left, and `denied` subtrees that behave as if they were not there."""

    def __init__(self, root: Path, denied: Iterable[str]) -> None:
        self.root = root.resolve(strict=True)
        self._denied = tuple(parts_of(path) for path in denied)
        if not all(self._denied):
            raise ValueError("the root itself cannot be denied")

    @contextmanager
    def parent(self, path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """Open the folder that holds `path`; gives its descriptor and the last name. `make`: make the folders."""
        parts = parts_of(path)
        if not parts:
            raise Forbidden("the root folder itself cannot be changed")
        with self.folder(parts[:-1], path, make=make) as folder:
            self.refuse_denied(parts, path)
            yield folder, parts[-1]

    @contextmanager
    def folder(self, parts: tuple[str, ...], path: str, *, make: bool = False) -> Iterator[int]:
        """Open a folder component by component, and speak our errors while it is in use."""
        self.refuse_denied(parts, path)
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
                    self.check(parts[:depth], os.fstat(current), path)
                yield current
            finally:
                os.close(current)

    def is_denied(
        self, parts: tuple[str, ...], status: os.stat_result, identities: frozenset[tuple[int, int]] | None = None
    ) -> bool:
        """By name, and by identity: another spelling or a bind mount of a denied folder is the same folder."""
        if self._is_named(parts):
            return True
        return (status.st_dev, status.st_ino) in (self.denied_identities() if identities is None else identities)

    def denied_identities(self) -> frozenset[tuple[int, int]]:
        """Device and number of the denied folders that exist; for many questions to `is_denied` at once."""
        found = set()
        for denied in self._denied:
            with suppress(FileNotFoundError, NotADirectoryError):
                status = self.root.joinpath(*denied).stat()
                found.add((status.st_dev, status.st_ino))
        return frozenset(found)

    def refuse_denied(self, parts: tuple[str, ...], path: str) -> None:
        """Errors: Forbidden for a denied subtree."""
        if self._is_named(parts):
            raise Forbidden(f"{path!r} is not yours to see")

    def refuse_above_denied(self, parts: tuple[str, ...], path: str) -> None:
        """Moving or deleting a folder above a denied one would uncover or destroy it."""
        if any(key_of(denied[: len(parts)]) == key_of(parts) for denied in self._denied):
            raise Forbidden(f"{path!r} holds what is not yours to change")

    def check(self, parts: tuple[str, ...], status: os.stat_result, path: str) -> None:
        """Errors: Forbidden for what is denied, a link or no file."""
        if self.is_denied(parts, status):
            raise Forbidden(f"{path!r} is not yours to see")
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise Forbidden(f"{path!r} is a link or a special file")

    def _is_named(self, parts: tuple[str, ...]) -> bool:
        return any(key_of(parts[: len(denied)]) == key_of(denied) for denied in self._denied)


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
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise DiskFull(f"the disk is full: {path!r} was not written") from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise Forbidden(f"the server may not write or read {path!r} (read-only or missing rights)") from error
        if error.errno in (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ):
            raise BadRequest("not a possible file name", field="path", value=path) from error
        raise EaselError(f"{path!r}: {os.strerror(error.errno or 0)}") from error
    except UnicodeEncodeError as error:
        raise BadRequest("not a possible file name", field="path", value=path) from error
