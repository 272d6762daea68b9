"""How many workers there should be: PAI-EAS' rule for queues, as a function of figures."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from easel.settings import Settings

TOLERANCE = 0.1  # of the backlog each worker may have: as near as this nothing changes


@dataclass(frozen=True, slots=True)
class Scale:
    """From `least` to `most` workers; `backlog` unfinished jobs for each; one goes after `idle` seconds without any."""

    least: int
    most: int
    backlog: float
    idle: float

    @classmethod
    def of(cls, settings: Settings) -> Scale:
        """What the settings ask for."""
        return cls(settings.fewest_workers, settings.workers, settings.worker_backlog, settings.idle_timeout)

    def to(self, workers: int) -> Scale:
        """With another greatest number; a fixed number stays fixed."""
        least = workers if self.least == self.most else min(self.least, workers)
        return replace(self, least=least, most=workers)


def wanted(scale: Scale, workers: int, backlog: float) -> int:
    """How many workers there should be, of the `workers` there are and the jobs that are not finished.

    EAS: workers x (backlog for each / target), rounded up, unless that ratio is within 10 % of 1. Without workers
    the backlog alone counts, so that one job is enough to have one started.
    """
    target = workers * scale.backlog
    near = workers > 0 and abs(backlog - target) <= TOLERANCE * target
    return min(max(workers if near else math.ceil(backlog / scale.backlog), scale.least), scale.most)


def pause_before(failures: int) -> float:
    """Seconds before the next start, after so many in a row that failed."""
    return (0.0, 0.0, 1.0, 5.0, 15.0, 30.0)[min(failures, 5)]
