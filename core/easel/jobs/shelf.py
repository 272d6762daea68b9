"""Finished jobs: the newest some hundred of them, and what the newest came to within a budget of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class _Item(Protocol):
    def forget(self) -> None:
        """Let go of the outcome."""
        ...


T = TypeVar("T", bound=_Item)


class Shelf(Generic[T]):
    """Items by id, oldest first. Beyond `count` the oldest are gone; beyond `size` bytes they forget their outcome.

    The newest item keeps its outcome whatever its size: somebody is just about to read it.
    """

    def __init__(self, count: int, size: int) -> None:
        self._count, self._size = count, size
        self._items: OrderedDict[str, T] = OrderedDict()
        self._sizes: OrderedDict[str, int] = OrderedDict()  # of the outcomes that are still there

    def put(self, key: str, item: T, size: int) -> list[T]:
        """Add the newest; returns those that are gone now."""
        self._items[key], self._sizes[key] = item, size
        while sum(self._sizes.values()) > self._size and len(self._sizes) > 1:
            self._items[self._sizes.popitem(last=False)[0]].forget()
        gone = []
        while len(self._items) > self._count:
            oldest, item = self._items.popitem(last=False)
            self._sizes.pop(oldest, None)
            gone.append(item)
        return gone

    def get(self, key: str) -> T | None:
        """The item of that id, while it is here."""
        return self._items.get(key)

    def kept(self) -> tuple[int, int]:
        """How many items have their outcome still, and the bytes of those."""
        return len(self._sizes), sum(self._sizes.values())

    def __iter__(self) -> Iterator[T]:
        return iter(tuple(self._items.values()))
