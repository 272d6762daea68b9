"""One user as the service knows them: rights, what they left out, their limits."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields

from easel.errors import BadRequest
from easel.values.user import User

NAME = re.compile(r"[a-z0-9]([a-z0-9_-]{0,30}[a-z0-9])?")
NAMES = "1 to 32 lower-case letters, digits, '-' and '_', the first and last a letter or digit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a user may take; 0: any amount. The names are the options of `easel users quota`."""

    jobs_waiting: int = 0  # in line at once
    jobs_hour: int = 0
    jobs_day: int = 0
    work_day: int = 0  # megapixel-steps: pixels x steps / 1e6, of all pictures
    storage_mb: int = 0  # of the user's folder, and of what they gave to the page

    @property
    def in_words(self) -> str:
        """Those that are set."""
        told = (f"{one.name} {getattr(self, one.name)}" for one in fields(self) if getattr(self, one.name))
        return ", ".join(told) or "no limits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user of the service. `stamp` changes with every password and token: older sessions end."""

    name: str
    admin: bool
    enabled: bool
    stamp: str
    left_out: frozenset[str] = frozenset()  # extensions that are on, which this user does without
    limits: Limits = field(default_factory=Limits)

    @property
    def user(self) -> User:
        """As calls and jobs carry them."""
        return User(self.name, admin=self.admin)


def check_name(name: str) -> str:
    """A name that can be a folder's on every system. Errors: BadRequest."""
    if not NAME.fullmatch(name):
        raise BadRequest("not a user's name", field="name", value=name, allowed=NAMES)
    return name
