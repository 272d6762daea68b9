"""What a gateway keeps of one job."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from easel.errors import NotFound
from easel.jobs.places import Place
from easel.values.job import Job, JobState
from easel.values.result import Result


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
    pinned: bool = False  # to one worker: it is never given to another one
    place: Place | None = None  # whose it is
    queued: float = field(default_factory=time.monotonic)
    cold_start: float = 0.0  # seconds of its waiting in which no worker was there
    deliveries: int = 0
    begun: bool = False  # the worker said so
    started: float = 0.0
    outcome: Future[Result] = field(default_factory=promise)
    listeners: list[Callable[[], object]] = field(default_factory=list)

    def forget(self) -> None:
        """Let go of the result."""
        self.outcome = promise()
        self.outcome.set_exception(NotFound("the result of this job is not kept any more"))
