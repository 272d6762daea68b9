"""Where streams are kept: the interface that SQLite and Redis both fulfil, and how a store is chosen.

Every call is atomic and, where it changes something, durable when it returns. Calls block: not for an event loop. Any
thread may call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from easel.streams.items import Call, Facts, Interest, Item, Place
from easel.values.ledger import Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """An item to be stored. `key`: sent again with the same `fingerprint`, the first item's index is the answer."""

    data: bytes
    tags: Mapping[str, str]
    priority: int = 0
    call: Call | None = None
    key: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a task ends: `result` for the sink (None: nothing is told), whether it becomes a dead letter, its line."""

    result: Put | None
    dead: bool
    line: Line


class StreamStore(Protocol):
    """The streams of one service or of several; `owner` of a stream is the group whose commit alone removes items.

    A stream without an owner loses an item when the committing group and every group with a live consumer that is
    interested in it are done with it.
    """

    name: str
    shared: bool  # several gateways may use it at once

    def open(self, stream: str, *, capacity: int, owner: str = "") -> None:
        """Make a stream known (once, at start). What consumers of an earlier life held is returned to its group."""
        ...

    def put(self, stream: str, item: Put) -> tuple[int, str]:
        """Append; the index and the request id (the first one's for a repeated key).

        Errors: StreamFull, KeyUsedOtherwise.
        """
        ...

    def read(self, stream: str, *, start: int = 0, count: int = 1, tags: Mapping[str, str] | None = None) -> list[Item]:
        """Items from index `start` on, in index order, whoever holds them."""
        ...

    def delete(self, stream: str, indexes: Sequence[int]) -> None:
        """Remove items for all groups; unknown ones are passed over."""
        ...

    def truncate(self, stream: str, below: int) -> None:
        """Remove all items whose index is below."""
        ...

    def facts(self, stream: str) -> Facts:
        """The stream in numbers."""
        ...

    def count(self, stream: str, *, priority: int | None = None, tags: Mapping[str, str] | None = None) -> int:
        """How many items there are of a kind."""
        ...

    def join(self, stream: str, who: Interest) -> None:
        """A consumer is there. One of the same group and name replaces the earlier one, and takes over what it held."""
        ...

    def leave(self, stream: str, who: Interest) -> None:
        """A consumer is gone: what it held is returned to its group, delivered later to whoever asks."""
        ...

    def alive(self, stream: str, who: Interest) -> None:
        """A consumer is still there; told every few seconds. One that is not told of for ten is gone."""
        ...

    def consumers(self, stream: str) -> list[Interest]:
        """Who is there now, at all gateways."""
        ...

    def claim(self, stream: str, who: Interest, window: int) -> list[Item]:
        """Items for a consumer, as many as `window` leaves room for beside what it holds: returned ones and fresh
        ones, higher priority first, then lower index. They are pending now.
        """
        ...

    def held(self, stream: str, who: Interest) -> list[int]:
        """Indexes that a consumer holds."""
        ...

    def commit(self, stream: str, group: str, indexes: Sequence[int]) -> None:
        """A group is done with items, whichever of its consumers held them, or none; unknown ones are passed over."""
        ...

    def release(self, stream: str, group: str, indexes: Sequence[int], *, counted: bool = True) -> None:
        """Give pending items back to their group; not `counted`, the delivery did not happen."""
        ...

    def place(self, stream: str, index: int, group: str) -> Place | None:
        """Where an item is in a group's line; None when it is not in the stream."""
        ...

    def finish(self, stream: str, task: Item, sink: str, outcome: Outcome) -> bool:
        """End a task that the stream's owner holds, in one transaction: its result to the sink, itself removed (and
        kept as a dead letter in `<stream>/rear`), its line in the ledger. False, and nothing happens, when this
        delivery is not the current one any more. A full sink takes the result all the same: nothing is lost.
        """
        ...

    def ledger(self, *, limit: int = 1000) -> list[Line]:
        """The newest lines, the newest first."""
        ...

    def watch(self, changed: Callable[[str], None]) -> Callable[[], None]:
        """Have `changed(stream)` called, from any thread, after every change; returns what ends it."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...
