"""Limits of users, where they count: before a job waits, and before a file grows."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from easel.errors import DiskFull, JobRefused, TooLarge
from easel.imaging.hires import hires_size
from easel.users.accounts import Accounts
from easel.values.job import Job
from easel.values.request import GenerationRequest

_FRESH = 10.0  # seconds that a sum of all files is believed
_ASK = "an operator can raise it (easel users quota)"


class Quotas:
    """Says no when a user would take more than their limits. Thread-safe.

    `folders` are where a user's files are, by name, `waiting` how many of their jobs are in line.
    """

    def __init__(
        self, accounts: Accounts, folders: Callable[[str], Iterable[Path]], waiting: Callable[[str], int]
    ) -> None:
        self._accounts, self._folders, self._waiting = accounts, folders, waiting
        self._sums: dict[str, tuple[float, int]] = {}  # by user: when it was taken, bytes
        self._lock = threading.Lock()

    def admit(self, job: Job) -> None:
        """Count a job. Errors: JobRefused (too many for now), TooLarge (ever), DiskFull."""
        account = self._accounts.find(job.user)
        if account is None:
            if job.user:
                raise JobRefused("its user is not known any more")
            return  # the service's own
        limits, request = account.limits, job.request
        if limits.jobs_waiting and self._waiting(job.user) >= limits.jobs_waiting:
            raise JobRefused(f"your limit jobs_waiting: {limits.jobs_waiting} are in line already; try again later")
        if request.explain:
            return
        work = work_of(request)
        if limits.work_day and work > limits.work_day:
            allowed = f"up to your limit work_day of {limits.work_day} megapixel-steps"
            raise TooLarge(
                "is more work than you may ask for", field="width x height x steps", value=work, allowed=allowed
            )
        if request.output.save:
            self.room(job.user)
        if beyond := self._accounts.charge(account, 1, work):
            raise JobRefused(f"your limit {beyond} is reached; {_ASK}, or try again later")

    def room(self, name: str, coming: int = 0) -> None:
        """Count bytes that a user's files grow by. Errors: DiskFull, when that is beyond their limit."""
        account = self._accounts.find(name)
        if account is None or not account.limits.storage_mb:
            return
        with self._lock:
            taken, used = self._sums.get(name, (-_FRESH, 0))
        if time.monotonic() - taken >= _FRESH:
            taken, used = time.monotonic(), _bytes_below(self._folders(name))
        if used + coming >= account.limits.storage_mb << 20:
            raise DiskFull(
                f"your limit storage_mb: your files take {used >> 20} of {account.limits.storage_mb} MB; {_ASK}"
            )
        with self._lock:
            self._sums[name] = (taken, used + coming)


def work_of(request: GenerationRequest) -> float:
    """Megapixel-steps of all pictures of a request; of a task none."""
    if request.kind == "task":
        return 0.0
    one = request.width * request.height * request.steps
    if request.hires is not None:
        target = hires_size(request.width, request.height, request.hires)
        one += target.width * target.height * (request.hires.steps or request.steps)
    return round(one * request.image_count / 1e6, 6)


def _bytes_below(folders: Iterable[Path]) -> int:
    total, waiting = 0, list(folders)
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                for one in found:
                    if one.is_dir(follow_symlinks=False):
                        waiting.append(Path(one.path))
                    else:
                        total += one.stat(follow_symlinks=False).st_size
        except FileNotFoundError:  # it went while we looked
            continue
    return total
