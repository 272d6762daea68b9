"""What became of jobs since the start, in numbers that only rise: what monitoring wants to know."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from easel.errors import EaselError
from easel.values.job import Job, JobState
from easel.values.result import QUEUE, Result


@dataclass(frozen=True, slots=True)
class Spread:
    """How long things took: how many within each of the bounds (and beyond the last), and the sum of seconds."""

    counts: tuple[int, ...]
    total: float

    def plus(self, seconds: float, bounds: tuple[float, ...]) -> Spread:
        """With one more."""
        place = bisect_left(bounds, seconds)
        counts = tuple(count + (number == place) for number, count in enumerate(self.counts))
        return Spread(counts, self.total + seconds)


class Durations:
    """Spreads by labels. Thread-safe."""

    def __init__(self, *bounds: float) -> None:
        """`bounds` in seconds, rising."""
        self.bounds = bounds
        self._spreads: dict[tuple[str, ...], Spread] = {}
        self._lock = threading.Lock()

    def note(self, labels: tuple[str, ...], seconds: float) -> None:
        """One more."""
        with self._lock:
            spread = self._spreads.get(labels) or Spread((0,) * (len(self.bounds) + 1), 0.0)
            self._spreads[labels] = spread.plus(seconds, self.bounds)

    def read(self) -> Mapping[tuple[str, ...], Spread]:
        """A snapshot."""
        with self._lock:
            return dict(self._spreads)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """A snapshot of a tally."""

    accepted: Mapping[str, int]  # by kind of request
    errors: Mapping[str, int]  # failed jobs, by name of the error
    seconds: Mapping[str, float]  # of finished jobs, by part: load, encode, denoise, decode, save, an extension
    pictures: int
    models: Mapping[bool, int]  # jobs that made pictures: whether their models were in memory already


class Tally:
    """Counts jobs. Thread-safe."""

    def __init__(self) -> None:
        self.ended = Durations(0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)  # from acceptance; by kind and state
        self._accepted, self._errors = Counter[str](), Counter[str]()
        self._seconds: dict[str, float] = {}
        self._pictures, self._models = 0, Counter[bool]()
        self._lock = threading.Lock()

    def accept(self, job: Job) -> None:
        """A job is in line."""
        with self._lock:
            self._accepted[job.request.kind] += 1

    def end(self, job: Job, state: JobState, outcome: Result | EaselError, now: float) -> None:
        """A job ended; `now` is Unix time."""
        self.ended.note((job.request.kind, state.value), max(0.0, now - job.created))
        with self._lock:
            if isinstance(outcome, EaselError):
                if state is JobState.FAILED:
                    self._errors[type(outcome).__name__] += 1
                return
            for part, seconds in outcome.seconds.items():
                if part == QUEUE:  # `ended` tells of waiting
                    continue
                self._seconds[part] = self._seconds.get(part, 0.0) + seconds
            self._pictures += sum(one.kind == "result" for one in outcome.images)
            if "denoise" in outcome.seconds:
                self._models["load" not in outcome.seconds] += 1

    def read(self) -> Counts:
        """A snapshot."""
        with self._lock:
            return Counts(
                accepted=dict(self._accepted),
                errors=dict(self._errors),
                seconds=dict(self._seconds),
                pictures=self._pictures,
                models=dict(self._models),
            )
