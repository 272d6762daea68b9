"""A queue that serves users by least service, and one user's jobs in order of arrival.

Service is measured in seconds of engine time. A user who comes back after a pause starts level with the least served
user who is waiting or running, so that nobody can save up credit.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items in line, by user. Not locked: its owner is."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, deque[T]] = OrderedDict()
        self._service: dict[str, float] = {}
        self._active: dict[str, int] = {}  # items taken and not yet finished

    def put(self, user: str, item: T, *, front: bool = False) -> None:
        """Add an item at the end of its user's line (`front`: at its head, for a second delivery)."""
        self._level(user)
        line = self._lines.setdefault(user, deque())
        line.appendleft(item) if front else line.append(item)

    def take(self, most: float = math.inf) -> T | None:
        """The next item: of the least served user with fewer than `most` taken and not yet finished; those come first
        who have the fewest of these."""
        waiting = [user for user, line in self._lines.items() if line and self._active.get(user, 0) < most]
        if not waiting:
            return None
        user = min(waiting, key=lambda name: (self._active.get(name, 0), self._service.get(name, 0.0)))
        item = self._lines[user].popleft()
        if not self._lines[user]:
            del self._lines[user]
        self._active[user] = self._active.get(user, 0) + 1
        return item

    def join(self, user: str) -> None:
        """An item that was never in line begins."""
        self._level(user)
        self._active[user] = self._active.get(user, 0) + 1

    def finished(self, user: str, seconds: float) -> None:
        """An item that was taken is done and took `seconds` of service."""
        self._active[user] -= 1
        if not self._active[user]:
            del self._active[user]
        self._service[user] = self._service.get(user, 0.0) + seconds

    def remove(self, user: str, item: T) -> bool:
        """Take a waiting item out; False when it does not wait."""
        line = self._lines.get(user)
        if line is None or item not in line:
            return False
        line.remove(item)
        if not line:
            del self._lines[user]
        return True

    def count(self, user: str) -> int:
        """A user's items in line."""
        return len(self._lines.get(user, ()))

    def __iter__(self) -> Iterator[T]:
        for line in self._lines.values():
            yield from line

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    def _level(self, user: str) -> None:
        if user in self._lines or user in self._active:
            return
        present = [self._service.get(name, 0.0) for name in {*self._lines, *self._active}]
        floor = min(present, default=0.0)
        if not present:  # nobody is here: old accounts say nothing any more
            self._service.clear()
        self._service[user] = max(self._service.get(user, 0.0), floor)
