"""Pushing items to consumers: who is connected to this gateway, whose turn it is, and what waits for a change.

One task a group takes items from the store and hands them round its consumers, so that a thousand watchers of one group
cost as much as one. Everything here belongs to the event loop; the store's calls run in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from easel.errors import EaselError
from easel.streams.items import Interest, Item
from easel.streams.store import StreamStore

log = logging.getLogger("easel.streams")
_ALIVE_EVERY = 1.0  # seconds
_AGAIN = 1.0  # seconds until a store that failed is asked again


@dataclass(slots=True, eq=False)
class Consumer:
    """One connection that items are pushed to; its owner sends what `outbox` gives."""

    interest: Interest
    window: int
    auto_commit: bool = False
    outbox: asyncio.Queue[Item] = field(default_factory=asyncio.Queue)
    outstanding: set[int] = field(default_factory=set)  # claimed, and not committed (auto: not answered) yet
    pushed: int = 0  # the last index
    silence: Callable[[], float] = lambda: 0.0  # seconds since the other side was heard
    parked: bool = False  # another connection of the same name has its place
    using: asyncio.Lock = field(default_factory=asyncio.Lock)  # between a claim and a commit after sending

    @property
    def room(self) -> int:
        """How many items may be pushed now."""
        return 0 if self.parked else self.window - len(self.outstanding)

    def settle(self, indexes: Sequence[int]) -> None:
        """These do not count any more."""
        self.outstanding.difference_update(indexes)


class Bell:
    """Rings when a stream changes; who waits takes the sound *before* it looks, so that no change is missed."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def sound(self) -> asyncio.Event:
        """What the next ring will set."""
        return self._event

    def ring(self) -> None:
        """Something changed."""
        self._event.set()
        self._event = asyncio.Event()


