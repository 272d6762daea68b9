"""The workers that take jobs now, and which of them takes the next one."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from easel.values.job import Job
from easel.values.ledger import Shift

_TELL_EVERY = 1.0  # seconds
Signal = Literal["interrupt", "skip", "cancel"]


class Worker(Protocol):
    """Where jobs run: a child process, threads of this one, or a replica elsewhere."""

    def run(self, job: Job) -> None:
        """Begin a job; what becomes of it is told to `Jobs.progressed`, `.done`, `.failed`."""
        ...

    def signal(self, job: Job, what: Signal) -> None:
        """Tell a running job to stop."""
        ...

    def replace(self, why: str, *, long: float, told: str = "") -> None:
        """End the worker at once, if need be by force; its jobs are reported lost.

        `long`: seconds that who is to blame has been inside at least; `told`: what its jobs' callers hear of it.
        """
        ...


class Crew(Protocol):
    """Who has the workers: starts them when jobs wait, and ends them."""

    def wake(self) -> None:
        """Jobs wait; must return at once."""
        ...

    def follow(self, extensions: Mapping[str, int]) -> None:
        """Have on in all workers who is on here, with the numbers of the instances."""
        ...

    def refresh(self) -> None:
        """Let all workers look at the model folders again."""
        ...

    def close(self) -> None:
        """Stop for good."""
        ...


@dataclass(slots=True, eq=False)
class Place:
    """A worker that takes jobs, as `Jobs` sees it."""

    worker: Worker
    jobs: int = 0
    warm: tuple[str, ...] = ()  # checkpoints that are in its memory, the newest first
    heard: float = field(default_factory=time.monotonic)  # when a job of its began, got further or ended at last
    deliberate: bool = False  # it is being replaced because of one late job
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    start: float = 0.0  # seconds that its process took until it took jobs
    since: float = field(default_factory=time.time)  # when it took jobs first; Unix time
    spent: Mapping[str, float] = field(default_factory=dict)  # seconds of its engine so far, `busy` and `idle`
    told: float = 0.0  # when its time was told to the ledger; monotonic
    charged: float = 0.0  # those that jobs' accounts have

    def to_tell(self, service: str) -> Shift | None:
        """Its time until now, unless that was told just now: for the case that this process is killed."""
        if time.monotonic() - self.told < _TELL_EVERY:
            return None
        self.told = time.monotonic()
        return self.shift(service)

    def shift(self, service: str, *, over: bool = False) -> Shift:
        """Its time until now. What the engine has not told of is work when it has jobs, else idleness."""
        now = time.time()
        busy, idle = self.spent.get("busy", self.charged), self.spent.get("idle", 0.0)
        untold = max(0.0, now - self.since - busy - idle)
        if self.jobs:
            busy += untold
        else:
            idle += untold
        began = self.since - self.start
        return Shift(
            worker=self.id, service=service, began=began, ended=now, over=over,
            start=self.start, busy=busy, idle=idle, charged=self.charged,
        )  # fmt: skip

    def warmed(self, checkpoint: str, most: int) -> None:
        """A job with this checkpoint has been run; `most`: so many stay in memory."""
        if checkpoint:
            self.warm = (checkpoint, *(one for one in self.warm if one != checkpoint))[:most]


def choose(places: Iterable[Place], checkpoint: str, most: int) -> Place | None:
    """Where a job goes: to the least busy worker, one that has to load the checkpoint counting as one job busier.

    `most`: jobs that a worker takes at once. None: all have as many.
    """

    def busy(place: Place) -> tuple[int, bool]:
        cold = bool(checkpoint) and checkpoint not in place.warm
        return place.jobs + cold, cold

    return min((one for one in places if one.jobs < most), key=busy, default=None)
