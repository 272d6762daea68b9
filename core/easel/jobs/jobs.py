"""Every job of this service: accepted, waiting, running, finished; given to a worker, and told about to who waits."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal, Protocol

from easel.errors import BadRequest, DeadlinePassed, EaselError, JobCancelled, JobRefused, NotFound, WorkerLost
from easel.jobs.fairness import FairQueue
from easel.jobs.record import Once, Record
from easel.jobs.shelf import Shelf
from easel.jobs.tally import Tally
from easel.values.job import Job, JobState, Progress
from easel.values.request import GenerationRequest
from easel.values.result import ReportLine, Result

log = logging.getLogger("easel.jobs")
Signal = Literal["interrupt", "skip", "cancel"]
FINISHED_KEPT = 256
KEPT_BYTES = 64 << 20  # of finished jobs' pictures
UNBEGUN_DELIVERIES = 3  # for a job that was lost before the worker had begun it


class Worker(Protocol):
    """Where jobs run: a child process, threads of this one, or a replica elsewhere."""

    def run(self, job: Job) -> None:
        """Begin a job; what becomes of it is told to `Jobs.progressed`, `.done`, `.failed`."""
        ...

    def signal(self, job: Job, what: Signal) -> None:
        """Tell a running job to stop."""
        ...

    def follow(self, extensions: Mapping[str, int]) -> None:
        """Have on there who is on here, with the numbers of the instances."""
        ...

    def refresh(self) -> None:
        """Look at the model folders again."""
        ...

    def replace(self) -> None:
        """Kill the worker and start a fresh one; its jobs are reported lost."""
        ...

    def close(self) -> None:
        """Stop."""
        ...


class Jobs:
    """The jobs of one gateway. Thread-safe; `job_changed` is called outside the lock after every change of state."""

    def __init__(
        self,
        *,
        max_in_flight: int = 8,
        max_each: int | None = None,
        max_waiting: int = 1000,
        max_delivery: int = 1,
        deadline: float = 3600.0,
        kept_bytes: int = KEPT_BYTES,
        admit: Callable[[Job], None] = lambda job: None,
        job_changed: Callable[[Job], None] = lambda job: None,
    ) -> None:
        """`max_each` of the jobs in flight may be one user's; `deadline` is in seconds from the start of a job;
        `max_delivery` how often a lost worker's job is tried;
        `kept_bytes` how much of finished jobs' pictures is kept."""
        self._max_in_flight, self._max_waiting = max_in_flight, max_waiting
        self._max_each = max_in_flight if max_each is None else max_each
        self._max_delivery, self._deadline = max_delivery, deadline
        self._admit, self._job_changed = admit, job_changed
        self.tally = Tally()
        self._lock = threading.RLock()
        self._queue: FairQueue[Record] = FairQueue()
        self._running: OrderedDict[str, Record] = OrderedDict()
        self._records: dict[str, Record] = {}
        self._finished: Shelf[Record] = Shelf(FINISHED_KEPT, kept_bytes)
        self._once: dict[tuple[str, str], Record] = {}  # by user and key
        self._worker: Worker | None = None
        self._ready = False
        self._deliberate = False  # the worker is being replaced because of one late job
        self._closed = threading.Event()
        self._watch: threading.Thread | None = None

    def attach(self, worker: Worker) -> None:
        """Give the jobs a worker; waiting jobs are started as soon as it calls `ready`."""
        self._worker = worker
        self._watch = threading.Thread(target=self._watch_deadlines, name="easel-deadlines", daemon=True)
        self._watch.start()

    # -- for callers

    def submit(
        self,
        request: GenerationRequest,
        *,
        user: str = "",
        name: str = "",
        once: Once | None = None,
        told: Sequence[ReportLine] = (),
        id: str = "",
        created: float = 0.0,
    ) -> Job:
        """Queue a request; `id` and `created` (Unix time) are a task's own, so that a second run is the same job.

        Sent `once` before, the earlier job is the answer, unless that failed or was cancelled.
        Errors: JobRefused (line full, refused by an `admit_job` hook), BadRequest (a key used for something else).
        """
        if (earlier := self._earlier(user, once)) is not None:
            return earlier
        job = Job(
            id=id or uuid.uuid4().hex,
            user=user,
            name=name,
            request=request,
            created=created or time.time(),
            told=tuple(told),
        )
        self._admit(job)
        record = Record(job, once)
        with self._lock:
            if (earlier := self._earlier(user, once)) is not None:  # in the meantime
                return earlier
            if self._closed.is_set():
                raise JobRefused("the service is shutting down")
            if self._queue.count(user) >= self._max_waiting:  # each user's own line: nobody fills up another's
                raise JobRefused(f"{self._max_waiting} jobs are waiting already; try again later")
            self._records[job.id] = record
            if once is not None:
                self._once[user, once.key] = record
            self._queue.put(user, record)
            self.tally.accept(job)
        self._changed(record)
        self._dispatch()
        return job

    async def wait(self, job: Job) -> Result:
        """The result of a job; errors: whatever the job failed with, NotFound (long finished)."""
        return await asyncio.wrap_future(self._outcome(job))

    def wait_blocking(self, job: Job) -> Result:
        """`wait` for callers without an event loop."""
        return self._outcome(job).result()

    def state(self, job: Job) -> JobState:
        """Where a job is; errors: NotFound for a job long gone."""
        return self._record(job).state

    def elapsed(self, job: Job) -> float:
        """Seconds since a running job began; 0 for one that waits or is done."""
        record = self._running.get(job.id)
        return time.monotonic() - record.started if record else 0.0

    def running(self) -> list[Job]:
        """Jobs in the engine, oldest first."""
        with self._lock:
            return [record.job for record in self._running.values()]

    def waiting(self, user: str | None = None) -> list[Job]:
        """Jobs in line (of `user`)."""
        with self._lock:
            return [record.job for record in self._queue if user is None or record.job.user == user]

    def all(self) -> list[Job]:
        """Every job that is known, the newest last; finished ones for a while."""
        with self._lock:
            return [record.job for record in (*self._finished, *self._records.values())]

    def kept(self) -> tuple[int, int]:
        """Finished jobs whose pictures are kept, and the bytes of those."""
        with self._lock:
            return self._finished.kept()

    def find(self, name: str, user: str | None = None) -> Job | None:
        """The newest job with this id or client's name (of `user`), finished ones included for a while."""
        mine = (job for job in reversed(self.all()) if user is None or job.user == user)
        return next((job for job in mine if name in (job.id, job.name)), None)

    def outcome(self, job: Job) -> Result | EaselError | None:
        """What a finished job came to, as far as that is kept; None before. Errors: NotFound."""
        promise = self._outcome(job)
        if not promise.done():
            return None
        error = promise.exception()
        return error if isinstance(error, EaselError) else promise.result()

    @contextmanager
    def listening(self, job: Job, listener: Callable[[], object]) -> Iterator[None]:
        """Call `listener`, from any thread, after every change and progress of a job. Errors: NotFound."""
        record = self._record(job)
        record.listeners = [*record.listeners, listener]
        try:
            yield
        finally:
            record.listeners = [one for one in record.listeners if one is not listener]

    def signal(self, what: Signal, job: Job | None = None) -> None:
        """Interrupt, skip or cancel one job, or all running ones; no effect on finished jobs."""
        with self._lock:
            records = list(self._running.values()) if job is None else [r for r in [self._records.get(job.id)] if r]
            waiting = [r for r in records if r.state is JobState.QUEUED and self._queue.remove(r.job.user, r)]
        for record in waiting:
            self._finish(record, JobState.CANCELLED, JobCancelled())
        for record in records:
            if record.state is JobState.RUNNING and self._worker is not None:
                {"interrupt": record.job.interrupt, "skip": record.job.skip, "cancel": record.job.cancel}[what]()
                self._worker.signal(record.job, what)

    def close(self) -> None:
        """Refuse new jobs, end what runs and waits (their callers hear why), stop the worker."""
        self._closed.set()
        with self._lock:
            records = list(self._records.values())
        for record in records:
            record.job.cancel()
            self._finish(record, JobState.CANCELLED, WorkerLost("the service is shutting down"))
        if self._worker is not None:
            self._worker.close()

    # -- for workers

    def ready(self) -> None:
        """The worker takes jobs."""
        self._ready = True
        self._dispatch()

    def progressed(self, job_id: str, progress: Progress) -> None:
        """A running job got further."""
        record = self._running.get(job_id)
        if record is not None:
            record.begun = True
            if progress.preview is None:
                progress = replace(progress, preview=record.job.progress.preview)
            record.job.progress = progress
            self._tell(record)

    def done(self, job_id: str, result: Result) -> None:
        """A job ended well."""
        record = self._take_back(job_id, sum(result.seconds.values()))
        if record is not None:
            self._finish(record, JobState.DONE, result)
        self._dispatch()

    def failed(self, job_id: str, error: EaselError, seconds: float = 0.0) -> None:
        """A job ended badly."""
        record = self._take_back(job_id, seconds)
        if record is not None:
            state = JobState.CANCELLED if isinstance(error, JobCancelled) else JobState.FAILED
            self._finish(record, state, error)
        self._dispatch()

    def lost(self, culprit: str = "") -> None:
        """The worker died: its jobs are delivered again where they may be, failed otherwise; all wait for `ready`.

        `culprit`: in words, why it died and in whose code, for who asked.
        """
        because = f": {culprit}" if culprit else ""
        with self._lock:
            records = list(self._running.values())
            deliberate, self._deliberate = self._deliberate, False
            self._ready = False
        for record in records:
            seconds = time.monotonic() - record.started
            if self._take_back(record.job.id, seconds) is None:
                continue
            if seconds > self._deadline:
                late = DeadlinePassed(f"the job ran longer than {self._deadline:g} s{because}")
                self._finish(record, JobState.FAILED, late)
            elif deliberate or record.deliveries < (self._max_delivery if record.begun else UNBEGUN_DELIVERIES):
                with self._lock:
                    record.state, record.begun = JobState.QUEUED, False
                    record.deliveries -= deliberate  # not this job's fault
                    self._queue.put(record.job.user, record, front=True)
            else:
                self._finish(record, JobState.FAILED, WorkerLost(f"{WorkerLost().message.rstrip('.')}{because or '.'}"))

    def unable(self, reason: str) -> None:
        """The worker cannot be started: nobody who waits in line waits for nothing."""
        with self._lock:
            records = list(self._queue)
            for record in records:
                self._queue.remove(record.job.user, record)
        for record in records:
            self._finish(record, JobState.FAILED, WorkerLost(reason))

    # -- inside

    def _record(self, job: Job) -> Record:
        with self._lock:
            record = self._records.get(job.id) or self._finished.get(job.id)
        if record is None:
            raise NotFound("this job is not known any more")
        return record

    def _outcome(self, job: Job) -> Future[Result]:
        return self._record(job).outcome

    def _earlier(self, user: str, once: Once | None) -> Job | None:
        """The job that the same submission made before. Errors: BadRequest."""
        record = self._once.get((user, once.key)) if once else None
        if record is None or once is None or record.state in (JobState.FAILED, JobState.CANCELLED):
            return None
        if record.once != once:
            raise BadRequest("was used for another request", field="Idempotency-Key", value=once.key)
        return record.job

    def _dispatch(self) -> None:
        while self._worker is not None:
            with self._lock:  # around `_ready` too: a job given away after `lost` looked would be nobody's
                if not self._ready or self._closed.is_set() or len(self._running) >= self._max_in_flight:
                    return
                record = self._queue.take(self._max_each)
                if record is None:
                    return
                record.state, record.started = JobState.RUNNING, time.monotonic()
                record.deliveries += 1
                self._running[record.job.id] = record
            self._changed(record)
            try:
                self._worker.run(record.job)
            except Exception:  # what cannot be handed over must not hold its place for ever
                log.exception("job %s could not be given to the worker", record.job.id)
                self.failed(record.job.id, EaselError("internal error while starting the job; see the server's log"))
            for what in record.job.asked:  # before the worker knew the job, or of a worker that died since
                self._worker.signal(record.job, what)

    def _take_back(self, job_id: str, seconds: float) -> Record | None:
        with self._lock:
            record = self._running.pop(job_id, None)
            if record is not None:
                self._queue.finished(record.job.user, seconds)
            return record

    def _finish(self, record: Record, state: JobState, outcome: Result | EaselError) -> None:
        with self._lock:
            if record.state.final:
                return
            record.state = state
            self.tally.end(record.job, state, outcome, time.time())
            promise = record.outcome
            self._records.pop(record.job.id, None)
            record.job.progress = replace(record.job.progress, preview=None)
            size = sum(len(one.data) for one in outcome.images) if isinstance(outcome, Result) else 0
            for gone in self._finished.put(record.job.id, record, size):
                if gone.once is not None and self._once.get((gone.job.user, gone.once.key)) is gone:
                    del self._once[gone.job.user, gone.once.key]
        if isinstance(outcome, EaselError):
            promise.set_exception(outcome)
        else:
            promise.set_result(outcome)
        self._changed(record)
        record.job.request = replace(record.job.request, init=None)  # finished jobs do not keep pictures

    def _changed(self, record: Record) -> None:
        self._job_changed(record.job)
        self._tell(record)

    def _tell(self, record: Record) -> None:
        for listener in record.listeners:
            listener()

    def _watch_deadlines(self) -> None:
        while not self._closed.wait(1.0):
            with self._lock:
                late = [r for r in self._running.values() if time.monotonic() - r.started > self._deadline]
                self._deliberate = bool(late)
            if late and self._worker is not None:
                log.error("replacing the worker: job %s ran longer than %g s", late[0].job.id, self._deadline)
                self._worker.replace()
