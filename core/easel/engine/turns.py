"""What waits for the engine, and whose turn it is."""

from __future__ import annotations

import threading
from typing import Any

from easel.engine.fairness import FairOrder
from easel.engine.weights import Weights
from easel.engine.work import Call, Run
from easel.errors import EaselError

Work = Call[Any] | Run


class Turns:
    """Calls come from any thread; everything else belongs to the engine's thread.

    At most `max_jobs` jobs denoise at once; the runs of others wait for a seat.
    """

    def __init__(self, max_jobs: int) -> None:
        self._max_jobs = max_jobs
        self._changed = threading.Condition()
        self._calls: list[Call[Any]] = []
        self._closed = False
        self._runs: list[Run] = []
        self._fair = FairOrder()

    def ask(self, call: Call[Any]) -> None:
        """Put a call in line; EaselError once the engine is closed."""
        with self._changed:
            if self._closed:
                raise EaselError("the engine is closed")
            self._calls.append(call)
            self._changed.notify()

    def close(self) -> None:
        """No more calls; `wait` answers False from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def wait(self) -> bool:
        """Block until there is work; False once closed."""
        if not self._runs:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._calls) or self._closed)
        return not self._closed

    def join(self, run: Run) -> None:
        """A run begins."""
        self._runs.append(run)

    def sweep(self) -> None:
        """End the runs whose job was cancelled, interrupted or skipped, and forget all that have ended."""
        for run in self._runs:
            if run.error is not None:
                run.fail(run.error)
            elif not run.ended:
                run.stop_if_asked()
        self._runs = [run for run in self._runs if not run.ended]

    def take(self, call: Call[Any]) -> None:
        """A call has its turn: it waits no longer."""
        with self._changed:
            self._calls.remove(call)

    def charge(self, work: Work, seconds: float) -> None:
        """Count engine time for the job and the user of some work."""
        self._fair.charge(work.job.user, work.job.id, seconds)

    def in_order(self, staying_with: Weights | None) -> list[Work]:
        """All that may have the engine now, the next to be served first: by least service, calls before runs.

        With `staying_with`, work that needs other weights is left out as long as there is any that fits.
        """
        with self._changed:
            work: list[Work] = [*self._calls]
        work += self._seated()
        by_job: dict[str, dict[str, list[Work]]] = {}
        for one in work:
            by_job.setdefault(one.job.user, {}).setdefault(one.job.id, []).append(one)
        order = self._fair.order({user: jobs.keys() for user, jobs in by_job.items()})
        ordered = [one for user, job in order for one in by_job[user][job]]
        if staying_with is None:
            return ordered
        return [one for one in ordered if one.fits(staying_with)] or ordered

    def fail_all(self, error: BaseException) -> None:
        """Nobody is served any more."""
        with self._changed:
            calls, self._calls = self._calls, []
        left: list[Work] = [*calls, *self._runs]
        for one in left:
            one.fail(error)
        self._runs = []

    def _seated(self) -> list[Run]:
        seated = list(dict.fromkeys(run.job.id for run in self._runs))[: self._max_jobs]
        return [run for run in self._runs if run.job.id in seated]