class Delivery:
    """The consumers of one gateway."""

    def __init__(self, store: StreamStore, streams: Sequence[str]) -> None:
        self._store = store
        self._bells = {stream: Bell() for stream in streams}
        self._groups: dict[tuple[str, str], deque[Consumer]] = {}
        self._pumps: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._background: list[asyncio.Task[None]] = []
        self._unwatch: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin to listen to the store; call it inside the event loop."""
        loop = asyncio.get_running_loop()

        def changed(stream: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self.ring, stream)

        self._unwatch = self._store.watch(changed)
        self._background.append(asyncio.create_task(self._keep_alive()))

    async def stop(self) -> None:
        """Push nothing more."""
        if self._unwatch is not None:
            self._unwatch()
        tasks = [*self._background, *self._pumps.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def ring(self, stream: str) -> None:
        """A stream changed."""
        if stream in self._bells:
            self._bells[stream].ring()

    def sound(self, stream: str) -> asyncio.Event:
        """Set at the next change of a stream."""
        return self._bells[stream].sound()

    async def add(self, stream: str, consumer: Consumer) -> None:
        """A consumer is there. The one that had its group and name before is parked."""
        who = consumer.interest
        line = self._line(stream, who)
        earlier = self.find(stream, who)
        if earlier is not None:
            line.remove(earlier)
            earlier.parked = True
            await self._empty(earlier)
        consumer.parked = False
        await asyncio.to_thread(self._take_over, stream, who)
        line = self._line(stream, who)  # the group may have ended meanwhile
        line.append(consumer)
        pump = self._pumps.get((stream, who.group))
        if pump is None or pump.done():
            self._pumps[stream, who.group] = asyncio.create_task(self._pump(stream, line))
        self.ring(stream)

    async def remove(self, stream: str, consumer: Consumer) -> None:
        """A consumer is gone; a parked one had left before."""
        if consumer.parked:
            return
        consumer.parked = True
        key = (stream, consumer.interest.group)
        self._groups[key].remove(consumer)
        if not self._groups[key]:  # its pump ends by itself
            del self._groups[key], self._pumps[key]
            self.ring(stream)
        async with consumer.using:  # after a claim that is under way
            await asyncio.to_thread(self._store.leave, stream, consumer.interest)

    def settled(self, stream: str, group: str | None, indexes: Sequence[int]) -> None:
        """Items were committed, given back (by one group) or removed (None: for all groups)."""
        for (name, owner), line in self._groups.items():
            if name == stream and group in (None, owner):
                for consumer in line:
                    consumer.settle(indexes)
        self.ring(stream)

    def truncated(self, stream: str, below: int) -> None:
        """All items below an index were removed."""
        here = [one.outstanding for (name, _), line in self._groups.items() if name == stream for one in line]
        self.settled(stream, None, [index for indexes in here for index in indexes if index < below])

    async def commits_done(self, stream: str) -> None:
        """Wait for the automatic commits that are under way: what was written before is committed after this."""
        for consumer in [one for (name, _), line in self._groups.items() if name == stream for one in line]:
            async with consumer.using:
                pass

    def find(self, stream: str, who: Interest) -> Consumer | None:
        """The consumer of that name, where it is connected to this gateway."""
        line = self._groups.get((stream, who.group), ())
        return next((one for one in line if one.interest.consumer == who.consumer), None)

    def describe(self, stream: str, who: Interest) -> str:
        """A consumer in a line of text, as the protocol's attributes have it."""
        told = {"Id": f"{who.group}.{who.consumer}"}
        if (here := self.find(stream, who)) is not None:
            told |= {
                "Index": str(here.pushed),
                "Pending": str(len(here.outstanding)),
                "Status": "Running",
                "Idle": f"{here.silence():.3f}s",
                "Window": str(here.window),
                "Slots": str(max(0, here.room)),
                "AutoCommit": str(here.auto_commit).lower(),
            }
        if who.tags:
            told["Tags"] = f"tags[{' '.join(f'{name}={value}' for name, value in who.tags.items())}]"
        return ", ".join(f"{name}: {value}" for name, value in told.items())

    def _line(self, stream: str, who: Interest) -> deque[Consumer]:
        return self._groups.setdefault((stream, who.group), deque())

    def _take_over(self, stream: str, who: Interest) -> None:
        """What an earlier connection of that name held is pushed again, to this one or another."""
        held = self._store.held(stream, who)
        if held:
            self._store.release(stream, who.group, held)
        self._store.join(stream, who)

    async def _empty(self, consumer: Consumer) -> None:
        async with consumer.using:
            while not consumer.outbox.empty():
                consumer.outbox.get_nowait()
            consumer.outstanding.clear()

    async def _pump(self, stream: str, line: deque[Consumer]) -> None:
        while line:
            sound = self.sound(stream)
            try:
                moved = await self._round(stream, line)
            except EaselError as error:
                log.warning("stream %s cannot be read now: %s", stream, error.message)
                await asyncio.sleep(_AGAIN)
                continue
            except Exception:  # whatever a database says: watchers must not wait for ever
                log.exception("stream %s cannot be read now", stream)
                await asyncio.sleep(_AGAIN)
                continue
            if not moved:
                await sound.wait()

    async def _round(self, stream: str, line: deque[Consumer]) -> bool:
        """Give every consumer that has room something, the longest waiting first; whether anybody got anything."""
        if self._store.shared:
            await self._hear_of_commits(stream, [one for one in line if one.room <= 0])
        ready = [one for one in line if one.room > 0]
        nothing: set[str] = set()  # scopes in which there is nothing left
        moved = False
        for consumer in ready:
            scope = consumer.interest.scope
            if scope in nothing:
                continue
            async with consumer.using:
                if consumer.room <= 0:
                    continue
                most = consumer.room if len(ready) == 1 else 1
                held = len(consumer.outstanding) if not consumer.auto_commit else consumer.outbox.qsize()
                items = await asyncio.to_thread(self._store.claim, stream, consumer.interest, held + most)
                for item in items:
                    consumer.outstanding.add(item.index)
                    consumer.pushed = item.index
                    consumer.outbox.put_nowait(item)
            if items:
                moved = True
                if consumer in line:
                    line.remove(consumer)
                    line.append(consumer)
            else:
                nothing.add(scope)
        return moved

    async def _hear_of_commits(self, stream: str, full: list[Consumer]) -> None:
        """Another gateway may have been told that a consumer here is done with items."""
        for consumer in full:
            if not consumer.auto_commit and not consumer.parked:
                held = await asyncio.to_thread(self._store.held, stream, consumer.interest)
                consumer.outstanding.intersection_update(held)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(_ALIVE_EVERY)
            here = [(stream, one.interest) for (stream, _), line in self._groups.items() for one in line]
            try:
                await asyncio.to_thread(self._tell_alive, here)
            except EaselError as error:
                log.warning("the stream store does not answer: %s", error.message)
            for stream in self._bells:
                self.ring(stream)  # consumers of other gateways may be gone, without a word

    def _tell_alive(self, here: list[tuple[str, Interest]]) -> None:
        for stream, who in here:
            self._store.alive(stream, who)
