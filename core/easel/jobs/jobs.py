"""Every job of this service: accepted, waiting, running, finished; given to a worker, and told about to who waits."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from easel.errors import DeadlinePassed, EaselError, JobCancelled, JobRefused, WorkerLost
from easel.jobs.fairness import FairQueue
from easel.values.job import Job, JobState, Progress
from easel.values.request import GenerationRequest
from easel.values.result import Result

log = logging.getLogger("easel.jobs")
Signal = Literal["interrupt", "skip", "cancel"]
FINISHED_KEPT = 256
UNBEGUN_DELIVERIES = 3  # for a job that was lost before the worker had begun it


class Worker(Protocol):
    """Where jobs run: a child process, threads of this one, or a replica elsewhere."""

    def run(self, job: Job) -> None:
        """Begin a job; what becomes of it is told to `Jobs.progressed`, `.done`, `.failed`."""
        ...

    def signal(self, job: Job, what: Signal) -> None:
        """Tell a running job to stop."""
        ...

    def switch(self, name: str, on: bool) -> None:
        """Switch an extension on or off there too."""
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


@dataclass(slots=True, eq=False)
class _Record:
    job: Job
    state: JobState = JobState.QUEUED
    deliveries: int = 0
    begun: bool = False  # the worker said so
    started: float = 0.0
    awaited: bool = False  # somebody holds `outcome`
    outcome: Future[Result] = field(default_factory=lambda: _promise())


class Jobs:
    """The jobs of one gateway. Thread-safe; `job_changed` is called outside the lock after every change of state."""

    def __init__(
        self,
        *,
        max_in_flight: int = 8,
        max_waiting: int = 1000,
        max_delivery: int = 1,
        deadline: float = 3600.0,
        admit: Callable[[Job], None] = lambda job: None,
        job_changed: Callable[[Job], None] = lambda job: None,
    ) -> None:
        """`deadline` is in seconds from the start of a job; `max_delivery` how often a lost worker's job is tried."""
        self._max_in_flight, self._max_waiting = max_in_flight, max_waiting
        self._max_delivery, self._deadline = max_delivery, deadline
        self._admit, self._job_changed = admit, job_changed
        self._lock = threading.RLock()
        self._queue: FairQueue[_Record] = FairQueue()
        self._running: OrderedDict[str, _Record] = OrderedDict()
        self._records: dict[str, _Record] = {}
        self._finished: OrderedDict[str, _Record] = OrderedDict()
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

    def submit(self, request: GenerationRequest, *, user: str = "", name: str = "") -> Job:
        """Queue a request. Errors: JobRefused (line full, refused by an `admit_job` hook)."""
        job = Job(id=uuid.uuid4().hex, user=user, name=name, request=request)
        self._admit(job)
        record = _Record(job)
        with self._lock:
            if self._closed.is_set():
                raise JobRefused("the service is shutting down")
            if len(self._queue) >= self._max_waiting:
                raise JobRefused(f"{self._max_waiting} jobs are waiting already; try again later")
            self._records[job.id] = record
            self._queue.put(user, record)
        self._changed(record)
        self._dispatch()
        return job

    async def wait(self, job: Job) -> Result:
        """The result of a job, once; errors: whatever the job failed with."""
        return await asyncio.wrap_future(self._outcome(job))

    def wait_blocking(self, job: Job) -> Result:
        """`wait` for callers without an event loop."""
        return self._outcome(job).result()

    def state(self, job: Job) -> JobState:
        """Where a job is; errors: KeyError for a job long gone."""
        record = self._records.get(job.id) or self._finished[job.id]
        return record.state

    def elapsed(self, job: Job) -> float:
        """Seconds since a running job began; 0 for one that waits or is done."""
        record = self._running.get(job.id)
        return time.monotonic() - record.started if record else 0.0

    def running(self) -> list[Job]:
        """Jobs in the engine, oldest first."""
        with self._lock:
            return [record.job for record in self._running.values()]

    def waiting(self) -> list[Job]:
        """Jobs in line."""
        with self._lock:
            return [record.job for record in self._queue]

    def find(self, name: str) -> Job | None:
        """The newest job with this id or client's name, finished ones included for a while."""
        with self._lock:
            records = [*self._finished.values(), *self._records.values()]
        return next((r.job for r in reversed(records) if name in (r.job.id, r.job.name)), None)

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

    def lost(self) -> None:
        """The worker died: its jobs are delivered again where they may be, failed otherwise; all wait for `ready`."""
        with self._lock:
            records = list(self._running.values())
            deliberate, self._deliberate = self._deliberate, False
            self._ready = False
        for record in records:
            seconds = time.monotonic() - record.started
            if self._take_back(record.job.id, seconds) is None:
                continue
            if seconds > self._deadline:
                self._finish(record, JobState.FAILED, DeadlinePassed(f"the job ran longer than {self._deadline:g} s"))
            elif deliberate or record.deliveries < (self._max_delivery if record.begun else UNBEGUN_DELIVERIES):
                with self._lock:
                    record.state, record.begun = JobState.QUEUED, False
                    record.deliveries -= deliberate  # not this job's fault
                    self._queue.put(record.job.user, record, front=True)
            else:
                self._finish(record, JobState.FAILED, WorkerLost())

    def unable(self, reason: str) -> None:
        """The worker cannot be started: nobody who waits in line waits for nothing."""
        with self._lock:
            records = list(self._queue)
            for record in records:
                self._queue.remove(record.job.user, record)
        for record in records:
            self._finish(record, JobState.FAILED, WorkerLost(reason))

    # -- inside

    def _outcome(self, job: Job) -> Future[Result]:
        """The future of a job, handed out once: the result of a finished job is not kept for longer."""
        with self._lock:
            record = self._records.get(job.id) or self._finished[job.id]
            outcome = record.outcome
            if record.state.final:
                record.outcome = _promise()
            record.awaited = True
            return outcome

    def _dispatch(self) -> None:
        while self._worker is not None:
            with self._lock:  # around `_ready` too: a job given away after `lost` looked would be nobody's
                if not self._ready or self._closed.is_set() or len(self._running) >= self._max_in_flight:
                    return
                record = self._queue.take()
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

    def _take_back(self, job_id: str, seconds: float) -> _Record | None:
        with self._lock:
            record = self._running.pop(job_id, None)
            if record is not None:
                self._queue.finished(record.job.user, seconds)
            return record

    def _finish(self, record: _Record, state: JobState, outcome: Result | EaselError) -> None:
        with self._lock:
            if record.state.final:
                return
            record.state = state
            promise = record.outcome
            if record.awaited:  # a result is kept for who waits, not here
                record.outcome = _promise()
            self._records.pop(record.job.id, None)
            record.job.progress = replace(record.job.progress, preview=None)
            self._finished[record.job.id] = record
            while len(self._finished) > FINISHED_KEPT:
                self._finished.popitem(last=False)
        if isinstance(outcome, EaselError):
            promise.set_exception(outcome)
        else:
            promise.set_result(outcome)
        self._changed(record)
        record.job.request = replace(record.job.request, init=None)  # finished jobs do not keep pictures

    def _changed(self, record: _Record) -> None:
        self._job_changed(record.job)

    def _watch_deadlines(self) -> None:
        while not self._closed.wait(1.0):
            with self._lock:
                late = [r for r in self._running.values() if time.monotonic() - r.started > self._deadline]
                self._deliberate = bool(late)
            if late and self._worker is not None:
                log.error("replacing the worker: job %s ran longer than %g s", late[0].job.id, self._deadline)
                self._worker.replace()


def _promise() -> Future[Result]:
    """A future that who waits for it cannot cancel: a caller that hangs up must not surprise who keeps the promise."""
    promise: Future[Result] = Future()
    promise.set_running_or_notify_cancel()
    return promise
