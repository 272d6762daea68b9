"""The queue service of one gateway: its streams, who is connected to them, and the dispatcher."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from contextlib import suppress

from easel.errors import EaselError, SettingsError
from easel.files import ScopedFiles
from easel.outputs.journal import Journal
from easel.settings import Settings
from easel.streams.delivery import Delivery
from easel.streams.dispatcher import Dispatcher, Failure, Perform
from easel.streams.ledger import Ledger
from easel.streams.sqlite_store import SqliteStore
from easel.streams.store import StreamStore

DATABASE = "easel.db"  # in the state folder
_COPY_EVERY = 2.0  # seconds


def open_store(settings: Settings) -> StreamStore:
    """The store that the settings name: Redis by its URL, else the service's own SQLite file. Errors: SettingsError."""
    if not settings.queue_url:
        return SqliteStore(settings.state_dir / DATABASE)
    try:
        from easel.streams.redis_store import RedisStore  # an optional dependency
    except ImportError as error:
        raise SettingsError("--queue-url needs the redis package: pip install 'easel-studio[queue]'") from error
    return RedisStore(settings.queue_url, silence=settings.queue_silence)


class QueueService:
    """Input, sink and dead letters of the service `--service-name`."""

    def __init__(
        self,
        settings: Settings,
        store: StreamStore,
        *,
        journal: Journal,
        files: ScopedFiles,
        ledger: Ledger,
        workers: Callable[[], int] = lambda: 1,
    ) -> None:
        """`workers`: how many take tasks now; each has `--worker-threads` of them at once."""
        self.store, self.service = store, settings.service_name
        self.max_payload, self.capacity = settings.queue_max_payload, settings.queue_max_length
        self.input, self.sink, self.rear = self.service, f"{self.service}/sink", f"{self.service}/rear"
        self.delivery = Delivery(store, (self.input, self.sink, self.rear))
        self._dispatcher = Dispatcher(
            store,
            self.delivery,
            service=self.service,
            sink=self.sink,
            sink_capacity=self.capacity,
            threads=lambda: workers() * settings.worker_threads,
            max_delivery=settings.max_delivery,
            max_payload=self.max_payload,
            journal=journal,
            files=files,
            enter=ledger.enter,
            name=f"worker-{uuid.uuid4().hex[:8]}",
        )
        self._ledger = ledger
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, perform: Perform, failure: Failure) -> None:
        """Open the streams and begin to work."""
        await asyncio.to_thread(self._open)
        self.delivery.start()
        self._tasks = [asyncio.create_task(self._dispatcher.run(perform, failure))]
        if not isinstance(self.store, SqliteStore):
            self._tasks.append(asyncio.create_task(self._copy_ledger()))

    async def stop(self) -> None:
        """Give back what is unfinished, push nothing more, close the store."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.delivery.stop()
        await asyncio.to_thread(self.store.close)

    def stream(self, below: str, *, rear: bool) -> str:
        """The stream at a path: "" is the input, "sink" the sink; `rear`: the dead letters of either."""
        return self.rear if rear else self.sink if below == "sink" else self.input

    def backlog(self) -> int:
        """Tasks that wait in the input, this gateway's share of them; those that are worked on are jobs already."""
        if not self._tasks:  # not open yet, or not any more
            return 0
        consumers = [who for who in self.store.consumers(self.input) if who.group == self.service]
        waiting = self.store.facts(self.input).length - sum(len(self.store.held(self.input, one)) for one in consumers)
        return -(-max(0, waiting) // max(1, len(consumers)))

    async def attributes(self, stream: str) -> dict[str, str]:
        """A stream in texts, under the names that Alibaba's clients read."""
        await self.delivery.commits_done(stream)
        facts = await asyncio.to_thread(self.store.facts, stream)
        consumers = await asyncio.to_thread(self.store.consumers, stream)
        values = {
            "meta.name": stream,
            "meta.state": "Normal",
            "meta.backend": self.store.name,
            "meta.maxPayloadBytes": str(self.max_payload),
            "meta.header.user": "X-EAS-QueueService-Redis-Uid",
            "meta.header.group": "X-EAS-QueueService-Redis-Gid",
            "meta.header.priority": "X-EAS-QueueService-Redis-Priority",
            "stream.length": str(facts.length),
            "stream.firstEntry": str(facts.first),
            "stream.lastEntry": str(facts.last),
            "stream.approxMaxLength": str(self.capacity),
            "consumers.stats.total": str(len(consumers)),
            "consumers.status.total": str(len(consumers)),
        }
        for number, who in enumerate(consumers):
            values[f"consumers.list.[{number}]"] = self.delivery.describe(stream, who)
        for number, group in enumerate(sorted({who.group for who in consumers})):
            values[f"groups.list.[{number}]"] = f"Id: {group}"
        return values

    async def _copy_ledger(self) -> None:
        """The lines of a store elsewhere, by job id, into the database here."""
        copied: set[tuple[str, float]] = set()
        while True:
            with suppress(EaselError):  # the store does not answer: later
                lines = await asyncio.to_thread(self.store.ledger)
                fresh = [line for line in lines if (line.job, line.ended) not in copied]
                await asyncio.to_thread(self._ledger.enter, *fresh)
                copied = {(line.job, line.ended) for line in lines}
            await asyncio.sleep(_COPY_EVERY)

    def _open(self) -> None:
        for stream, owner in ((self.input, self.service), (self.sink, ""), (self.rear, "")):
            self.store.open(stream, capacity=self.capacity, owner=owner)
