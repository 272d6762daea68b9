"""Open descriptors: the steps that must not be done by path."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from easel.errors import Conflict, Forbidden

NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a named pipe must not hang us before we see that it is none of ours.
CAREFUL = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)


def refuse_special(handle: int, path: str) -> None:
    """Errors: Forbidden, the handle closed, for anything but a regular file."""
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Forbidden(f"{path!r} is not a regular file")


def write_all(handle: int, data: bytes, at: int) -> None:
    """All of `data` at an offset; the system may take it in pieces."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(handle, rest, at)
        rest, at = rest[written:], at + written


def give_name(source: int, name: str, target: int, new: str, *, replace: bool, path: str) -> None:
    """Rename between two open folders. Without `replace` a file that comes between the look and the move wins."""
    if replace:
        os.rename(name, new, src_dir_fd=source, dst_dir_fd=target)
        return
    taken = Conflict("there is something of that name already", field="path", value=path)
    if not stat.S_ISDIR(os.stat(name, dir_fd=source, follow_symlinks=False).st_mode):
        try:
            os.link(name, new, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
            os.unlink(name, dir_fd=source)
            return
        except FileExistsError:
            raise taken from None
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
    with suppress(FileNotFoundError):
        os.stat(new, dir_fd=target, follow_symlinks=False)
        raise taken
    os.rename(name, new, src_dir_fd=source, dst_dir_fd=target)
