"""Runs jobs, each in a thread of its own, against one engine; the same in a child process, in-process, or a replica."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from easel.errors import EaselError
from easel.pipeline.road import Road
from easel.values.job import Job
from easel.values.result import Result
from easel.worker.messages import Done, Failed, Progressed

log = logging.getLogger("easel.worker")
OUT_OF_MEMORY = ("out of memory", "can't allocate memory")  # in torch's own errors
Emit = Callable[[Done | Failed | Progressed], None]


class JobHost:
    """The jobs that are in the engine now. `emit` is called from the jobs' threads."""

    def __init__(self, road: Road, emit: Emit, spent: Callable[[], Mapping[str, float]] = dict) -> None:
        """`spent`: seconds of the engine's thread so far, `busy` and `idle`."""
        self._road, self._emit, self._spent = road, emit, spent
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def run(self, job: Job) -> None:
        """Begin a job; a Progressed follows at once, and exactly one Done or Failed later."""
        self._emit(Progressed(job.id, job.progress))
        with self._lock:
            self._jobs[job.id] = job
        threading.Thread(target=self._run, args=(job,), name=f"job-{job.id[:8]}", daemon=True).start()

    def get(self, job_id: str) -> Job | None:
        """A job that runs here."""
        with self._lock:
            return self._jobs.get(job_id)

    def _run(self, job: Job) -> None:
        outcome: Result | EaselError
        try:
            outcome = self._road.run(job)
        except EaselError as error:
            outcome = error
        except BaseException as error:  # also SystemExit: whatever a job raises ends that job alone
            log.exception("job %s failed", job.id)
            outcome = EaselError(_in_words(error))
        with self._lock:
            self._jobs.pop(job.id, None)
        if isinstance(outcome, EaselError):
            self._emit(Failed(job.id, type(outcome).__name__, outcome.message, dict(job.seconds), self._spent()))
            return
        try:
            self._emit(Done(job.id, outcome, self._spent()))
        except Exception:  # an extension's text that cannot be sent must not leave the caller waiting
            log.exception("the result of job %s cannot be sent", job.id)
            message = "internal error while sending the result; see the server's log"
            self._emit(Failed(job.id, EaselError.__name__, message, outcome.seconds, self._spent()))


def _in_words(error: BaseException) -> str:
    if isinstance(error, MemoryError) or any(text in str(error) for text in OUT_OF_MEMORY):
        return "there is not enough memory for this job; ask for smaller or fewer pictures at once"
    return f"internal error while running the job ({type(error).__name__}); see the server's log"
