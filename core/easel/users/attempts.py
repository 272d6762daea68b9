"""Wrong passwords and tokens, counted: who guesses must wait."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from easel.errors import JobRefused

_MOST = 10_000  # that are remembered


class Attempts:
    """Up to `allowed` failures of one caller within `seconds`; more are not even looked at. Thread-safe.

    A caller is an address, or an address and a user's name: nobody can lock somebody else out.
    """

    def __init__(
        self, *, allowed: int = 10, seconds: float = 300.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._allowed, self._seconds, self._clock = allowed, seconds, clock
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()  # how many, and since when
        self._lock = threading.Lock()

    def check(self, *callers: str) -> None:
        """Errors: JobRefused, for one who has failed too often lately."""
        with self._lock:
            for caller in callers:
                count, since = self._failures.get(caller, (0, 0.0))
                left = since + self._seconds - self._clock()
                if count >= self._allowed and left > 0:
                    raise JobRefused(f"too many wrong passwords or tokens; try again in {left:.0f} s")

    def failed(self, *callers: str) -> None:
        """One more of each."""
        with self._lock:
            now = self._clock()
            for caller in callers:
                count, since = self._failures.pop(caller, (0, now))
                self._failures[caller] = (1, now) if now - since > self._seconds else (count + 1, since)
            while len(self._failures) > _MOST:
                self._failures.popitem(last=False)

    def succeeded(self, *callers: str) -> None:
        """Their failures are forgotten."""
        with self._lock:
            for caller in callers:
                self._failures.pop(caller, None)
