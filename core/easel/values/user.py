"""Who asks: found out once, at the door; what is theirs (models, options, files) asks `acting_user` whose call it is.

It goes with the call: tasks and `asyncio.to_thread` inherit it, a worker sets it for each job. Where nobody acts (the
service's own threads) it is the anonymous user, to whom nothing of anybody's own belongs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class User:
    """A user of the service; the empty name is the anonymous user of a service without users."""

    name: str = ""
    admin: bool = False


_NOBODY = User()
_ACTING: ContextVar[User] = ContextVar("easel_acting_user", default=_NOBODY)


def acting_user() -> User:
    """Whose call, page or job is being worked on here."""
    return _ACTING.get()


@contextmanager
def acting_as(user: User) -> Iterator[None]:
    """What happens inside is theirs."""
    token = _ACTING.set(user)
    try:
        yield
    finally:
        _ACTING.reset(token)
