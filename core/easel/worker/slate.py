"""A slate between a gateway and a worker: who is inside an extension's code there, readable when the worker is dead.

The worker writes it at every entry and exit of a hook, with a memory copy and no system call, so it is right even for
a process that the system killed, or one whose interpreter lock is held for ever.
"""

from __future__ import annotations

import mmap
import tempfile
from typing import IO

from easel.extensions.watch import Inside
from easel.values.wire import decode, encode

_SIZE = 1 << 14  # bytes; the first four are the length of the text
_MOST = 64  # threads that are told


class Slate:
    """The shared piece of memory; a gateway makes it, a worker opens it by its descriptor."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._file: IO[bytes] | None = None
        if descriptor is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 -- it lives as long as the slate
            self._file.truncate(_SIZE)
            descriptor = self._file.fileno()
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, _SIZE)

    def write(self, inside: tuple[Inside, ...]) -> None:
        """Put down who is inside now."""
        text = encode(inside[:_MOST], tuple[Inside, ...])
        if len(text) > _SIZE - 4:
            text = b"[]"
        self._memory[:4] = b"\0\0\0\0"  # nothing, in case the end comes in between
        self._memory[4 : 4 + len(text)] = text
        self._memory[:4] = len(text).to_bytes(4, "little")

    def read(self) -> list[Inside]:
        """Who was inside at last, the one who is there longest first."""
        length = int.from_bytes(self._memory[:4], "little")
        try:
            found = decode(tuple[Inside, ...], self._memory[4 : 4 + length]) if 0 < length <= _SIZE - 4 else ()
        except ValueError:  # the end came while it was written
            return []
        return sorted(found, key=lambda one: one.since)

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
        if self._file is not None:
            self._file.close()

    def wipe(self) -> None:
        """Nobody is inside: a fresh worker begins."""
        self._memory[:4] = b"\0\0\0\0"
