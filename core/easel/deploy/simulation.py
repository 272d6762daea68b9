"""A day of a service, event by event: the waiting times, cold starts and costs that a number of workers would bring.

What decides is the service's own: `easel.worker.scaling.wanted` says how many workers there should be, and jobs go
where `easel.jobs.places.choose` would send them (`_Places` keeps the same order in buckets, so that a thousand workers
are not looked through for every job; a test compares the two). What is simplified: one line for all users, and every
job takes a measured number of seconds however many share its worker.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from easel.worker.scaling import Scale, wanted

_LOOK = 0.5  # seconds between looks at the number of workers, as in `Pool`
DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """A job: when it comes (seconds from the start), what it needs, how long it takes a worker that has it loaded."""

    at: float
    checkpoint: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The workers: how many there may be, `at_once` jobs in each, `start` seconds until one takes jobs, `load` seconds
    for a checkpoint that is not in memory, where `warm` of them stay."""

    scale: Scale
    at_once: int = 1
    start: float = 0.0
    load: float = 0.0
    warm: int = 1


@dataclass(slots=True, kw_only=True)
class Report:
    """What came of it. Times are in seconds."""

    waits: list[float] = field(default_factory=list)  # from arrival to a worker, by job, in order of their begin
    busy: float = 0.0  # that jobs were in workers, loading included; by place, so up to `at_once` a worker's second
    alive: float = 0.0  # of all workers, from the beginning of their start to their end
    starts: int = 0  # of workers, those that were there from the beginning not counted
    cold: int = 0  # jobs that waited while no worker took jobs
    loads: int = 0  # jobs that had to wait for their checkpoint, in their worker
    most: int = 0  # workers at once
    end: float = 0.0  # when the last job was done

    @property
    def throughput(self) -> float:
        """Jobs a second."""
        return len(self.waits) / self.end if self.end else 0.0

    @property
    def mean_wait(self) -> float:
        """Of all jobs."""
        return sum(self.waits) / len(self.waits) if self.waits else 0.0

    def quantiles(self, *shares: float) -> list[float]:
        """The waits that these shares of the jobs stay within."""
        waits = sorted(self.waits)
        return [waits[min(len(waits) - 1, int(share * len(waits)))] if waits else 0.0 for share in shares]


def day(
    jobs: float,
    curve: Sequence[float],
    mix: Sequence[tuple[str, float, Sequence[float]]],
    seed: int = 1,
    days: float = 1.0,
) -> Iterator[Arrival]:
    """Poisson arrivals, `jobs` a day on average, spread over it as `curve` says (weights of equal parts of the day).

    `mix`: checkpoint, weight, and the seconds that its jobs took, of which each job gets one at random.
    """
    dice = random.Random(seed)
    names, weights = [one[0] for one in mix], [one[1] for one in mix]
    seconds = {name: tuple(measured) for name, _, measured in mix}
    total, part = sum(curve), DAY / len(curve)
    rates = [jobs * weight / total / part for weight in curve]
    at, index, end = 0.0, 0, days * DAY
    while True:
        ahead = dice.expovariate(1.0)  # a Poisson process of rate 1, laid along the summed rates
        while True:
            rate, edge = rates[index % len(rates)], (index + 1) * part
            if rate * (edge - at) >= ahead:
                at += ahead / rate
                break
            ahead -= rate * (edge - at)
            at, index = edge, index + 1
            if at >= end:
                return
        if at >= end:
            return
        name = names[0] if len(names) == 1 else dice.choices(names, weights)[0]
        yield Arrival(at, name, dice.choice(seconds[name]))


def simulate(arrivals: Iterable[Arrival], fleet: Fleet) -> Report:
    """Let the jobs come and be done; ends when the last one is."""
    return _Run(fleet).run(iter(arrivals))


@dataclass(slots=True, eq=False)
class Worker:
    """One worker; `since` when it had nothing to do any more."""

    number: int
    born: float
    jobs: int = 0
    warm: tuple[str, ...] = ()
    since: float = 0.0


