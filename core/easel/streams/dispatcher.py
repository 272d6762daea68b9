"""Takes tasks from the input, has them performed, and ends each with one result in the sink.

A task is given out at most `max_delivery` times. A refusal (4xx) is a final answer; an error of the service (5xx, a
lost worker) uses up a delivery and is tried again while there are any; a full line of jobs uses up nothing. What has
failed for good is kept as a dead letter, its pictures are removed, and whoever waits for it is told.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from easel.errors import EaselError, JobRefused, TooLarge, WorkerLost
from easel.files import ScopedFiles
from easel.killpoints import killpoint
from easel.outputs.journal import Journal
from easel.streams.delivery import Delivery
from easel.streams.items import REQUEST_ID, Interest, Item, job_id
from easel.streams.store import Outcome, Put, StreamStore
from easel.values.ledger import Line

log = logging.getLogger("easel.streams")
_AGAIN = 1.0  # seconds until the line of jobs, or a store that does not answer, is tried again
_LOOK_EVERY = 1.0  # seconds, even when nothing rings: the store is told that this consumer is alive
_LINES = 10_000  # of the ledger: the newest
_LONGEST_REASON = 200  # characters of the tag `lastReason`


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One delivery of an item of the input, as the API is asked to perform it. `id` is the same at every delivery."""

    id: str
    item: Item
    limit: int  # bytes that the result may have


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the API answered: HTTP `status`, error tree's `code` (0: done), body, and its line in the ledger.

    `line` has what the job came to, as far as there was one; the dispatcher adds what it knows itself.
    """

    status: int
    body: bytes
    code: int = 0
    reason: str = ""
    line: Line


Perform = Callable[[Task], Awaitable[Answer]]
Failure = Callable[[Task, EaselError], Answer]


class Dispatcher:
    """The one consumer of an input that performs tasks, for one gateway; as many at once as `threads` says."""

    def __init__(
        self,
        store: StreamStore,
        delivery: Delivery,
        *,
        service: str,
        sink: str,
        sink_capacity: int,
        threads: Callable[[], int],
        max_delivery: int,
        max_payload: int,
        journal: Journal,
        files: ScopedFiles,
        enter: Callable[[Line], None],
        name: str,
    ) -> None:
        self._store, self._delivery = store, delivery
        self._input, self._sink, self._sink_capacity = service, sink, sink_capacity
        self._threads, self._max_delivery, self._max_payload = threads, max_delivery, max_payload
        self._journal, self._files, self._enter = journal, files, enter
        self._who = Interest(group=service, consumer=name)
        self._busy: set[asyncio.Task[None]] = set()

    async def run(self, perform: Perform, failure: Failure) -> None:
        """Work until cancelled; what is unfinished then is given back, as if it had not been given out."""
        await asyncio.to_thread(self._clean)
        await asyncio.to_thread(self._store.join, self._input, self._who)
        try:
            while True:
                sounds = [self._delivery.sound(stream) for stream in (self._input, self._sink)]
                if await self._take(perform, failure):
                    continue
                waits = [asyncio.ensure_future(sound.wait()) for sound in sounds]
                await asyncio.wait([*waits, *self._busy], timeout=_LOOK_EVERY, return_when=asyncio.FIRST_COMPLETED)
                for wait in waits:
                    wait.cancel()
        finally:
            for one in self._busy:
                one.cancel()
            await asyncio.gather(*self._busy, return_exceptions=True)
            await asyncio.to_thread(self._store.leave, self._input, self._who)

    async def _take(self, perform: Perform, failure: Failure) -> bool:
        """Begin what there is room for, here and in the sink; whether anything was begun."""
        try:
            await asyncio.to_thread(self._store.alive, self._input, self._who)
            facts = await asyncio.to_thread(self._store.facts, self._sink)
            room = min(self._threads(), self._sink_capacity - facts.length) - len(self._busy)
            if room <= 0:
                return False
            items = await asyncio.to_thread(self._store.claim, self._input, self._who, len(self._busy) + room)
        except EaselError as error:
            log.warning("no tasks can be taken now: %s", error.message)
            return False
        except Exception:  # whatever a database says: the next look may find it well
            log.exception("no tasks can be taken now")
            return False
        for item in items:
            killpoint("claimed")
            task = Task(id=job_id(self._input, item.index, item.tags[REQUEST_ID]), item=item, limit=self._max_payload)
            doing = asyncio.create_task(self._work(task, perform, failure))
            self._busy.add(doing)
            doing.add_done_callback(self._busy.discard)
        return bool(items)

    async def _work(self, task: Task, perform: Perform, failure: Failure) -> None:
        try:
            if task.item.deliveries > self._max_delivery:  # this process was killed in the last one
                answer = failure(task, WorkerLost("the service was killed while it ran this task"))
            else:
                answer = await perform(task)
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.to_thread(self._release, task, counted=False))
            raise
        except Exception:  # a bug of ours must not lose the task
            log.exception("task %d of %s failed", task.item.index, self._input)
            answer = failure(task, EaselError("internal error; see the server's log"))
        killpoint("performed")
        if answer.code == JobRefused.code and answer.status == JobRefused.status:
            await asyncio.sleep(_AGAIN)
            await asyncio.to_thread(self._release, task, counted=False)
        elif answer.status >= 500 and task.item.deliveries < self._max_delivery:
            log.warning("task %d of %s is tried again: %s", task.item.index, self._input, answer.reason)
            line = self._line(task, answer)
            lost = replace(line, job=f"{task.id}#{line.attempts}", state="lost")
            await asyncio.to_thread(self._enter, lost)
            await asyncio.to_thread(self._release, task, counted=True)
        else:
            if len(answer.body) > self._max_payload:
                answer = failure(task, TooLarge(f"the result is larger than {self._max_payload} bytes"))
            await self._end(task, answer)

    def _line(self, task: Task, answer: Answer) -> Line:
        call, code = task.item.call, answer.code or (EaselError.code if answer.status >= 300 else 0)
        return replace(
            answer.line,
            job=task.id,
            service=self._input,
            user=call.user,
            state="done" if not code else "cancelled" if answer.line.state == "cancelled" else "failed",
            status=code,
            attempts=min(task.item.deliveries, self._max_delivery),
            created=call.created,
            ended=time.time(),
        )

    def _release(self, task: Task, *, counted: bool) -> None:
        self._store.release(self._input, self._who.group, [task.item.index], counted=counted)

    async def _end(self, task: Task, answer: Answer) -> None:
        """One transaction ends the task; a store that does not answer is asked until it does."""
        item, failed = task.item, answer.status >= 300
        if failed:
            await asyncio.to_thread(self._remove_pictures, task.id)
        told = {"lastCode": str(answer.status), "lastReason": answer.reason[:_LONGEST_REASON]} if failed else {}
        outcome = Outcome(
            result=Put(data=answer.body, tags={**item.tags, **told}) if answer.body else None,
            dead=answer.status >= 500,
            line=self._line(task, answer),
        )
        while True:
            try:
                ended = await asyncio.to_thread(self._store.finish, self._input, item, self._sink, outcome)
                break
            except EaselError as error:
                log.warning("a result cannot be stored now: %s", error.message)
                await asyncio.sleep(_AGAIN)
        killpoint("finished")
        if ended:
            await asyncio.to_thread(self._journal.forget, task.id)

    def _remove_pictures(self, job: str) -> None:
        for path in self._journal.paths(job):
            if self._files.exists(path):
                self._files.delete(path)

    def _clean(self) -> None:
        """Journals of tasks that had ended when this process was killed."""
        open_jobs = set(self._journal.jobs())
        for line in self._store.ledger(limit=_LINES):
            if line.job in open_jobs:
                self._journal.forget(line.job)
