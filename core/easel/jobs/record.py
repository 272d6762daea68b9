"""What a gateway keeps of one job."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from easel.errors import EaselError, NotFound
from easel.jobs.places import Place
from easel.values.job import Job, JobState
from easel.values.ledger import Line
from easel.values.result import LOST, QUEUE, Result


def promise() -> Future[Result]:
    """A future that who waits for it cannot cancel: a caller that hangs up must not surprise who keeps the promise."""
    made: Future[Result] = Future()
    made.set_running_or_notify_cancel()
    return made


@dataclass(frozen=True, slots=True)
class Once:
    """A submission that counts once however often it is sent: a key of the caller's, and what was asked with it."""

    key: str
    fingerprint: str


@dataclass(slots=True, eq=False)
class Record:
    """One job on its way through a gateway; belongs to `Jobs`."""

    job: Job
    once: Once | None = None
    state: JobState = JobState.QUEUED
    tries: int = 1  # deliveries that it may have, once begun
    task: bool = False  # of a stream, which writes its line in the ledger
    pinned: bool = False  # to one worker: it is never given to another one
    place: Place | None = None  # whose it is
    queued: float = field(default_factory=time.monotonic)  # since when it waits, also after its worker was lost
    cold_start: float = 0.0  # seconds of its waiting in which no worker was there
    deliveries: int = 0
    begun: bool = False  # the worker said so
    started: float = 0.0  # monotonic, of this delivery
    waited: float = 0.0  # seconds in line, in all
    seconds: Mapping[str, float] = field(default_factory=dict)  # by part, once a delivery has ended
    line: Line | None = None  # in the ledger: the job has ended, or is about to
    outcome: Future[Result] = field(default_factory=promise)
    listeners: list[Callable[[], object]] = field(default_factory=list)

    def took(self, seconds: Mapping[str, float]) -> None:
        """A delivery has ended after these seconds; those of earlier ones were lost with their workers."""
        before = self.seconds.get(LOST, 0.0)
        self.seconds = {QUEUE: max(0.0, self.waited), **seconds}
        if before:
            self.seconds = {**self.seconds, LOST: before + seconds.get(LOST, 0.0)}

    def forget(self) -> None:
        """Let go of the result, and of the pictures that the job began with."""
        self.job.request = replace(self.job.request, init=None)
        self.outcome = promise()
        self.outcome.set_exception(NotFound("the result of this job is not kept any more"))


def line_of(record: Record, state: JobState, outcome: Result | EaselError, service: str) -> Line:
    """What a job came to."""
    job = record.job
    return Line(
        job=job.id,
        service=service,
        user=job.user,
        project=job.request.uid,
        kind=job.request.kind,
        state="done" if state is JobState.DONE else "cancelled" if state is JobState.CANCELLED else "failed",
        status=outcome.code if isinstance(outcome, EaselError) else 0,
        attempts=record.deliveries,
        model=job.request.checkpoint,
        pictures=sum(one.kind == "result" for one in outcome.images) if isinstance(outcome, Result) else 0,
        work=outcome.work if isinstance(outcome, Result) else 0.0,
        seconds=record.seconds,
        created=job.created,
        ended=time.time(),
    )
