"""The workers of a gateway: as many as the scale wants, started when jobs wait, replaced when they die, ended idle."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from easel.jobs.jobs import Jobs
from easel.jobs.places import Crew
from easel.settings import Settings
from easel.worker.scaling import Scale, pause_before, wanted
from easel.worker.supervisor import PROGRAM, ChildWorker, Overseer

log = logging.getLogger("easel.worker")
_LOOK = 0.5  # seconds between looks when nothing wakes us
GIVE_UP_AFTER = 3  # starts in a row that fail: then waiting jobs fail, and further starts are still tried
KILLED = 10  # the same for starts that somebody else ended: the system for want of memory, an operator


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One worker, to look at. `idle` and `start` are in seconds."""

    pid: int | None
    state: str  # starting, busy or idle
    jobs: int = 0
    checkpoints: tuple[str, ...] = ()
    idle: float = 0.0
    start: float = 0.0  # how long its start took, or has taken until now


class Workforce(Crew, Protocol):
    """All workers of a gateway: child processes (`Pool`), or replicas on a cluster (`easel.deploy.ray_workforce`)."""

    scale: Scale

    def start(self, extensions: Mapping[str, int]) -> None:
        """Begin to keep workers, with who is on."""
        ...

    def resize(self, workers: int) -> None:
        """Another greatest number of workers; those beyond it finish what they have."""
        ...

    def members(self) -> list[Member]:
        """The workers, to look at."""
        ...


class Pool:
    """The child processes of one gateway."""

    def __init__(
        self,
        jobs: Jobs,
        settings: Settings,
        extensions: Overseer,
        *,
        program: Sequence[str] = PROGRAM,
        backlog: Callable[[], int] = lambda: 0,
    ) -> None:
        """`program` is started as a worker; `backlog` counts what waits elsewhere and is no job yet."""
        self._jobs, self._settings, self._registry = jobs, settings, extensions
        self._program, self._elsewhere = program, backlog
        self.scale = Scale.of(settings)
        self._lock = threading.RLock()
        self._members: list[ChildWorker] = []
        self._leaving: list[threading.Thread] = []
        self._extensions: Mapping[str, int] = {}
        self._failures, self._not_before = 0, 0.0
        self._closed = False
        self._bell = threading.Event()
        self._balancing = threading.Thread(target=self._keep_balance, name="easel-pool", daemon=True)

    def start(self, extensions: Mapping[str, int]) -> None:
        """Begin to keep workers, with who is on."""
        self._extensions = extensions
        self._bell.set()
        self._balancing.start()

    def wake(self) -> None:
        """Jobs wait."""
        self._bell.set()

    def follow(self, extensions: Mapping[str, int]) -> None:
        """Have on in all workers, and in those that come later, who is on in the gateway."""
        with self._lock:
            self._extensions = extensions
            for one in self._members:
                one.follow(extensions)

    def refresh(self) -> None:
        """Let the workers look at the model folders again."""
        with self._lock:
            for one in self._members:
                one.refresh()

    def resize(self, workers: int) -> None:
        """Another greatest number of workers; those beyond it end when they have nothing to do."""
        with self._lock:
            self.scale = self.scale.to(workers)
        self._bell.set()

    def members(self) -> list[Member]:
        """The workers, the oldest first."""
        with self._lock:
            members, places = list(self._members), self._jobs.workers()
        found = []
        for one in members:
            if one not in places:
                found.append(Member(pid=one.pid, state="starting", start=time.monotonic() - one.started))
                continue
            jobs, warm, quiet = places[one]
            state, idle = ("busy", 0.0) if jobs else ("idle", quiet)
            start = one.ready_after or 0.0
            found.append(Member(pid=one.pid, state=state, jobs=jobs, checkpoints=warm, idle=idle, start=start))
        return found

    def close(self) -> None:
        """End all workers, side by side, and wait for it, whoever asked first."""
        with self._lock:
            for one in self._members if not self._closed else ():
                self._end(one)
            self._closed, leaving = True, list(self._leaving)
        self._bell.set()
        for thread in leaving:
            thread.join()

    def _keep_balance(self) -> None:
        while not self._closed:
            self._bell.wait(_LOOK)
            self._bell.clear()
            try:
                self._balance()
            except (
                Exception
            ):  # a store that does not answer, a process that cannot be made: the next look may find better
                log.exception("the number of workers could not be looked after")

    def _balance(self) -> None:
        """Start what is wanted, end what is not."""
        backlog = len(self._jobs.running()) + len(self._jobs.waiting())
        if self.scale.least < self.scale.most:
            backlog += self._elsewhere()
        with self._lock:
            if self._closed:
                return
            self._leaving = [one for one in self._leaving if one.is_alive()]
            number = wanted(self.scale, len(self._members), backlog)
            if number > len(self._members):
                self._grow(number)
            elif number < len(self._members):
                self._shrink(number)

    def _grow(self, number: int) -> None:
        if time.monotonic() < self._not_before:
            return
        if self._failures:  # one at a time, until one has come up
            number = min(number, len(self._members) + 1)
        while len(self._members) < number:
            one = ChildWorker(self._jobs, self._settings, self._registry, program=self._program, ended=self._ended)
            log.info("starting worker %d of up to %d", len(self._members) + 1, self.scale.most)
            one.start(self._extensions)
            self._members.append(one)

    def _shrink(self, number: int) -> None:
        """End workers that have been idle for long enough, or that are more than there may be; the idlest first."""
        places = self._jobs.workers()
        idle = [one for one in self._members if one in places and not places[one][0]]
        for one in sorted(idle, key=lambda one: -places[one][2]):
            too_many = len(self._members) > self.scale.most
            if len(self._members) <= number or not (too_many or places[one][2] >= self.scale.idle):
                return
            if self._jobs.retire(one):  # it may have been given a job just now
                log.info("ending worker %s: idle for %.0f s", one.pid, places[one][2])
                self._members.remove(one)
                self._end(one)

    def _end(self, worker: ChildWorker) -> None:
        thread = threading.Thread(target=worker.close, name="easel-worker-end", daemon=True)
        thread.start()
        self._leaving.append(thread)

    def _ended(self, worker: ChildWorker) -> None:
        """A worker's process is gone: by itself, unless we ended it."""
        with self._lock:
            if self._closed or worker not in self._members:
                return
            self._members.remove(worker)
            self._failures = 0 if worker.ready_after is not None else self._failures + 1
            self._not_before = time.monotonic() + pause_before(self._failures)
            # As many as there may be have failed at their first start together: that is one failure.
            patience = (KILLED if (worker.status or 0) < 0 else GIVE_UP_AFTER) + self.scale.most - 1
            hopeless = not self._members and self._failures >= patience
        if hopeless:
            self._jobs.unable("the worker does not start; the server's log says why")
        self._bell.set()
