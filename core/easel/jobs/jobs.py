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
from types import MappingProxyType

from easel.errors import BadRequest, DeadlinePassed, EaselError, JobCancelled, JobRefused, NotFound, WorkerLost
from easel.jobs.fairness import FairQueue
from easel.jobs.places import Crew, Place, Signal, Worker, choose
from easel.jobs.record import Once, Record, line_of
from easel.jobs.shelf import Shelf
from easel.jobs.tally import Tally
from easel.values.job import Job, JobState, Progress
from easel.values.ledger import Enter, Line, Shift, engine_seconds
from easel.values.request import GenerationRequest
from easel.values.result import LOST, QUEUE, ReportLine, Result

log = logging.getLogger("easel.jobs")
FINISHED_KEPT = 256
KEPT_BYTES = 64 << 20  # of finished jobs' pictures
LINE_PATIENCE = 1.0  # seconds that a job's end waits for its line in the ledger
UNBEGUN_DELIVERIES = 3  # for a job that was lost before the worker had begun it


class Jobs:
    """The jobs of one gateway. Thread-safe; `job_changed` is called outside the lock after every change of state."""

    def __init__(
        self,
        *,
        max_in_flight: int = 8,
        left_to_others: int = 0,
        max_waiting: int = 1000,
        max_delivery: int = 1,
        deadline: float = 3600.0,
        phase_deadline: float = 1800.0,
        warm_kept: int = 1,
        kept_bytes: int = KEPT_BYTES,
        service: str = "",
        enter: Enter = lambda *entries, patience: None,
        admit: Callable[[Job], None] = lambda job: None,
        job_changed: Callable[[Job], None] = lambda job: None,
    ) -> None:
        """`service` is this one's name; `enter` takes lines and shifts for the ledger.

        `max_in_flight` jobs are given to a worker at once; so many of all places one user leaves to others
        (`left_to_others`); `deadline` is in seconds from the start of a job, `phase_deadline` from the last sign of
        progress in its worker; `max_delivery` how often a lost worker's job is tried; `warm_kept` how many checkpoints
        a worker keeps; `kept_bytes` how much of finished jobs' pictures."""
        self._max_in_flight, self._max_waiting = max_in_flight, max_waiting
        self._left_to_others = left_to_others
        self._max_delivery, self._deadline, self._phase_deadline = max_delivery, deadline, phase_deadline
        self._warm_kept = warm_kept
        self._service, self._enter = service, enter
        self._admit, self._job_changed = admit, job_changed
        self.tally = Tally()
        self._lock = threading.RLock()
        self._queue: FairQueue[Record] = FairQueue()
        self._running: OrderedDict[str, Record] = OrderedDict()
        self._records: dict[str, Record] = {}
        self._finished: Shelf[Record] = Shelf(FINISHED_KEPT, kept_bytes)
        self._once: dict[tuple[str, str], Record] = {}  # by user and key
        self._crew: Crew | None = None
        self._places: list[Place] = []
        self._bare_since = time.monotonic()  # since when there has been no place
        self._closed = threading.Event()
        self._watch: threading.Thread | None = None

    def attach(self, crew: Crew) -> None:
        """Say who has the workers; waiting jobs are started as soon as one of them is `ready`."""
        self._crew = crew
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
        to: Worker | None = None,
    ) -> Job:
        """Queue a request; `id` and `created` (Unix time) are a task's own, so that a second run is the same job.

        `to`: begin at once in this worker, past the line (upkeep of every worker).

        Sent `once` before, the earlier job is the answer, unless that failed or was cancelled.
        Errors: JobRefused (line full, refused by an `admit_job` hook), BadRequest (a key used for something else),
        WorkerLost (`to` is gone).
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
        tries = 1 if id else self._max_delivery  # who gives a task out again counts for itself
        record = Record(job, once, tries=tries, pinned=to is not None, task=bool(id))
        with self._lock:
            if (earlier := self._earlier(user, once)) is not None:  # in the meantime
                return earlier
            if self._closed.is_set():
                raise JobRefused("the service is shutting down")
            if self._queue.count(user) >= self._max_waiting:  # each user's own line: nobody fills up another's
                raise JobRefused(f"{self._max_waiting} jobs are waiting already; try again later")
            place = next((one for one in self._places if one.worker is to), None) if to else None
            if to is not None and place is None:
                raise WorkerLost
            self._records[job.id] = record
            if once is not None:
                self._once[user, once.key] = record
            self.tally.accept(job)
            if place is None:
                self._queue.put(user, record)
            else:
                self._queue.join(user)
                self._assign(record, place)
        self._changed(record)
        if place is not None:
            self._hand_over(record, place)
        else:
            self._dispatch()
            self._wake()
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

    def seconds(self, job: Job) -> Mapping[str, float]:
        """What a finished job, also one that failed, took by part; errors: NotFound for a job long gone."""
        return self._record(job).seconds

    def line(self, job_id: str) -> Line | None:
        """What a finished job came to, for the ledger, while the job is known."""
        with self._lock:
            record = self._finished.get(job_id)
        return record.line if record else None

    def shifts(self) -> list[Shift]:
        """The time of the workers that are there, until now."""
        with self._lock:
            return [place.shift(self._service) for place in self._places]

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
            if record.state is JobState.RUNNING and record.place is not None:
                {"interrupt": record.job.interrupt, "skip": record.job.skip, "cancel": record.job.cancel}[what]()
                record.place.worker.signal(record.job, what)

    def close(self) -> None:
        """Refuse new jobs, end what runs and waits (their callers hear why), stop the workers."""
        self._closed.set()
        with self._lock:
            records = list(self._records.values())
        for record in records:
            record.job.cancel()
            self._finish(record, JobState.CANCELLED, WorkerLost("the service is shutting down"))
        with self._lock:
            places = list(self._places)
        for place in places:
            self._enter(place.shift(self._service, over=True), patience=LINE_PATIENCE)
        if self._crew is not None:
            self._crew.close()

    def workers(self) -> dict[Worker, tuple[int, tuple[str, ...], float]]:
        """Who takes jobs: how many each has, the checkpoints it has in memory, seconds since it was last heard of."""
        with self._lock:
            now = time.monotonic()
            return {one.worker: (one.jobs, one.warm, now - one.heard) for one in self._places}

    def cold_start(self, job: Job) -> float:
        """Seconds that a job waited because no worker was there; part of its time in line. Errors: NotFound."""
        with self._lock:
            record = self._record(job)
            return record.cold_start + (self._bare(record) if record.state is JobState.QUEUED else 0.0)

    @property
    def bare(self) -> bool:
        """No worker takes jobs: who waits, waits for one to start."""
        return not self._places

    # -- for workers and who has them

    def ready(self, worker: Worker, *, start: float = 0.0) -> None:
        """A worker takes jobs from now on; `start`: seconds that it has been there already."""
        with self._lock:
            for record in self._queue:
                record.cold_start += self._bare(record)
            self._places.append(Place(worker, start=start))
        self._dispatch()

    def retire(self, worker: Worker) -> bool:
        """Give a worker no more jobs; no, when it has one. What comes at this moment is given to it or waits."""
        with self._lock:
            place = next((one for one in self._places if one.worker is worker), None)
            if place is not None and place.jobs:
                return False
            self._remove(worker)
        if place is not None:
            self._enter(place.shift(self._service, over=True), patience=LINE_PATIENCE)
        return True

    def progressed(self, job_id: str, progress: Progress) -> None:
        """A running job got further."""
        record = self._running.get(job_id)
        if record is not None:
            record.begun = True
            if record.place is not None:
                record.place.heard = time.monotonic()
            if progress.preview is None:
                progress = replace(progress, preview=record.job.progress.preview)
            record.job.progress = progress
            self._tell(record)

    def done(self, job_id: str, result: Result, spent: Mapping[str, float] = MappingProxyType({})) -> None:
        """A job ended well; `spent`: what its worker's engine has spent so far."""
        record = self._take_back(job_id, result.seconds, spent)
        if record is not None:
            if record.place is not None:
                record.place.warmed(record.job.request.checkpoint, self._warm_kept)
            self._finish(record, JobState.DONE, replace(result, seconds=record.seconds))
        self._dispatch()

    def failed(
        self,
        job_id: str,
        error: EaselError,
        seconds: Mapping[str, float] = MappingProxyType({}),
        spent: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """A job ended badly, after `seconds` of work; `spent`: what its worker's engine has spent so far."""
        record = self._take_back(job_id, seconds, spent)
        if record is not None:
            state = JobState.CANCELLED if isinstance(error, JobCancelled) else JobState.FAILED
            self._finish(record, state, error)
        self._dispatch()

    def lost(self, worker: Worker, culprit: str = "") -> None:
        """A worker died: its jobs are delivered again where they may be, failed otherwise.

        `culprit`: in words, why it died and in whose code, for who asked.
        """
        because = f": {culprit}" if culprit else ""
        with self._lock:
            place = self._remove(worker)
            records = [one for one in self._running.values() if one.place is place]
        if place is None:  # it never took jobs, or none any more
            return
        self._enter(place.shift(self._service, over=True), patience=LINE_PATIENCE)
        for record in records:
            seconds = time.monotonic() - record.started
            if self._take_back(record.job.id, {LOST: seconds}) is None:
                continue
            if seconds > self._deadline:
                late = DeadlinePassed(f"the job ran longer than {self._deadline:g} s{because}")
                self._finish(record, JobState.FAILED, late)
            elif not record.pinned and (
                place.deliberate
                or record.deliveries < (record.tries if record.begun else max(record.tries, UNBEGUN_DELIVERIES))
            ):
                with self._lock:
                    record.state, record.begun, record.place = JobState.QUEUED, False, None
                    record.queued = time.monotonic()
                    record.deliveries -= place.deliberate  # not this job's fault
                    self._queue.put(record.job.user, record, front=True)
            else:
                self._finish(record, JobState.FAILED, WorkerLost(f"{WorkerLost().message.rstrip('.')}{because or '.'}"))
        self._dispatch()
        self._wake()

    def unable(self, reason: str) -> None:
        """No worker can be started: nobody who waits in line waits for nothing."""
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
        while True:
            with self._lock:  # around the places too: a job given away after `lost` looked would be nobody's
                room = any(one.jobs < self._max_in_flight for one in self._places)
                most = max(1, len(self._places) * self._max_in_flight - self._left_to_others)
                record = self._queue.take(most) if room and not self._closed.is_set() else None
                if record is None:
                    return
                place = choose(self._places, record.job.request.checkpoint, self._max_in_flight)
                assert place is not None  # there was room
                self._assign(record, place)
            self._changed(record)
            self._hand_over(record, place)

    def _assign(self, record: Record, place: Place) -> None:
        """This job is that worker's; the caller holds the lock."""
        record.state, record.started, record.place = JobState.RUNNING, time.monotonic(), place
        # From acceptance on, which a task's stream may have done in another process; then each time anew.
        record.waited += record.started - record.queued if record.seconds else time.time() - record.job.created
        record.deliveries += 1
        self._running[record.job.id] = record
        if not place.jobs:
            place.heard = record.started
        place.jobs += 1

    def _hand_over(self, record: Record, place: Place) -> None:
        try:
            place.worker.run(record.job)
        except Exception:  # what cannot be handed over must not hold its place for ever
            log.exception("job %s could not be given to the worker", record.job.id)
            self.failed(record.job.id, EaselError("internal error while starting the job; see the server's log"))
        for what in record.job.asked:  # before the worker knew the job, or of a worker that died since
            place.worker.signal(record.job, what)

    def _remove(self, worker: Worker) -> Place | None:
        place = next((one for one in self._places if one.worker is worker), None)
        if place is not None:
            self._places.remove(place)
            if not self._places:
                self._bare_since = time.monotonic()
        return place

    def _bare(self, record: Record) -> float:
        """Seconds that a waiting job has waited now without any worker there."""
        return time.monotonic() - max(record.queued, self._bare_since) if not self._places else 0.0

    def _wake(self) -> None:
        if self._crew is not None and len(self._queue):
            self._crew.wake()

    def _take_back(
        self, job_id: str, seconds: Mapping[str, float], spent: Mapping[str, float] = MappingProxyType({})
    ) -> Record | None:
        with self._lock:
            record = self._running.pop(job_id, None)
            if record is not None:
                record.took(seconds)
                service = sum(seconds.values()) - seconds.get(QUEUE, 0.0)  # a worker elsewhere has a line of its own
                self._queue.finished(record.job.user, service)
                if record.place is not None:
                    record.place.jobs -= 1
                    record.place.spent = spent or record.place.spent
                    record.place.charged += engine_seconds(seconds)
                    record.place.heard = time.monotonic()
            return record

    def _finish(self, record: Record, state: JobState, outcome: Result | EaselError) -> None:
        with self._lock:
            if record.line is not None:
                return
            if record.state is JobState.RUNNING and record.job.id in self._running:  # nobody will say what it took
                record.took({LOST: time.monotonic() - record.started})
            elif not record.deliveries:
                record.seconds = {QUEUE: max(0.0, time.time() - record.job.created)}
            line = record.line = line_of(record, state, outcome, self._service)
            shift = record.place.to_tell(self._service) if record.place is not None else None
        if not record.job.request.explain:  # a dry run computes nothing
            entries: list[Line | Shift] = [] if record.task else [line]  # a task's line is written with its result
            entries += [] if shift is None else [shift]
            # Before anybody hears of it. Who was only in line may be cancelled by an event loop: no waiting for a disk.
            self._enter(*entries, patience=LINE_PATIENCE if record.deliveries else 0.0)
        with self._lock:
            record.state = state
            self.tally.end(record.job, state, outcome, time.time())
            promise = record.outcome
            self._records.pop(record.job.id, None)
            record.job.progress = replace(record.job.progress, preview=None)
            size = sum(len(one.data) for one in outcome.images) if isinstance(outcome, Result) else 0
            size += _began_with(record.job.request)
            for gone in self._finished.put(record.job.id, record, size):
                if gone.once is not None and self._once.get((gone.job.user, gone.once.key)) is gone:
                    del self._once[gone.job.user, gone.once.key]
        if isinstance(outcome, EaselError):
            promise.set_exception(outcome)
        else:
            promise.set_result(outcome)
        self._changed(record)

    def _changed(self, record: Record) -> None:
        self._job_changed(record.job)
        self._tell(record)

    def _tell(self, record: Record) -> None:
        for listener in record.listeners:
            listener()

    def _watch_deadlines(self) -> None:
        while not self._closed.wait(1.0):
            now, late = time.monotonic(), f"it ran past the job deadline of {self._deadline:g} s"
            stuck = f"it made no progress for {self._phase_deadline:g} s"
            with self._lock:
                over = [r.place for r in self._running.values() if r.place and now - r.started > self._deadline]
                for place in self._places:
                    place.deliberate = place in over
                still = [one for one in self._places if one.jobs and now - one.heard > self._phase_deadline]
            for place in {id(one): one for one in over}.values():
                log.error("replacing a worker: %s", late)
                place.worker.replace(late, long=self._deadline / 10)
            for place in [one for one in still if one not in over]:
                log.error("replacing a worker: %s", stuck)
                place.worker.replace(stuck, long=self._phase_deadline / 2, told=stuck)


def _began_with(request: GenerationRequest) -> int:
    """Bytes of the pictures that a request starts from."""
    init = request.init
    if init is None:
        return 0
    masks = (init.inpaint.mask, init.inpaint.latent_mask) if init.inpaint else ()
    return sum(len(one.data) for one in (*init.pictures, init.colors, *masks) if one is not None)
