"""How much there is, how much there may be, and how much the disk still takes."""

from __future__ import annotations

import threading
import time

from easel import DiskFull

from .space import Space

_FRESH = 10.0  # seconds that a sum of all files is believed


class Quota:
    """Bytes that one person's files may take; 0: no bound."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._sums: dict[str, tuple[float, int]] = {}  # by owner: when it was taken, bytes

    def used(self, space: Space) -> int:
        """Bytes of all files of the person, the trash too; a few seconds old at most."""
        with self._lock:
            taken, used = self._sums.get(space.owner, (-_FRESH, 0))
        if time.monotonic() - taken >= _FRESH:
            used = sum(entry.size for _, entry in space.all.walk())
            with self._lock:
                self._sums[space.owner] = (time.monotonic(), used)
        return used

    def count(self, space: Space, size: int) -> None:
        """Count what has just come or (below 0) gone."""
        with self._lock:
            if space.owner in self._sums:
                taken, used = self._sums[space.owner]
                self._sums[space.owner] = (taken, used + size)

    def check(self, space: Space, folder: str, coming: int) -> None:
        """Errors: DiskFull when `coming` bytes are more than quota or disk take."""
        if self.limit and (left := self.limit - self.used(space)) < coming:
            raise DiskFull(f"your files may take {_words(self.limit)}; {_words(max(left, 0))} are left")
        if (free := space.all.free(folder)) < coming:
            raise DiskFull(f"the disk has only {_words(free)} left")


def _words(size: int) -> str:
    """A size for people."""
    for unit, bytes_ in (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if size >= bytes_:
            return f"{size / bytes_:.1f} {unit}"
    return f"{size} bytes"
