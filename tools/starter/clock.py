"""Training time: what the schedules follow, so that a busy machine gets fewer steps and still a finished schedule."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import torch


class Clock:
    """Seconds of training so far, over all runs. SIGTERM and Ctrl-C set ``stop``: the trainer saves and leaves."""

    def __init__(self, minutes: float) -> None:
        self.budget, self.spent, self.stop = minutes * 60, 0.0, False
        self.last = time.monotonic()
        signal.signal(signal.SIGTERM, self.ask)
        signal.signal(signal.SIGINT, self.ask)

    def ask(self, *_: object) -> None:
        """Stop after this step."""
        self.stop = True

    def start(self, spent: float = 0.0) -> None:
        """Begin to count, from what earlier runs have spent."""
        self.spent, self.last = spent, time.monotonic()

    def tick(self) -> float:
        """Add the time since the last tick; returns the fraction of the budget spent, at most 1."""
        now = time.monotonic()
        self.spent, self.last = self.spent + now - self.last, now
        return min(1.0, self.spent / self.budget)


def learning_rate(peak: float, progress: float, step: int, fall: float = 0.4) -> float:
    """Warm up over 50 steps after each start, stay at ``peak``, fall linearly to zero over the last ``fall``."""
    return peak * min(1.0, (step + 1) / 50, (1 - progress) / fall)


def write_state(file: Path, state: dict[str, Any]) -> None:
    """Save, never leaving half a file."""
    torch.save(state, file.with_suffix(".part"))
    file.with_suffix(".part").replace(file)
