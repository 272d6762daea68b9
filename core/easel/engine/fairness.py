"""Least service first: who is served next when several want the engine.

Service is counted in seconds of engine time. Whoever comes (back) starts no lower than the least served of those who
wait, so that nobody saves up credit by being away, and nobody loses what is due to him while he waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet


class Shares:
    """The service of some names (users, or the jobs of one user)."""

    def __init__(self) -> None:
        self._service: dict[str, float] = {}
        self._waiting: frozenset[str] = frozenset()
        self._level = 0.0

    def order(self, waiting: AbstractSet[str]) -> list[str]:
        """The names that wait now, least served first (equals in the order given)."""
        if self._waiting != waiting:
            self._admit(waiting)
        ordered = sorted(waiting, key=self._service.__getitem__)
        if ordered:
            self._level = max(self._level, self._service[ordered[0]])
        return ordered

    def charge(self, name: str, seconds: float) -> None:
        """Add engine time to a name's service."""
        self._service[name] = self._service.get(name, self._level) + seconds

    def _admit(self, waiting: AbstractSet[str]) -> None:
        stayed = [self._service[name] for name in self._waiting if name in waiting]
        level = max(min(stayed), 0.0) if stayed else self._level
        for name in waiting:
            if name not in self._waiting:
                self._service[name] = max(self._service.get(name, 0.0), level)
        self._service = {name: at for name, at in self._service.items() if name in waiting or at > level}
        self._waiting = frozenset(waiting)


class FairOrder:
    """Fairness in two levels: users first, then the jobs of a user."""

    def __init__(self) -> None:
        self._users = Shares()
        self._jobs: dict[str, Shares] = {}

    def order(self, waiting: Mapping[str, AbstractSet[str]]) -> list[tuple[str, str]]:
        """(user, job id) of all that wait (user → ids of his jobs), the one to serve next first."""
        self._jobs = {user: self._jobs.get(user) or Shares() for user in waiting}
        jobs = {user: self._jobs[user].order(ids) for user, ids in waiting.items()}
        return [(user, job) for user in self._users.order(waiting.keys()) for job in jobs[user]]

    def charge(self, user: str, job: str, seconds: float) -> None:
        """Add engine time to a job and to its user."""
        self._users.charge(user, seconds)
        self._jobs.setdefault(user, Shares()).charge(job, seconds)
