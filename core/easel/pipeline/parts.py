"""The parts of a job: requests that a script (or a censor that tries again) makes, several in the engine together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from easel.values.job import Job, Progress
from easel.values.request import GenerationRequest
from easel.values.result import Draft

TOGETHER = 8  # parts at once: enough to fill the engine's forward passes


def run_parts(
    job: Job, requests: Sequence[GenerationRequest], run: Callable[[Job], Draft | None], *, total: int = 0
) -> list[tuple[Job, Draft | None]]:
    """Run `requests` as parts of `job`; the parts in their order, each with its draft.

    They begin in order. After an interrupt no further one begins, but the first always does: what is missing is
    missing at the end. `total`: how many parts the job makes in all its calls, for its progress. Errors: that of the
    first part that failed; then no further one begins either.
    """
    parts = _Parts(job, requests, run, total)
    workers = min(TOGETHER, len(requests))
    if workers == 1:
        parts.work()
    elif workers:
        with ThreadPoolExecutor(max_workers=workers, thread_name_prefix=f"job-{job.id[:8]}") as pool:
            for _ in range(workers):
                pool.submit(parts.work)
    return parts.finish()


class _Parts:
    """What is left to begin, and what came of the rest; each part's account is its own until the end."""

    def __init__(
        self, job: Job, requests: Sequence[GenerationRequest], run: Callable[[Job], Draft | None], total: int
    ) -> None:
        self._job, self._run = job, run
        self._parts = [
            replace(
                job,
                request=request,
                on_progress=partial(self._tell, number),
                progress=Progress(),
                parts_done=0,
                warnings=[],
                report=[],
                trace=[],
                seconds={},
                work=0.0,
                used={},
            )
            for number, request in enumerate(requests)
        ]
        self._total = max(total, job.parts_done + len(requests))
        self._fractions = [0.0] * len(requests)
        self._begun = 0
        self._drafts: dict[int, Draft | None] = {}
        self._errors: dict[int, BaseException] = {}
        self._lock = threading.Lock()
        self._telling = threading.Lock()

    def work(self) -> None:
        """Run parts until none is left to begin."""
        while (number := self._next()) is not None:
            part = self._parts[number]
            try:
                self._drafts[number] = self._run(part)
            except BaseException as error:  # noqa: BLE001 - raised again in the job's thread
                self._errors[number] = error
            self._tell(number, Progress(part=1))

    def finish(self) -> list[tuple[Job, Draft | None]]:
        """All work is done: settle the accounts in the parts' order, and hand out what came of them."""
        for part in self._parts[: self._begun]:
            for text in part.warnings:
                self._job.warn(text)
            for line in part.report:
                self._job.note(line)
            for name, seconds in part.seconds.items():
                self._job.charge(name, seconds)
            self._job.used |= part.used
            self._job.work += part.work
        self._job.parts_done += self._begun
        if self._errors:
            raise self._errors[min(self._errors)]
        return [(self._parts[number], self._drafts[number]) for number in range(self._begun)]

    def _next(self) -> int | None:
        with self._lock:
            stop = self._errors or (self._begun and self._job.interrupted)
            if stop or self._begun == len(self._parts):
                return None
            self._begun += 1
            return self._begun - 1

    def _tell(self, number: int, progress: Progress) -> None:
        with self._telling:
            self._fractions[number] = max(self._fractions[number], progress.fraction)
            done = self._job.parts_done + sum(self._fractions)
            whole, steps = int(done + 1e-9), progress.steps or self._job.progress.steps
            self._job.tell(
                replace(
                    progress,
                    stage=progress.stage or self._job.progress.stage,
                    step=int((done - whole) * steps),
                    steps=steps,
                    part=whole,
                    parts=self._total,
                )
            )