class Places:
    """Workers that take jobs, in buckets by how many they have and what is in their memory."""

    def __init__(self, at_once: int) -> None:
        self._all: list[OrderedDict[Worker, None]] = [OrderedDict() for _ in range(at_once + 1)]
        self._warm: list[dict[str, OrderedDict[Worker, None]]] = [{} for _ in range(at_once + 1)]
        self.count = 0

    def add(self, one: Worker) -> None:
        """It has `one.jobs` now."""
        self.count += 1
        self._all[one.jobs][one] = None
        for name in one.warm:
            self._warm[one.jobs].setdefault(name, OrderedDict())[one] = None

    def remove(self, one: Worker) -> None:
        """Before it changes, or goes."""
        self.count -= 1
        del self._all[one.jobs][one]
        for name in one.warm:
            del self._warm[one.jobs][name][one]

    @property
    def idle(self) -> OrderedDict[Worker, None]:
        """Those without a job, the idlest first."""
        return self._all[0]

    def choose(self, checkpoint: str) -> Worker | None:
        """The least busy one; one that has to load the checkpoint counts as one job busier. None: all are full."""
        for jobs in range(len(self._all) - 1):
            warm = self._warm[jobs].get(checkpoint)
            if warm:
                return next(iter(warm))
            if jobs and self._all[jobs - 1]:
                return next(iter(self._all[jobs - 1]))
        return next(iter(self._all[-2]), None)


class _Run:
    def __init__(self, fleet: Fleet) -> None:
        self._fleet, self._places, self._report = fleet, Places(fleet.at_once), Report()
        self._line: deque[Arrival] = deque()
        self._events: list[tuple[float, int, Worker, bool]] = []  # when, order, who, whether a start (or a job) ends
        self._members = self._order = self._unfinished = 0
        self._bare_until = -1.0  # when a worker took jobs again at last

    def run(self, arrivals: Iterator[Arrival]) -> Report:
        """Every event in order of time."""
        for _ in range(self._fleet.scale.least):
            self._start(0.0, 0.0)
        self._report.starts = 0
        fixed = self._fleet.scale.least == self._fleet.scale.most
        coming, look = next(arrivals, None), math.inf if fixed else 0.0
        while coming is not None or self._unfinished:
            now = min(coming.at if coming else look, self._events[0][0] if self._events else look, look)
            if coming is not None and coming.at <= now:
                self._line.append(coming)
                self._unfinished += 1
                coming = next(arrivals, None)
                if self._places.choose(self._line[0].checkpoint) is None:
                    self._balance(now)
                self._dispatch(now)
            elif self._events and self._events[0][0] <= now:
                _, _, one, ready = heapq.heappop(self._events)
                self._came_up(one, now) if ready else self._done(one, now)
                self._dispatch(now)
            else:
                self._balance(now)
                look = now + _LOOK
        left = [*self._places.idle, *(one for _, _, one, _ in self._events)]  # idle, or starting still
        self._report.alive += sum(self._report.end - one.born for one in left)
        return self._report

    def _start(self, now: float, seconds: float) -> None:
        self._members += 1
        self._report.starts += 1
        self._report.most = max(self._report.most, self._members)
        self._later(now + seconds, Worker(self._report.starts, now), ready=True)

    def _later(self, when: float, one: Worker, *, ready: bool) -> None:
        self._order += 1
        heapq.heappush(self._events, (when, self._order, one, ready))

    def _came_up(self, one: Worker, now: float) -> None:
        if not self._places.count:
            self._bare_until = now
        one.since = now
        self._places.add(one)

    def _done(self, one: Worker, now: float) -> None:
        self._places.remove(one)
        one.jobs -= 1
        one.since = now
        self._places.add(one)
        self._unfinished -= 1
        self._report.end = now

    def _dispatch(self, now: float) -> None:
        while self._line and (one := self._places.choose(self._line[0].checkpoint)) is not None:
            job = self._line.popleft()
            self._places.remove(one)
            cold = job.checkpoint not in one.warm
            seconds = job.seconds + (self._fleet.load if cold else 0.0)
            one.jobs += 1
            if one.warm[:1] != (job.checkpoint,):
                others = tuple(name for name in one.warm if name != job.checkpoint)
                one.warm = (job.checkpoint, *others)[: self._fleet.warm]
            self._places.add(one)
            self._report.loads += cold
            self._report.cold += job.at < self._bare_until
            self._report.waits.append(now - job.at)
            self._report.busy += seconds
            self._later(now + seconds, one, ready=False)

    def _balance(self, now: float) -> None:
        """As `Pool` does it: start what is wanted; end who was idle for long enough, the idlest first."""
        scale = self._fleet.scale
        number = wanted(scale, self._members, self._unfinished)
        while self._members < number:
            self._start(now, self._fleet.start)
        while self._members > number and self._places.idle:
            one = next(iter(self._places.idle))
            if now - one.since < scale.idle:
                return
            self._places.remove(one)
            self._members -= 1
            self._report.alive += now - one.born
